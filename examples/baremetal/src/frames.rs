//! The machine's free pages as the cache's page source: a list through the pages themselves, as kernels
//! have one. Each is given and taken back alone; they are in no order.

use crate::boot::Piece;
use alloc_xv::{FrameId, OutOfPages, PageSource};
use spin::Mutex;

const PAGE: usize = 4096;
/// Ends the list.
const NONE: u32 = u32::MAX;

/// A stack of free pages. A frame's number is its page's number in memory.
pub struct FreePages(Mutex<List>);

struct List {
    first: u32,
    free: usize,
}

impl FreePages {
    /// No pages.
    pub const fn new() -> Self {
        Self(Mutex::new(List {
            first: NONE,
            free: 0,
        }))
    }

    /// Adds memory.
    ///
    /// # Safety
    ///
    /// The piece is memory that nobody uses, mapped where it lies.
    pub unsafe fn add(&self, piece: Piece) {
        let (first, count) = (piece.start as usize / PAGE, piece.bytes as usize / PAGE);
        // Every 61st, then those beside them: neighbours in memory are not neighbours here, and the
        // cache has to do without.
        for offset in 0..61.min(count) {
            for page in (offset..count).step_by(61) {
                if let Some(frame) = FrameId::new((first + page) as u32) {
                    // SAFETY: the caller's word.
                    unsafe { self.give_back(frame) };
                }
            }
        }
    }

    /// Pages that are free.
    pub fn free(&self) -> usize {
        self.0.lock().free
    }
}

// SAFETY: 1. pages are memory that was given away, in the list once, and not in it while they are taken; 2. an address
// is the page's number times its size; 3. 4096; 4. and 5. there are no windows.
unsafe impl PageSource for FreePages {
    const PAGE_SIZE: usize = PAGE;

    fn take(&self, _: Option<FrameId>) -> Result<FrameId, OutOfPages> {
        let mut list = self.0.lock();
        if list.first == NONE {
            return Err(OutOfPages);
        }
        let frame = FrameId::new(list.first).ok_or(OutOfPages)?;
        // SAFETY: a free page, whose first word names the next one.
        list.first = unsafe { self.address(frame).cast::<u32>().read() };
        list.free -= 1;
        Ok(frame)
    }

    unsafe fn give_back(&self, frame: FrameId) {
        let mut list = self.0.lock();
        // SAFETY: the page is ours again.
        unsafe { self.address(frame).cast::<u32>().write(list.first) };
        list.first = frame.number();
        list.free += 1;
    }

    fn address(&self, frame: FrameId) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(frame.number() as usize * PAGE)
    }
}
