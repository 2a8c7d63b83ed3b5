//! [`Cache`]: pages in, pages out.

use crate::checksum::{CHECKSUM_LEN, checksum};
use crate::content::{Life, Link, Stored, value_to_word};
use crate::counters::{Counters, count, size_class, uncount};
use crate::error::{BuildError, Error};
use crate::tiers::{Layout, TierCounters, UNIT_LEN_MAX, UNIT_PAGES_MAX};
use crate::workspace::{Shared, Workspace, borrow};
use alloc_xv::{PageSource, Slot, SlotState, Slots};
use compress::{Codec, CodecId, Raw, decompress_fragments, fill};
use core::ops::Deref;
use core::sync::atomic::Ordering::Relaxed;
use crossbeam_utils::CachePadded;
use lock_api::RawMutex;

/// Bytes of the word that a same-filled page repeats.
pub(crate) const WORD_LEN: usize = 8;

/// How a cache behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Pages of the device.
    pub pages: u64,
    /// Keep a checksum with each stored page: 4 bytes, and a fraction of what the codec costs.
    pub checksum: bool,
    /// The most memory to take, in bytes, tables included; 0 for no limit.
    pub mem_limit: u64,
    /// Bytes of a unit, neighbouring pages that may be compressed as one piece when they are cold: a
    /// power of two up to [`UNIT_LEN_MAX`](crate::UNIT_LEN_MAX); a page or less: none are.
    pub unit: usize,
}

/// Bytes of a unit unless it is said otherwise.
const UNIT: usize = 32 * 1024;

impl Config {
    /// A device of `pages` pages, with checksums and without a limit.
    pub const fn new(pages: u64) -> Self {
        Self {
            pages,
            checksum: true,
            mem_limit: 0,
            unit: UNIT,
        }
    }
}

/// Sets of counters, of which each thread uses one: counting should not make threads wait for
/// each other's cache lines.
pub(crate) const COUNTERS: usize = 8;

/// A page that came out longer than all but this share of its size is stored raw.
const HUGE_SHARE: usize = 64;

