//! Frames from the operating system, one reservation of address space for all of them.
//!
//! ```text
//! base                         fresh           populated                      capacity
//!  | taken, free, taken, ...     | never taken,   | reserved, not backed           |
//!  |                             | backed ahead   |                                |
//! ```
//!
//! * A frame number is its place in the reservation, so a wish for "the next frame" can be met
//!   and an object that crosses pages is usually one piece of memory.
//! * Fresh frames are backed ahead (`MADV_POPULATE_WRITE`): one system call instead of many
//!   page faults. A source that has grown over 1 MiB does so in chunks of 2 MiB, as a huge page
//!   where the system grants one: that costs a quarter of 512 single pages. The advice is taken
//!   back at once, so that the system never makes small pages huge again by itself, which would
//!   bring memory back that was given back.
//!   A helper thread backs the next chunk when less than one is left, so that nobody waits for it.
//! * Frames given back are noted and returned to the system in batches (`MADV_DONTNEED`), at most
//!   1/64 of the frames taken now; what was backed ahead is returned with them.
//!
//! So resident memory is at most 4 MiB over what is taken while a pool grows, within about 3 % of
//! it when frames are given back, and nothing when none is taken.

use super::frame_map::FrameMap;
use super::{FrameId, OutOfPages, PageSource};
use core::fmt;
use helper::Helper;
use mapping::{Base, Mapping, os_page_size};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

mod helper;
mod mapping;
#[cfg(test)]
mod tests;

pub use mapping::MmapError;

/// Most frames in one batch of either kind.
const BATCH_MAX: usize = 64;
/// A batch is at most this share of the frames that are taken.
const BATCH_SHARE: usize = 64;
/// Frames backed ahead at least, so that a small pool does not fault on each one.
const AHEAD_MIN: usize = 4;
/// Bytes of a huge page, and of a chunk that is backed as one.
const CHUNK_BYTES: usize = 2 << 20;
/// A source that has taken this much grows in chunks.
const CHUNKS_FROM_BYTES: usize = CHUNK_BYTES / 2;

/// A [`PageSource`] that maps anonymous memory (Linux).
///
/// # Examples
///
/// ```
/// use alloc_xv::{MmapSource, PageSource};
///
/// let source: MmapSource = MmapSource::new(1 << 30)?; // 1 GiB of addresses, no memory yet
/// let frame = source.take(None)?;
/// assert!(source.resident_bytes() >= 4096);
/// // SAFETY: just taken, not used.
/// unsafe { source.give_back(frame) };
/// assert_eq!(source.resident_bytes(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MmapSource<const PAGE: usize = 4096> {
    /// Where frame 0 is; the mapping in `shared` stays as long as this does.
    base: Base,
    shared: Arc<Frames<PAGE>>,
    helper: OnceLock<Option<Helper>>,
}

/// What the source and its helper share.
struct Frames<const PAGE: usize> {
    map: Mapping,
    state: Mutex<State>,
}

struct State {
    taken_map: FrameMap<'static>,
    /// The storage of `taken_map`; dropped after it.
    map_storage: Mapping,
    taken: usize,
    /// No frame from here on was ever taken.
    fresh: usize,
    /// Frames below were backed once.
    populated: usize,
    /// The most frames taken since what was backed ahead was last dropped.
    taken_populated: usize,
    /// The helper was asked to back the next chunk and has not come to it yet.
    asked: bool,
    /// Frames given back and perhaps still resident; some may be taken again.
    stash: [u32; BATCH_MAX],
    stash_len: usize,
}

impl<const PAGE: usize> MmapSource<PAGE> {
    const PAGE_SIZE_IS_SUPPORTED: () = assert!(PAGE == 4096 || PAGE == 16384 || PAGE == 65536);

    /// Reserves `capacity_bytes` of address space (rounded up to whole pages); memory is taken
    /// only for frames that are.
    pub fn new(capacity_bytes: usize) -> Result<Self, MmapError> {
        let () = Self::PAGE_SIZE_IS_SUPPORTED;
        let frames = capacity_bytes.div_ceil(PAGE);
        if frames == 0 || frames > FrameId::LIMIT as usize {
            return Err(MmapError::BadCapacity {
                bytes: capacity_bytes,
                max: (FrameId::LIMIT as usize).saturating_mul(PAGE),
            });
        }
        let map = Mapping::new(frames * PAGE, CHUNK_BYTES)?;
        // SAFETY: the advice drops no content. Huge pages made by the system itself would bring
        // back memory that was given back; where the kernel has none, refusing is fine.
        unsafe { map.advise(0, map.bytes, libc::MADV_NOHUGEPAGE) };
        let words = FrameMap::words_needed(frames);
        let storage = Mapping::new(words * 8, os_page_size())?;
        // SAFETY: fresh zeroed memory of `words` words, page-aligned, used through this slice
        // alone; it is stored beside its mapping and dropped before it.
        let slice =
            unsafe { core::slice::from_raw_parts_mut(storage.base.as_ptr().cast::<u64>(), words) };
        let taken_map = FrameMap::new(slice, frames).ok_or(MmapError::BadCapacity {
            bytes: capacity_bytes,
            max: 0,
        })?;
        let state = State {
            taken_map,
            map_storage: storage,
            taken: 0,
            fresh: 0,
            populated: 0,
            taken_populated: 0,
            asked: false,
            stash: [0; BATCH_MAX],
            stash_len: 0,
        };
        let shared = Arc::new(Frames {
            map,
            state: Mutex::new(state),
        });
        Ok(Self {
            base: shared.map.start(),
            shared,
            helper: OnceLock::new(),
        })
    }

