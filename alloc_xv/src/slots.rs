//! [`Slots`]: objects under keys that the owner chooses, as an array of pages needs them.

use crate::OBJECT_MAX;
use crate::arena::{Arena, EntryTable};
use crate::entry::{self, Meaning, Object, TAG_MAX, VALUE_MAX, Word};
use crate::error::AllocError;
use crate::fragments::Parts;
use crate::pool_core::{Core, Held};
use crate::source::PageSource;
use crate::stats::{Compacted, Stats};
use core::mem::MaybeUninit;
use core::sync::atomic::AtomicU64;
use lock_api::{MutexGuard, RawMutex};

mod held;
mod room;

pub use held::{Filling, Slot};
pub use room::Room;

/// Neighbouring keys that live in the same arena, a multiple of the entries in a leaf. Small pools
/// use few arenas, each of which has some pages of its own; a lock that is held for a quarter of
/// a microsecond is not in the way of a dozen threads that compress.
const RUN: u64 = 8192;

/// Bytes that an owner of slots may add to an object of [`OBJECT_MAX`]: a checksum, say.
pub const TRAILER_MAX: usize = 8;

/// A pool whose objects have keys instead of handles: a sparse array of byte strings.
///
/// The entry of 8 bytes that every object needs *is* the owner's slot, so an owner that
/// numbers its objects anyway (the pages of a device) has no table beside it. A slot is empty,
/// holds a value of 61 bits in the entry itself, or an object with a tag of 12 bits.
///
/// Runs of 8192 neighbouring keys live in the same arena. Entries come in leaves of one page, which exist only
/// where slots are in use.
///
/// # Examples
///
/// ```
/// use alloc_xv::{MmapSource, SlotState, Slots};
///
/// let slots: Slots<MmapSource> = Slots::new(MmapSource::new(1 << 30)?);
/// slots.store(7, 3, &[b"compressed ", b"page"])?;
/// let slot = slots.get(7)?.expect("stored above");
/// assert_eq!(slot.state(), SlotState::Object { size: 15, tag: 3 });
/// assert_eq!(slot.fragments().concat(), b"compressed page");
/// drop(slot);
/// slots.clear(7)?;
/// assert!(slots.get(7)?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Concurrency
///
/// Every method takes `&self`. A thread that holds a slot keeps it from being changed, freed or
/// moved; others wait for that slot only. Do not touch a slot again while holding it through a
/// [`Slot`]: the second access waits for ever.
///
/// # Time complexity
///
/// Every operation on a slot is constant, beside copying the object's bytes.
pub struct Slots<S: PageSource, L: RawMutex = spin::Mutex<()>, const ARENAS: usize = 1> {
    core: Core<S, L, ARENAS>,
}

/// An arena that is locked, and the entry in it that was locked too, with its word.
type Claimed<'c, L> = (MutexGuard<'c, L, Arena>, (&'c AtomicU64, Word));

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Nothing.
    Empty,
    /// A value in the entry itself, up to [`VALUE_MAX`].
    Value(u64),
    /// An object.
    Object {
        /// Its bytes.
        size: usize,
        /// Its owner's tag, up to [`TAG_MAX`].
        tag: u16,
    },
}

/// What becomes of a slot that [`Slots::visit_leaf`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Nothing.
    Keep,
    /// An object gets this tag. Over [`TAG_MAX`], or on a value: nothing.
    Tag(u16),
    /// A value becomes this one. Over [`VALUE_MAX`], or on an object: nothing.
    Value(u64),
    /// Nothing, and the visit ends here: it is gone on with at the next key.
    Stop,
}

impl SlotState {
    fn of(word: Word) -> Self {
        match word.meaning() {
            Meaning::Nothing => Self::Empty,
            Meaning::Value(value) => Self::Value(value),
            Meaning::Object(object) => Self::Object {
                size: object.size as usize,
                tag: object.tag,
            },
        }
    }
}

impl<S: PageSource, L: RawMutex, const ARENAS: usize> Slots<S, L, ARENAS> {
    /// An empty pool over `source`. Takes no page.
    pub const fn new(source: S) -> Self {
        Self {
            core: Core::new(source),
        }
    }

    /// [`new`](Self::new) at the place where the pool will stay. A pool is about 3.3 KiB for each
    /// arena; built there it takes no stack, of which kernels have little.
    #[allow(unsafe_code, reason = "built in place")]
    pub fn new_at(place: &mut MaybeUninit<Self>, source: S) -> &mut Self {
        // SAFETY: 1. the pointer is to the only field of `place`; 2. it is written before the value is
        // used.
        unsafe {
            let core = &raw mut (*place.as_mut_ptr()).core;
            Core::<S, L, ARENAS>::new_at(&mut *core.cast(), source);
            place.assume_init_mut()
        }
    }

