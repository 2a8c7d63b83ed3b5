//! One entry of the entry table: eight bytes that say where an object is, and its lock.
//!
//! ```text
//!  object   63         32 31       15 14      3 2  1 0
//!           [   offset   |  size - 1 |   tag   |kind|L]     kind 1
//!  value    [          value, 61 bits          |kind|L]     kind 2
//!  nothing  [               0                  | 0  |L]     kind 0
//! ```
//!
//! * `offset`: the block's place in the logical space, in granules of 4 bytes.
//! * `size`: bytes of the object; its block has `4 + size` bytes, rounded up to granules.
//! * `tag`: the owner's 12 bits; the handle pool keeps its generation there.
//! * `L`: somebody reads or writes the object, or decides about the entry.
//!
//! # Protocol
//!
//! 1. Every word is changed under the lock of the entry's arena, with one exception: who holds
//!    `L` clears it with a plain `Release` store, without the arena's lock; with the same store it
//!    may change the tag of an object, or a value for another.
//! 2. `L` is set under the arena's lock, if it was clear (`Acquire`). Who finds it set lets go of
//!    the arena's lock before waiting, so holder and waiter cannot block each other.
//! 3. The mover works under the arena's lock and leaves locked objects where they are.
//!
//! So while `L` is held the object neither moves nor goes away, and reading, writing and
//! (de)compressing it need no arena lock.

use core::sync::atomic::{AtomicU64, Ordering};

const LOCK: u64 = 1;
const KIND_SHIFT: u32 = 1;
const KIND_MASK: u64 = 0b11;
const KIND_OBJECT: u64 = 1;
const KIND_VALUE: u64 = 2;
const TAG_SHIFT: u32 = 3;
const SIZE_SHIFT: u32 = 15;
const OFFSET_SHIFT: u32 = 32;
const VALUE_SHIFT: u32 = 3;

/// Largest tag.
pub const TAG_MAX: u16 = (1 << (SIZE_SHIFT - TAG_SHIFT)) - 1;
/// Largest value that fits in an entry: 61 bits.
pub const VALUE_MAX: u64 = u64::MAX >> VALUE_SHIFT;
const SIZE_MASK: u64 = (1 << (OFFSET_SHIFT - SIZE_SHIFT)) - 1;

/// A word of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

/// A word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Nothing,
    Value(u64),
    Object(Object),
}

/// Where an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// First granule of its block.
    pub(crate) offset: u32,
    /// Bytes of payload, 1 to 2^17.
    pub(crate) size: u32,
    pub(crate) tag: u16,
}

impl Object {
    /// Granules of its block.
    #[inline]
    pub(crate) const fn granules(&self) -> u32 {
        block_granules(self.size)
    }
}

/// Granules of the block of an object of `size` bytes: header and payload.
#[inline]
pub(crate) const fn block_granules(size: u32) -> u32 {
    1 + size.div_ceil(4)
}

impl Word {
    pub(crate) const NOTHING: Self = Self(0);

    #[inline]
    pub(crate) const fn object(object: Object) -> Self {
        let size = (object.size.wrapping_sub(1) as u64 & SIZE_MASK) << SIZE_SHIFT;
        let tag = ((object.tag & TAG_MAX) as u64) << TAG_SHIFT;
        Self((object.offset as u64) << OFFSET_SHIFT | size | tag | KIND_OBJECT << KIND_SHIFT)
    }

    /// `None` if the value does not fit.
    #[inline]
    pub(crate) const fn value(value: u64) -> Option<Self> {
        if value > VALUE_MAX {
            None
        } else {
            Some(Self(value << VALUE_SHIFT | KIND_VALUE << KIND_SHIFT))
        }
    }

    #[inline]
    pub(crate) const fn meaning(self) -> Meaning {
        match self.0 >> KIND_SHIFT & KIND_MASK {
            KIND_OBJECT => Meaning::Object(Object {
                offset: (self.0 >> OFFSET_SHIFT) as u32,
                size: (self.0 >> SIZE_SHIFT & SIZE_MASK) as u32 + 1,
                tag: (self.0 >> TAG_SHIFT) as u16 & TAG_MAX,
            }),
            KIND_VALUE => Meaning::Value(self.0 >> VALUE_SHIFT),
            _ => Meaning::Nothing,
        }
    }

    /// A free entry of the handle pool: the next one of its leaf (plus one), and the generation
    /// the next object here gets. Reads as `Nothing`.
    #[inline]
    pub(crate) const fn vacant(next: u32, generation: u16) -> Self {
        Self((next as u64) << OFFSET_SHIFT | (generation as u64) << TAG_SHIFT)
    }

    /// The parts of a vacant word.
    #[inline]
    pub(crate) const fn vacant_parts(self) -> (u32, u16) {
        (
            (self.0 >> OFFSET_SHIFT) as u32,
            (self.0 >> TAG_SHIFT) as u16 & TAG_MAX,
        )
    }

    /// Whether the entry holds something, or is held.
    #[inline]
    pub(crate) const fn is_in_use(self) -> bool {
        self.0 & (LOCK | KIND_MASK << KIND_SHIFT) != 0
    }

    #[inline]
    pub(crate) const fn is_locked(self) -> bool {
        self.0 & LOCK != 0
    }
}

/// An atomic word; loom has its own in its model of the protocol.
pub(crate) trait Cell {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
}

impl Cell for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }
    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order);
    }
}

/// Reads a word. Under the arena's lock.
#[inline]
pub(crate) fn read(cell: &impl Cell) -> Word {
    Word(cell.load(Ordering::Acquire))
}

/// Locks the entry, or returns `None` if somebody has it. Under the arena's lock.
#[inline]
pub(crate) fn try_lock(cell: &impl Cell) -> Option<Word> {
    let word = Word(cell.load(Ordering::Acquire));
    if word.is_locked() {
        return None;
    }
    cell.store(word.0 | LOCK, Ordering::Relaxed);
    Some(word)
}

/// Changes a word and leaves it locked. Under the arena's lock, by who holds `L`.
#[inline]
pub(crate) fn set_locked(cell: &impl Cell, word: Word) {
    cell.store(word.0 | LOCK, Ordering::Relaxed);
}

/// Changes a word that nobody has locked. Under the arena's lock.
#[inline]
pub(crate) fn set_unlocked(cell: &impl Cell, word: Word) {
    cell.store(word.0 & !LOCK, Ordering::Release);
}

/// Lets go of an entry. By who holds `L`; needs no arena lock.
#[inline]
pub(crate) fn unlock(cell: &impl Cell, word: Word) {
    cell.store(word.0 & !LOCK, Ordering::Release);
}

#[cfg(test)]
mod tests;