    /// Frames taken now.
    pub fn taken(&self) -> usize {
        self.shared.state().taken
    }

    /// Bytes of this source's frames that are resident, asked from the kernel (`mincore`).
    pub fn resident_bytes(&self) -> usize {
        let os_page = os_page_size();
        let state = self.shared.state();
        let map = &self.shared.map;
        let bytes = (state.populated.max(state.fresh) * PAGE).min(map.bytes);
        let mut resident = 0;
        let mut flags = [0u8; 4096];
        let step = flags.len() * os_page;
        for start in (0..bytes).step_by(step) {
            let len = step.min(bytes - start);
            // SAFETY: the range lies in our mapping and `flags` has a byte for each OS page.
            let ok = unsafe {
                libc::mincore(
                    map.base.as_ptr().add(start).cast(),
                    len,
                    flags.as_mut_ptr().cast(),
                )
            } == 0;
            if ok {
                resident += flags[..len.div_ceil(os_page)]
                    .iter()
                    .filter(|&&flag| flag & 1 != 0)
                    .count();
            }
        }
        resident * os_page
    }

    /// Bytes that the map of taken frames occupies beside the frames.
    pub fn overhead_bytes(&self) -> usize {
        (self.shared.state().fresh / 8).next_multiple_of(os_page_size())
    }

    /// Lets the helper back the next chunk, if this one is running out.
    #[cold]
    fn wake_helper(&self) {
        let start = || Helper::spawn(&self.shared).ok();
        if let Some(helper) = self.helper.get_or_init(start) {
            helper.wake();
        }
    }
}

impl<const PAGE: usize> Frames<PAGE> {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every update leaves the state whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Backs the next fresh frames, up to and including `frame`.
    fn populate(&self, state: &mut State, frame: usize) {
        while state.populated <= frame {
            let start = state.populated;
            let boundary = (start + 1).next_multiple_of(CHUNK_BYTES / PAGE);
            let big = state.grows_in_chunks::<PAGE>() && start.is_multiple_of(CHUNK_BYTES / PAGE);
            let batch = (state.taken / BATCH_SHARE).clamp(AHEAD_MIN, BATCH_MAX);
            let end = if big {
                boundary
            } else {
                (frame + batch).min(boundary)
            };
            let end = end.min(state.taken_map.frames());
            self.back(start, end, big);
            state.populated = end;
        }
        state.taken_populated = state.taken_populated.max(state.taken);
    }

    /// Backs frames that nobody has dropped content into, as a huge page if `big`.
    fn back(&self, start: usize, end: usize, big: bool) {
        let (from, bytes) = (start * PAGE, (end - start) * PAGE);
        // SAFETY: no advice drops content. If the kernel does not know one (before 5.14) or is
        // out of memory, the frames are faulted in on use.
        unsafe {
            if big {
                self.map.advise(from, bytes, libc::MADV_HUGEPAGE);
            }
            self.map.advise(from, bytes, libc::MADV_POPULATE_WRITE);
            if big {
                self.map.advise(from, bytes, libc::MADV_NOHUGEPAGE);
            }
        }
    }

    /// Backs the next chunk, if it is time for it. The system calls are made without the lock;
    /// should the frames have been backed or given up by somebody else meanwhile, what nobody
    /// accounts for is dropped again.
    fn back_ahead(&self) {
        let chunk = CHUNK_BYTES / PAGE;
        let (start, end) = {
            let mut state = self.state();
            state.asked = false;
            let end = state.populated + chunk;
            if !state.runs_short::<PAGE>()
                || !state.populated.is_multiple_of(chunk)
                || end > state.taken_map.frames()
            {
                return;
            }
            (state.populated, end)
        };
        self.back(start, end, true);
        let mut state = self.state();
        if state.populated == start && state.taken > 0 {
            state.populated = end;
            state.taken_populated = state.taken_populated.max(state.taken);
        } else {
            self.drop_run(Some((start.max(state.populated), end)));
        }
    }

