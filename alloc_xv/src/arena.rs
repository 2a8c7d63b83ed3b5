//! An arena: one logical space and the entries of the objects in it, under one lock.

use crate::entry::{self, Meaning, Object, Word, block_granules};
use crate::frames::{Frames, TakeError};
use crate::source::PageSource;
use crate::space::{Space, SpaceError};
use crate::tree::{Record, Tree, Which};
use core::sync::atomic::AtomicU64;

/// The entry table of an arena: 2^24 entries with 4 KiB pages.
pub(crate) type EntryTable = Tree<8, 256>;

/// Generations of an entry: 1 to this, then the entry is not used again.
pub(crate) const GENERATION_MAX: u16 = entry::TAG_MAX;

/// See the module's text.
pub(crate) struct Arena {
    pub(crate) space: Space,
    pub(crate) entries: EntryTable,
    /// Objects, at most 2^24, and the bytes they asked for.
    pub(crate) objects: u32,
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
    /// A free entry of a handle pool (plus one) that its leaf's list does not have: the one that
    /// was freed while there was none. An overwrite, which is a free and an allocation, takes it
    /// again at once, and the leaf is not put on the list of leaves with free entries for it.
    loose: u32,
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
            loose: 0,
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
        if let Some(spot) = self.entries.peek::<S>(index) {
            // What is in use or held says so, and its leaf exists.
            let cell = frames.entry(spot);
            if entry::read(cell).is_in_use() {
                return Some(cell);
            }
        }
        let spot = self.entries.locate(frames, index)?;
        Some(frames.entry(spot))
    }

    /// The entry of a slot whose leaf exists.
    #[inline]
    pub(crate) fn entry_of_leaf<'s, S: PageSource>(
        &self,
        frames: Frames<'s, S>,
        index: u32,
    ) -> Option<&'s AtomicU64> {
        Some(frames.entry(self.entries.spot_of_leaf(frames, index)?))
    }

    /// Whether the leaf of slot `index` exists.
    pub(crate) fn has_leaf<S: PageSource>(&self, frames: Frames<'_, S>, index: u32) -> bool {
        let leaf = index / EntryTable::leaf_len::<S>();
        self.entries.leaf_frame(frames, leaf).is_some()
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
        self.take_over(frames, index, cell, old, object);
        Ok(object)
    }

    /// The same for an object whose bytes were written by who has the space's pen, so that nothing can fail.
    pub(crate) fn replace_written<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        index: u32,
        (cell, old): (&AtomicU64, Word),
        size: u32,
        tag: u16,
    ) -> Object {
        let offset = self.space.commit_pen(frames, block_granules(size), index);
        let object = Object { offset, size, tag };
        self.take_over(frames, index, cell, old, object);
        object
    }

    /// Makes an entry, which is then locked, say that it has this object, and frees the block that it had.
    #[inline]
    fn take_over<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        index: u32,
        cell: &AtomicU64,
        old: Word,
        object: Object,
    ) {
        if old.meaning() == Meaning::Nothing {
            self.entries
                .add_live(frames, index / EntryTable::leaf_len::<S>());
        }
        self.free_block(frames, old);
        self.objects += 1;
        self.payload += u64::from(object.size);
        entry::set_locked(cell, Word::object(object));
    }

    /// Frees the block of what an entry held, if it held an object.
    pub(crate) fn free_block<S: PageSource>(&mut self, frames: Frames<'_, S>, old: Word) {
        if let Meaning::Object(object) = old.meaning() {
            self.free_object(frames, object);
        }
    }

    /// Frees the block of an object.
    #[inline]
    pub(crate) fn free_object<S: PageSource>(&mut self, frames: Frames<'_, S>, object: Object) {
        self.space.free(frames, object.offset, object.granules());
        self.objects -= 1;
        self.payload -= u64::from(object.size);
    }

    /// The entry of slot `index`; its leaf is created if need be. On failure nothing has changed.
    #[inline]
    pub(crate) fn ensure_entry<'s, S: PageSource>(
        &mut self,
        frames: Frames<'s, S>,
        index: u32,
    ) -> Result<&'s AtomicU64, TakeError> {
        match self.entry(frames, index) {
            Some(cell) => Ok(cell),
            None => self.add_entry(frames, index),
        }
    }

    #[cold]
    fn add_entry<'s, S: PageSource>(
        &mut self,
        frames: Frames<'s, S>,
        index: u32,
    ) -> Result<&'s AtomicU64, TakeError> {
        let leaf_len = EntryTable::leaf_len::<S>();
        let (leaf, within) = (index / leaf_len, index % leaf_len);
        let frame = self.entries.add_leaf(frames, leaf)?;
        Ok(frames.entry(self.entries.spot(frames, leaf, frame, within)))
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
        // Its window was opened also if the first page could not be had.
        self.space.table.clear(frames);
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
    #[inline]
    pub(crate) fn take_index<'s, S: PageSource>(
        &mut self,
        frames: Frames<'s, S>,
    ) -> Result<Vacancy<'s>, IndexError> {
        if let Some(index) = self.loose.checked_sub(1)
            && let Some(vacancy) = self.vacancy(frames, index, Origin::Loose)
        {
            self.loose = 0;
            return Ok(vacancy);
        }
        let mut origin = Origin::Listed;
        let leaf = match self.entries.first(Which::Free) {
            Some(leaf) => leaf,
            None => self.next_leaf(frames, &mut origin)?,
        };
        let Some(record) = self.entries.record(frames, leaf) else {
            return Err(IndexError::Full);
        };
        if record.frame().is_none() {
            self.vacant_leaf(frames, leaf).map_err(IndexError::Take)?;
            origin = Origin::Again;
        }
        let within = record.first_free().saturating_sub(1);
        let index = leaf * EntryTable::leaf_len::<S>() + within;
        let vacancy = self
            .vacancy(frames, index, origin)
            .ok_or(IndexError::Full)?;
        record.set_first_free(vacancy.next);
        if vacancy.next == 0 {
            self.entries.unlink(frames, leaf, Which::Free);
        }
        Ok(vacancy)
    }

    /// Takes back an entry that was taken last, and was not filled: everything is as before.
    #[cold]
    pub(crate) fn untake_index<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        vacancy: Vacancy<'_>,
    ) {
        let leaf_len = EntryTable::leaf_len::<S>();
        let leaf = vacancy.index / leaf_len;
        match vacancy.origin {
            Origin::Loose => self.loose = vacancy.index + 1,
            Origin::Listed => {
                vacancy.record.set_first_free(vacancy.index % leaf_len + 1);
                self.entries.link(frames, leaf, Which::Free, true);
            }
            Origin::New => {
                self.leaves_used -= 1;
                self.entries.drop_leaf(frames, leaf, true);
            }
            Origin::Again => self.entries.drop_leaf(frames, leaf, false),
            Origin::Retired => {
                self.entries.drop_leaf(frames, leaf, false);
                self.entries.unlink(frames, leaf, Which::Free);
                self.entries.link(frames, leaf, Which::Retired, true);
            }
        }
    }

    /// A free entry of a leaf that exists.
    #[inline]
    fn vacancy<'s, S: PageSource>(
        &self,
        frames: Frames<'s, S>,
        index: u32,
        origin: Origin,
    ) -> Option<Vacancy<'s>> {
        let leaf_len = EntryTable::leaf_len::<S>();
        let record = self.entries.record_of_leaf(frames, index / leaf_len)?;
        let cell = frames.entry(self.entries.spot_of_leaf(frames, index)?);
        let (next, generation) = entry::read(cell).vacant_parts();
        Some(Vacancy {
            index,
            generation,
            next,
            origin,
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
        let Some(record) = self.entries.record_of_leaf(frames, leaf) else {
            return;
        };
        if u32::from(generation) > record.generation() {
            record.set_generation(u32::from(generation));
        }
        if generation > GENERATION_MAX || generation == 0 {
            entry::set_unlocked(cell, Word::vacant(0, 0));
        } else if self.loose == 0 {
            entry::set_unlocked(cell, Word::vacant(0, generation));
            self.loose = index + 1;
        } else {
            entry::set_unlocked(cell, Word::vacant(record.first_free(), generation));
            record.set_first_free(index % leaf_len + 1);
            if !record.is_listed() {
                self.entries.link(frames, leaf, Which::Free, true);
            }
        }
        if record.remove_live(1) == 0 {
            self.retire_leaf(frames, leaf);
        }
    }

    /// Gives back a leaf in which nothing lives. Its entries go on later with a generation that
    /// none of them had, or not at all.
    #[cold]
    fn retire_leaf<S: PageSource>(&mut self, frames: Frames<'_, S>, leaf: u32) {
        let loose = self.loose.checked_sub(1);
        if loose.is_some_and(|index| index / EntryTable::leaf_len::<S>() == leaf) {
            self.loose = 0;
        }
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
    #[cold]
    fn next_leaf<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        origin: &mut Origin,
    ) -> Result<u32, IndexError> {
        if self.leaves_used < EntryTable::leaves_max::<S>() {
            let leaf = self.leaves_used;
            self.vacant_leaf(frames, leaf).map_err(IndexError::Take)?;
            self.leaves_used += 1;
            self.entries.link(frames, leaf, Which::Free, true);
            *origin = Origin::New;
            return Ok(leaf);
        }
        let leaf = self.entries.first(Which::Retired).ok_or(IndexError::Full)?;
        self.vacant_leaf(frames, leaf).map_err(IndexError::Take)?;
        self.entries.unlink(frames, leaf, Which::Retired);
        self.entries.link(frames, leaf, Which::Free, true);
        *origin = Origin::Retired;
        Ok(leaf)
    }

    /// Creates a leaf whose entries are all free, of the generation kept with it.
    #[cold]
    fn vacant_leaf<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        leaf: u32,
    ) -> Result<(), TakeError> {
        let frame = self.entries.add_leaf(frames, leaf)?;
        let generation = self
            .entries
            .generation(frames, leaf)
            .clamp(1, u32::from(GENERATION_MAX)) as u16;
        let leaf_len = EntryTable::leaf_len::<S>();
        for within in 0..leaf_len {
            let next = if within + 1 < leaf_len { within + 2 } else { 0 };
            entry::set_unlocked(
                frames.entry(self.entries.spot(frames, leaf, frame, within)),
                Word::vacant(next, generation),
            );
        }
        self.entries.set_first_free(frames, leaf, Some(0));
        Ok(())
    }
}

/// An entry of a handle pool that was taken.
pub(crate) struct Vacancy<'s> {
    pub(crate) index: u32,
    pub(crate) generation: u16,
    /// The free entry behind it in its leaf's list.
    next: u32,
    origin: Origin,
    pub(crate) cell: &'s AtomicU64,
    pub(crate) record: Record,
}

/// Where a free entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// It was the loose one.
    Loose,
    /// The first of a leaf that exists.
    Listed,
    /// The first of a leaf that was created for it and never was before,
    New,
    /// that was on the list of leaves with free entries, without a page,
    Again,
    /// that had been used up.
    Retired,
}

/// Why there is no free entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexError {
    Take(TakeError),
    Full,
}
