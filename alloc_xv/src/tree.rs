//! A radix tree of single pages: the page table and the entry table.
//!
//! ```text
//!  root (in the arena)     directory: one page          leaf: one page
//!  [ frame | frame | .. ]->[ record | record | .. ]---->[ entry | entry | .. ]
//!                            32 bytes, one a leaf         4 bytes (page table)
//!                                                         8 bytes (entry table)
//!
//!  record:  0 frame + 1   4 live entries   8 first free entry + 1   12 next leaf + 1
//!          16 prev leaf + 1   20 generation   24 records in use (record 0 only)   28 flags
//! ```
//!
//! Leaves with free entries form a list, and the free entries of a leaf another, inside the
//! entries; so a free entry is found, and a leaf that became empty is given back, without a
//! search. All words are zero in a new page and zero means "nothing" everywhere.

use crate::frames::{Frames, Page, Spot, TakeError, Window, Words};
use crate::source::{FrameId, PageSource};
use core::cell::Cell;

const RECORD_BYTES: usize = 32;
/// Numbers of a record's words.
const FRAME: usize = 0;
const LIVE: usize = 1;
const FIRST_FREE: usize = 2;
const NEXT: usize = 3;
const PREV: usize = 4;
const GENERATION: usize = 5;
const RECORDS_USED: usize = 6;
const FLAGS: usize = 7;

/// The record is counted in its directory's `RECORDS_USED`.
const KNOWN: u32 = 1;
/// The leaf is in the list of leaves with free entries.
const LISTED: u32 = 2;

/// Ends of a list of leaves; `leaf + 1`, 0 for none.
#[derive(Clone, Copy, Debug, Default)]
struct List {
    head: u32,
    tail: u32,
}

/// Which list of leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Leaves that have free entries.
    Free,
    /// Leaves whose entries have all been used up (entry table of a handle pool).
    Retired,
}

/// See the module's text. `ENTRY` is the size of an entry in bytes. Where the source has windows
/// the tree lies in one, directories first, and an entry is found by its number.
pub(crate) struct Tree<const ENTRY: usize, const ROOT: usize> {
    /// Frame number + 1 of each directory.
    root: [u32; ROOT],
    /// All pages, if the source has windows.
    window: Window,
    lists: [List; 2],
    /// The leaf that was looked up last (plus one) and its frame: most lookups of an operation
    /// go to the same leaf. Forgotten when that leaf goes.
    recent: Cell<(u32, Page)>,
    /// The same for records, until a directory goes.
    recent_record: Cell<(u32, Record)>,
    /// Pages taken: directories and leaves.
    pages: u32,
}

/// A leaf's record, in a directory that exists.
#[derive(Clone, Copy)]
pub(crate) struct Record(Words);

impl Record {
    const NONE: Self = Self(Words::NONE);

    #[inline]
    fn get(self, field: usize) -> u32 {
        self.0.load(field)
    }

    #[inline]
    fn set(self, field: usize, value: u32) {
        self.0.store(field, value);
    }

    /// The leaf's frame, if the leaf exists.
    #[inline]
    pub(crate) fn frame(self) -> Option<FrameId> {
        let number = self.get(FRAME).checked_sub(1)?;
        Some(FrameId::from_number(number))
    }

    /// Counts more live entries.
    #[inline]
    pub(crate) fn add_live(self, count: u32) {
        self.set(LIVE, self.get(LIVE) + count);
    }

    /// Counts fewer live entries and returns how many are left.
    #[inline]
    pub(crate) fn remove_live(self, count: u32) -> u32 {
        let live = self.get(LIVE).saturating_sub(count);
        self.set(LIVE, live);
        live
    }

    /// First free entry of the leaf (its place in the leaf) plus one; 0 for none.
    #[inline]
    pub(crate) fn first_free(self) -> u32 {
        self.get(FIRST_FREE)
    }

    /// Sets that.
    #[inline]
    pub(crate) fn set_first_free(self, first: u32) {
        self.set(FIRST_FREE, first);
    }

    /// A number the owner keeps with the leaf, also while the leaf does not exist.
    #[inline]
    pub(crate) fn generation(self) -> u32 {
        self.get(GENERATION)
    }

    /// Sets that number.
    #[inline]
    pub(crate) fn set_generation(self, generation: u32) {
        self.set(GENERATION, generation);
    }

    /// Whether the leaf is in a list.
    #[inline]
    pub(crate) fn is_listed(self) -> bool {
        self.get(FLAGS) & LISTED != 0
    }
}

impl<const ENTRY: usize, const ROOT: usize> Tree<ENTRY, ROOT> {
    pub(crate) const fn new() -> Self {
        Self {
            root: [0; ROOT],
            window: Window::CLOSED,
            lists: [List { head: 0, tail: 0 }; 2],
            recent: Cell::new((0, Page::NONE)),
            recent_record: Cell::new((0, Record::NONE)),
            pages: 0,
        }
    }