    /// Returns to the system what is free but may be resident.
    fn flush(&self, state: &mut State) {
        let len = core::mem::take(&mut state.stash_len);
        let mut stash = state.stash;
        let noted = &mut stash[..len];
        noted.sort_unstable();
        let mut run: Option<(usize, usize)> = None;
        for &frame in noted.iter() {
            let frame = frame as usize;
            match run {
                Some((_, end)) if frame < end => continue,
                _ if state.taken_map.is_taken(frame) => continue,
                Some((start, end)) if frame == end => run = Some((start, frame + 1)),
                _ => {
                    self.drop_run(run);
                    run = Some((frame, frame + 1));
                }
            }
        }
        self.drop_run(run);
        // What was backed ahead goes once the pool shrinks; while it only breathes, it stays.
        if state.taken + state.taken / 32 < state.taken_populated || state.taken == 0 {
            self.drop_run(Some((state.fresh, state.populated)));
            state.populated = state.fresh;
            state.taken_populated = state.taken;
        }
        if state.taken == 0 {
            state.fresh = 0;
            state.populated = 0;
            let storage = &state.map_storage;
            // SAFETY: every frame is free, so the map is all zero, which is also what dropped
            // pages read as.
            unsafe { storage.drop_content(0, storage.bytes) };
        }
    }

    fn drop_run(&self, run: Option<(usize, usize)>) {
        if let Some((start, end)) = run.filter(|&(start, end)| start < end) {
            // SAFETY: the frames are free, and stay so under the state's lock.
            unsafe { self.map.drop_content(start * PAGE, (end - start) * PAGE) };
        }
    }
}

impl State {
    /// A free frame: the wanted one, else one that is still resident, else the lowest.
    fn choose(&mut self, wanted: Option<FrameId>) -> Option<usize> {
        let wanted = wanted.map(|frame| frame.number() as usize);
        if let Some(frame) = wanted.filter(|&f| f <= self.fresh && !self.taken_map.is_taken(f)) {
            return Some(frame);
        }
        while self.stash_len > 0 {
            self.stash_len -= 1;
            let frame = self.stash[self.stash_len] as usize;
            if !self.taken_map.is_taken(frame) {
                return Some(frame);
            }
        }
        self.taken_map.lowest_free()
    }

    fn grows_in_chunks<const PAGE: usize>(&self) -> bool {
        self.taken * PAGE >= CHUNKS_FROM_BYTES
    }

    /// Whether less than a chunk is backed ahead of a source that grows in chunks.
    fn runs_short<const PAGE: usize>(&self) -> bool {
        self.grows_in_chunks::<PAGE>()
            && self.populated.saturating_sub(self.fresh) * PAGE < CHUNK_BYTES
    }
}

// SAFETY: frames are disjoint pages of one mapping that stays in place until the source is
// dropped; the map of taken frames hands each to one taker at a time.
unsafe impl<const PAGE: usize> PageSource for MmapSource<PAGE> {
    const PAGE_SIZE: usize = PAGE;

    fn take(&self, wanted: Option<FrameId>) -> Result<FrameId, OutOfPages> {
        let mut guard = self.shared.state();
        let state = &mut *guard;
        let frame = state.choose(wanted).ok_or(OutOfPages)?;
        if frame >= state.populated {
            self.shared.populate(state, frame);
        }
        state.taken_map.set_taken(frame);
        state.taken += 1;
        if frame >= state.fresh {
            state.fresh = frame + 1;
            if !state.asked && state.runs_short::<PAGE>() {
                state.asked = true;
                drop(guard);
                self.wake_helper();
            }
        }
        FrameId::new(frame as u32).ok_or(OutOfPages)
    }

    unsafe fn give_back(&self, frame: FrameId) {
        let mut guard = self.shared.state();
        let state = &mut *guard;
        let was_taken = state.taken_map.set_free(frame.number() as usize);
        debug_assert!(was_taken, "frame {} given back twice", frame.number());
        state.taken -= usize::from(was_taken);
        state.stash[state.stash_len] = frame.number();
        state.stash_len += 1;
        if state.stash_len >= BATCH_MAX.min(state.taken / BATCH_SHARE).max(1) {
            self.shared.flush(state);
        }
    }

    #[inline]
    fn address(&self, frame: FrameId) -> *mut u8 {
        self.base.0.wrapping_add(frame.number() as usize * PAGE)
    }
}

impl<const PAGE: usize> fmt::Debug for MmapSource<PAGE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmapSource")
            .field("capacity_bytes", &self.shared.map.bytes)
            .field("taken", &self.taken())
            .finish_non_exhaustive()
    }
}
