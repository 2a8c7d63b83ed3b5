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
//!   page faults. A source that has grown over 4 MiB does so in chunks of 2 MiB, as a huge page
//!   where the system grants one: that costs a quarter of 512 single pages. The advice is taken
//!   back at once, so that the system never makes small pages huge again by itself, which would
//!   bring memory back that was given back.
//! * Frames given back are noted and returned to the system in batches (`MADV_DONTNEED`), at most
//!   1/64 of the frames taken now; what was backed ahead is returned with them.
//!
//! So resident memory is at most 2 MiB over what is taken while a pool grows, within about 3 % of
//! it when frames are given back, and nothing when none is taken.

use super::frame_map::FrameMap;
use super::{FrameId, OutOfPages, PageSource};
use core::fmt;
use core::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most frames in one batch of either kind.
const BATCH_MAX: usize = 64;
/// A batch is at most this share of the frames that are taken.
const BATCH_SHARE: usize = 64;
/// Frames backed ahead at least, so that a small pool does not fault on each one.
const AHEAD_MIN: usize = 4;
/// Bytes of a huge page, and of a chunk that is backed as one.
const CHUNK_BYTES: usize = 2 << 20;
/// A source that has taken this much grows in chunks.
const CHUNKS_FROM_BYTES: usize = 2 * CHUNK_BYTES;

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
    /// Frames that were taken when frames were last backed ahead.
    taken_populated: usize,
    /// Frames given back and perhaps still resident; some may be taken again.
    stash: [u32; BATCH_MAX],
    stash_len: usize,
}

/// An anonymous mapping, unmapped on drop.
struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    /// What was mapped: more, where `base` is aligned to a chunk.
    whole: (NonNull<u8>, usize),
}

// SAFETY: a mapping is plain memory, reachable from every thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; `Mapping` itself gives no access to the content.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `bytes` at a multiple of `align`, which is a power of two.
    fn new(bytes: usize, align: usize) -> Result<Self, MmapError> {
        let refused = |errno| MmapError::Refused { bytes, errno };
        let whole_bytes = bytes.checked_add(align).ok_or(refused(libc::ENOMEM))?;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no
        // memory that exists.
        let address = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                whole_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            return Err(refused(errno));
        }
        let start = NonNull::new(address.cast::<u8>()).ok_or(refused(0))?;
        let skip = start.align_offset(align);
        // SAFETY: `skip` is less than `align`, and that much more was mapped.
        let base = unsafe { start.add(skip) };
        Ok(Self {
            base,
            bytes,
            whole: (start, whole_bytes),
        })
    }

    /// Advice for a part of the mapping; false if the kernel did not take it.
    ///
    /// # Safety
    ///
    /// If the advice drops content, nobody uses that part.
    unsafe fn advise(&self, start: usize, bytes: usize, advice: libc::c_int) -> bool {
        debug_assert!(start + bytes <= self.bytes);
        // SAFETY: the range lies in this mapping; the caller answers for its content.
        unsafe { libc::madvise(self.base.as_ptr().add(start).cast(), bytes, advice) == 0 }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives its owner.
        unsafe { libc::munmap(self.whole.0.as_ptr().cast(), self.whole.1) };
    }
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
            stash: [0; BATCH_MAX],
            stash_len: 0,
        };
        Ok(Self {
            map,
            state: Mutex::new(state),
        })
    }

    /// Frames taken now.
    pub fn taken(&self) -> usize {
        self.state().taken
    }

    /// Bytes of this source's frames that are resident, asked from the kernel (`mincore`).
    pub fn resident_bytes(&self) -> usize {
        let os_page = os_page_size();
        let state = self.state();
        let bytes = (state.populated.max(state.fresh) * PAGE).min(self.map.bytes);
        let mut resident = 0;
        let mut flags = [0u8; 4096];
        let step = flags.len() * os_page;
        for start in (0..bytes).step_by(step) {
            let len = step.min(bytes - start);
            // SAFETY: the range lies in our mapping and `flags` has a byte for each OS page.
            let ok = unsafe {
                libc::mincore(
                    self.map.base.as_ptr().add(start).cast(),
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
        (self.state().fresh / 8).next_multiple_of(os_page_size())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every update leaves the state whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Backs the next fresh frames, up to and including `frame`.
    fn populate(&self, state: &mut State, frame: usize) {
        let chunk = CHUNK_BYTES / PAGE;
        while state.populated <= frame {
            let start = state.populated;
            let boundary = (start + 1).next_multiple_of(chunk);
            let big = start % chunk == 0 && state.taken * PAGE >= CHUNKS_FROM_BYTES;
            let batch = (state.taken / BATCH_SHARE).clamp(AHEAD_MIN, BATCH_MAX);
            let end = if big {
                boundary
            } else {
                (frame + batch).min(boundary)
            };
            let end = end.min(state.taken_map.frames());
            let (from, bytes) = (start * PAGE, (end - start) * PAGE);
            // SAFETY: no advice drops content. If the kernel does not know one (before 5.14) or
            // is out of memory, the frames are faulted in on use.
            unsafe {
                if big {
                    self.map.advise(from, bytes, libc::MADV_HUGEPAGE);
                }
                self.map.advise(from, bytes, libc::MADV_POPULATE_WRITE);
                if big {
                    self.map.advise(from, bytes, libc::MADV_NOHUGEPAGE);
                }
            }
            state.populated = end;
        }
        state.taken_populated = state.taken;
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
            unsafe { storage.advise(0, storage.bytes, libc::MADV_DONTNEED) };
        }
    }

    fn drop_run(&self, run: Option<(usize, usize)>) {
        if let Some((start, end)) = run.filter(|&(start, end)| start < end) {
            // SAFETY: the frames are free, and stay so under the state's lock.
            unsafe {
                self.map
                    .advise(start * PAGE, (end - start) * PAGE, libc::MADV_DONTNEED)
            };
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
}

// SAFETY: frames are disjoint pages of one mapping that stays in place until the source is
// dropped; the map of taken frames hands each to one taker at a time.
unsafe impl<const PAGE: usize> PageSource for MmapSource<PAGE> {
    const PAGE_SIZE: usize = PAGE;

    fn take(&self, wanted: Option<FrameId>) -> Result<FrameId, OutOfPages> {
        let mut guard = self.state();
        let state = &mut *guard;
        let frame = state.choose(wanted).ok_or(OutOfPages)?;
        if frame >= state.populated {
            self.populate(state, frame);
        }
        state.taken_map.set_taken(frame);
        state.taken += 1;
        state.fresh = state.fresh.max(frame + 1);
        FrameId::new(frame as u32).ok_or(OutOfPages)
    }

    unsafe fn give_back(&self, frame: FrameId) {
        let mut guard = self.state();
        let state = &mut *guard;
        let was_taken = state.taken_map.set_free(frame.number() as usize);
        debug_assert!(was_taken, "frame {} given back twice", frame.number());
        state.taken -= usize::from(was_taken);
        state.stash[state.stash_len] = frame.number();
        state.stash_len += 1;
        if state.stash_len >= BATCH_MAX.min(state.taken / BATCH_SHARE).max(1) {
            self.flush(state);
        }
    }

    #[inline]
    fn address(&self, frame: FrameId) -> *mut u8 {
        self.map
            .base
            .as_ptr()
            .wrapping_add(frame.number() as usize * PAGE)
    }
}

impl<const PAGE: usize> fmt::Debug for MmapSource<PAGE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmapSource")
            .field("capacity_bytes", &self.map.bytes)
            .field("taken", &self.taken())
            .finish_non_exhaustive()
    }
}

fn os_page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Why address space could not be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmapError {
    /// Zero, or more frames than a frame number can name.
    BadCapacity {
        /// Bytes asked for.
        bytes: usize,
        /// The most there can be.
        max: usize,
    },
    /// The kernel refused the mapping.
    Refused {
        /// Bytes asked for.
        bytes: usize,
        /// The system's error number.
        errno: i32,
    },
}

impl fmt::Display for MmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadCapacity { bytes, max } => {
                write!(f, "capacity of {bytes} bytes; expected 1 to {max}")
            }
            Self::Refused { bytes, errno } => {
                let error = std::io::Error::from_raw_os_error(errno);
                write!(f, "cannot reserve {bytes} bytes of address space: {error}")
            }
        }
    }
}