/// A compressed-page cache over `S`, with codec `C` and workspaces `W`.
///
/// * `W` is a `Vec` of [`Shared`] workspaces, or a slice of a `static` one where there is no
///   allocator; as many as threads that work at once.
/// * `L` is the lock, through `lock_api`.
/// * `PAGE` is the size of the pages put in: 4096, 16384 or 65536. The page source may have
///   another page size.
/// * `ARENAS` is the number of independent pools; runs of 8192 pages live in the same.
///
/// With the feature `std`, `StdCache` fills in the rest.
///
/// # Time complexity
///
/// `put` and `get` are linear in the page, everything else of theirs is constant.
pub struct Cache<S, C, W, L = spin::Mutex<()>, const PAGE: usize = 4096, const ARENAS: usize = 4>
where
    S: PageSource,
    C: Codec,
    L: RawMutex,
{
    pub(crate) slots: Slots<S, L, ARENAS>,
    pub(crate) codec: C,
    pub(crate) bank: W,
    pub(crate) config: Config,
    pub(crate) counters: [CachePadded<Counters>; COUNTERS],
    pub(crate) layout: Layout,
    /// Bytes that a put may make of a page, its checksum with them.
    pub(crate) put_max: usize,
    pub(crate) tiers: CachePadded<TierCounters>,
}

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Cache<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    const PAGE_IS_SUPPORTED: () = assert!(
        PAGE == 4096 || PAGE == 16384 || PAGE == 65536,
        "pages of 4, 16 or 64 KiB"
    );

    /// An empty cache. Takes no page from the source.
    pub fn new(source: S, codec: C, bank: W, config: Config) -> Result<Self, BuildError> {
        Self::check_new(&bank, config)?;
        let cache = Self {
            slots: Slots::new(source),
            put_max: Self::put_max(&codec),
            codec,
            bank,
            config,
            counters: [const { CachePadded::new(Counters::new()) }; COUNTERS],
            layout: Self::layout(config),
            tiers: CachePadded::new(TierCounters::new()),
        };
        cache.set_mem_limit(config.mem_limit);
        Ok(cache)
    }

    /// Whether there can be such a cache.
    pub(crate) fn check_new(bank: &W, config: Config) -> Result<(), BuildError> {
        let () = Self::PAGE_IS_SUPPORTED;
        let max = Slots::<S, L, ARENAS>::keys();
        if config.pages == 0 || config.pages > max {
            return Err(BuildError::BadSize {
                pages: config.pages,
                max,
            });
        }
        if bank.is_empty() {
            return Err(BuildError::NoWorkspace);
        }
        if config.unit > UNIT_LEN_MAX || config.unit > PAGE && !config.unit.is_power_of_two() {
            return Err(BuildError::BadUnit {
                unit: config.unit,
                max: UNIT_LEN_MAX,
            });
        }
        Ok(())
    }

    /// The most that a page takes before it is known whether it is to be stored raw.
    pub(crate) fn put_max(codec: &C) -> usize {
        codec.max_compressed_len(PAGE).max(PAGE) + CHECKSUM_LEN
    }

    /// Which slots are what.
    pub(crate) fn layout(config: Config) -> Layout {
        let unit = config.unit.min(PAGE * UNIT_PAGES_MAX);
        Layout::new(
            config.pages,
            PAGE,
            unit,
            Slots::<S, L, ARENAS>::keys(),
            (S::PAGE_SIZE / 8) as u64,
        )
    }

    /// Pages of the device.
    pub fn pages(&self) -> u64 {
        self.config.pages
    }

    /// Pages of a unit: neighbours that may be compressed together. 1 or 0 where there are no units.
    pub fn unit_pages(&self) -> u64 {
        self.layout.unit_pages()
    }

    /// The codec.
    pub fn codec(&self) -> &C {
        &self.codec
    }

    /// The page source.
    pub fn source(&self) -> &S {
        self.slots.source()
    }

    /// Reads a page: true if one was stored, false (and zeroes) if none was.
    pub fn get(&self, index: u64, page: &mut [u8; PAGE]) -> Result<bool, Error> {
        self.get_with(&mut borrow(&self.bank), index, page)
    }

    /// [`get`](Self::get) with a workspace of the caller's.
    pub fn get_with(
        &self,
        workspace: &mut Workspace<C, PAGE>,
        index: u64,
        page: &mut [u8; PAGE],
    ) -> Result<bool, Error> {
        let counters = self.begin(index)?;
        count(&counters.reads);
        let Some(mut slot) = self.slots.get(index)? else {
            page.fill(0);
            return Ok(false);
        };
        let result = self.decode(
            &mut workspace.codec,
            &mut workspace.stream,
            index,
            &slot,
            page,
        );
        match slot.state() {
            SlotState::Object { tag, .. }
                if Life::of_tag(tag).age() == 0 && !self.is_dense(tag) => {}
            _ if result.is_err() => {}
            _ => self.touch(&mut slot, workspace, index, page, counters),
        }
        drop(slot);
        result.inspect_err(|error| {
            counters.failed_read(*error);
            page.fill(0);
        })?;
        Ok(true)
    }

    /// Whether a page was made by another codec than the first, which takes longer to decode: not raw, and not
    /// LZ4, which decodes as quickly whoever made it.
    #[inline]
    fn is_dense(&self, tag: u16) -> bool {
        match Stored::from_tag(tag) {
            Some(Stored::Page { codec, .. }) => {
                !matches!(codec, CodecId::Raw | CodecId::Lz4) && codec != self.codec.id()
            }
            _ => false,
        }
    }

    /// The page that a slot holds; zeroes for none.
    pub(crate) fn decode(
        &self,
        codec: &mut C::Workspace,
        stream: &mut [[u8; PAGE]; 2],
        index: u64,
        slot: &Slot<'_, S, L, ARENAS>,
        page: &mut [u8; PAGE],
    ) -> Result<(), Error> {
        let corrupt = Error::Corrupt { index };
        match slot.state() {
            SlotState::Empty => page.fill(0),
            SlotState::Value(value) => match Link::of(value) {
                None => fill(page, value_to_word(value)),
                Some(link) => self.decode_link(codec, stream, index, link, page)?,
            },
            SlotState::Object { size, tag } => match Stored::from_tag(tag).ok_or(corrupt)? {
                // Patches are shared objects.
                Stored::Patch { .. } => return Err(corrupt),
                Stored::Word { checked } => {
                    let mut room = [0; WORD_LEN + CHECKSUM_LEN];
                    slot.copy_to(0, &mut room);
                    let bytes = room.get(..size).ok_or(corrupt)?;
                    let bytes = verify(index, bytes, checked).ok_or(corrupt)?;
                    let word = bytes.try_into().map_err(|_| corrupt)?;
                    fill(page, u64::from_le_bytes(word));
                }
                Stored::Page { codec: id, checked } => {
                    let scratch = stream.as_flattened_mut();
                    let bytes = whole(slot, scratch).ok_or(corrupt)?;
                    let bytes = verify(index, bytes, checked).ok_or(corrupt)?;
                    self.decode_stream(codec, id, bytes, page).ok_or(corrupt)?;
                }
            },
        }
        Ok(())
    }

    /// Decodes a stream in one piece, whichever of the codecs made it.
    pub(crate) fn decode_stream(
        &self,
        codec: &mut C::Workspace,
        id: CodecId,
        bytes: &[u8],
        page: &mut [u8],
    ) -> Option<()> {
        if id == CodecId::Raw {
            return decompress_fragments(&Raw, &mut (), &[bytes], &mut [], page).ok();
        }
        if id == self.codec.id() {
            return decompress_fragments(&self.codec, codec, &[bytes], &mut [], page).ok();
        }
        self.codec.decompress_id(id, codec, bytes, page).ok()
    }

    /// Forgets a page; true if one was stored.
    pub fn discard(&self, index: u64) -> Result<bool, Error> {
        let counters = self.begin(index)?;
        count(&counters.notify_free);
        Ok(self.empty(index, counters)? != SlotState::Empty)
    }

    /// Empties a slot; what it held.
    fn empty(&self, index: u64, counters: &Counters) -> Result<SlotState, Error> {
        let old = self.slots.clear_unless(index, is_link)?;
        if !is_link(old) {
            self.forget(index, counters, old);
            return Ok(old);
        }
        // While it is held, so that what it lets go of is this page's. Holding a slot that others have
        // emptied meanwhile could need memory; there is nothing to empty then.
        let Some(mut slot) = self.slots.get(index)? else {
            return Ok(SlotState::Empty);
        };
        let old = slot.state();
        slot.clear();
        self.forget(index, counters, old);
        Ok(old)
    }

    /// Whether a page is stored.
    pub fn contains(&self, index: u64) -> Result<bool, Error> {
        self.begin(index)?;
        Ok(self.slots.state(index)? != SlotState::Empty)
    }

    /// Forgets every page and clears the statistics. Takes time in proportion to the device.
    pub fn reset(&self) {
        for index in 0..self.config.pages {
            if let Ok(counters) = self.begin(index) {
                // An index of the device can always be emptied.
                let _ = self.empty(index, counters);
            }
        }
        for counters in &self.counters {
            for counter in [
                &counters.huge_pages_since,
                &counters.reads,
                &counters.writes,
                &counters.failed_reads,
                &counters.failed_writes,
                &counters.invalid_io,
                &counters.notify_free,
            ] {
                counter.store(0, Relaxed);
            }
        }
        self.tiers.reset();
        self.slots.reset_pages_max();
    }

    /// Takes what a slot held before off the counters, and lets go of what it shared. If that was
    /// something, the slot is held.
    #[inline(always)]
    pub(crate) fn forget(&self, index: u64, counters: &Counters, old: SlotState) {
        match old {
            SlotState::Empty => {}
            SlotState::Value(value) => match Link::of(value) {
                None => uncount(&counters.same_pages),
                Some(link) => self.release(index, link),
            },
            SlotState::Object { size, tag } => match Stored::from_tag(tag) {
                Some(Stored::Word { .. }) => {
                    uncount(&counters.same_pages);
                    uncount(&counters.word_objects);
                }
                Some(Stored::Page { codec, checked }) => {
                    let sum = if checked { CHECKSUM_LEN } else { 0 };
                    uncount(&counters.sizes[size_class::<PAGE>(size.saturating_sub(sum))]);
                    if codec == CodecId::Raw {
                        uncount(&counters.huge_pages);
                    }
                }
                Some(Stored::Patch { .. }) | None => {}
            },
        }
    }

    /// Checks an index and finds this thread's counters.
    pub(crate) fn begin(&self, index: u64) -> Result<&Counters, Error> {
        let counters = &self.counters[alloc_xv::thread_hint() % COUNTERS];
        if index >= self.config.pages {
            count(&counters.invalid_io);
            return Err(Error::OutOfRange {
                index,
                pages: self.config.pages,
            });
        }
        Ok(counters)
    }

    pub(crate) fn bank(&self) -> &W {
        &self.bank
    }

    pub(crate) fn keeps_checksums(&self) -> bool {
        self.config.checksum
    }
}