    /// Keys are less than this.
    pub const fn keys() -> u64 {
        EntryTable::capacity::<S>() * ARENAS as u64
    }

    /// The arena that a key lives in, for estimates; `None` for a key that is too big.
    pub fn arena_of(key: u64) -> Option<usize> {
        Self::place(key).ok().map(|(arena, _)| arena)
    }

    /// Puts an object into a slot: `parts`, one after the other. What the slot held before is
    /// returned; its bytes are gone. On failure slot and pool are as they were.
    pub fn store(&self, key: u64, tag: u16, parts: &[&[u8]]) -> Result<SlotState, AllocError> {
        self.store_with(key, tag, total_len(parts), |_, filling| {
            parts.iter().for_each(|part| filling.write(part));
        })
    }

    /// Tells that an object will soon be stored under `key`: memory that it will probably lie in
    /// is asked for meanwhile. Changes nothing.
    #[inline]
    pub fn prefetch_store(&self, key: u64) {
        if let Ok((arena, _)) = Self::place(key) {
            self.core.prefetch_frontier(arena);
        }
    }

    /// [`store`](Self::store) of `size` bytes that `fill` writes, when the slot has room for them
    /// and nothing can fail any more. It hears what the slot held before.
    ///
    /// What `fill` does not write reads as zeroes. It must not touch the slot.
    #[inline]
    pub fn store_with(
        &self,
        key: u64,
        tag: u16,
        size: usize,
        fill: impl FnOnce(SlotState, &mut Filling<'_>),
    ) -> Result<SlotState, AllocError> {
        let (held, parts, old) = self.begin_store(key, tag, size)?;
        let mut filling = Filling {
            parts,
            pool: (&self.core, held.arena),
            entry: (held.cell, held.word),
            size,
            written: 0,
        };
        fill(old, &mut filling);
        Ok(old)
    }

    /// Gives a slot a new block, held, whose bytes are still to be written.
    // Inlined: what it returns goes through memory otherwise, behind stores to cold memory, and
    // reading it back waits for them.
    #[inline(always)]
    fn begin_store(
        &self,
        key: u64,
        tag: u16,
        size: usize,
    ) -> Result<(Held<'_>, Parts<'_>, SlotState), AllocError> {
        let (arena, index) = Self::place(key)?;
        let size = check_object(tag, size)?;
        let (mut locked, (cell, old)) = self.claim(arena, index)?;
        let frames = self.core.frames();
        let object = match locked.replace(frames, index, cell, old, size, tag) {
            Ok(object) => object,
            Err(error) => {
                entry::unlock(cell, old);
                locked.trim_leaf(frames, index);
                return Err(self.core.space_error(error));
            }
        };
        let space = self.core.parts(&locked, object);
        self.core.note_frontier(arena, &mut locked, object);
        self.core.after_free(&mut locked);
        self.core.after_alloc(&mut locked);
        let held = Held {
            cell,
            arena,
            index,
            word: Word::object(object),
        };
        Ok((held, space, SlotState::of(old)))
    }

    /// Locks the arena, and in it an entry whose leaf is created if need be.
    #[inline]
    fn claim(&self, arena: usize, index: u32) -> Result<Claimed<'_, L>, AllocError> {
        let (locked, claimed) = self.core.enter(arena, |locked, frames| {
            let cell = match locked.ensure_entry(frames, index) {
                Ok(cell) => cell,
                Err(error) => return Some(Err(error)),
            };
            entry::try_lock(cell).map(|word| Ok((cell, word)))
        });
        match claimed {
            Ok(claimed) => Ok((locked, claimed)),
            Err(error) => Err(self.core.space_error(error.into())),
        }
    }

    /// [`store`](Self::store) without the bytes: the object's content is what was there before,
    /// of whatever object. For benchmarks of the allocator alone.
    #[cfg(feature = "bench")]
    #[doc(hidden)]
    pub fn store_unwritten(
        &self,
        key: u64,
        tag: u16,
        size: usize,
    ) -> Result<SlotState, AllocError> {
        let (held, _, old) = self.begin_store(key, tag, size)?;
        entry::unlock(held.cell, held.word);
        Ok(old)
    }

    /// Puts a value into a slot. What the slot held before is returned. On failure slot and pool
    /// are as they were.
    pub fn set_value(&self, key: u64, value: u64) -> Result<SlotState, AllocError> {
        self.set_value_unless(key, value, |_| false)
    }