impl core::error::Error for MmapError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_follows_what_is_taken() {
        let source: MmapSource = MmapSource::new(1 << 30).unwrap();
        let mut frames = std::vec::Vec::new();
        for _ in 0..8192 {
            let frame = source.take(frames.last().copied()).unwrap();
            // SAFETY: taken above, nobody else has it.
            unsafe { source.address(frame).write_bytes(0xa5, 4096) };
            frames.push(frame);
        }
        assert!(source.resident_bytes() <= 8192 * 4096 + CHUNK_BYTES);
        for frame in frames.drain(1024..) {
            // SAFETY: taken above and not used any more.
            unsafe { source.give_back(frame) };
        }
        assert!(source.resident_bytes() <= 1024 * 4096 * 105 / 100);
        assert!(source.resident_bytes() >= 1024 * 4096);
        for frame in frames.drain(..) {
            // SAFETY: as above.
            unsafe { source.give_back(frame) };
        }
        assert_eq!(source.resident_bytes(), 0);
    }

    #[test]
    fn the_wanted_frame_is_given_when_it_is_free() {
        let source: MmapSource = MmapSource::new(1 << 20).unwrap();
        let first = source.take(None).unwrap();
        let second = source.take(FrameId::new(first.number() + 1)).unwrap();
        assert_eq!(second.number(), first.number() + 1);
        // A frame far away from all others is not a sensible wish.
        let third = source.take(FrameId::new(200)).unwrap();
        assert_eq!(third.number(), 2);
    }

    #[test]
    fn the_last_frame_is_followed_by_a_typed_error() {
        let source: MmapSource = MmapSource::new(3 * 4096).unwrap();
        for _ in 0..3 {
            source.take(None).unwrap();
        }
        assert_eq!(source.take(None), Err(OutOfPages));
        assert!(MmapSource::<4096>::new(0).is_err());
    }
}
