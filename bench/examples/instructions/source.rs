//! A page source whose work has a name of its own in the profile.

use alloc_xv::{FrameId, MmapSource, OutOfPages, PageSource};

/// Part of the names of the functions below in a profile.
pub(crate) const APART_NAME: &str = "source::Apart";

/// The mmap source; taking a page and giving one back are calls that are not inlined.
pub(crate) struct Apart(pub(crate) MmapSource);

// SAFETY: everything is passed on to a source that keeps the contract.
unsafe impl PageSource for Apart {
    const PAGE_SIZE: usize = <MmapSource as PageSource>::PAGE_SIZE;
    const WINDOWS: bool = <MmapSource as PageSource>::WINDOWS;

    fn open_window(&self, frames: u32) -> Result<FrameId, OutOfPages> {
        self.0.open_window(frames)
    }

    fn close_window(&self, first: FrameId) {
        self.0.close_window(first);
    }

    #[inline(never)]
    fn take(&self, wanted: Option<FrameId>) -> Result<FrameId, OutOfPages> {
        self.0.take(wanted)
    }

    #[inline(never)]
    unsafe fn give_back(&self, frame: FrameId) {
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { self.0.give_back(frame) }
    }

    #[inline(never)]
    fn take_run(&self, first: FrameId, count: u32) -> u32 {
        self.0.take_run(first, count)
    }

    #[inline(never)]
    unsafe fn give_back_run(&self, first: FrameId, count: u32) {
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { self.0.give_back_run(first, count) }
    }

    #[inline]
    fn address(&self, frame: FrameId) -> *mut u8 {
        self.0.address(frame)
    }
}
