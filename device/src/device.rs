//! [`Device`]: a block device over the page cache.

use crate::backed::Backed;
use crate::block::{BlockDevice, Extent, ExtentKind, PAGE_SIZE, SECTOR_SIZE, check_range};
use crate::error::{Error, NewError};
use crate::latency::{Kind, Latency, Recorder};
use alloc_xv::thread_hint;
use compcache::{Growth, IoStat, Memory, MmStat, SIZE_CLASSES};
use compcache_tiers::{BackingStat, Policy, TierStat, Tiered};
use compress::{AnyCodec, Codec as _, Ladder, Lz4};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use crossbeam_utils::CachePadded;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

#[cfg(test)]
mod tests;

/// The page cache under a [`Device`].
pub type Cache = compcache_tiers::Cache;

/// Zeroes for the parts of pages that are zeroed.
static ZEROES: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];

/// Sets of counters; each thread uses one, so that threads seldom write the same cache lines.
const SHARDS: usize = 8;

/// How a device behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of the device: whole pages.
    pub size: u64,
    /// What pages are compressed with: the first codec for what is written, the others for what is
    /// cold.
    pub codec: Ladder,
    /// What it does by itself.
    pub policy: Policy,
    /// What the thread that does it does first: sets its priority, say.
    pub thread_start: Option<fn()>,
    /// The most memory to take, in bytes, tables included; 0 for no limit.
    pub mem_limit: u64,
    /// Keep a checksum with each stored page.
    pub checksum: bool,
    /// How memory is taken from the system: by single pages where others wait for it.
    pub growth: Growth,
}

impl Config {
    /// A device of `size` bytes with LZ4, checksums and no limit, which does nothing by itself.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            size,
            codec: Ladder::from(AnyCodec::Lz4(Lz4)),
            policy: Policy::NONE,
            thread_start: None,
            mem_limit: 0,
            checksum: true,
            growth: Growth::Chunks,
        }
    }
}

/// Everything that is counted.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stat {
    /// zram's `io_stat`. Its reads, writes and discards are pages, not requests.
    pub io: IoStat,
    /// zram's `mm_stat`.
    pub mm: MmStat,
    /// Where the memory goes.
    pub memory: Memory,
    /// Requests by kind, in the order of [`Kind::ALL`].
    pub requests: [Latency; Kind::COUNT],
    /// Stored pages by compressed size, in sixteenths of a page.
    pub sizes: [u64; SIZE_CLASSES],
    /// In which forms pages are, and how they got there.
    pub tiers: TierStat,
    /// The backing store; zeroes without one.
    pub backing: BackingStat,
    /// Writes that found no memory, and had some made for them or failed.
    pub squeezed: u64,
    /// Bytes of the dictionary that cold pages are compressed with; 0 without one.
    pub dictionary: u64,
    /// Times that pages were not written back because the store failed.
    pub write_errors: u64,
}

struct Shard {
    kinds: [Recorder; Kind::COUNT],
    invalid_io: AtomicU64,
    /// Read by each request while it is under way, written by a reset. One for each shard, so that
    /// requests of different threads do not write the same cache line.
    gate: RwLock<()>,
}

/// A block device that keeps its pages compressed in memory.
///
/// * A page written as a whole is compressed from where the caller has it; there is no copy.
/// * A page of one repeated word, and zeroes, take no object.
/// * What does not fit into the memory limit fails with [`Error::NoSpace`], and the page keeps
///   its old content.
/// * A thread keeps the pages packed; it ends with the device.
/// * With denser codecs, a policy or a backing store, another thread makes pages denser that are not
///   used, and writes them back where memory is limited: see [`Tiered`].
///
/// # Time complexity
///
/// Linear in the pages of a request.
pub struct Device {
    pub(crate) tiered: Tiered,
    size: u64,
    shards: Box<[CachePadded<Shard>]>,
    pub(crate) backed: Backed,
}

impl Device {
    /// An empty device.
    ///
    /// # Errors
    /// [`NewError`]: a size that is no whole pages, or nothing to build it with.
    pub fn new(config: Config) -> Result<Self, NewError> {
        if config.size == 0 || !config.size.is_multiple_of(PAGE_SIZE) {
            return Err(NewError::BadSize { size: config.size });
        }
        let mut pages = compcache::Config::new(config.size / PAGE_SIZE);
        pages.checksum = config.checksum;
        pages.mem_limit = config.mem_limit;
        let mut tiers = compcache_tiers::Config::default();
        tiers.policy = config.policy;
        tiers.growth = config.growth;
        tiers.thread = Self::acts(&config.policy);
        tiers.thread_start = config.thread_start;
        // When there is work, memory may be what is missing.
        tiers.keep_worker = config.codec.rungs() > 0;
        let shard = || {
            CachePadded::new(Shard {
                kinds: [const { Recorder::new() }; Kind::COUNT],
                invalid_io: AtomicU64::new(0),
                gate: RwLock::new(()),
            })
        };
        Ok(Self {
            tiered: Tiered::new(config.codec, pages, tiers)?,
            size: config.size,
            shards: (0..SHARDS).map(|_| shard()).collect(),
            backed: Backed::default(),
        })
    }

