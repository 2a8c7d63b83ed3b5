//! What the two faces of the allocator share: arenas, page account, waiting for entries.

use crate::arena::Arena;
use crate::compaction::{Budget, Step};
use crate::entry::{Object, Word};
use crate::error::AllocError;
use crate::fragments::{Parts, Resolve};
use crate::frames::{Account, Frames};
use crate::source::PageSource;
use crate::space::{SPARE_ROOM, Space, SpaceError};
use crate::stats::{Compacted, Stats};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};
use crossbeam_utils::{Backoff, CachePadded};
use lock_api::{Mutex, MutexGuard, RawMutex};

/// Objects moved beside one free, unless that is changed.
const INLINE_MOVES: u32 = 1;
/// What explicit and background compaction does under one hold of an arena's lock: objects moved, bytes of
/// them, and blocks passed over, each of which may lie in no cache. Some microseconds: who waits longer for
/// the lock than that goes to sleep, and to be woken takes ten times as long.
const STEP_OBJECTS: u32 = 8;
const STEP_BYTES: u32 = 8192;
const STEP_LOOKS: u32 = 32;
/// How often it spins before the next hold, so that who waits for the lock gets it.
const STEP_PAUSES: u32 = 32;
/// Whole pages that such compaction keeps between the packed objects and the others.
const GAP_MAX: u32 = 256;
/// The same beside an allocation, which may be the last one for a long time.
const ASSIST_GAP: u32 = 2;

/// Bytes that are asked for where the next object will probably lie.
const FRONTIER_BYTES: usize = 2048;

/// Arenas and what they share. `ARENAS` is a power of two.
pub(crate) struct Core<S: PageSource, L: RawMutex, const ARENAS: usize> {
    source: S,
    account: Account,
    arenas: [CachePadded<Mutex<L, Arena>>; ARENAS],
    /// For each arena: where the next object will probably lie; see [`Arena::frontier`].
    frontiers: [CachePadded<AtomicPtr<u8>>; ARENAS],
    /// Objects that a free may move while an arena is below its target fill.
    inline_moves: AtomicU32,
    /// Allocations move objects in a small arena that is far below its target fill: there is a thread
    /// that packs, and it is late.
    assists: AtomicBool,
    /// Some arena fell below its target fill since the background compactor last looked.
    wanted: AtomicBool,
    #[cfg(feature = "std")]
    pub(crate) waker: crate::background::Waker,
}

/// An entry that this thread holds.
pub(crate) struct Held<'c> {
    pub(crate) cell: &'c AtomicU64,
    pub(crate) arena: usize,
    pub(crate) index: u32,
    /// The entry's word without the lock.
    pub(crate) word: Word,
}

impl<S: PageSource, L: RawMutex, const ARENAS: usize> Core<S, L, ARENAS> {
    const ARENAS_IS_SUPPORTED: () = assert!(
        ARENAS.is_power_of_two() && ARENAS <= 32,
        "1 to 32 arenas, a power of two"
    );

    pub(crate) const fn new(source: S) -> Self {
        let () = Self::ARENAS_IS_SUPPORTED;
        Self {
            source,
            account: Account::new(),
            arenas: [const { CachePadded::new(Mutex::new(Arena::new())) }; ARENAS],
            frontiers: [const { CachePadded::new(AtomicPtr::new(core::ptr::null_mut())) }; ARENAS],
            inline_moves: AtomicU32::new(INLINE_MOVES),
            assists: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            #[cfg(feature = "std")]
            waker: crate::background::Waker::new(),
        }
    }