    /// [`set_value`](Self::set_value), which leaves the slot as it is if `keep` says so of what it
    /// holds. What it held, or holds, is returned. `keep` must be quick and not touch the pool.
    pub fn set_value_unless(
        &self,
        key: u64,
        value: u64,
        keep: impl FnOnce(SlotState) -> bool,
    ) -> Result<SlotState, AllocError> {
        let (arena, index) = Self::place(key)?;
        let word = Word::value(value).ok_or(AllocError::BadTag {
            value,
            max: VALUE_MAX,
        })?;
        let (mut locked, (cell, old)) = self.claim(arena, index)?;
        let frames = self.core.frames();
        if keep(SlotState::of(old)) {
            entry::set_unlocked(cell, old);
            locked.trim_leaf(frames, index);
            return Ok(SlotState::of(old));
        }
        if old.meaning() == Meaning::Nothing {
            locked.add_live(frames, index);
        }
        locked.free_block(frames, old);
        entry::set_unlocked(cell, word);
        self.core.after_free(&mut locked);
        Ok(SlotState::of(old))
    }

    /// Empties a slot and returns what it held.
    pub fn clear(&self, key: u64) -> Result<SlotState, AllocError> {
        self.clear_unless(key, |_| false)
    }

    /// [`clear`](Self::clear), which leaves the slot as it is if `keep` says so of what it holds.
    /// What it held, or holds, is returned. `keep` must be quick and not touch the pool.
    pub fn clear_unless(
        &self,
        key: u64,
        keep: impl FnOnce(SlotState) -> bool,
    ) -> Result<SlotState, AllocError> {
        let (arena, index) = Self::place(key)?;
        let (mut locked, found) = self.core.enter(arena, |locked, frames| {
            let Some(cell) = locked.entry(frames, index) else {
                return Some(None);
            };
            let word = entry::read(cell);
            (!word.is_locked()).then_some(Some((cell, word)))
        });
        let Some((cell, old)) = found else {
            return Ok(SlotState::Empty);
        };
        if old.meaning() != Meaning::Nothing && !keep(SlotState::of(old)) {
            let frames = self.core.frames();
            locked.free_block(frames, old);
            entry::set_unlocked(cell, Word::NOTHING);
            locked.remove_live(frames, index);
            self.core.after_free(&mut locked);
        }
        Ok(SlotState::of(old))
    }

