//! An arena: one logical space and the entries of the objects in it, under one lock.

use crate::entry::{self, Meaning, Object, Word, block_granules};
use crate::frames::{Frames, TakeError};
use crate::source::PageSource;
use crate::space::{Space, SpaceError};
use crate::tree::{Place, Record, Tree, Which};
use core::sync::atomic::AtomicU64;

/// The entry table of an arena: 2^24 entries with 4 KiB pages.
pub(crate) type EntryTable = Tree<8, 256>;

/// Generations of an entry: 1 to this, then the entry is not used again.
pub(crate) const GENERATION_MAX: u16 = entry::TAG_MAX;

/// See the module's text.
pub(crate) struct Arena {
    pub(crate) space: Space,
    pub(crate) entries: EntryTable,
    /// Objects, and the bytes they asked for.
    pub(crate) objects: u64,
    pub(crate) payload: u64,
    /// Objects moved by compaction, ever.
    pub(crate) moved: u64,
    /// Pages given back since the sweep last started at the first page.
    pub(crate) sweep_gained: u32,
    /// Sweeps do not help any more, so the arena is packed.
    pub(crate) packing: bool,
    /// Pages given back by compaction, ever.
    pub(crate) pages_compacted: u64,
    /// Behind the object that was placed last.
    pub(crate) frontier: u32,
    /// First leaf of entries that a handle pool has not used yet.
    leaves_used: u32,
}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self {
            space: Space::new(),
            entries: Tree::new(),
            objects: 0,
            payload: 0,
            moved: 0,
            sweep_gained: 0,
            packing: false,
            pages_compacted: 0,
            frontier: 0,
            leaves_used: 0,
        }
    }

    /// Pages taken: with blocks, and for the two tables.
    pub(crate) fn pages(&self) -> u64 {
        u64::from(self.space.backed) + self.metadata_pages()
    }

    /// Pages of the two tables.
    pub(crate) fn metadata_pages(&self) -> u64 {
        u64::from(self.space.table.pages()) + u64::from(self.entries.pages())
    }

    /// The entry of a slot, if its leaf exists.
    #[inline]
    pub(crate) fn entry<'s, S: PageSource>(
        &self,
        frames: Frames<'s, S>,
        index: u32,
    ) -> Option<&'s AtomicU64> {
        if let Some(Place { leaf, byte }) = self.entries.peek::<S>(index) {
            // What is in use or held says so, and its leaf exists.
            let cell = frames.entry(leaf, byte);
            if entry::read(cell).is_in_use() {
                return Some(cell);
            }
        }
        let Place { leaf, byte } = self.entries.locate(frames, index)?;
        Some(frames.entry(leaf, byte))
    }

    /// Allocates the block of an object for the entry `index`, frees the one it had, and makes
    /// the entry say so, locked. The caller holds the entry or has just found it unlocked.
    /// On failure nothing has changed.
    pub(crate) fn replace<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        index: u32,
        cell: &AtomicU64,
        old: Word,
        size: u32,
        tag: u16,
    ) -> Result<Object, SpaceError> {
        let offset = self.space.alloc(frames, block_granules(size), index)?;
        let object = Object { offset, size, tag };
        if old.meaning() == Meaning::Nothing {
            self.entries
                .add_live(frames, index / EntryTable::leaf_len::<S>());
        }
        self.free_block(frames, old);
        self.objects += 1;
        self.payload += u64::from(size);
        entry::set_locked(cell, Word::object(object));
        Ok(object)
    }

    /// Frees the block of what an entry held, if it held an object.
    pub(crate) fn free_block<S: PageSource>(&mut self, frames: Frames<'_, S>, old: Word) {
        if let Meaning::Object(object) = old.meaning() {
            self.space.free(frames, object.offset, object.granules());
            self.objects -= 1;
            self.payload -= u64::from(object.size);
        }
    }

    /// The entry of slot `index`; its leaf is created if need be. On failure nothing has changed.
    pub(crate) fn ensure_entry<'s, S: PageSource>(
        &mut self,
        frames: Frames<'s, S>,
        index: u32,
    ) -> Result<&'s AtomicU64, TakeError> {
        if let Some(cell) = self.entry(frames, index) {
            return Ok(cell);
        }
        let leaf_len = EntryTable::leaf_len::<S>();
        let frame = self.entries.add_leaf(frames, index / leaf_len)?;
        let page = self.entries.leaf_page(frames, index / leaf_len, frame);
        Ok(frames.entry(page, (index % leaf_len) as usize * 8))
    }

    /// Gives the leaf of slot `index` back if nothing in it is in use.
    pub(crate) fn trim_leaf<S: PageSource>(&mut self, frames: Frames<'_, S>, index: u32) {
        let leaf = index / EntryTable::leaf_len::<S>();
        if self.entries.leaf_frame(frames, leaf).is_some() && self.entries.live(frames, leaf) == 0 {
            self.entries.drop_leaf(frames, leaf, true);
        }
    }

    /// Counts the entry of slot `index` as not in use any more.
    #[inline]
    pub(crate) fn remove_live<S: PageSource>(&mut self, frames: Frames<'_, S>, index: u32) {
        let leaf = index / EntryTable::leaf_len::<S>();
        if self.entries.remove_live(frames, leaf) == 0 {
            self.entries.drop_leaf(frames, leaf, true);
        }
    }

    /// Takes back a count of [`add_live`](Self::add_live); the leaf stays.
    pub(crate) fn uncount<S: PageSource>(&mut self, frames: Frames<'_, S>, index: u32) {
        self.entries
            .remove_live(frames, index / EntryTable::leaf_len::<S>());
    }

    /// Counts the entry of slot `index` as in use.
    pub(crate) fn add_live<S: PageSource>(&mut self, frames: Frames<'_, S>, index: u32) {
        self.entries
            .add_live(frames, index / EntryTable::leaf_len::<S>());
    }

    /// Gives every page back and forgets everything. Nobody holds an entry.
    pub(crate) fn clear<S: PageSource>(&mut self, frames: Frames<'_, S>) {
        for page in (0..self.space.end).rev() {
            self.space.unback(frames, page);
        }
        self.entries.drop_all(frames);
        self.space.window.close(frames);
        *self = Self {
            moved: self.moved,
            ..Self::new()
        };
    }
}

