//! The page table of a logical space: which page has which frame, growing and shrinking by
//! single pages, and the lists of holes.

use super::words::At;
use super::{BACKED, NUMBER_SHIFT, PageTable, RECENT, Space, SpaceError, TAIL_FREE};
use crate::frames::{Frames, Page, Spot, TakeError};
use crate::index::NONE;
use crate::source::{FrameId, PageSource};
use crate::tree::{Record, Which};

/// Page table: growing and shrinking by single pages.
impl Space {
    /// Where the entry of a page is, if its leaf exists; with windows also where it does not.
    #[inline]
    fn entry_spot<S: PageSource>(&self, frames: Frames<'_, S>, page: u32) -> Option<Spot<4>> {
        // In a leaf that was dropped every page was a hole, and reads so.
        self.table.spot_of_leaf(frames, page)
    }

    #[inline]
    pub(super) fn table_entry<S: PageSource>(&self, frames: Frames<'_, S>, page: u32) -> u32 {
        self.entry_spot(frames, page).map_or(0, Spot::load)
    }

    /// Sets the entry of a page whose leaf exists.
    #[inline]
    fn set_table_entry<S: PageSource>(&self, frames: Frames<'_, S>, page: u32, entry: u32) {
        if let Some(spot) = self.entry_spot(frames, page) {
            spot.store(entry);
        }
    }

