//! Slots that a thread holds: [`Slot`], and [`Filling`] for one that has just got a block.

use super::{SlotState, check_object, total_len};
use crate::arena::Arena;
use crate::entry::{self, Meaning, Object, TAG_MAX, VALUE_MAX, Word};
use crate::error::{AccessError, AllocError};
use crate::fragments::{Fragments, Parts, Resolve};
use crate::pool_core::{Core, Held};
use crate::source::PageSource;
use core::sync::atomic::AtomicU64;
use lock_api::{MutexGuard, RawMutex};

/// An object that is being filled; see [`Slots::store_with`](super::Slots::store_with).
pub struct Filling<'f> {
    pub(super) parts: Parts<'f>,
    pub(super) pool: (&'f dyn Resolve, usize),
    /// The entry, held, and its word.
    pub(super) entry: (&'f AtomicU64, Word),
    pub(super) size: usize,
    pub(super) written: usize,
}

impl Filling<'_> {
    /// Appends bytes. What is over the object's size is left out.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        self.parts.write_one(self.pool, self.written, bytes);
        self.written = self.written.saturating_add(bytes.len());
    }

    #[cold]
    fn clear_rest(&mut self) {
        const ZEROES: [u8; 64] = [0; 64];
        while self.written < self.size {
            let len = ZEROES.len().min(self.size - self.written);
            self.write(&ZEROES[..len]);
        }
    }
}

impl Drop for Filling<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.written < self.size {
            // Nobody may read what the last owner of these bytes left.
            self.clear_rest();
        }
        entry::unlock(self.entry.0, self.entry.1);
    }
}

/// A slot that this thread holds; it is let go on drop.
pub struct Slot<'c, S: PageSource, L: RawMutex, const ARENAS: usize> {
    pub(super) core: &'c Core<S, L, ARENAS>,
    pub(super) held: Held<'c>,
    pub(super) parts: Option<Parts<'c>>,
}

impl<'c, S: PageSource, L: RawMutex, const ARENAS: usize> Slot<'c, S, L, ARENAS> {
    /// What the slot holds.
    pub fn state(&self) -> SlotState {
        SlotState::of(self.held.word)
    }

