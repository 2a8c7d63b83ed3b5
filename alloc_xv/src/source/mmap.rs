//! Frames from the operating system: ranges of reserved addresses, one for frames that may lie
//! anywhere and one for each window.
//!
//! ```text
//! base                         fresh           populated                      capacity
//!  | taken, free, taken, ...     | never taken,   | reserved, not backed           |
//!  |                             | backed ahead   |                                |
//! ```
//!
//! * A frame number is its place in its range, so an object that crosses pages in a window is one
//!   piece of memory.
//! * Fresh frames are backed ahead (`MADV_POPULATE_WRITE`): one system call instead of many
//!   page faults. A range that has grown over 1 MiB does so in chunks of 2 MiB, as a huge page
//!   where the system grants one: that costs a quarter of 512 single pages. The advice is taken
//!   back at once, so that the system never makes small pages huge again by itself, which would
//!   bring memory back that was given back.
//!   A helper thread backs the next chunk when less than one is left, so that nobody waits for it,
//!   and the rest of a first chunk, which has small pages, from 64 KiB on. While a source grows it
//!   looks by itself, a thousand times a second; else it sleeps. Who comes to the end of what is backed while a huge
//!   page is being made waits for that.
//! * Tables are backed a few frames ahead, at most a quarter of what they have.
//! * Frames given back are noted and returned to the system in batches (`MADV_DONTNEED`), at most
//!   1/32 of the frames taken now, 1/16 from 1,024 on; the helper returns these when nothing has been going on for
//!   50 ms. What was backed ahead is returned with them. Who packs a pool
//!   returns them before there are so many, between its holds of the pool's lock: on two CPUs such a
//!   call takes 20 µs or more, because it interrupts the other one.
//!
//! So resident memory is at most 4 MiB an arena over what is taken while a pool grows, within about
//! 3 % of it when frames are given back (6 % while that goes on), and nothing when none is taken.

use super::{FrameId, OutOfPages, PageSource};
use area::{Ahead, Area};
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use helper::Helper;
use mapping::Base;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

mod area;
mod helper;
mod mapping;
#[cfg(test)]
mod tests;

pub use mapping::MmapError;

/// Bytes of a huge page, and of a chunk that is backed as one.
const CHUNK_BYTES: usize = 2 << 20;
/// Frames of the biggest window, and the distance of windows in frame numbers. An address space
/// of 47 bits has room for all of them.
const WINDOW_FRAMES: u32 = 1 << 22;
/// Most windows: two an arena.
const WINDOWS_MAX: usize = 128;
/// Smaller windows hold tables, which grow too slowly for chunks.
const CHUNKED_WINDOW_BYTES: usize = 1 << 30;

/// A [`PageSource`] that maps anonymous memory (Linux).
///
/// Where addresses have 64 bits it has windows: each arena of a pool reserves 16 GiB of
/// addresses for its pages, and 128 MiB for its entries. That is no memory, but it
/// is refused where address space is limited (`ulimit -v`) or reservations are charged
/// (`vm.overcommit_memory=2`): allocations then fail as they do without memory.
///
/// # Examples
///
/// ```
/// use alloc_xv::{MmapSource, PageSource};
///
/// let source: MmapSource = MmapSource::new(1 << 30)?; // up to 1 GiB, no memory yet
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
    /// Frames from there on are in windows.
    windows_from: u32,
    shared: Arc<Shared<PAGE>>,
    /// Without it nothing is backed but by who takes it.
    helper: Option<Helper>,
}

/// What the source and its helper share.
struct Shared<const PAGE: usize> {
    /// Frames taken in all ranges, and how many may be.
    taken: AtomicUsize,
    capacity: usize,
    growth: Growth,
    /// Frames that may lie anywhere.
    ordinary: Area<PAGE>,
    /// Number `k` begins at frame `windows_from + k * WINDOW_FRAMES`. Windows stay mapped once
    /// they are.
    windows: [OnceLock<Box<Area<PAGE>>>; WINDOWS_MAX],
    windows_from: u32,
    /// For each of them its frames, and whether it is open.
    openings: Mutex<Vec<(u32, bool)>>,
}

/// By how much a source has memory backed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// Ahead of need, 2 MiB at once in ranges that have grown over 1 MiB: the quick way.
    #[default]
    Chunks,
    /// Page by page as they are taken. For who takes memory where there is hardly any: what swap
    /// is kept in, say. Asking for 2 MiB there uses up what the kernel keeps for those who free
    /// memory, and waits for pages that only the asker can write out.
    Pages,
}

impl<const PAGE: usize> MmapSource<PAGE> {
    const PAGE_SIZE_IS_SUPPORTED: () = assert!(PAGE == 4096 || PAGE == 16384 || PAGE == 65536);

