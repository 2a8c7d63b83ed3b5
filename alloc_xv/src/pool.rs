//! [`Pool`]: objects behind opaque handles with a generation.

use crate::OBJECT_MAX;
use crate::arena::{Arena, EntryTable, IndexError, Vacancy};
use crate::entry::{self, Meaning, Object, Word, block_granules};
use crate::error::{AccessError, AllocError};
use crate::fragments::{Fragments, Parts, Resolve};
use crate::frames::{Frames, TakeError};
use crate::pool_core::Core;
use crate::source::PageSource;
use crate::space::SpaceError;
use crate::stats::{Compacted, Stats};
use core::mem::MaybeUninit;
use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use lock_api::RawMutex;

/// Names an object of a [`Pool`].
///
/// ```text
///  63        44 43     32 31    24 23         0
///  [   pool    |  gener. | arena  |   entry    ]
/// ```
///
/// Generations start at 1, so a handle is never zero. A handle whose object was freed is
/// refused: an entry never gets the same generation twice, until an arena has used up all
/// 2^36 pairs of entry and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(NonZeroU64);

impl Handle {
    /// As a number, to be stored.
    pub const fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// A handle from a number that was stored; `None` for zero. Whether it names an object is
    /// checked whenever it is used.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match NonZeroU64::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }
}

const POOL_SHIFT: u32 = 44;
const GENERATION_SHIFT: u32 = 32;
const ARENA_SHIFT: u32 = 24;

/// Numbers pools, so that a handle of one is refused by another (2^20 of them).
static NEXT_POOL: AtomicU32 = AtomicU32::new(0);

/// A pool of objects of 1 byte to [`OBJECT_MAX`] bytes behind [`Handle`]s.
///
/// # Examples
///
/// ```
/// use alloc_xv::{MmapSource, Pool};
///
/// let pool: Pool<MmapSource> = Pool::new(MmapSource::new(1 << 30)?);
/// let handle = pool.alloc(3000)?; // cleared
/// pool.write(handle, 100, b"cold page")?;
/// let mut out = [0; 9];
/// pool.read_into(handle, 100, &mut out)?;
/// assert_eq!(&out, b"cold page");
/// assert_eq!(pool.read(handle)?.fragments().size(), 3000);
/// pool.free(handle)?;
/// assert!(pool.free(handle).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Concurrency and time complexity are those of [`Slots`](crate::Slots).
pub struct Pool<S: PageSource, L: RawMutex = spin::Mutex<()>, const ARENAS: usize = 1> {
    core: Core<S, L, ARENAS>,
    /// This pool's number plus one; 0 until the first allocation.
    number: AtomicU32,
}

impl<S: PageSource, L: RawMutex, const ARENAS: usize> Pool<S, L, ARENAS> {
    /// An empty pool over `source`. Takes no page.
    pub const fn new(source: S) -> Self {
        Self {
            core: Core::new(source),
            number: AtomicU32::new(0),
        }
    }

    /// [`new`](Self::new) at the place where the pool will stay. A pool is about 3.3 KiB for each
    /// arena; built there it takes no stack, of which kernels have little.
    #[allow(unsafe_code, reason = "built in place, field by field")]
    pub fn new_at(place: &mut MaybeUninit<Self>, source: S) -> &mut Self {
        // SAFETY: 1. the pointers are to the two fields of `place`; 2. both are written before the
        // value is used.
        unsafe {
            let pool = place.as_mut_ptr();
            Core::<S, L, ARENAS>::new_at(&mut *(&raw mut (*pool).core).cast(), source);
            (&raw mut (*pool).number).write(AtomicU32::new(0));
            place.assume_init_mut()
        }
    }

    /// Allocates an object of `size` cleared bytes. On failure the pool is as it was.
    pub fn alloc(&self, size: usize) -> Result<Handle, AllocError> {
        self.create(size, |parts, pool| parts.clear(pool))
    }

    /// Allocates an object that holds a copy of `bytes`. On failure the pool is as it was.
    pub fn alloc_from(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        self.create(bytes.len(), |parts, pool| parts.write(pool, 0, &[bytes]))
    }

    /// [`alloc`](Self::alloc) without clearing: the object's content is what was there before,
    /// of whatever object. For benchmarks of the allocator alone.
    #[cfg(feature = "bench")]
    #[doc(hidden)]
    pub fn alloc_unwritten(&self, size: usize) -> Result<Handle, AllocError> {
        self.create(size, |_, _| {})
    }