    /// Holds a slot that is not empty.
    pub fn get(&self, key: u64) -> Result<Option<Slot<'_, S, L, ARENAS>>, AllocError> {
        let (arena, index) = Self::place(key)?;
        let (locked, found) = self.core.enter(arena, |locked, frames| {
            let Some(cell) = locked.entry(frames, index) else {
                return Some(None);
            };
            entry::try_lock(cell).map(|word| Some((cell, word)))
        });
        let Some((cell, word)) = found else {
            return Ok(None);
        };
        let parts = match word.meaning() {
            Meaning::Nothing => {
                entry::unlock(cell, word);
                return Ok(None);
            }
            Meaning::Value(_) => None,
            Meaning::Object(object) => {
                let parts = self.core.parts(&locked, object);
                parts.prefetch();
                Some(parts)
            }
        };
        let held = Held {
            cell,
            arena,
            index,
            word,
        };
        Ok(Some(Slot {
            core: &self.core,
            held,
            parts,
        }))
    }

    /// Holds a slot, empty or not, so that reading it and changing it are one step for others.
    pub fn lock(&self, key: u64) -> Result<Slot<'_, S, L, ARENAS>, AllocError> {
        let (arena, index) = Self::place(key)?;
        let (mut locked, (cell, word)) = self.claim(arena, index)?;
        let parts = match word.meaning() {
            // Holding an empty slot keeps its leaf.
            Meaning::Nothing => {
                locked.add_live(self.core.frames(), index);
                None
            }
            Meaning::Value(_) => None,
            Meaning::Object(object) => Some(self.core.parts(&locked, object)),
        };
        let held = Held {
            cell,
            arena,
            index,
            word,
        };
        Ok(Slot {
            core: &self.core,
            held,
            parts,
        })
    }

    /// What a slot holds now. Waits while somebody holds it.
    pub fn state(&self, key: u64) -> Result<SlotState, AllocError> {
        let (arena, index) = Self::place(key)?;
        let (_, state) = self.core.enter(arena, |locked, frames| {
            let Some(cell) = locked.entry(frames, index) else {
                return Some(SlotState::Empty);
            };
            let word = entry::read(cell);
            (!word.is_locked()).then(|| SlotState::of(word))
        });
        Ok(state)
    }

    /// Shows the slots in use of one leaf of the entry table, from `key` on and up to `end`, to
    /// `see`, which may change tags and values in passing, and may stop. Returns the key to go on with:
    /// where the next leaf begins, or `end`, or behind the slot where it stopped.
    ///
    /// Slots that somebody holds are left out: a slot that is not shown need not be empty.
    ///
    /// The arena is locked meanwhile: `see` must be quick and must not touch the pool.
    ///
    /// # Time complexity
    ///
    /// Constant if there is no such leaf, else linear in its entries: 512 with pages of 4 KiB.
    pub fn visit_leaf(
        &self,
        key: u64,
        end: u64,
        mut see: impl FnMut(u64, SlotState) -> Touch,
    ) -> Result<u64, AllocError> {
        let leaf_len = u64::from(EntryTable::leaf_len::<S>());
        let (arena, first) = Self::place(key)?;
        let len = (leaf_len - u64::from(first) % leaf_len).min(end.saturating_sub(key));
        let locked = self.core.lock(arena);
        let frames = self.core.frames();
        if locked.has_leaf(frames, first) {
            for within in 0..len {
                let Some(cell) = locked.entry_of_leaf(frames, first + within as u32) else {
                    break;
                };
                let word = entry::read(cell);
                if word.is_locked() || word.meaning() == Meaning::Nothing {
                    continue;
                }
                let new = match (see(key + within, SlotState::of(word)), word.meaning()) {
                    (Touch::Tag(tag), Meaning::Object(object)) if tag <= TAG_MAX => {
                        Word::object(Object { tag, ..object })
                    }
                    (Touch::Value(value), Meaning::Value(_)) => Word::value(value).unwrap_or(word),
                    (Touch::Stop, _) => return Ok(key + within + 1),
                    _ => continue,
                };
                entry::set_unlocked(cell, new);
            }
        }
        Ok(key + len)
    }

    /// Packs all arenas, or moves at most `objects`. Other threads go on meanwhile.
    pub fn compact(&self, objects: u64) -> Compacted {
        self.core.compact(objects)
    }

    /// Packs the arenas that are below their target fill until they are above it: what a thread
    /// for compaction calls, in bounded steps under the arenas' locks.
    pub fn compact_to_target(&self) {
        self.core.compact_to_target();
    }

    /// How many objects a free may move while its arena is below its target fill.
    /// 1 unless it is changed; 0 leaves all of it to a background thread or to
    /// [`compact`](Self::compact).
    pub fn set_inline_moves(&self, objects: u32) {
        self.core.set_inline_moves(objects);
    }

    /// Limits the pages taken from the source, metadata included. What is taken stays taken, but
    /// for spare pages.
    pub fn set_limit_pages(&self, pages: usize) {
        self.core.set_limit(pages);
    }

    /// That limit; `usize::MAX` for none.
    pub fn limit_pages(&self) -> usize {
        self.core.account().limit()
    }

    /// Pages taken from the source, metadata included.
    pub fn pages_used(&self) -> usize {
        self.core.account().used()
    }

    /// The most pages ever taken at once starts again from what is taken now.
    pub fn reset_pages_max(&self) {
        self.core.account().reset_used_max();
    }

    /// Numbers of all arenas together.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Empties every slot and gives every page back.
    pub fn reset(&mut self) {
        self.core.clear();
    }

    /// The arenas' locks, before anybody uses the pool.
    ///
    /// For locks that need more than [`RawMutex::INIT`]: a kernel's mutex that has to be
    /// initialized where it lies, or one that calls functions its owner gives it at run time. Such a
    /// pool must not be moved afterwards.
    pub fn raw_locks(&mut self) -> impl ExactSizeIterator<Item = &L> {
        self.core.raw_locks()
    }

    /// The page source.
    pub fn source(&self) -> &S {
        self.core.source()
    }

    /// Checks every invariant of every arena; says which one does not hold. For tests: it looks
    /// at every block. No slot may be held.
    pub fn check(&self) -> Result<(), &'static str> {
        self.core.check()
    }

    #[cfg(feature = "std")]
    pub(crate) fn core(&self) -> &Core<S, L, ARENAS> {
        &self.core
    }

    #[inline]
    fn place(key: u64) -> Result<(usize, u32), AllocError> {
        if key >= Self::keys() {
            return Err(AllocError::BadKey {
                key,
                limit: Self::keys(),
            });
        }
        let (run, within) = (key / RUN, key % RUN);
        let (row, column) = (run / ARENAS as u64, run % ARENAS as u64);
        // Each row has every arena once, beginning with another one: threads that go through
        // keys side by side do not meet in the same arena all the time.
        let turn = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        let arena = (column + turn) % ARENAS as u64;
        Ok((arena as usize, (row * RUN + within) as u32))
    }
}

fn total_len(parts: &[&[u8]]) -> usize {
    parts
        .iter()
        .fold(0, |size, part| size.saturating_add(part.len()))
}

/// Checks tag and size of an object that is to be stored.
fn check_object(tag: u16, size: usize) -> Result<u32, AllocError> {
    if tag > TAG_MAX {
        return Err(AllocError::BadTag {
            value: u64::from(tag),
            max: u64::from(TAG_MAX),
        });
    }
    let max = OBJECT_MAX + TRAILER_MAX;
    if size == 0 || size > max {
        return Err(AllocError::BadSize { size, max });
    }
    Ok(size as u32)
}