/// Entries of a handle pool: taken from a free list, with a generation each.
impl Arena {
    /// Takes a free entry, which reads as nothing until its owner fills it, and is not counted
    /// until then. On failure nothing has changed.
    pub(crate) fn take_index<'s, S: PageSource>(
        &mut self,
        frames: Frames<'s, S>,
    ) -> Result<Vacancy<'s>, IndexError> {
        let leaf_len = EntryTable::leaf_len::<S>();
        let leaf = match self.entries.first(Which::Free) {
            Some(leaf) => leaf,
            None => self.next_leaf(frames)?,
        };
        let Some(record) = self.entries.record(frames, leaf) else {
            return Err(IndexError::Full);
        };
        let frame = match record.frame::<S>() {
            Some(frame) => frame,
            None => self.vacant_leaf(frames, leaf).map_err(IndexError::Take)?,
        };
        let within = record.first_free::<S>().saturating_sub(1);
        let page = self.entries.leaf_page(frames, leaf, frame);
        let cell = frames.entry(page, within as usize * 8);
        let (next, generation) = entry::read(cell).vacant_parts();
        record.set_first_free::<S>(next);
        if next == 0 {
            self.entries.unlink(frames, leaf, Which::Free);
        }
        Ok(Vacancy {
            index: leaf * leaf_len + within,
            generation,
            cell,
            record,
        })
    }

    /// Takes back an entry whose object is gone; the next one there gets `generation`.
    pub(crate) fn put_index<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        index: u32,
        cell: &AtomicU64,
        generation: u16,
    ) {
        let leaf_len = EntryTable::leaf_len::<S>();
        let leaf = index / leaf_len;
        let Some(record) = self.entries.record(frames, leaf) else {
            return;
        };
        if u32::from(generation) > record.generation::<S>() {
            record.set_generation::<S>(u32::from(generation));
        }
        if generation <= GENERATION_MAX && generation > 0 {
            entry::set_unlocked(cell, Word::vacant(record.first_free::<S>(), generation));
            record.set_first_free::<S>(index % leaf_len + 1);
            if !record.is_listed::<S>() {
                self.entries.link(frames, leaf, Which::Free, true);
            }
        } else {
            entry::set_unlocked(cell, Word::vacant(0, 0));
        }
        if record.remove_live::<S>() == 0 {
            self.retire_leaf(frames, leaf);
        }
    }

    /// Gives back a leaf in which nothing lives. Its entries go on later with a generation that
    /// none of them had, or not at all.
    fn retire_leaf<S: PageSource>(&mut self, frames: Frames<'_, S>, leaf: u32) {
        self.entries.drop_leaf(frames, leaf, false);
        self.entries.unlink(frames, leaf, Which::Free);
        if self.entries.generation(frames, leaf) <= u32::from(GENERATION_MAX) {
            self.entries.link(frames, leaf, Which::Free, false);
        } else {
            self.entries.set_generation(frames, leaf, 1);
            self.entries.link(frames, leaf, Which::Retired, false);
        }
    }

    /// A leaf that was never used; when there is none left, the one that was used up first.
    fn next_leaf<S: PageSource>(&mut self, frames: Frames<'_, S>) -> Result<u32, IndexError> {
        if self.leaves_used < EntryTable::leaves_max::<S>() {
            let leaf = self.leaves_used;
            self.vacant_leaf(frames, leaf).map_err(IndexError::Take)?;
            self.leaves_used += 1;
            self.entries.link(frames, leaf, Which::Free, true);
            return Ok(leaf);
        }
        let leaf = self.entries.first(Which::Retired).ok_or(IndexError::Full)?;
        self.vacant_leaf(frames, leaf).map_err(IndexError::Take)?;
        self.entries.unlink(frames, leaf, Which::Retired);
        self.entries.link(frames, leaf, Which::Free, true);
        Ok(leaf)
    }

    /// Creates a leaf whose entries are all free, of the generation kept with it.
    fn vacant_leaf<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        leaf: u32,
    ) -> Result<crate::source::FrameId, TakeError> {
        let frame = self.entries.add_leaf(frames, leaf)?;
        let generation = self
            .entries
            .generation(frames, leaf)
            .clamp(1, u32::from(GENERATION_MAX)) as u16;
        let leaf_len = EntryTable::leaf_len::<S>();
        let page = self.entries.leaf_page(frames, leaf, frame);
        for within in 0..leaf_len {
            let next = if within + 1 < leaf_len { within + 2 } else { 0 };
            entry::set_unlocked(
                frames.entry(page, within as usize * 8),
                Word::vacant(next, generation),
            );
        }
        self.entries.set_first_free(frames, leaf, Some(0));
        Ok(frame)
    }
}

/// An entry of a handle pool that was taken.
pub(crate) struct Vacancy<'s> {
    pub(crate) index: u32,
    pub(crate) generation: u16,
    pub(crate) cell: &'s AtomicU64,
    pub(crate) record: Record,
}

/// Why there is no free entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexError {
    Take(TakeError),
    Full,
}