    /// Whether there is anything for a thread to do.
    pub(crate) fn acts(policy: &Policy) -> bool {
        policy.cold_rung > 0 || policy.cool_rung > 0 || policy.same
    }

    /// The page cache, for what a block device has no request for: compaction, sizes of pages.
    #[must_use]
    pub fn cache(&self) -> &Arc<Cache> {
        self.tiered.cache()
    }

    /// The same with its tiers: what is done to pages by itself, and on demand.
    #[must_use]
    pub fn tiered(&self) -> &Tiered {
        &self.tiered
    }

    /// Limits the memory taken; see [`Tiered::set_mem_limit`].
    pub fn set_mem_limit(&self, bytes: u64) {
        self.tiered.set_mem_limit(bytes);
    }

    /// zram's `mm_stat`.
    #[must_use]
    pub fn mm_stat(&self) -> MmStat {
        let mut mm = self.cache().mm_stat();
        mm.mem_limit = self.tiered.mem_limit();
        mm
    }

    /// Everything that is counted, now.
    #[must_use]
    pub fn stat(&self) -> Stat {
        let mut requests = [Latency::default(); Kind::COUNT];
        for shard in &self.shards {
            for (recorder, sum) in shard.kinds.iter().zip(&mut requests) {
                recorder.add_to(sum);
            }
        }
        let tiered = self.tiered.stat();
        Stat {
            io: self.io_stat(),
            mm: tiered.mm,
            memory: tiered.memory,
            requests,
            sizes: self.cache().size_classes(),
            tiers: tiered.tiers,
            backing: tiered.backing,
            squeezed: tiered.squeezed,
            dictionary: tiered.dictionary,
            write_errors: tiered.write_errors,
        }
    }

    /// zram's `io_stat`: pages, and the requests that were refused for their range.
    #[must_use]
    pub fn io_stat(&self) -> IoStat {
        let mut stat = self.cache().io_stat();
        for shard in &self.shards {
            stat.invalid_io += shard.invalid_io.load(Ordering::Relaxed);
        }
        stat
    }

    /// Requests of one kind so far.
    #[must_use]
    pub fn latency(&self, kind: Kind) -> Latency {
        let mut sum = Latency::default();
        for shard in &self.shards {
            if let Some(recorder) = shard.kinds.get(kind as usize) {
                recorder.add_to(&mut sum);
            }
        }
        sum
    }

    /// Forgets every page and clears the statistics.
    pub fn reset(&self) {
        let _ = self.reset_unless(|| Ok::<(), core::convert::Infallible>(()));
    }

