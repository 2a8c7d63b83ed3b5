//! The page table of a logical space: which page has which frame, growing and shrinking by
//! single pages, and the lists of holes.

use super::{BACKED, NUMBER_SHIFT, PageTable, RECENT, Space, SpaceError, TAIL_FREE};
use crate::frames::{Frames, Page, TakeError};
use crate::index::NONE;
use crate::source::{FrameId, PageSource};
use crate::tree::{Place, Record, Which};

/// Page table: growing and shrinking by single pages.
impl Space {
    /// Where the entry of a page is, if its leaf exists; with windows also where it does not.
    #[inline]
    fn entry_place<S: PageSource>(&self, frames: Frames<'_, S>, page: u32) -> Option<Place> {
        if S::WINDOWS {
            // In a leaf that was dropped every page was a hole, and reads so.
            return self.table.peek::<S>(page);
        }
        self.table.locate(frames, page)
    }

    #[inline]
    pub(super) fn table_entry<S: PageSource>(&self, frames: Frames<'_, S>, page: u32) -> u32 {
        match self.entry_place(frames, page) {
            Some(place) => place.leaf.load::<S>(place.byte),
            None => 0,
        }
    }

    /// Sets the entry of a page whose leaf exists.
    #[inline]
    fn set_table_entry<S: PageSource>(&self, frames: Frames<'_, S>, page: u32, entry: u32) {
        if let Some(place) = self.entry_place(frames, page) {
            place.leaf.store::<S>(place.byte, entry);
        }
    }