    /// [`new`](Self::new) where the value will stay: it is some KiB for each arena, and does not pass
    /// through the stack.
    #[allow(unsafe_code, reason = "built in place, field by field")]
    pub(crate) fn new_at(place: &mut MaybeUninit<Self>, source: S) -> &mut Self {
        let () = Self::ARENAS_IS_SUPPORTED;
        let core = place.as_mut_ptr();
        // SAFETY: 1. every pointer is to a field of `place`; 2. all fields are written before the value
        // is used: those are the fields of `new`.
        unsafe {
            (&raw mut (*core).source).write(source);
            (&raw mut (*core).account).write(Account::new());
            let arenas = (&raw mut (*core).arenas).cast::<CachePadded<Mutex<L, Arena>>>();
            for arena in 0..ARENAS {
                arenas
                    .add(arena)
                    .write(const { CachePadded::new(Mutex::new(Arena::new())) });
            }
            (&raw mut (*core).frontiers)
                .write([const { CachePadded::new(AtomicPtr::new(core::ptr::null_mut())) }; ARENAS]);
            (&raw mut (*core).inline_moves).write(AtomicU32::new(INLINE_MOVES));
            (&raw mut (*core).assists).write(AtomicBool::new(false));
            (&raw mut (*core).wanted).write(AtomicBool::new(false));
            #[cfg(feature = "std")]
            (&raw mut (*core).waker).write(crate::background::Waker::new());
            place.assume_init_mut()
        }
    }