    /// A source of up to `capacity_bytes` (rounded up to whole pages); memory is taken only for
    /// frames that are.
    pub fn new(capacity_bytes: usize) -> Result<Self, MmapError> {
        Self::with_growth(capacity_bytes, Growth::default())
    }

    /// [`new`](Self::new), growing as it is told.
    pub fn with_growth(capacity_bytes: usize, growth: Growth) -> Result<Self, MmapError> {
        let () = Self::PAGE_SIZE_IS_SUPPORTED;
        let capacity = capacity_bytes.div_ceil(PAGE);
        if capacity == 0 || capacity > FrameId::LIMIT as usize {
            return Err(MmapError::BadCapacity {
                bytes: capacity_bytes,
                max: (FrameId::LIMIT as usize).saturating_mul(PAGE),
            });
        }
        let ahead = match growth {
            Growth::Chunks => Ahead::Chunks,
            Growth::Pages => Ahead::Nothing,
        };
        let ordinary = Area::new(capacity, ahead, true)?;
        let windows_from = (capacity as u32).next_multiple_of(WINDOW_FRAMES);
        let base = ordinary.start();
        let shared = Arc::new(Shared {
            taken: AtomicUsize::new(0),
            capacity,
            ordinary,
            growth,
            windows: [const { OnceLock::new() }; WINDOWS_MAX],
            windows_from,
            openings: Mutex::new(Vec::new()),
        });
        // Now, and not when there is something to do: the system may let a new thread go first, and whoever takes
        // pages then waited 0.7 ms for it.
        let helper = match growth {
            Growth::Chunks => Helper::spawn(&shared).ok(),
            Growth::Pages => None,
        };
        Ok(Self {
            base,
            windows_from,
            shared,
            helper,
        })
    }

    /// Frames taken now.
    pub fn taken(&self) -> usize {
        self.shared.taken.load(Relaxed)
    }

    /// Bytes of this source's frames that are resident, asked from the kernel (`mincore`).
    pub fn resident_bytes(&self) -> usize {
        self.shared.areas().map(Area::resident_bytes).sum()
    }

    /// Bytes that the maps of taken frames occupy beside the frames; the source itself is a few
    /// thousand bytes whatever it holds.
    pub fn overhead_bytes(&self) -> usize {
        self.shared.areas().map(Area::map_bytes).sum()
    }

    #[cold]
    fn address_in_window(&self, frame: FrameId) -> *mut u8 {
        let (base, place) = match self.shared.area(frame) {
            Some((area, place)) => (area.start(), place),
            None => (self.base, 0),
        };
        base.0.wrapping_add(place * PAGE)
    }

    /// Lets the helper back the next chunk, if this one is running out, or return what is noted when nothing is going on.
    #[cold]
    fn wake_helper(&self) {
        if let Some(helper) = &self.helper {
            helper.wake();
        }
    }
}

impl<const PAGE: usize> Shared<PAGE> {
    fn areas(&self) -> impl Iterator<Item = &Area<PAGE>> {
        core::iter::once(&self.ordinary)
            .chain(self.windows.iter().map_while(|place| Some(&**place.get()?)))
    }

    /// The range of a frame, and the frame's place in it.
    #[inline]
    fn area(&self, frame: FrameId) -> Option<(&Area<PAGE>, usize)> {
        match frame.number().checked_sub(self.windows_from) {
            None => Some((&self.ordinary, frame.number() as usize)),
            Some(past) => {
                let area = self.windows.get((past / WINDOW_FRAMES) as usize)?.get()?;
                Some((area, (past % WINDOW_FRAMES) as usize))
            }
        }
    }

    fn openings(&self) -> MutexGuard<'_, Vec<(u32, bool)>> {
        // Every update leaves the list whole, so a panic elsewhere does not spoil it.
        self.openings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_window(&self, frames: u32) -> Option<FrameId> {
        let mut openings = self.openings();
        let closed = openings
            .iter()
            .position(|&opening| opening == (frames, false));
        let number = closed.unwrap_or(openings.len());
        let last = u64::from(self.windows_from) + (number as u64 + 1) * u64::from(WINDOW_FRAMES);
        if frames > WINDOW_FRAMES || last > u64::from(FrameId::LIMIT) {
            return None;
        }
        let place = self.windows.get(number)?;
        if closed.is_none() {
            let big = frames as usize * PAGE >= CHUNKED_WINDOW_BYTES;
            let ahead = match self.growth {
                Growth::Chunks if big => Ahead::Chunks,
                Growth::Chunks => Ahead::Few,
                Growth::Pages => Ahead::Nothing,
            };
            let area = Box::new(Area::new(frames as usize, ahead, false).ok()?);
            // The place is empty: windows are numbered in order, under the lock.
            place.set(area).ok()?;
            openings.push((frames, true));
        } else {
            openings[number].1 = true;
        }
        FrameId::new(self.windows_from + number as u32 * WINDOW_FRAMES)
    }