    pub(super) fn set_tail_free<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        page: u32,
        free: bool,
    ) {
        let Some(Place { leaf, byte }) = self.entry_place(frames, page) else {
            return;
        };
        let entry = leaf.load::<S>(byte);
        if entry & BACKED != 0 {
            let flag = if free { TAIL_FREE } else { 0 };
            leaf.store::<S>(byte, entry & !TAIL_FREE | flag);
        }
    }

    /// Length of the free block that ends where `page` starts, if that is known from the page
    /// table: only where `page` itself has no frame.
    pub(crate) fn tail_before<S: PageSource>(&self, frames: Frames<'_, S>, page: u32) -> u32 {
        let both = BACKED | TAIL_FREE;
        if page == 0 || self.table_entry(frames, page - 1) & both != both {
            return 0;
        }
        self.touch();
        self.word(frames, page * Self::page_granules::<S>() - 1) >> NUMBER_SHIFT
    }

    /// Backs one page, or as many as the request needs, beside a free block where there is one.
    /// Returns the free range, on no list. On failure nothing has changed.
    pub(super) fn grow<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        granules: u32,
    ) -> Result<(u32, u32), SpaceError> {
        match self.grow_into_hole(frames, granules)? {
            Some(range) => Ok(range),
            None => self.grow_at_end(frames, granules),
        }
    }

    /// The free block that ends at `end`, off its list. It is enough although the index did not
    /// find it: it stands in no list, or behind the first of its own.
    fn take_tail<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        end: u32,
        len: u32,
    ) -> (u32, u32) {
        self.unlink(frames, end - len, len);
        (end - len, len)
    }

    /// Backs the hole that was made last, if it is enough with the free blocks around it.
    fn grow_into_hole<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        granules: u32,
    ) -> Result<Option<(u32, u32)>, SpaceError> {
        let Some(leaf) = self.table.first(Which::Free) else {
            return Ok(None);
        };
        let page_len = Self::page_granules::<S>();
        let within = self.table.first_free(frames, leaf).unwrap_or(0);
        let page = leaf * PageTable::leaf_len::<S>() + within;
        let before = self.tail_before(frames, page);
        if before >= granules {
            return Ok(Some(self.take_tail(frames, page * page_len, before)));
        }
        let after = self.free_at(frames, (page + 1) * page_len).unwrap_or(0);
        if before + page_len + after < granules {
            return Ok(None);
        }
        self.back_hole(frames, page)?;
        let start = page * page_len;
        if before > 0 {
            self.unlink(frames, start - before, before);
        }
        if after > 0 {
            self.unlink(frames, start + page_len, after);
        }
        let (from, to) = (start - before, start + page_len + after);
        self.forget_positions(from, to);
        Ok(Some((from, to - from)))
    }

    /// Backs pages after the last one.
    fn grow_at_end<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        granules: u32,
    ) -> Result<(u32, u32), SpaceError> {
        let page_len = Self::page_granules::<S>();
        let before = self.tail_before(frames, self.end);
        if before >= granules {
            return Ok(self.take_tail(frames, self.end * page_len, before));
        }
        let pages = (granules - before).div_ceil(page_len).max(1);
        if self.end + pages > Self::pages_max::<S>() {
            return Err(SpaceError::Full);
        }
        for added in 0..pages {
            if let Err(error) = self.back_at_end(frames) {
                for _ in 0..added {
                    self.unback(frames, self.end - 1);
                }
                return Err(error.into());
            }
        }
        let start = (self.end - pages) * page_len;
        if before > 0 {
            self.unlink(frames, start - before, before);
        }
        self.forget_positions(start - before, self.end * page_len);
        Ok((start - before, before + pages * page_len))
    }

    fn back_at_end<S: PageSource>(&mut self, frames: Frames<'_, S>) -> Result<(), TakeError> {
        let page = self.end;
        let leaf = page / PageTable::leaf_len::<S>();
        let new_leaf = self.table.leaf_frame(frames, leaf).is_none();
        if new_leaf {
            self.table.add_leaf(frames, leaf)?;
        }
        match self.take_frame(frames, page) {
            Ok(frame) => {
                self.end += 1;
                self.set_backed(frames, page, frame);
                Ok(())
            }
            Err(error) => {
                if new_leaf {
                    self.table.drop_leaf(frames, leaf, true);
                }
                Err(error)
            }
        }
    }

    /// Backs the hole `page` for compaction, without touching its neighbours' blocks.
    pub(crate) fn back_hole<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        page: u32,
    ) -> Result<(), TakeError> {
        let leaf = page / PageTable::leaf_len::<S>();
        let new_leaf = self.table.leaf_frame(frames, leaf).is_none();
        if new_leaf {
            self.table.add_leaf(frames, leaf)?;
            self.thread_holes(frames, leaf);
        }
        match self.take_frame(frames, page) {
            Ok(frame) => {
                self.take_hole(frames, page);
                self.set_backed(frames, page, frame);
                Ok(())
            }
            Err(error) => {
                if new_leaf {
                    self.table.drop_leaf(frames, leaf, false);
                }
                Err(error)
            }
        }
    }

    /// Gives the frame of a page back; the page becomes a hole, or the space ends before it.
    pub(crate) fn unback<S: PageSource>(&mut self, frames: Frames<'_, S>, page: u32) {
        let Some(frame) = self.frame(frames, page) else {
            return;
        };
        let leaf_len = PageTable::leaf_len::<S>();
        let leaf = page / leaf_len;
        self.set_table_entry(frames, page, 0);
        if !S::WINDOWS {
            let recent = &self.recent[page as usize % RECENT];
            if recent.get().0 == page {
                recent.set((NONE, Page::NONE));
            }
        }
        frames.give_back(frame);
        self.backed -= 1;
        self.set_start_used::<S>();
        let Some(record) = self.table.record(frames, leaf) else {
            return;
        };
        if record.remove_live::<S>() == 0 {
            self.unback_leaf(frames, leaf);
        } else if page + 1 == self.end {
            self.end -= 1;
        } else {
            self.put_hole(frames, record, page);
        }
        // A position past the end would stand in the middle of a block when the space grows.
        let end = self.end * Self::page_granules::<S>();
        self.cursor = self.cursor.min(end);
        self.scan = self.scan.min(end);
        self.sweep = self.sweep.min(end);
    }

    /// The last page of a leaf went.
    #[cold]
    fn unback_leaf<S: PageSource>(&mut self, frames: Frames<'_, S>, leaf: u32) {
        let leaf_len = PageTable::leaf_len::<S>();
        let last = (self.end - 1) / leaf_len == leaf;
        self.table.drop_leaf(frames, leaf, last);
        if last {
            self.end = leaf * leaf_len;
        } else {
            self.table.unlink(frames, leaf, Which::Free);
            self.table.link(frames, leaf, Which::Free, false);
        }
        if self.backed == 0 {
            self.table.clear(frames);
            self.end = 0;
        }
    }

    fn set_backed<S: PageSource>(&mut self, frames: Frames<'_, S>, page: u32, frame: FrameId) {
        self.set_table_entry(frames, page, BACKED | frame.number());
        self.table
            .add_live(frames, page / PageTable::leaf_len::<S>());
        self.backed += 1;
        self.set_start_used::<S>();
    }

    /// Takes a frame for a page.
    fn take_frame<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        page: u32,
    ) -> Result<FrameId, TakeError> {
        if S::WINDOWS {
            return self.window.take(frames, Self::pages_max::<S>() + 1, page);
        }
        frames.take(self.next_frame(frames, page))
    }

    /// The frame after that of the page before: there the two would be one piece of memory.
    fn next_frame<S: PageSource>(&self, frames: Frames<'_, S>, page: u32) -> Option<FrameId> {
        let before = self.frame(frames, page.checked_sub(1)?)?;
        FrameId::new(before.number() + 1)
    }
}

