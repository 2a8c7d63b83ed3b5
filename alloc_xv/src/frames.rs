//! Access to the bytes of taken frames: the one place of the allocator that touches raw memory.
//!
//! Everything above works with [`FrameId`]s and byte positions. Positions are cut to the page
//! and aligned here, so a wrong one reads the wrong word of one of our frames but never leaves
//! it. What makes this sound is an invariant of the crate: a `FrameId` that reaches this module
//! came from [`Frames::take`] of the same source and was not given back since (page table and
//! directories forget a frame before they give it back).
#![allow(unsafe_code)]

use crate::source::{FrameId, PageSource};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Why no frame could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeError {
    /// The source is empty.
    OutOfPages,
    /// The pool's own limit.
    Limit,
}

/// Frames taken by all arenas of a pool, and how many it may take.
#[derive(Debug)]
pub(crate) struct Account {
    used: AtomicUsize,
    used_max: AtomicUsize,
    limit: AtomicUsize,
}

impl Account {
    pub(crate) const fn new() -> Self {
        Self {
            used: AtomicUsize::new(0),
            used_max: AtomicUsize::new(0),
            limit: AtomicUsize::new(usize::MAX),
        }
    }

    /// Frames taken now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// The most frames taken at once since the last reset of this mark.
    pub(crate) fn used_max(&self) -> usize {
        self.used_max.load(Relaxed)
    }

    /// Starts the mark again from what is taken now.
    pub(crate) fn reset_used_max(&self) {
        self.used_max.store(self.used(), Relaxed);
    }

    /// Most frames that may be taken.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Changes the limit. What is taken already is not this account's to give back.
    pub(crate) fn set_limit(&self, frames: usize) {
        self.limit.store(frames, Relaxed);
    }
}

/// A source with the account of what was taken from it.
pub(crate) struct Frames<'s, S> {
    source: &'s S,
    account: &'s Account,
}

impl<S> Clone for Frames<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Frames<'_, S> {}

impl<'s, S: PageSource> Frames<'s, S> {
    pub(crate) fn new(source: &'s S, account: &'s Account) -> Self {
        const {
            assert!(
                S::PAGE_SIZE == 4096 || S::PAGE_SIZE == 16384 || S::PAGE_SIZE == 65536,
                "pages of 4, 16 or 64 KiB"
            );
        }
        Self { source, account }
    }

    /// Takes a frame within the limit; its content is unspecified.
    #[inline]
    pub(crate) fn take(&self, wanted: Option<FrameId>) -> Result<FrameId, TakeError> {
        let now = self.account.used.fetch_add(1, Relaxed) + 1;
        if now > self.account.limit() {
            self.account.used.fetch_sub(1, Relaxed);
            return Err(TakeError::Limit);
        }
        match self.source.take(wanted) {
            Ok(frame) => {
                // Most takes of a pool that breathes are under its mark.
                if now > self.account.used_max.load(Relaxed) {
                    self.account.used_max.fetch_max(now, Relaxed);
                }
                Ok(frame)
            }
            Err(_) => {
                self.account.used.fetch_sub(1, Relaxed);
                Err(TakeError::OutOfPages)
            }
        }
    }

    /// Takes up to `count` frames of a window from `first` on, within the limit; returns how many,
    /// at least one.
    pub(crate) fn take_run(&self, first: FrameId, count: u32) -> Result<u32, TakeError> {
        let account = self.account;
        // Exactly what there is room for: while the source is asked, others see what is reserved.
        let limit = account.limit();
        let room = |used: usize| limit.saturating_sub(used).min(count as usize);
        let reserved = account.used.fetch_update(Relaxed, Relaxed, |used| {
            (room(used) > 0).then(|| used + room(used))
        });
        let Ok(before) = reserved else {
            return Err(TakeError::Limit);
        };
        let wanted = room(before);
        let got = self
            .source
            .take_run(first, wanted as u32)
            .min(wanted as u32);
        if (got as usize) < wanted {
            account.used.fetch_sub(wanted - got as usize, Relaxed);
        }
        if got == 0 {
            return Err(TakeError::OutOfPages);
        }
        let now = before + got as usize;
        if now > account.used_max.load(Relaxed) {
            account.used_max.fetch_max(now, Relaxed);
        }
        Ok(got)
    }

    /// Gives back `count` frames of a window from `first` on. The caller has removed them from
    /// every table.
    pub(crate) fn give_back_run(&self, first: FrameId, count: u32) {
        // SAFETY: as in `give_back`, for each of them.
        unsafe { self.source.give_back_run(first, count) };
        self.account.used.fetch_sub(count as usize, Relaxed);
    }

    /// Whether `frames` more may be taken by the limit.
    #[inline]
    pub(crate) fn has_room(&self, frames: usize) -> bool {
        self.account.used().saturating_add(frames) <= self.account.limit()
    }

    /// Clears a frame that was just taken.
    pub(crate) fn zero(&self, frame: FrameId) {
        // SAFETY: taken by the caller, so PAGE_SIZE bytes that are ours alone; nothing refers
        // to them yet.
        unsafe { self.source.address(frame).write_bytes(0, S::PAGE_SIZE) };
    }