    fn close_window(&self, first: FrameId) {
        let past = first.number().saturating_sub(self.windows_from);
        if let Some(opening) = self.openings().get_mut((past / WINDOW_FRAMES) as usize) {
            opening.1 = false;
        }
    }

    /// Lets every range that asked for it back its next chunk; whether there was one.
    fn back_ahead(&self) -> bool {
        self.areas().filter(|area| area.back_ahead()).count() > 0
    }

    /// Returns to the system what is noted in ranges where nothing is going on; whether that is so in all of them.
    fn rest(&self) -> bool {
        self.areas().filter(|area| !area.rest()).count() == 0
    }
}

// SAFETY: frames are disjoint pages of mappings that stay in place until the source is dropped;
// each range hands each of its frames to one taker at a time. A window is a range of its own,
// one readable mapping, and stays with who opened it until it is closed.
unsafe impl<const PAGE: usize> PageSource for MmapSource<PAGE> {
    const PAGE_SIZE: usize = PAGE;
    const WINDOWS: bool = cfg!(target_pointer_width = "64");

    fn open_window(&self, frames: u32) -> Result<FrameId, OutOfPages> {
        self.shared.open_window(frames).ok_or(OutOfPages)
    }

    fn close_window(&self, first: FrameId) {
        self.shared.close_window(first);
    }

    fn take(&self, wanted: Option<FrameId>) -> Result<FrameId, OutOfPages> {
        let shared = &*self.shared;
        if shared.taken.fetch_add(1, Relaxed) >= shared.capacity {
            shared.taken.fetch_sub(1, Relaxed);
            return Err(OutOfPages);
        }
        let taken = match wanted {
            Some(frame) if frame.number() >= shared.windows_from => shared
                .area(frame)
                .ok_or(OutOfPages)
                .and_then(|(area, place)| area.take_exactly(place))
                .map(|ask| (frame, ask)),
            wish => shared
                .ordinary
                .take_any(wish.map(|frame| frame.number() as usize))
                .map(|(place, ask)| (FrameId::from_number(place as u32), ask)),
        };
        match taken {
            Ok((frame, ask)) => {
                if ask {
                    self.wake_helper();
                }
                Ok(frame)
            }
            Err(error) => {
                shared.taken.fetch_sub(1, Relaxed);
                Err(error)
            }
        }
    }

    unsafe fn give_back(&self, frame: FrameId) {
        if let Some((area, place)) = self.shared.area(frame) {
            if area.give_back(place) {
                self.wake_helper();
            }
            self.shared.taken.fetch_sub(1, Relaxed);
        }
    }

    fn take_run(&self, first: FrameId, count: u32) -> u32 {
        let shared = &*self.shared;
        let Some((area, place)) = shared.area(first) else {
            return 0;
        };
        let room = |taken: usize| shared.capacity.saturating_sub(taken).min(count as usize);
        let reserved = shared.taken.fetch_update(Relaxed, Relaxed, |taken| {
            (room(taken) > 0).then(|| taken + room(taken))
        });
        let Ok(before) = reserved else {
            return 0;
        };
        let wanted = room(before);
        let (got, ask) = area.take_run(place, wanted);
        if got < wanted {
            shared.taken.fetch_sub(wanted - got, Relaxed);
        }
        if ask {
            self.wake_helper();
        }
        got as u32
    }

    unsafe fn give_back_run(&self, first: FrameId, count: u32) {
        if let Some((area, place)) = self.shared.area(first) {
            let (freed, tell) = area.give_back_run(place, count as usize);
            self.shared.taken.fetch_sub(freed, Relaxed);
            if tell {
                self.wake_helper();
            }
        }
    }

    fn tidy(&self) {
        self.shared.areas().for_each(Area::tidy);
    }

    #[inline]
    fn address(&self, frame: FrameId) -> *mut u8 {
        if frame.number() < self.windows_from {
            return self.base.0.wrapping_add(frame.number() as usize * PAGE);
        }
        self.address_in_window(frame)
    }
}

impl<const PAGE: usize> fmt::Debug for MmapSource<PAGE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmapSource")
            .field("capacity_bytes", &(self.shared.capacity * PAGE))
            .field("taken", &self.taken())
            .finish_non_exhaustive()
    }
}