    pub(super) fn set_tail_free<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        page: u32,
        free: bool,
    ) {
        let Some(spot) = self.entry_spot(frames, page) else {
            return;
        };
        let entry = spot.load();
        if entry & BACKED != 0 {
            let flag = if free { TAIL_FREE } else { 0 };
            spot.store(entry & !TAIL_FREE | flag);
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

    /// Backs one page, or as many as the request needs, beside a free block where there is one,
    /// and puts the block of `owner` there. On failure nothing has changed.
    #[inline(never)]
    pub(super) fn alloc_grown<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        granules: u32,
        owner: u32,
    ) -> Result<u32, SpaceError> {
        if self.pen.is_open() {
            self.settle_pen(frames);
            if let Some(start) = self.alloc_in_wide(frames, granules, owner) {
                return Ok(start);
            }
        }
        if let Some(leaf) = self.table.first(Which::Free)
            && let Some(start) = self.alloc_in_hole(frames, leaf, granules, owner)?
        {
            return Ok(start);
        }
        self.alloc_at_end(frames, granules, owner)
    }

    /// Puts a block into the free block that ends where the hole `page` begins. It is enough although
    /// the index did not find it: it stands in no list, or behind the first of its own.
    #[cold]
    fn alloc_in_tail<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        page: u32,
        (len, granules): (u32, u32),
        owner: u32,
    ) -> u32 {
        let start = page * Self::page_granules::<S>() - len;
        let at = self.at(frames, start);
        self.unlink_at(frames, at, len);
        self.occupy(frames, at, len, granules, owner);
        if len == granules {
            self.set_tail_free(frames, page - 1, false);
        }
        start
    }

    /// Backs the hole of `leaf` that was made last, if it is enough with the free blocks around
    /// it.
    fn alloc_in_hole<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        leaf: u32,
        granules: u32,
        owner: u32,
    ) -> Result<Option<u32>, SpaceError> {
        let page_len = Self::page_granules::<S>();
        let within = self.table.first_free(frames, leaf).unwrap_or(0);
        let page = leaf * PageTable::leaf_len::<S>() + within;
        let before = self.tail_before(frames, page);
        if before >= granules {
            return Ok(Some(self.alloc_in_tail(
                frames,
                page,
                (before, granules),
                owner,
            )));
        }
        let hole = page * page_len;
        let after = self.free_at(frames, hole + page_len).unwrap_or(0);
        let len = before + page_len + after;
        if len < granules {
            return Ok(None);
        }
        self.back_hole(frames, page)?;
        let at = self.at(frames, hole - before);
        if before > 0 {
            self.unlink_at(frames, at, before);
        }
        if after > 0 {
            self.unlink(frames, hole + page_len, after);
        }
        self.forget_positions(at.offset, at.offset + len);
        self.occupy(frames, at, len, granules, owner);
        // What follows a block that was free knows that already.
        if after == 0 || len == granules {
            self.set_prev_free(frames, at.offset + len, len > granules);
        }
        Ok(Some(at.offset))
    }

    /// Backs pages after the last one.
    fn alloc_at_end<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        granules: u32,
        owner: u32,
    ) -> Result<u32, SpaceError> {
        let page_len = Self::page_granules::<S>();
        let first = self.end;
        let before = self.tail_before(frames, first);
        if before >= granules {
            return Ok(self.alloc_in_tail(frames, first, (before, granules), owner));
        }
        let needed = (granules - before).div_ceil(page_len);
        if first + needed > Self::pages_max::<S>() {
            return Err(SpaceError::Full);
        }
        let mut wanted = needed;
        // While objects are packed the wide block is needed elsewhere.
        if self.gap == 0 && (self.wide == NONE || self.wide == first * page_len - before) {
            wanted += self.ahead_max(frames);
            wanted = wanted.min(Self::pages_max::<S>() - first);
        }
        let (at, len) = self.extend_tail(frames, before, needed, wanted)?;
        self.occupy(frames, at, len, granules, owner);
        if len > granules {
            self.set_tail_free(frames, self.end - 1, true);
        }
        Ok(at.offset)
    }

    /// Backs pages after the last one, `needed` at least and up to `wanted`, and takes the free block of `before` granules that
    /// ends there off the books. Returns where both together begin, and how long they are. On failure nothing has changed.
    #[inline]
    pub(super) fn extend_tail<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        before: u32,
        needed: u32,
        wanted: u32,
    ) -> Result<(At, u32), TakeError> {
        let page_len = Self::page_granules::<S>();
        let start = self.end * page_len - before;
        let pages = self.back_at_end(frames, needed, wanted)?;
        let at = self.at(frames, start);
        if before > 0 {
            self.unlink_at(frames, at, before);
        }
        let len = before + pages * page_len;
        self.forget_positions(start, start + len);
        Ok((at, len))
    }

    /// Backs pages after the last one: `needed` at least, and up to `wanted` if they can be had
    /// without a new leaf. Returns how many. On failure nothing has changed.
    fn back_at_end<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        needed: u32,
        wanted: u32,
    ) -> Result<u32, TakeError> {
        let leaf_len = PageTable::leaf_len::<S>();
        let first = self.end;
        let mut added = 0;
        while added < wanted && (added < needed || !self.end.is_multiple_of(leaf_len)) {
            let leaf = self.end / leaf_len;
            // Where the end stands inside a leaf, the leaf exists: with its last page it goes, and
            // the end back to its start.
            let new_leaf =
                self.end.is_multiple_of(leaf_len) && self.table.leaf_frame(frames, leaf).is_none();
            if new_leaf && let Err(error) = self.table.add_leaf(frames, leaf) {
                self.unback_run(frames, first, self.end);
                return Err(error);
            }
            let count = (wanted - added).min((leaf + 1) * leaf_len - self.end);
            match self.take_frames(frames, self.end, count) {
                Ok(count) => added += count,
                Err(error) => {
                    if new_leaf {
                        self.table.drop_leaf(frames, leaf, true);
                    }
                    if added < needed {
                        self.unback_run(frames, first, self.end);
                        return Err(error);
                    }
                    break;
                }
            }
        }
        Ok(added)
    }

    /// Takes frames for up to `count` pages after the last one, in the same leaf; returns how
    /// many, at least one.
    fn take_frames<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        page: u32,
        count: u32,
    ) -> Result<u32, TakeError> {
        let (first, got) = if S::WINDOWS {
            let pages = Self::pages_max::<S>() + 1;
            let got = self.window.take_run(frames, pages, (page, count))?;
            (self.window.frame(page), got)
        } else {
            (self.take_frame(frames, page)?, 1)
        };
        for number in 0..got {
            let entry = BACKED | (first.number() + number);
            self.set_table_entry(frames, page + number, entry);
        }
        let leaf = page / PageTable::leaf_len::<S>();
        if let Some(record) = self.table.record_of_leaf(frames, leaf) {
            record.add_live(got);
        }
        self.end += got;
        self.backed += got;
        self.set_start_used::<S>();
        Ok(got)
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
        if self.is_backed(frames, page) {
            self.unback_run(frames, page, page + 1);
        }
    }

    /// Gives back the frames of pages that follow each other, all of which have one.
    pub(super) fn unback_run<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        first: u32,
        last: u32,
    ) {
        if first >= last {
            return;
        }
        self.backed -= last - first;
        self.set_start_used::<S>();
        let leaf_len = PageTable::leaf_len::<S>();
        // From the last leaf on: at the end of the space no holes are made.
        let mut stop = last;
        while stop > first {
            let leaf = (stop - 1) / leaf_len;
            let start = first.max(leaf * leaf_len);
            if !S::WINDOWS {
                self.give_back_each(frames, start, stop);
            }
            if let Some(record) = self.table.record_of_leaf(frames, leaf) {
                if record.remove_live(stop - start) == 0 {
                    self.clear_entries(frames, start, stop);
                    self.unback_leaf(frames, leaf);
                } else if stop == self.end {
                    self.clear_entries(frames, start, stop);
                    self.end = start;
                } else {
                    self.put_holes(frames, record, start, stop);
                }
            }
            stop = start;
        }
        if S::WINDOWS {
            frames.give_back_run(self.window.frame(first), last - first);
        }
        if self.backed == 0 {
            self.table.clear(frames);
            self.end = 0;
        }
        // A position past the end would stand in the middle of a block when the space grows.
        let end = self.end * Self::page_granules::<S>();
        self.cursor = self.cursor.min(end);
        self.scan = self.scan.min(end);
        self.sweep = self.sweep.min(end);
    }

    /// Gives back the frames of pages one by one, as they lie anywhere.
    fn give_back_each<S: PageSource>(&mut self, frames: Frames<'_, S>, first: u32, last: u32) {
        for page in (first..last).rev() {
            let recent = &self.recent[page as usize % RECENT];
            if recent.get().0 == page {
                recent.set((NONE, Page::NONE));
            }
            let entry = self.table_entry(frames, page);
            self.set_table_entry(frames, page, 0);
            if entry & BACKED != 0 {
                frames.give_back(FrameId::from_masked(entry));
            }
        }
    }

    fn clear_entries<S: PageSource>(&self, frames: Frames<'_, S>, first: u32, last: u32) {
        for page in first..last {
            self.set_table_entry(frames, page, 0);
        }
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

    /// Makes pages of one leaf holes, the first of them the one that is backed first again.
    fn put_holes<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        record: Record,
        first: u32,
        last: u32,
    ) {
        let leaf_len = PageTable::leaf_len::<S>();
        let (leaf, within) = (first / leaf_len, first % leaf_len);
        let head = record.first_free();
        let mut prev = 0;
        for page in first..last {
            let number = page % leaf_len + 1;
            let next = if page + 1 < last { number + 1 } else { head };
            self.set_table_entry(frames, page, prev << 15 | next);
            prev = number;
        }
        if head > 0
            && let Some(spot) = self.entry_spot(frames, leaf * leaf_len + head - 1)
        {
            let (after, _) = Self::hole_links(spot.load());
            spot.store(prev << 15 | after);
        }
        record.set_first_free(within + 1);
        if !record.is_listed() {
            self.table.link(frames, leaf, Which::Free, true);
        }
    }

    #[inline]
    fn take_hole<S: PageSource>(&mut self, frames: Frames<'_, S>, page: u32) {
        let leaf_len = PageTable::leaf_len::<S>();
        let leaf = page / leaf_len;
        let (next, prev) = Self::hole_links(self.table_entry(frames, page));
        if next > 0
            && let Some(spot) = self.entry_spot(frames, leaf * leaf_len + next - 1)
        {
            let (after, _) = Self::hole_links(spot.load());
            spot.store(prev << 15 | after);
        }
        if prev > 0 {
            if let Some(spot) = self.entry_spot(frames, leaf * leaf_len + prev - 1) {
                let (_, before) = Self::hole_links(spot.load());
                spot.store(before << 15 | next);
            }
        } else {
            self.table.set_first_free(frames, leaf, next.checked_sub(1));
            if next == 0 {
                self.table.unlink(frames, leaf, Which::Free);
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