    /// Gives a frame back. The caller has removed it from every table.
    #[inline]
    pub(crate) fn give_back(&self, frame: FrameId) {
        // SAFETY: invariant of the crate (module text): taken here, and forgotten by the caller.
        unsafe { self.source.give_back(frame) };
        self.account.used.fetch_sub(1, Relaxed);
    }

    /// The bytes of a taken frame.
    #[inline]
    pub(crate) fn page(&self, frame: FrameId) -> Page {
        Page {
            base: self.source.address(frame),
        }
    }

    /// Reserves a window; see [`PageSource::WINDOWS`].
    pub(crate) fn open_window(&self, frames: u32) -> Result<FrameId, TakeError> {
        self.source
            .open_window(frames)
            .map_err(|_| TakeError::OutOfPages)
    }

    /// Gives a window up.
    pub(crate) fn close_window(&self, first: FrameId) {
        self.source.close_window(first);
    }

    /// An entry of 8 bytes, shared with every thread that holds a lock on it.
    #[inline]
    pub(crate) fn entry(&self, spot: Spot<8>) -> &'s AtomicU64 {
        // SAFETY: 1. the frame is taken, and a leaf of entries is given back only when none of
        // them is in use or locked, so the reference does not outlive it where it is kept (or
        // the page lies in a window, all of which may be read, and is only read);
        // 2. a spot lies inside its page or window, aligned to 8; 3. entries are only accessed
        // as atomics once the leaf is in the tree.
        unsafe { &*spot.base.cast::<AtomicU64>() }
    }

    /// Moves `len` bytes between two pages (or inside one, overlapping).
    ///
    /// Both ranges must lie inside their page; they are cut if they do not.
    pub(crate) fn copy(&self, from: (Page, usize), to: (Page, usize), len: usize) {
        let mask = S::PAGE_SIZE - 1;
        let room = S::PAGE_SIZE - (from.1 & mask).max(to.1 & mask);
        let len = len.min(room);
        // SAFETY: both ranges lie inside taken frames; the caller holds the arena's lock and
        // moves an object whose entry is not locked into free bytes, so nobody looks at either.
        unsafe { from.0.byte::<S>(from.1).copy_to(to.0.byte::<S>(to.1), len) };
    }
}

/// The bytes of a taken frame. Kept no longer than the frame is taken.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    base: *mut u8,
}

// SAFETY: a page is memory that every thread may reach; what it may do there is decided by the
// arena's lock and the entries' locks.
unsafe impl Send for Page {}

impl Page {
    /// No page; never accessed.
    pub(crate) const NONE: Self = Self {
        base: core::ptr::null_mut(),
    };

    /// The 4-byte word at `byte`.
    #[inline]
    pub(crate) fn load<S: PageSource>(self, byte: usize) -> u32 {
        // SAFETY: 1. the frame is taken, so the page is ours to read; 2. the mask keeps the
        // position inside it and aligned; 3. metadata words are accessed under the arena's
        // lock only, and no payload reference covers one.
        unsafe {
            self.base
                .add(byte & (S::PAGE_SIZE - 4))
                .cast::<u32>()
                .read()
        }
    }

    /// Sets the 4-byte word at `byte`.
    #[inline]
    pub(crate) fn store<S: PageSource>(self, byte: usize, value: u32) {
        // SAFETY: as in `load`.
        unsafe {
            self.base
                .add(byte & (S::PAGE_SIZE - 4))
                .cast::<u32>()
                .write(value)
        }
    }

    /// The eight words at `byte`.
    #[inline]
    pub(crate) fn words<S: PageSource>(self, byte: usize) -> Words {
        Words {
            base: self.base.wrapping_add(byte & (S::PAGE_SIZE - 32)).cast(),
        }
    }

    /// The entry of `ENTRY` bytes at `byte` of a leaf.
    #[inline]
    pub(crate) fn spot<S: PageSource, const ENTRY: usize>(self, byte: usize) -> Spot<ENTRY> {
        Spot {
            base: self.base.wrapping_add(byte & (S::PAGE_SIZE - ENTRY)),
        }
    }

    /// Address of the byte at `byte`.
    #[inline]
    pub(crate) fn byte<S: PageSource>(self, byte: usize) -> *mut u8 {
        // SAFETY: the mask keeps the position inside the page.
        unsafe { self.base.add(byte & (S::PAGE_SIZE - 1)) }
    }
}

/// Eight words in a row, inside one page. Kept no longer than its frame is taken.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    base: *mut u32,
}

// SAFETY: as for `Page`.
unsafe impl Send for Words {}

impl Words {
    /// No words; never accessed.
    pub(crate) const NONE: Self = Self {
        base: core::ptr::null_mut(),
    };

    /// Word `number`, less than 8.
    #[inline]
    pub(crate) fn load(self, number: usize) -> u32 {
        // SAFETY: 1. the frame is taken; 2. `base` has eight words of one page, aligned;
        // 3. metadata words are accessed under the arena's lock only.
        unsafe { self.base.add(number % 8).read() }
    }