    /// The object's bytes; none if the slot holds no object.
    pub fn fragments(&self) -> Fragments<'_> {
        match &self.parts {
            Some(parts) => parts.fragments((self.core, self.held.arena)),
            None => Fragments::EMPTY,
        }
    }

    /// [`fragments`](Self::fragments) for who has little stack: `see` gets them, and they exist once.
    #[inline]
    pub fn with_fragments<T>(&self, see: impl FnOnce(&[&[u8]]) -> T) -> T {
        let mut fragments = Fragments::EMPTY;
        if let Some(parts) = &self.parts {
            parts.fragments_into((self.core, self.held.arena), &mut fragments);
        }
        see(&fragments)
    }

    /// Copies the object's bytes from `skip` on into `out`; returns how many there were. Takes less stack
    /// than [`fragments`](Self::fragments).
    pub fn copy_to(&self, skip: usize, out: &mut [u8]) -> usize {
        match &self.parts {
            Some(parts) => parts.copy_to((self.core, self.held.arena), skip, out),
            None => 0,
        }
    }

    /// The object's bytes, if there is an object and it lies in one piece.
    #[inline]
    pub fn contiguous(&self) -> Option<&[u8]> {
        self.parts.as_ref()?.contiguous()
    }

    /// Changes bytes of the object in place, from its byte `offset` on.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), AccessError> {
        let size = match self.held.word.meaning() {
            Meaning::Object(object) => object.size as usize,
            _ => 0,
        };
        let len = bytes.len();
        match (&mut self.parts, offset.checked_add(len)) {
            (Some(parts), Some(end)) if end <= size => {
                parts.write((self.core, self.held.arena), offset, &[bytes])
            }
            _ => return Err(AccessError::BadRange { offset, len, size }),
        }
        Ok(())
    }

    /// Puts an object into the slot, as [`Slots::store`](super::Slots::store) does.
    pub fn store(&mut self, tag: u16, parts: &[&[u8]]) -> Result<(), AllocError> {
        let (mut locked, space) = self.place(tag, total_len(parts))?;
        self.core.after_free(&mut locked);
        drop(locked);
        self.fill(space, parts);
        Ok(())
    }

    /// [`store`](Self::store) that leaves packing to whoever frees next: for callers deep in the stack.
    #[inline(never)]
    pub fn store_only(&mut self, tag: u16, parts: &[&[u8]]) -> Result<(), AllocError> {
        let (locked, space) = self.place(tag, total_len(parts))?;
        drop(locked);
        self.fill(space, parts);
        Ok(())
    }

    /// Gives the slot a new block, whose bytes are still to be written.
    #[inline]
    fn place(
        &mut self,
        tag: u16,
        size: usize,
    ) -> Result<(MutexGuard<'c, L, Arena>, Parts<'c>), AllocError> {
        let size = check_object(tag, size)?;
        let (index, old) = (self.held.index, self.held.word);
        let mut locked = self.core.lock(self.held.arena);
        let frames = self.core.frames();
        let object: Object = locked
            .replace(frames, index, self.held.cell, old, size, tag)
            .map_err(|error| self.core.space_error(error))?;
        if old.meaning() == Meaning::Nothing {
            // The held empty slot was counted when it was locked.
            locked.uncount(frames, index);
        }
        self.held.word = Word::object(object);
        let space = self.core.parts(&locked, object);
        Ok((locked, space))
    }

    #[inline]
    fn fill(&mut self, mut space: Parts<'c>, parts: &[&[u8]]) {
        space.write((self.core, self.held.arena), 0, parts);
        self.parts = Some(space);
    }

    /// Changes the tag of the object. Takes no lock. An error, and nothing done, if the slot holds
    /// no object.
    #[inline]
    pub fn set_tag(&mut self, tag: u16) -> Result<(), AllocError> {
        match self.held.word.meaning() {
            Meaning::Object(object) if tag <= TAG_MAX => {
                self.held.word = Word::object(Object { tag, ..object });
                Ok(())
            }
            _ => Err(AllocError::BadTag {
                value: u64::from(tag),
                max: u64::from(TAG_MAX),
            }),
        }
    }

    /// Puts a value into the slot. Takes no lock if it holds one already.
    pub fn set_value(&mut self, value: u64) -> Result<(), AllocError> {
        let word = Word::value(value).ok_or(AllocError::BadTag {
            value,
            max: VALUE_MAX,
        })?;
        match self.held.word.meaning() {
            Meaning::Value(_) => self.held.word = word,
            _ => self.set_word(word),
        }
        Ok(())
    }

    /// Empties the slot.
    pub fn clear(&mut self) {
        self.set_word(Word::NOTHING);
    }

    /// [`clear`](Self::clear) that leaves packing to whoever frees next: for callers deep in the stack.
    #[inline(never)]
    pub fn clear_only(&mut self) {
        drop(self.swap_word(Word::NOTHING));
    }

    #[inline(never)]
    fn set_word(&mut self, word: Word) {
        let mut locked = self.swap_word(word);
        self.core.after_free(&mut locked);
    }

    #[inline]
    fn swap_word(&mut self, word: Word) -> MutexGuard<'c, L, Arena> {
        let mut locked = self.core.lock(self.held.arena);
        self.parts = None;
        locked.free_block(self.core.frames(), self.held.word);
        entry::set_locked(self.held.cell, word);
        self.held.word = word;
        locked
    }
}

impl<S: PageSource, L: RawMutex, const ARENAS: usize> Drop for Slot<'_, S, L, ARENAS> {
    fn drop(&mut self) {
        if self.held.word.meaning() == Meaning::Nothing {
            let mut locked = self.core.lock(self.held.arena);
            entry::set_unlocked(self.held.cell, Word::NOTHING);
            locked.remove_live(self.core.frames(), self.held.index);
        } else {
            entry::unlock(self.held.cell, self.held.word);
        }
    }
}