    /// Forgets every page and clears the statistics, unless `check` fails.
    ///
    /// Requests that come after `check` was called are done when all is forgotten, and those that
    /// came before are done when it is called: so a client that `check` could not see loses nothing.
    /// `check` must not use the device.
    ///
    /// # Errors
    /// Those of `check`: nothing is forgotten then.
    pub fn reset_unless<E>(&self, check: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let gates = self.shards.iter().map(|shard| shard.gate.write());
        let _closed: Vec<_> = gates
            .map(|gate| gate.unwrap_or_else(PoisonError::into_inner))
            .collect();
        check()?;
        self.tiered.reset();
        for shard in &self.shards {
            shard.kinds.iter().for_each(Recorder::reset);
            shard.invalid_io.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    fn shard(&self) -> Option<&Shard> {
        self.shards
            .get(thread_hint() % SHARDS)
            .map(|shard| &**shard)
    }

    /// Checks the range of a request, does it, and records how it went.
    fn request(
        &self,
        kind: Kind,
        (offset, len): (u64, u64),
        work: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let shard = self.shard();
        let _open = shard.map(|shard| shard.gate.read().unwrap_or_else(PoisonError::into_inner));
        let range = self.check(offset, len);
        let result = range.and_then(|()| work());
        let ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some(recorder) = shard.and_then(|shard| shard.kinds.get(kind as usize)) {
            recorder.record(ns, len, result.is_ok());
        }
        result
    }

    fn check(&self, offset: u64, len: u64) -> Result<(), Error> {
        check_range(offset, len, self.size).inspect_err(|_| {
            if let Some(shard) = self.shard() {
                shard.invalid_io.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    fn read_pages(&self, offset: u64, mut out: &mut [u8]) -> Result<(), Error> {
        let mut at = offset;
        while !out.is_empty() {
            let (index, within, len) = piece(at, out.len());
            let (now, later) = out.split_at_mut_checked(len).ok_or(Error::Internal)?;
            match <&mut [u8; PAGE_SIZE as usize]>::try_from(&mut *now) {
                Ok(page) => self.tiered.get(index, page).map(|_| ()),
                Err(_) => self.tiered.read(index, within, now),
            }
            .map_err(|error| translate(error, index))?;
            out = later;
            at += len as u64;
        }
        Ok(())
    }

    fn write_pages(&self, offset: u64, mut bytes: &[u8]) -> Result<(), Error> {
        let mut at = offset;
        while !bytes.is_empty() {
            let (index, within, len) = piece(at, bytes.len());
            let (now, later) = bytes.split_at_checked(len).ok_or(Error::Internal)?;
            // A whole page is put; the cache sees to that itself.
            self.tiered
                .write(index, within, now)
                .map_err(|error| translate(error, index))?;
            bytes = later;
            at += len as u64;
        }
        Ok(())
    }

    fn discard_pages(&self, pages: Range<u64>) -> Result<(), Error> {
        for index in pages {
            self.tiered
                .discard(index)
                .map_err(|error| translate(error, index))?;
        }
        Ok(())
    }

    /// Zeroes a part of one page; nothing where the page is not stored.
    fn zero_part(&self, offset: u64, len: u64) -> Result<(), Error> {
        let (index, within, len) = piece(offset, len as usize);
        let stored = self.tiered.contains(index);
        if !stored.map_err(|error| translate(error, index))? {
            return Ok(());
        }
        let zeroes = ZEROES.get(..len).ok_or(Error::Internal)?;
        self.tiered
            .write(index, within, zeroes)
            .map_err(|error| translate(error, index))
    }

    fn zero_pages(&self, offset: u64, len: u64) -> Result<(), Error> {
        let end = offset + len;
        let whole = whole_pages(offset, len);
        if whole.is_empty() {
            // One page in part, or the ends of two neighbours.
            let border = (offset / PAGE_SIZE + 1) * PAGE_SIZE;
            self.zero_part(offset, len.min(border - offset))?;
            return match end.checked_sub(border) {
                Some(rest) if rest > 0 => self.zero_part(border, rest),
                _ => Ok(()),
            };
        }
        let (first, last) = (whole.start * PAGE_SIZE, whole.end * PAGE_SIZE);
        if offset < first {
            self.zero_part(offset, first - offset)?;
        }
        self.discard_pages(whole)?;
        if last < end {
            self.zero_part(last, end - last)?;
        }
        Ok(())
    }

    fn is_stored(&self, index: u64) -> Result<bool, Error> {
        self.tiered
            .contains(index)
            .map_err(|error| translate(error, index))
    }
}

impl BlockDevice for Device {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let range = (offset, out.len() as u64);
        self.request(Kind::Read, range, || self.read_pages(offset, out))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let range = (offset, bytes.len() as u64);
        self.request(Kind::Write, range, || self.write_pages(offset, bytes))
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.request(Kind::Discard, (offset, len), || {
            self.discard_pages(whole_pages(offset, len))
        })
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), Error> {
        self.request(Kind::WriteZeroes, (offset, len), || {
            if len == 0 {
                return Ok(());
            }
            self.zero_pages(offset, len)
        })
    }

    fn flush(&self) -> Result<(), Error> {
        self.request(Kind::Flush, (0, 0), || {
            // What other threads were answered happened before; nothing lies in a buffer.
            core::sync::atomic::fence(Ordering::SeqCst);
            Ok(())
        })
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent, Error> {
        self.check(offset, len)?;
        let kind_of = |stored| match stored {
            true => ExtentKind::Data,
            false => ExtentKind::Hole,
        };
        if len == 0 {
            let kind = ExtentKind::Hole;
            return Ok(Extent { len, kind });
        }
        let (first, end) = (offset / PAGE_SIZE, offset + len);
        let stored = self.is_stored(first)?;
        let mut index = first + 1;
        while index * PAGE_SIZE < end && self.is_stored(index)? == stored {
            index += 1;
        }
        Ok(Extent {
            len: end.min(index * PAGE_SIZE) - offset,
            kind: kind_of(stored),
        })
    }
}

/// The page at an offset, where in it, and how many of `len` bytes lie in it.
fn piece(offset: u64, len: usize) -> (u64, usize, usize) {
    let within = (offset % PAGE_SIZE) as usize;
    (
        offset / PAGE_SIZE,
        within,
        len.min(PAGE_SIZE as usize - within),
    )
}

/// The pages that lie in a checked range as a whole.
fn whole_pages(offset: u64, len: u64) -> Range<u64> {
    let end = (offset + len) / PAGE_SIZE;
    // Not `div_ceil` of the sum: a checked range ends inside the device, so nothing overflows.
    offset.div_ceil(PAGE_SIZE)..end
}

fn translate(error: compcache_tiers::Error, index: u64) -> Error {
    let offset = index.saturating_mul(PAGE_SIZE);
    match error {
        compcache_tiers::Error::Cache(error) => match error {
            compcache::Error::NoSpace(error) => Error::NoSpace(error),
            compcache::Error::Corrupt { .. } => Error::Corrupt { offset },
            compcache::Error::Compress(error) => Error::Codec(error),
            _ => Error::Internal,
        },
        compcache_tiers::Error::Read { .. } | compcache_tiers::Error::NoStore => {
            Error::Backing { offset }
        }
        _ => Error::Internal,
    }
}

const _: () = assert!(
    PAGE_SIZE.is_multiple_of(SECTOR_SIZE),
    "pages are whole sectors"
);