    #[inline]
    pub(crate) fn frames(&self) -> Frames<'_, S> {
        Frames::new(&self.source, &self.account)
    }

    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    #[inline]
    pub(crate) fn lock(&self, arena: usize) -> MutexGuard<'_, L, Arena> {
        self.arenas[arena % ARENAS].lock()
    }

    /// Locks the arena and looks up what `attempt` wants there. It answers `None` when somebody
    /// holds the entry it needs; then the lock is let go and this thread waits.
    #[inline]
    pub(crate) fn enter<'c, T>(
        &'c self,
        arena: usize,
        attempt: impl Fn(&mut Arena, Frames<'c, S>) -> Option<T>,
    ) -> (MutexGuard<'c, L, Arena>, T) {
        let mut locked = self.lock(arena);
        if let Some(found) = attempt(&mut locked, self.frames()) {
            return (locked, found);
        }
        drop(locked);
        self.wait_and_enter(arena, attempt)
    }

    /// The rest of [`enter`](Self::enter), apart from what is done all the time.
    #[cold]
    #[inline(never)]
    fn wait_and_enter<'c, T>(
        &'c self,
        arena: usize,
        attempt: impl Fn(&mut Arena, Frames<'c, S>) -> Option<T>,
    ) -> (MutexGuard<'c, L, Arena>, T) {
        let backoff = Backoff::new();
        loop {
            backoff.snooze();
            let mut locked = self.lock(arena);
            if let Some(found) = attempt(&mut locked, self.frames()) {
                return (locked, found);
            }
        }
    }

    pub(crate) fn space_error(&self, error: SpaceError) -> AllocError {
        AllocError::from_space(error, self.account.limit())
    }

    /// Work that follows a free: a bounded piece of compaction, or a note for who does it.
    #[inline]
    pub(crate) fn after_free(&self, arena: &mut Arena) {
        if arena.asks_for_compaction() {
            self.below_target(arena);
        }
    }

    #[cold]
    fn below_target(&self, arena: &mut Arena) {
        let moves = self.inline_moves.load(Relaxed);
        if moves > 0 {
            // What a free does at once is worth less than what a thread does in passing.
            if arena.wants_compaction_beside_frees::<S>() {
                arena.compaction_step(self.frames(), Budget::step(moves));
            }
        } else {
            let assists = self.assists.load(Relaxed);
            if !assists && self.wanted.load(Relaxed) {
                // Whoever was asked comes to this arena as well.
                return arena.asked::<S>(false, 0);
            }
            let fair = self.fair_free();
            if arena.is_fair::<S>(fair) {
                return;
            }
            arena.asked::<S>(assists, fair);
            if !self.wanted.swap(true, Relaxed) {
                #[cfg(feature = "std")]
                self.waker.wake();
            }
        }
    }

    /// Free granules that an arena may have, however small it is.
    fn fair_free(&self) -> u64 {
        Space::fair_free::<S>(self.account.used(), ARENAS)
    }

    /// Work that follows an allocation: a bounded piece of compaction while the thread that should do
    /// it is late. Allocations do it, so that a burst of frees stays fast, and who makes the waste
    /// cannot be faster than who packs.
    #[inline]
    pub(crate) fn after_alloc(&self, arena: &mut Arena) {
        if arena.asks_for_assistance() {
            self.assist(arena);
        }
    }

    #[cold]
    fn assist(&self, arena: &mut Arena) {
        let fair = self.fair_free();
        let objects = arena.assistance::<S>(fair);
        if objects == 0 {
            // Pages have come or gone since it was asked for.
            return arena.assisted::<S>(fair);
        }
        let budget = Budget {
            gap: if S::WINDOWS { ASSIST_GAP } else { 0 },
            ..Budget::step(objects)
        };
        arena.compaction_step(self.frames(), budget);
    }

    /// Whether allocations move objects for a thread that is late. Before `set_inline_moves`, which
    /// makes every arena look at it again.
    #[cfg(feature = "std")]
    pub(crate) fn set_assistance(&self, on: bool) {
        self.assists.store(on, Relaxed);
    }

    /// Limits the frames that may be taken. Near the limit no arena keeps spare pages.
    pub(crate) fn set_limit(&self, frames: usize) {
        self.account.set_limit(frames);
        for arena in &self.arenas {
            if !self.frames().has_room(SPARE_ROOM) {
                arena.lock().space.release_spare(self.frames());
            }
        }
    }

    pub(crate) fn set_inline_moves(&self, objects: u32) {
        self.inline_moves.store(objects, Relaxed);
        for arena in &self.arenas {
            let mut locked = arena.lock();
            locked.close_gap(self.frames());
            locked.rearm::<S>();
        }
    }

    /// Whether compaction was asked for since the last call.
    #[cfg(feature = "std")]
    pub(crate) fn take_wanted(&self) -> bool {
        self.wanted.swap(false, Relaxed)
    }

    /// One full pass over every arena, or as much as `objects` moved allow.
    pub(crate) fn compact(&self, objects: u64) -> Compacted {
        let mut left = objects;
        let (pages, moved) = (self.account.used(), self.moved());
        let mut finished = true;
        for arena in 0..ARENAS {
            if left == 0 {
                finished = false;
                break;
            }
            self.lock(arena).restart_pass();
            finished &= self.pass(arena, &mut left, |_| true, Arena::pack_step::<S>);
            self.lock(arena).close_gap(self.frames());
            self.source.tidy();
        }
        Compacted {
            objects: self.moved() - moved,
            pages: pages.saturating_sub(self.account.used()) as u64,
            finished,
        }
    }

    /// Goes on with compaction where it stands, as long as it pays. For the background thread.
    pub(crate) fn compact_to_target(&self) {
        for arena in 0..ARENAS {
            // The first pass may be the rest of one that stopped when it was no longer needed.
            for _ in 0..2 {
                let mut locked = self.lock(arena);
                // What is freed from now on asks again: the pass may have gone past it.
                locked.rearm::<S>();
                let wants = locked.wants_compaction::<S>();
                drop(locked);
                if !wants {
                    break;
                }
                let mut left = u64::MAX;
                self.pass(
                    arena,
                    &mut left,
                    Arena::compaction_pays::<S>,
                    Arena::compaction_step::<S>,
                );
            }
            let mut locked = self.lock(arena);
            locked.close_gap(self.frames());
            locked.rearm::<S>();
            drop(locked);
            self.source.tidy();
        }
    }

    /// Steps through one arena; true if the pass came to its end.
    fn pass<'c>(
        &'c self,
        arena: usize,
        left: &mut u64,
        go_on: impl Fn(&Arena) -> bool,
        step: impl Fn(&mut Arena, Frames<'c, S>, Budget) -> Step,
    ) -> bool {
        while *left > 0 {
            let objects = (*left).min(u64::from(STEP_OBJECTS)) as u32;
            let mut guard = self.lock(arena);
            if !go_on(&guard) {
                return true;
            }
            let before = guard.moved;
            let budget = Budget {
                objects,
                granules: STEP_BYTES / 4,
                looks: STEP_LOOKS,
                gap: if S::WINDOWS { GAP_MAX } else { 0 },
            };
            let step = step(&mut guard, self.frames(), budget);
            *left = left.saturating_sub(guard.moved - before);
            drop(guard);
            self.source.tidy();
            if step == Step::Done {
                return true;
            }
            (0..STEP_PAUSES).for_each(|_| core::hint::spin_loop());
        }
        false
    }

    /// A piece of a pass of [`compact`](Self::compact), which is left as it stands.
    #[cfg(test)]
    pub(crate) fn pack_a_piece(&self, arena: usize, objects: u32) -> Step {
        let budget = Budget {
            gap: GAP_MAX,
            ..Budget::step(objects)
        };
        self.lock(arena).pack_step(self.frames(), budget)
    }

    fn moved(&self) -> u64 {
        (0..ARENAS).map(|arena| self.lock(arena).moved).sum()
    }

    #[cfg(feature = "std")]
    pub(crate) fn objects(&self) -> u64 {
        (0..ARENAS)
            .map(|arena| u64::from(self.lock(arena).objects))
            .sum()
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            page_size: S::PAGE_SIZE as u64,
            ..Stats::default()
        };
        for arena in 0..ARENAS {
            let arena = self.lock(arena);
            stats.objects += u64::from(arena.objects);
            stats.payload_bytes += arena.payload;
            stats.block_bytes += arena.space.used * 4;
            stats.data_pages += u64::from(arena.space.backed);
            stats.metadata_pages += arena.metadata_pages();
            stats.objects_moved += arena.moved;
            stats.pages_compacted += arena.pages_compacted;
        }
        stats.pages_max = self.account.used_max() as u64;
        stats.struct_bytes = size_of::<Self>() as u64;
        stats
    }

    /// Where an object's bytes are. Under the arena's lock.
    pub(crate) fn parts<'c>(&'c self, arena: &Arena, object: Object) -> Parts<'c> {
        Parts::resolve(&arena.space, self.frames(), object)
    }

    /// Notes where the next object of an arena will probably lie: behind this one, if this one
    /// lies behind the one before. Under the arena's lock.
    #[inline]
    pub(crate) fn note_frontier(&self, number: usize, arena: &mut Arena, object: Object) {
        if S::WINDOWS {
            let follows = arena.frontier == object.offset;
            arena.frontier = object.offset + object.granules();
            let address = match follows {
                true => arena.space.window.base.granule(arena.frontier),
                false => core::ptr::null_mut(),
            };
            self.frontiers[number % ARENAS].store(address, Relaxed);
        }
    }

    /// Whether the last object of an arena was placed behind the one before it: the arena grows, probably.
    #[inline]
    pub(crate) fn seems_to_grow(&self, number: usize) -> bool {
        !self.frontiers[number % ARENAS].load(Relaxed).is_null()
    }

    /// Asks for the memory in which the next object of an arena will probably lie.
    #[inline]
    pub(crate) fn prefetch_frontier(&self, number: usize) {
        if S::WINDOWS {
            let frontier = self.frontiers[number % ARENAS].load(Relaxed);
            if !frontier.is_null() {
                crate::fragments::prefetch_to_write(frontier, FRONTIER_BYTES);
            }
        }
    }

    /// The arenas' locks, while nobody uses them.
    #[allow(unsafe_code, reason = "nobody can unlock what another holds")]
    pub(crate) fn raw_locks(&mut self) -> impl ExactSizeIterator<Item = &L> {
        self.arenas.iter().map(|arena| {
            // SAFETY: `&mut self` says that no guard exists, and none is made while the locks are
            // borrowed; so nobody can unlock what another holds.
            unsafe { arena.raw() }
        })
    }

    /// Gives everything back. The caller makes sure that nobody holds an entry.
    pub(crate) fn clear(&mut self) {
        let frames = Frames::new(&self.source, &self.account);
        for arena in &mut self.arenas {
            arena.get_mut().clear(frames);
        }
    }
}

impl<S: PageSource, L: RawMutex, const ARENAS: usize> Drop for Core<S, L, ARENAS> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<S: PageSource, L: RawMutex, const ARENAS: usize> Resolve for Core<S, L, ARENAS> {
    fn resolve(&self, arena: usize, offset: u32, bytes: u32, push: &mut dyn FnMut((*mut u8, u32))) {
        let locked = self.lock(arena);
        Parts::resolve_rest(&locked.space, self.frames(), (offset, bytes), push);
    }
}
