//! Where pages come from: the [`PageSource`] trait and its implementations.
//!
//! A *frame* is one page of real memory, named by a [`FrameId`]. A source hands out single
//! frames and takes them back; nothing in this crate ever asks for two that are neighbours.
#![allow(unsafe_code)]

use core::fmt;

mod frame_map;
#[cfg(feature = "std")]
mod mmap;
mod region;
mod wrap;

#[cfg(feature = "std")]
pub use mmap::{Growth, MmapError, MmapSource};
pub use region::{RegionError, RegionSource};
pub use wrap::{Counting, Failing, Limited};

/// Names one frame of a [`PageSource`]. Less than [`FrameId::LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(u32);

impl FrameId {
    /// Frame numbers stay under 2^30: two bits of a page table entry are flags.
    pub const LIMIT: u32 = 1 << 30;

    /// The frame with this number, or `None` if it is not less than [`FrameId::LIMIT`].
    #[inline]
    pub const fn new(number: u32) -> Option<Self> {
        if number < Self::LIMIT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number.
    #[inline]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// A frame number that was stored in a directory.
    #[inline]
    pub(crate) const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// A frame number that was stored in a page table; the flags are cut off.
    #[inline]
    pub(crate) const fn from_masked(word: u32) -> Self {
        Self(word & (Self::LIMIT - 1))
    }
}

/// The source has no frame left. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfPages;

impl fmt::Display for OutOfPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the page source has no free page left")
    }
}

impl core::error::Error for OutOfPages {}

/// A provider of single pages.
///
/// Kernel: `alloc_page`/`__free_page` with the page frame number as the id. User space:
/// [`MmapSource`]. A fixed piece of memory: [`RegionSource`].
///
/// # Safety
///
/// 1. A frame that was taken and not given back is `PAGE_SIZE` bytes of readable and writable
///    memory at [`address`](Self::address), aligned to at least 16 bytes, and belongs to the
///    taker alone.
/// 2. The address of a frame does not change while it is taken, also when the source is moved.
/// 3. `PAGE_SIZE` is 4096, 16384 or 65536.
/// 4. Where [`WINDOWS`](Self::WINDOWS) is set: in a window the address of frame `first + i` is
///    the address of `first` plus `i * PAGE_SIZE`; all of it may be read at any time, and a frame
///    that is not taken reads as zero or as what it held when it was given back since the window
///    was opened; a frame of a
///    window is taken only by asking for it; and nobody else is given frames of a window until
///    it is closed.
/// 5. [`take_run`](Self::take_run) takes exactly as many frames from `first` on as it returns, and
///    not more than `count`; each of them is then taken as if by [`take`](Self::take).
pub unsafe trait PageSource: Send + Sync {
    /// Bytes in a frame.
    const PAGE_SIZE: usize;

    /// Whether this source has windows: ranges of addresses into which single frames can be put
    /// at any place. Where an MMU does that, a place in a pool *is* an address, and finding the
    /// bytes of an object takes no table. Memory is still taken by single frames only.
    const WINDOWS: bool = false;

    /// Reserves a window of `frames` frames and returns its first frame; takes none.
    /// Called only where [`WINDOWS`](Self::WINDOWS) is set.
    fn open_window(&self, frames: u32) -> Result<FrameId, OutOfPages> {
        let _ = frames;
        Err(OutOfPages)
    }

    /// Gives a window up. None of its frames is taken.
    fn close_window(&self, first: FrameId) {
        let _ = first;
    }

    /// Takes one frame; its content is unspecified. If `wanted` is free the source should give
    /// that one: neighbouring frames let an object that crosses pages be read in one piece.
    /// It is a wish, and may be ignored, except in a window: there the frame is given, or none.
    fn take(&self, wanted: Option<FrameId>) -> Result<FrameId, OutOfPages>;

    /// Gives a frame back.
    ///
    /// # Safety
    ///
    /// `frame` came from [`take`](Self::take) or [`take_run`](Self::take_run) of this source, was
    /// not given back since, and no reference into it is left.
    unsafe fn give_back(&self, frame: FrameId);

    /// Takes up to `count` frames of a window that follow each other, from `first` on; returns how
    /// many. Called only where [`WINDOWS`](Self::WINDOWS) is set.
    fn take_run(&self, first: FrameId, count: u32) -> u32 {
        let frames = first.number()..first.number().saturating_add(count);
        frames
            .take_while(|&number| {
                FrameId::new(number).is_some_and(|frame| self.take(Some(frame)).is_ok())
            })
            .count() as u32
    }

    /// Gives back `count` frames of a window that follow each other.
    /// Called only where [`WINDOWS`](Self::WINDOWS) is set.
    ///
    /// # Safety
    ///
    /// That of [`give_back`](Self::give_back) for each of them.
    unsafe fn give_back_run(&self, first: FrameId, count: u32) {
        for number in first.number()..first.number().saturating_add(count) {
            // SAFETY: the caller keeps the contract for each of them.
            unsafe { self.give_back(FrameId::from_number(number)) };
        }
    }

    /// What giving back has left to do, such as telling the system. Pools call it after they packed,
    /// without a lock: what takes long belongs here, and not into giving back, while others wait.
    fn tidy(&self) {}

    /// Where the frame's bytes are. Meaningful only while the frame is taken; computing it must
    /// be harmless, and should be cheap, for every number.
    fn address(&self, frame: FrameId) -> *mut u8;
}

// SAFETY: everything is passed on to a source that keeps the contract.
unsafe impl<S: PageSource> PageSource for &S {
    const PAGE_SIZE: usize = S::PAGE_SIZE;
    const WINDOWS: bool = S::WINDOWS;

    fn open_window(&self, frames: u32) -> Result<FrameId, OutOfPages> {
        (**self).open_window(frames)
    }

    fn close_window(&self, first: FrameId) {
        (**self).close_window(first);
    }

    fn take(&self, wanted: Option<FrameId>) -> Result<FrameId, OutOfPages> {
        (**self).take(wanted)
    }

    unsafe fn give_back(&self, frame: FrameId) {
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { (**self).give_back(frame) }
    }

    fn take_run(&self, first: FrameId, count: u32) -> u32 {
        (**self).take_run(first, count)
    }

    unsafe fn give_back_run(&self, first: FrameId, count: u32) {
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { (**self).give_back_run(first, count) }
    }

    fn tidy(&self) {
        (**self).tidy();
    }

    fn address(&self, frame: FrameId) -> *mut u8 {
        (**self).address(frame)
    }
}