    fn create(
        &self,
        size: usize,
        fill: impl FnOnce(&mut Parts<'_>, (&dyn Resolve, usize)),
    ) -> Result<Handle, AllocError> {
        if size == 0 || size > OBJECT_MAX {
            return Err(AllocError::BadSize {
                size,
                max: OBJECT_MAX,
            });
        }
        let size = size as u32;
        let first = thread_hint() % ARENAS;
        for turn in 0..ARENAS {
            let arena = (first + turn) % ARENAS;
            let mut locked = self.core.lock(arena);
            let (cell, index, object) = match self.place(&mut locked, size) {
                Ok(placed) => placed,
                // Another arena may have room; for pages they all ask the same source.
                Err(PlaceError::Full | PlaceError::Entries) if turn + 1 < ARENAS => continue,
                Err(error) => return Err(self.place_error(error)),
            };
            let mut parts = self.core.parts(&locked, object);
            self.core.after_alloc(&mut locked);
            drop(locked);
            fill(&mut parts, (&self.core, arena));
            entry::unlock(cell, Word::object(object));
            return Ok(self.handle(arena, index, object.tag));
        }
        Err(AllocError::SpaceFull)
    }

    #[cold]
    fn place_error(&self, error: PlaceError) -> AllocError {
        match error {
            PlaceError::Full => AllocError::SpaceFull,
            PlaceError::Entries => AllocError::TooManyObjects {
                max: EntryTable::capacity::<S>(),
            },
            PlaceError::Take(error) => self.core.space_error(error.into()),
        }
    }

    /// Entry first, block second: either can fail, and undoing the entry leaves no trace.
    #[inline]
    fn place(&self, arena: &mut Arena, size: u32) -> Result<(&AtomicU64, u32, Object), PlaceError> {
        let frames = self.core.frames();
        let vacancy = match arena.take_index(frames) {
            Ok(vacancy) => vacancy,
            Err(IndexError::Take(error)) => return Err(PlaceError::Take(error)),
            Err(IndexError::Full) => return Err(PlaceError::Entries),
        };
        let granules = block_granules(size);
        let offset = match arena.space.alloc(frames, granules, vacancy.index) {
            Ok(offset) => offset,
            Err(error) => {
                arena.untake_index(frames, vacancy);
                return Err(match error {
                    SpaceError::Take(error) => PlaceError::Take(error),
                    SpaceError::Full => PlaceError::Full,
                });
            }
        };
        let Vacancy {
            index,
            generation,
            cell,
            record,
            ..
        } = vacancy;
        let object = Object {
            offset,
            size,
            tag: generation,
        };
        entry::set_locked(cell, Word::object(object));
        record.add_live(1);
        arena.objects += 1;
        arena.payload += u64::from(size);
        Ok((cell, index, object))
    }

    /// Frees an object. Waits while somebody holds it.
    pub fn free(&self, handle: Handle) -> Result<(), AccessError> {
        let (arena, index, generation) = self.parse(handle)?;
        let (mut locked, found) = self.core.enter(arena, |locked, frames| {
            match live(locked, frames, index, generation) {
                Ok((_, word, _)) if word.is_locked() => None,
                found => Some(found),
            }
        });
        let (cell, _, object) = found?;
        let frames = self.core.frames();
        locked.free_object(frames, object);
        locked.put_index(frames, index, cell, generation + 1);
        self.core.after_free(&mut locked);
        Ok(())
    }

    /// Bytes of an object.
    pub fn size(&self, handle: Handle) -> Result<usize, AccessError> {
        let (arena, index, generation) = self.parse(handle)?;
        let locked = self.core.lock(arena);
        live(&locked, self.core.frames(), index, generation)
            .map(|(_, _, object)| object.size as usize)
    }

    /// Holds an object to read it in place. Others who want it wait.
    pub fn read(&self, handle: Handle) -> Result<Reading<'_>, AccessError> {
        let (arena, index, generation) = self.parse(handle)?;
        let (locked, found) = self.core.enter(arena, |locked, frames| {
            match live(locked, frames, index, generation) {
                Ok((cell, _, object)) => entry::try_lock(cell).map(|word| Ok((cell, word, object))),
                Err(error) => Some(Err(error)),
            }
        });
        let (cell, word, object) = found?;
        Ok(Reading {
            cell,
            word,
            size: object.size as usize,
            parts: self.core.parts(&locked, object),
            pool: (&self.core, arena),
        })
    }