    /// Entries in a leaf.
    pub(crate) const fn leaf_len<S: PageSource>() -> u32 {
        (S::PAGE_SIZE / ENTRY) as u32
    }

    const fn dir_len<S: PageSource>() -> u32 {
        (S::PAGE_SIZE / RECORD_BYTES) as u32
    }

    /// Entries that the tree can hold at most: at least 2^22 for the page table, and 2^24,
    /// which is the most that numbers of entries are given bits for.
    pub(crate) const fn capacity<S: PageSource>() -> u64 {
        let capacity = ROOT as u64 * Self::dir_len::<S>() as u64 * Self::leaf_len::<S>() as u64;
        if capacity > 1 << 24 {
            1 << 24
        } else {
            capacity
        }
    }

    /// Leaves that the tree can hold at most.
    pub(crate) const fn leaves_max<S: PageSource>() -> u32 {
        (Self::capacity::<S>() / Self::leaf_len::<S>() as u64) as u32
    }

    /// Gives back every leaf and directory and forgets all.
    pub(crate) fn drop_all<S: PageSource>(&mut self, frames: Frames<'_, S>) {
        for dir in 0..ROOT as u32 {
            if self.root[dir as usize] == 0 {
                continue;
            }
            for leaf in dir * Self::dir_len::<S>()..(dir + 1) * Self::dir_len::<S>() {
                if let Some(frame) = self.leaf_frame(frames, leaf).filter(|_| S::WINDOWS) {
                    // Whoever peeks here next must not find entries in use.
                    frames.zero(frame);
                }
                self.drop_leaf(frames, leaf, false);
            }
        }
        self.clear(frames);
    }

    /// Leaves whose directory exists, for the checker.
    pub(crate) fn known_leaves<S: PageSource>(&self) -> impl Iterator<Item = u32> {
        let len = Self::dir_len::<S>();
        let dirs = (0u32..).zip(&self.root).filter(|&(_, &word)| word != 0);
        dirs.flat_map(move |(dir, _)| dir * len..(dir + 1) * len)
    }

    /// Pages taken by the tree.
    pub(crate) fn pages(&self) -> u32 {
        self.pages
    }