    /// Sets word `number`, less than 8.
    #[inline]
    pub(crate) fn store(self, number: usize, value: u32) {
        // SAFETY: as in `load`.
        unsafe { self.base.add(number % 8).write(value) }
    }
}

/// The place of one entry of `ENTRY` bytes in a leaf, aligned to its size.
#[derive(Clone, Copy)]
pub(crate) struct Spot<const ENTRY: usize> {
    base: *mut u8,
}

impl Spot<4> {
    /// The entry there.
    #[inline]
    pub(crate) fn load(self) -> u32 {
        // SAFETY: 1. the frame is taken, or lies in a window, all of which may be read; 2. a spot
        // lies inside its page or window and is aligned; 3. entries of 4 bytes are accessed
        // under the arena's lock only.
        unsafe { self.base.cast::<u32>().read() }
    }

    /// Sets the entry there, in a leaf that exists.
    #[inline]
    pub(crate) fn store(self, value: u32) {
        // SAFETY: as in `load`, and the frame is taken.
        unsafe { self.base.cast::<u32>().write(value) }
    }
}

/// A window that holds a whole logical space, by granules. Every offset lies inside it, so a
/// wrong one reads the wrong word but never leaves it.
impl Page {
    /// The word at granule `offset`.
    #[inline]
    pub(crate) fn load_at(self, offset: u32) -> u32 {
        // SAFETY: 1. a window of a space has 2^32 granules of 4 bytes; 2. metadata words are
        // accessed under the arena's lock only, and no payload reference covers one.
        unsafe { self.base.cast::<u32>().add(offset as usize).read() }
    }

    /// Sets the word at granule `offset`.
    #[inline]
    pub(crate) fn store_at(self, offset: u32, value: u32) {
        // SAFETY: as in `load_at`.
        unsafe { self.base.cast::<u32>().add(offset as usize).write(value) }
    }

    /// Address of granule `offset`.
    #[inline]
    pub(crate) fn granule(self, offset: u32) -> *mut u8 {
        self.base.wrapping_add(offset as usize * 4)
    }

    /// Moves `granules` granules to a place that may overlap the old one.
    pub(crate) fn copy_granules(self, from: u32, to: u32, granules: u32) {
        let room = u32::MAX - from.max(to);
        let bytes = granules.min(room) as usize * 4;
        // SAFETY: both ranges are cut to the window; the caller holds the arena's lock and moves
        // an object whose entry is not locked into free bytes, so nobody looks at either.
        unsafe { self.granule(from).copy_to(self.granule(to), bytes) };
    }
}

/// A window that may be open: see [`PageSource::WINDOWS`].
pub(crate) struct Window {
    /// Where its first frame is; [`Page::NONE`] while it is closed.
    pub(crate) base: Page,
    first: u32,
}

impl Window {
    pub(crate) const CLOSED: Self = Self {
        base: Page::NONE,
        first: 0,
    };

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        !self.base.base.is_null()
    }

    /// Record `number` of 32 bytes from the start of an open window. The caller makes sure that
    /// there are so many.
    #[inline]
    pub(crate) fn words(&self, number: u32) -> Words {
        Words {
            base: self.base.base.wrapping_add(number as usize * 32).cast(),
        }
    }

    /// Entry `number` from page `first` of an open window on. The caller makes sure that there
    /// are so many.
    #[inline]
    pub(crate) fn spot<S: PageSource, const ENTRY: usize>(
        &self,
        first: usize,
        number: u32,
    ) -> Spot<ENTRY> {
        let byte = first * S::PAGE_SIZE + number as usize * ENTRY;
        Spot {
            base: self.base.base.wrapping_add(byte),
        }
    }

    /// Takes the frame with number `page` of the window, which is opened if need be, for `pages`.
    #[inline]
    pub(crate) fn take<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        pages: u32,
        page: u32,
    ) -> Result<FrameId, TakeError> {
        if !self.is_open() {
            self.open(frames, pages)?;
        }
        frames.take(FrameId::new(self.first + page))
    }

    /// The frame with number `page` of an open window.
    #[inline]
    pub(crate) fn frame(&self, page: u32) -> FrameId {
        FrameId::from_number(self.first + page)
    }

    /// Takes up to `count` frames from number `page` on; returns how many, at least one.
    pub(crate) fn take_run<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        pages: u32,
        (page, count): (u32, u32),
    ) -> Result<u32, TakeError> {
        if !self.is_open() {
            self.open(frames, pages)?;
        }
        frames.take_run(self.frame(page), count)
    }

    #[cold]
    fn open<S: PageSource>(&mut self, frames: Frames<'_, S>, pages: u32) -> Result<(), TakeError> {
        let first = frames.open_window(pages)?;
        self.base = frames.page(first);
        self.first = first.number();
        Ok(())
    }

    /// Gives the window up; none of its frames is taken.
    pub(crate) fn close<S: PageSource>(&mut self, frames: Frames<'_, S>) {
        if self.is_open() {
            frames.close_window(FrameId::from_number(self.first));
            *self = Self::CLOSED;
        }
    }
}