    /// Takes up a reading that was given to [`mem::forget`](core::mem::forget): for interfaces whose
    /// begin and end have nothing but the handle in common.
    ///
    /// An object that nobody holds is [`AccessError::BadHandle`].
    ///
    /// # Safety
    ///
    /// The reading is one that was forgotten and not taken up since. If it turns out not to be (its
    /// first byte lies elsewhere), it is somebody else's: forget it again, and do not look at its bytes.
    #[allow(unsafe_code, reason = "what it promises is for the caller to know")]
    pub unsafe fn resume_reading(&self, handle: Handle) -> Result<Reading<'_>, AccessError> {
        let (arena, index, generation) = self.parse(handle)?;
        let locked = self.core.lock(arena);
        let (cell, word, object) = live(&locked, self.core.frames(), index, generation)?;
        if !word.is_locked() {
            return Err(AccessError::BadHandle);
        }
        Ok(Reading {
            cell,
            word: Word::object(object),
            size: object.size as usize,
            parts: self.core.parts(&locked, object),
            pool: (&self.core, arena),
        })
    }

    /// Copies bytes of an object, from its byte `offset` on, into all of `out`.
    pub fn read_into(
        &self,
        handle: Handle,
        offset: usize,
        out: &mut [u8],
    ) -> Result<(), AccessError> {
        let reading = self.read(handle)?;
        reading.check(offset, out.len())?;
        reading.fragments().copy_to(offset, out);
        Ok(())
    }

    /// Copies `bytes` into an object, from its byte `offset` on.
    pub fn write(&self, handle: Handle, offset: usize, bytes: &[u8]) -> Result<(), AccessError> {
        let mut reading = self.read(handle)?;
        reading.check(offset, bytes.len())?;
        reading.parts.write(reading.pool, offset, &[bytes]);
        Ok(())
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

    /// See [`Slots::set_inline_moves`](crate::Slots::set_inline_moves).
    pub fn set_inline_moves(&self, objects: u32) {
        self.core.set_inline_moves(objects);
    }

    /// Limits the pages taken from the source, metadata included. What is taken stays taken, but
    /// for spare pages.
    pub fn set_limit_pages(&self, pages: usize) {
        self.core.set_limit(pages);
    }

    /// Pages taken from the source, metadata included.
    pub fn pages_used(&self) -> usize {
        self.core.account().used()
    }

    /// Numbers of all arenas together.
    pub fn stats(&self) -> Stats {
        self.core.stats()
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

    /// Checks every invariant, as [`Slots::check`](crate::Slots::check) does.
    pub fn check(&self) -> Result<(), &'static str> {
        self.core.check()
    }

    #[cfg(feature = "std")]
    pub(crate) fn core(&self) -> &Core<S, L, ARENAS> {
        &self.core
    }

    /// The pool's number in its handles.
    fn number(&self) -> u64 {
        let mut number = self.number.load(Relaxed);
        if number == 0 {
            let fresh = NEXT_POOL.fetch_add(1, Relaxed) % (1 << (64 - POOL_SHIFT)) + 1;
            number = match self.number.compare_exchange(0, fresh, Relaxed, Relaxed) {
                Ok(_) => fresh,
                Err(earlier) => earlier,
            };
        }
        u64::from(number - 1)
    }

    fn handle(&self, arena: usize, index: u32, generation: u16) -> Handle {
        let bits = self.number() << POOL_SHIFT
            | u64::from(generation) << GENERATION_SHIFT
            | (arena as u64) << ARENA_SHIFT
            | u64::from(index);
        // A generation is at least 1, so the bits are not all zero.
        Handle(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    fn parse(&self, handle: Handle) -> Result<(usize, u32, u16), AccessError> {
        let bits = handle.to_bits();
        let arena = (bits >> ARENA_SHIFT) as usize & 0xff;
        let index = bits as u32 & ((1 << ARENA_SHIFT) - 1);
        let generation = (bits >> GENERATION_SHIFT) as u16 & entry::TAG_MAX;
        // Before the first allocation the number is 0, and one less than that is in no handle.
        let number = self.number.load(Relaxed).wrapping_sub(1);
        if bits >> POOL_SHIFT != u64::from(number) || arena >= ARENAS {
            return Err(AccessError::BadHandle);
        }
        Ok((arena, index, generation))
    }
}

/// Why an arena had no room.
enum PlaceError {
    Take(TakeError),
    /// Offsets are used up.
    Full,
    /// Entries are.
    Entries,
}

/// The entry of a live object of this generation.
fn live<'s, S: PageSource>(
    arena: &Arena,
    frames: Frames<'s, S>,
    index: u32,
    generation: u16,
) -> Result<(&'s AtomicU64, Word, Object), AccessError> {
    let cell = arena.entry(frames, index).ok_or(AccessError::BadHandle)?;
    let word = entry::read(cell);
    match word.meaning() {
        Meaning::Object(object) if object.tag == generation => Ok((cell, word, object)),
        _ => Err(AccessError::BadHandle),
    }
}

/// A number that stays the same in a thread's calls and tends to differ between threads, for
/// choosing among several of a kind without sharing a counter: threads have stacks of their own.
#[inline]
pub fn thread_hint() -> usize {
    let here = 0u8;
    core::ptr::from_ref(&here).addr() >> 14
}

/// An object that is held for reading; it is let go on drop.
pub struct Reading<'c> {
    cell: &'c AtomicU64,
    word: Word,
    size: usize,
    parts: Parts<'c>,
    pool: (&'c dyn Resolve, usize),
}

impl Reading<'_> {
    /// The object's bytes.
    pub fn fragments(&self) -> Fragments<'_> {
        self.parts.fragments(self.pool)
    }

    /// Bytes of the object.
    pub fn size(&self) -> usize {
        self.size
    }

    fn check(&self, offset: usize, len: usize) -> Result<(), AccessError> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(AccessError::BadRange {
                offset,
                len,
                size: self.size,
            }),
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        entry::unlock(self.cell, self.word);
    }
}