    /// Where the entry is, if its leaf exists.
    #[inline]
    pub(crate) fn locate<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        index: u32,
    ) -> Option<Spot<ENTRY>> {
        let (leaf, within) = (index / Self::leaf_len::<S>(), index % Self::leaf_len::<S>());
        if S::WINDOWS {
            let frame = self.leaf_frame(frames, leaf)?;
            return Some(self.spot(frames, leaf, frame, within));
        }
        let page = self.leaf(frames, leaf)?;
        Some(page.spot::<S, ENTRY>(within as usize * ENTRY))
    }

    /// Where the entry is, if that is known without a look. Its leaf may not exist: then the
    /// entry may be read, not written, and is zero or what it was when its leaf was dropped.
    #[inline]
    pub(crate) fn peek<S: PageSource>(&self, index: u32) -> Option<Spot<ENTRY>> {
        let index = index % Self::capacity::<S>() as u32;
        (S::WINDOWS && self.window.is_open()).then(|| self.window.spot::<S, ENTRY>(ROOT, index))
    }

    /// Where an entry is whose leaf exists.
    #[inline]
    pub(crate) fn spot_of_leaf<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        index: u32,
    ) -> Option<Spot<ENTRY>> {
        if S::WINDOWS {
            return self.peek::<S>(index);
        }
        self.locate(frames, index)
    }

    /// Where an entry of a leaf is that exists, whose frame is known.
    #[inline]
    pub(crate) fn spot<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        leaf: u32,
        frame: FrameId,
        within: u32,
    ) -> Spot<ENTRY> {
        if S::WINDOWS {
            let index = leaf * Self::leaf_len::<S>() + within;
            return self
                .window
                .spot::<S, ENTRY>(ROOT, index % Self::capacity::<S>() as u32);
        }
        frames.page(frame).spot::<S, ENTRY>(within as usize * ENTRY)
    }

    /// The leaf's page, if the leaf exists. Without windows.
    fn leaf<S: PageSource>(&self, frames: Frames<'_, S>, leaf: u32) -> Option<Page> {
        let (recent, page) = self.recent.get();
        if recent == leaf.wrapping_add(1) {
            return Some(page);
        }
        let page = frames.page(self.leaf_frame(frames, leaf)?);
        self.recent.set((leaf + 1, page));
        Some(page)
    }

    /// The leaf's frame, if the leaf exists.
    #[inline]
    pub(crate) fn leaf_frame<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        leaf: u32,
    ) -> Option<FrameId> {
        let word = self.get(frames, leaf, FRAME);
        if word == 0 {
            None
        } else {
            Some(FrameId::from_number(word - 1))
        }
    }

    /// Live entries of a leaf.
    pub(crate) fn live<S: PageSource>(&self, frames: Frames<'_, S>, leaf: u32) -> u32 {
        self.get(frames, leaf, LIVE)
    }

    /// Counts an entry of an existing leaf as live.
    #[inline]
    pub(crate) fn add_live<S: PageSource>(&self, frames: Frames<'_, S>, leaf: u32) {
        if let Some(record) = self.record_of_leaf(frames, leaf) {
            record.add_live(1);
        }
    }

    /// Counts one live entry less and returns how many are left.
    #[inline]
    pub(crate) fn remove_live<S: PageSource>(&self, frames: Frames<'_, S>, leaf: u32) -> u32 {
        self.record_of_leaf(frames, leaf)
            .map_or(0, |record| record.remove_live(1))
    }

    /// The record of a leaf that exists.
    #[inline]
    pub(crate) fn record_of_leaf<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        leaf: u32,
    ) -> Option<Record> {
        if S::WINDOWS && self.window.is_open() {
            debug_assert!(self.leaf_frame(frames, leaf).is_some());
            return Some(Record(self.window.words(leaf % Self::leaves_max::<S>())));
        }
        self.record(frames, leaf)
    }

    /// A leaf's record, if its directory exists.
    #[inline]
    pub(crate) fn record<S: PageSource>(&self, frames: Frames<'_, S>, leaf: u32) -> Option<Record> {
        let dir = leaf / Self::dir_len::<S>();
        if S::WINDOWS {
            if *self.root.get(dir as usize)? == 0 {
                return None;
            }
            // Directories come first in the window, one behind the other.
            return Some(Record(self.window.words(leaf % Self::leaves_max::<S>())));
        }
        let (recent, record) = self.recent_record.get();
        if recent == leaf.wrapping_add(1) {
            return Some(record);
        }
        let word = *self.root.get(dir as usize)?;
        if word == 0 {
            return None;
        }
        let byte = (leaf % Self::dir_len::<S>()) as usize * RECORD_BYTES;
        let page = frames.page(FrameId::from_number(word - 1));
        let record = Record(page.words::<S>(byte));
        self.recent_record.set((leaf + 1, record));
        Some(record)
    }

    /// First free entry of a leaf (its place in the leaf).
    pub(crate) fn first_free<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        leaf: u32,
    ) -> Option<u32> {
        self.get(frames, leaf, FIRST_FREE).checked_sub(1)
    }

    /// Sets the first free entry of a leaf.
    pub(crate) fn set_first_free<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        leaf: u32,
        first: Option<u32>,
    ) {
        self.set(frames, leaf, FIRST_FREE, first.map_or(0, |first| first + 1));
    }

    /// A number the owner keeps with the leaf, also while the leaf does not exist.
    pub(crate) fn generation<S: PageSource>(&self, frames: Frames<'_, S>, leaf: u32) -> u32 {
        self.get(frames, leaf, GENERATION)
    }

    /// Sets that number.
    pub(crate) fn set_generation<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        leaf: u32,
        generation: u32,
    ) {
        self.set(frames, leaf, GENERATION, generation);
    }

    /// Creates a leaf, all zero. On failure nothing has changed.
    pub(crate) fn add_leaf<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        leaf: u32,
    ) -> Result<FrameId, TakeError> {
        debug_assert!(leaf < Self::leaves_max::<S>());
        debug_assert!(self.leaf_frame(frames, leaf).is_none());
        let dir = (leaf / Self::dir_len::<S>()) as usize;
        let new_dir = self.root[dir] == 0;
        if new_dir {
            self.root[dir] = self.take_page(frames, dir as u32)?.number() + 1;
            self.pages += 1;
        }
        match self.take_page(frames, ROOT as u32 + leaf) {
            Ok(frame) => {
                self.pages += 1;
                self.set(frames, leaf, FRAME, frame.number() + 1);
                self.set(frames, leaf, LIVE, 0);
                self.set_known(frames, leaf, true);
                Ok(frame)
            }
            Err(error) => {
                if new_dir {
                    self.drop_dir(frames, dir);
                }
                Err(error)
            }
        }
    }

    /// Takes a page and clears it: the page with this number, if the source has windows.
    fn take_page<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        page: u32,
    ) -> Result<FrameId, TakeError> {
        let frame = if S::WINDOWS {
            let pages = ROOT as u32 + Self::leaves_max::<S>();
            self.window.take(frames, pages, page)?
        } else {
            frames.take(None)?
        };
        frames.zero(frame);
        Ok(frame)
    }

    /// Gives a leaf's page back. With `forget` its record goes too, and with the last record
    /// the directory; otherwise list membership and generation stay.
    pub(crate) fn drop_leaf<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        leaf: u32,
        forget: bool,
    ) {
        if let Some(frame) = self.leaf_frame(frames, leaf) {
            self.recent.set((0, Page::NONE));
            self.set(frames, leaf, FRAME, 0);
            self.set(frames, leaf, FIRST_FREE, 0);
            frames.give_back(frame);
            self.pages -= 1;
        }
        if forget {
            self.unlink(frames, leaf, Which::Free);
            self.set_known(frames, leaf, false);
            let dir = (leaf / Self::dir_len::<S>()) as usize;
            if self.get(frames, leaf - leaf % Self::dir_len::<S>(), RECORDS_USED) == 0 {
                self.drop_dir(frames, dir);
            }
        }
    }

    /// Gives back every directory. All leaves are gone already.
    pub(crate) fn clear<S: PageSource>(&mut self, frames: Frames<'_, S>) {
        for dir in 0..ROOT {
            if self.root[dir] != 0 {
                self.drop_dir(frames, dir);
            }
        }
        self.lists = [List::default(); 2];
        self.window.close(frames);
    }

    fn drop_dir<S: PageSource>(&mut self, frames: Frames<'_, S>, dir: usize) {
        let word = core::mem::take(&mut self.root[dir]);
        self.recent_record.set((0, Record::NONE));
        frames.give_back(FrameId::from_masked(word.wrapping_sub(1)));
        self.pages -= 1;
    }

    /// First leaf of a list.
    pub(crate) fn first(&self, which: Which) -> Option<u32> {
        self.lists[which as usize].head.checked_sub(1)
    }

    /// Whether the leaf is in a list.
    pub(crate) fn is_listed<S: PageSource>(&self, frames: Frames<'_, S>, leaf: u32) -> bool {
        self.get(frames, leaf, FLAGS) & LISTED != 0
    }

    /// Puts a leaf at the front (leaves that exist) or the back of a list.
    pub(crate) fn link<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        leaf: u32,
        which: Which,
        front: bool,
    ) {
        if self.is_listed(frames, leaf) {
            return;
        }
        let list = self.lists[which as usize];
        let (next, prev) = if front {
            (list.head, 0)
        } else {
            (0, list.tail)
        };
        self.set(frames, leaf, NEXT, next);
        self.set(frames, leaf, PREV, prev);
        let list = &mut self.lists[which as usize];
        if next == 0 {
            list.tail = leaf + 1;
        }
        if prev == 0 {
            list.head = leaf + 1;
        }
        if next != 0 {
            self.set(frames, next - 1, PREV, leaf + 1);
        }
        if prev != 0 {
            self.set(frames, prev - 1, NEXT, leaf + 1);
        }
        let flags = self.get(frames, leaf, FLAGS);
        self.set(frames, leaf, FLAGS, flags | LISTED);
    }

    /// Takes a leaf out of the list, if it is in it.
    pub(crate) fn unlink<S: PageSource>(&mut self, frames: Frames<'_, S>, leaf: u32, which: Which) {
        if !self.is_listed(frames, leaf) {
            return;
        }
        let next = self.get(frames, leaf, NEXT);
        let prev = self.get(frames, leaf, PREV);
        match next {
            0 => self.lists[which as usize].tail = prev,
            _ => self.set(frames, next - 1, PREV, prev),
        }
        match prev {
            0 => self.lists[which as usize].head = next,
            _ => self.set(frames, prev - 1, NEXT, next),
        }
        let flags = self.get(frames, leaf, FLAGS);
        self.set(frames, leaf, FLAGS, flags & !LISTED);
    }

    fn set_known<S: PageSource>(&self, frames: Frames<'_, S>, leaf: u32, known: bool) {
        let flags = self.get(frames, leaf, FLAGS);
        if (flags & KNOWN != 0) == known {
            return;
        }
        self.set(frames, leaf, FLAGS, flags ^ KNOWN);
        let first = leaf - leaf % Self::dir_len::<S>();
        let used = self.get(frames, first, RECORDS_USED);
        self.set(
            frames,
            first,
            RECORDS_USED,
            if known {
                used + 1
            } else {
                used.saturating_sub(1)
            },
        );
    }

    #[inline]
    fn get<S: PageSource>(&self, frames: Frames<'_, S>, leaf: u32, field: usize) -> u32 {
        self.record(frames, leaf)
            .map_or(0, |record| record.get(field))
    }

    /// Sets a field of a record whose directory exists.
    #[inline]
    fn set<S: PageSource>(&self, frames: Frames<'_, S>, leaf: u32, field: usize, value: u32) {
        if let Some(record) = self.record(frames, leaf) {
            record.set(field, value);
        }
    }
}