/// Holes: the free entries of a page table leaf, doubly linked.
///
/// ```text
///  hole entry   31 30 29      15 14       0
///               [0 |0|  prev + 1 | next + 1 ]    places in the same leaf, at most 16384
/// ```
impl Space {
    fn hole_links(entry: u32) -> (u32, u32) {
        (entry & 0x7fff, entry >> 15 & 0x7fff)
    }

    fn put_hole<S: PageSource>(&mut self, frames: Frames<'_, S>, record: Record, page: u32) {
        let leaf_len = PageTable::leaf_len::<S>();
        let (leaf, within) = (page / leaf_len, page % leaf_len);
        let head = record.first_free::<S>();
        self.set_table_entry(frames, page, head);
        if let Some(next) = head.checked_sub(1) {
            let (after, _) = Self::hole_links(self.table_entry(frames, leaf * leaf_len + next));
            self.set_table_entry(frames, leaf * leaf_len + next, (within + 1) << 15 | after);
        }
        record.set_first_free::<S>(within + 1);
        if !record.is_listed::<S>() {
            self.table.link(frames, leaf, Which::Free, true);
        }
    }

    fn take_hole<S: PageSource>(&mut self, frames: Frames<'_, S>, page: u32) {
        let leaf_len = PageTable::leaf_len::<S>();
        let leaf = page / leaf_len;
        let (next, prev) = Self::hole_links(self.table_entry(frames, page));
        if let Some(next) = next.checked_sub(1) {
            let (after, _) = Self::hole_links(self.table_entry(frames, leaf * leaf_len + next));
            self.set_table_entry(frames, leaf * leaf_len + next, prev << 15 | after);
        }
        match prev.checked_sub(1) {
            Some(prev) => {
                let (_, before) =
                    Self::hole_links(self.table_entry(frames, leaf * leaf_len + prev));
                self.set_table_entry(frames, leaf * leaf_len + prev, before << 15 | next);
            }
            None => {
                self.table.set_first_free(frames, leaf, next.checked_sub(1));
                if next == 0 {
                    self.table.unlink(frames, leaf, Which::Free);
                }
            }
        }
        self.set_table_entry(frames, page, 0);
    }

    /// Length of a leaf's list of holes; `None` if it is broken. For the checker.
    pub(crate) fn count_holes<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        leaf: u32,
    ) -> Option<u32> {
        let leaf_len = PageTable::leaf_len::<S>();
        let (mut count, mut before) = (0, 0);
        let mut at = self.table.first_free(frames, leaf);
        while let Some(within) = at {
            let entry = self.table_entry(frames, leaf * leaf_len + within);
            let (next, prev) = Self::hole_links(entry);
            if entry & BACKED != 0 || prev != before || count > leaf_len {
                return None;
            }
            count += 1;
            before = within + 1;
            at = next.checked_sub(1);
        }
        Some(count)
    }

    /// Makes every page of a leaf that was given back and is needed again a hole.
    fn thread_holes<S: PageSource>(&mut self, frames: Frames<'_, S>, leaf: u32) {
        let leaf_len = PageTable::leaf_len::<S>();
        for within in 0..leaf_len {
            let next = if within + 1 < leaf_len { within + 2 } else { 0 };
            self.set_table_entry(frames, leaf * leaf_len + within, within << 15 | next);
        }
        self.table.set_first_free(frames, leaf, Some(0));
    }
}
