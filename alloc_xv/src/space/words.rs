//! Where the words of a logical space are: by address in a window, else through the page table.

use super::{BACKED, RECENT, Space};
use crate::frames::{Frames, Page};
use crate::source::{FrameId, PageSource};

/// A granule, and where it is.
#[derive(Clone, Copy)]
pub(super) struct At {
    /// Its page; the window, if the source has them.
    pub(super) page: Page,
    /// Its place in the page.
    pub(super) byte: usize,
    pub(super) offset: u32,
}

impl At {
    #[inline]
    pub(super) fn get<S: PageSource>(self) -> u32 {
        if S::WINDOWS {
            return self.page.load_at(self.offset);
        }
        self.page.load::<S>(self.byte)
    }

    #[inline]
    pub(super) fn set<S: PageSource>(self, word: u32) {
        if S::WINDOWS {
            return self.page.store_at(self.offset, word);
        }
        self.page.store::<S>(self.byte, word);
    }
}

impl Space {
    /// The word at `offset`, in a page that has a frame.
    #[inline]
    pub(crate) fn word<S: PageSource>(&self, frames: Frames<'_, S>, offset: u32) -> u32 {
        self.at(frames, offset).get::<S>()
    }

    #[inline]
    pub(super) fn set_word<S: PageSource>(&self, frames: Frames<'_, S>, offset: u32, value: u32) {
        self.at(frames, offset).set::<S>(value);
    }

    #[inline]
    pub(super) fn at<S: PageSource>(&self, frames: Frames<'_, S>, offset: u32) -> At {
        if S::WINDOWS {
            return At {
                page: self.window.base,
                byte: 0,
                offset,
            };
        }
        let (page, byte) = self.locate(frames, offset);
        At { page, byte, offset }
    }

    /// Another granule, which is probably in the same page.
    #[inline]
    pub(super) fn beside<S: PageSource>(&self, frames: Frames<'_, S>, at: At, offset: u32) -> At {
        if S::WINDOWS {
            return At { offset, ..at };
        }
        let byte = at
            .byte
            .wrapping_add((offset.wrapping_sub(at.offset) as i32 as isize * 4) as usize);
        if byte < S::PAGE_SIZE {
            return At {
                page: at.page,
                byte,
                offset,
            };
        }
        self.at(frames, offset)
    }

    /// Page and byte of a granule, in a page that has a frame. Without windows.
    #[inline]
    pub(crate) fn locate<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        offset: u32,
    ) -> (Page, usize) {
        let page_len = Self::page_granules::<S>();
        let number = offset / page_len;
        let byte = (offset % page_len) as usize * 4;
        let (recent, page) = self.recent[number as usize % RECENT].get();
        if recent == number {
            return (page, byte);
        }
        (self.look_up(frames, number), byte)
    }

    fn look_up<S: PageSource>(&self, frames: Frames<'_, S>, number: u32) -> Page {
        match self.frame(frames, number) {
            Some(frame) => {
                let page = frames.page(frame);
                self.recent[number as usize % RECENT].set((number, page));
                page
            }
            None => corrupt(number),
        }
    }

    /// The page's frame, if it has one.
    #[inline]
    pub(crate) fn frame<S: PageSource>(&self, frames: Frames<'_, S>, page: u32) -> Option<FrameId> {
        let entry = self.table_entry(frames, page);
        (entry & BACKED != 0).then(|| FrameId::from_masked(entry))
    }

    /// Whether the page has a frame.
    #[inline]
    pub(crate) fn is_backed<S: PageSource>(&self, frames: Frames<'_, S>, page: u32) -> bool {
        if !S::WINDOWS && self.recent[page as usize % RECENT].get().0 == page {
            return true;
        }
        self.table_entry(frames, page) & BACKED != 0
    }
}

/// A page that a block lies in has no frame: the tables contradict each other, and going on
/// would hand out somebody else's memory. Not reachable from any input.
#[cold]
#[inline(never)]
fn corrupt(page: u32) -> ! {
    panic!("alloc_xv: no frame under logical page {page}: the pool's tables are corrupt")
}