/// Whether a page whose stream has `len` bytes is stored raw: what that would save is not worth decompressing it.
#[inline]
pub(crate) const fn stays_raw<const PAGE: usize>(len: usize) -> bool {
    len >= PAGE - PAGE / HUGE_SHARE
}

/// Whether a slot holds a link.
pub(crate) fn is_link(state: SlotState) -> bool {
    matches!(state, SlotState::Value(value) if Link::of(value).is_some())
}

/// A write that failed is a write too.
pub(crate) fn count_failed_write(counters: &Counters) {
    count(&counters.writes);
    count(&counters.failed_writes);
}

/// Counts a page that was stored as an object of `size` bytes, its checksum aside.
pub(crate) fn remember<const PAGE: usize>(counters: &Counters, tag: u16, size: usize) {
    count(&counters.sizes[size_class::<PAGE>(size)]);
    if is_huge(tag) {
        count(&counters.huge_pages);
        count(&counters.huge_pages_since);
    }
}

pub(crate) fn is_huge(tag: u16) -> bool {
    matches!(
        Stored::from_tag(tag),
        Some(Stored::Page {
            codec: CodecId::Raw,
            ..
        })
    )
}

/// The checksum that goes behind the stored bytes, if there is to be one.
pub(crate) fn checksum_if(wanted: bool, index: u64, stored: &[u8]) -> Option<[u8; CHECKSUM_LEN]> {
    wanted.then(|| checksum(index, stored))
}

/// An object's bytes in one piece: where they lie, or put together in `scratch`.
pub(crate) fn whole<'b, S: PageSource, L: RawMutex, const ARENAS: usize>(
    slot: &'b Slot<'_, S, L, ARENAS>,
    scratch: &'b mut [u8],
) -> Option<&'b [u8]> {
    if let Some(bytes) = slot.contiguous() {
        return Some(bytes);
    }
    let SlotState::Object { size, .. } = slot.state() else {
        return None;
    };
    let room = scratch.get_mut(..size)?;
    slot.copy_to(0, room);
    Some(room)
}

/// Checks the checksum behind an object's bytes and cuts it off.
pub(crate) fn verify(index: u64, bytes: &[u8], checked: bool) -> Option<&[u8]> {
    if !checked {
        return Some(bytes);
    }
    let (stored, sum) = bytes.split_last_chunk::<CHECKSUM_LEN>()?;
    (checksum(index, stored) == *sum).then_some(stored)
}
