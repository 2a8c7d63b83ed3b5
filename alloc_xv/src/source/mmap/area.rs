//! A range of frames: one mapping, and which frames of it are taken.
#![deny(unsafe_code)]

use super::mapping::{Base, Mapping, MmapError, Prepare, TakenMap, os_page_size};
use super::{CHUNK_BYTES, OutOfPages};
use core::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

mod notes;

/// Most frames that are backed at once, and most runs of frames that are noted.
const BATCH_MAX: usize = 64;
/// A batch that is backed is at most this share of the frames that are taken.
const BATCH_SHARE: usize = 64;
/// So many frames that were given back are returned at once, or this share of those that are taken ...
const STASH_MAX: usize = 512;
const STASH_SHARE: usize = 32;
/// ... or twice as many in a range of so many frames, if there is a helper. He returns them when nothing is going on.
const HELPED_FROM: usize = 1024;
/// ... and by who has time for it when it is three quarters of that. He leaves a half: pages that go
/// where objects are packed come back when the next ones are stored, and one that was returned costs a page
/// fault then, as much as half of a put.
const TIDY_QUARTERS: [usize; 2] = [3, 2];
/// Frames backed ahead at least, so that a small pool does not fault on each one.
const AHEAD_MIN: usize = 4;
/// A range of which this much is taken grows in chunks ...
const CHUNKS_FROM_BYTES: usize = CHUNK_BYTES / 4;
/// ... and its first chunk is filled up from here on, some frames at a time, so that they can be taken.
const FIRST_CHUNK_FROM_BYTES: usize = CHUNK_BYTES / 32;
/// Tables are backed ahead by at most this many frames, and this share of those that are taken.
const TABLES_MAX: usize = 16;
const TABLES_SHARE: usize = 4;

/// What a range has backed before it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Chunks: for data, which grows by much.
    Chunks,
    /// A few frames: for tables, which grow slowly.
    Few,
    Nothing,
}

/// See the module's text; frames are counted from the start of the range.
pub(super) struct Area<const PAGE: usize> {
    map: Mapping,
    ahead: Ahead,
    state: Mutex<State>,
    /// Held by who backs frames ahead, while the system does it; taken under the state's lock, by who plans it and
    /// by who waits for it.
    backing: Mutex<()>,
}

/// What is to be backed ahead.
pub(super) struct Plan<'a> {
    /// None, where what was asked for is there.
    pub(super) frames: Range<usize>,
    /// How often memory had been given up by then.
    drops: u64,
    backing: MutexGuard<'a, ()>,
}

pub(super) struct State {
    taken_map: TakenMap,
    pub(super) taken: usize,
    /// No frame from here on was ever taken.
    fresh: usize,
    /// Frames below were backed once.
    populated: usize,
    /// How often `populated` was taken back.
    drops: u64,
    /// The most frames taken since what was backed ahead was last dropped.
    taken_populated: usize,
    /// The helper was asked to back the next chunk and has not come to it yet.
    asked: bool,
    /// The huge page that it backs now.
    planned: Range<usize>,
    /// Frames given back and perhaps still resident, as runs (first, how many); some may be taken
    /// again.
    stash: [(u32, u32); BATCH_MAX],
    stash_len: usize,
    /// Frames of all these runs.
    stashed: usize,
    /// From so many taken frames on the helper returns them.
    helped_from: usize,
    /// The helper was asked to return them when nothing is going on.
    rest_asked: bool,
    /// Frames that were taken, and noted, when the helper looked last.
    seen: (usize, usize),
}

impl<const PAGE: usize> Area<PAGE> {
    /// Reserves addresses for `frames` frames. Only where they may be taken in any order can
    /// [`take_any`](Self::take_any) find one.
    pub(super) fn new(frames: usize, ahead: Ahead, any_order: bool) -> Result<Self, MmapError> {
        let bytes = frames.saturating_mul(PAGE);
        let map = Mapping::new(bytes, CHUNK_BYTES)?;
        // Huge pages made by the system itself would bring back memory that was given back.
        map.prepare(0, map.bytes, Prepare::SmallPages);
        let taken_map = TakenMap::new(frames, any_order)?;
        let taken_map = taken_map.ok_or(MmapError::BadCapacity { bytes, max: 0 })?;
        let state = State {
            taken_map,
            taken: 0,
            fresh: 0,
            populated: 0,
            drops: 0,
            taken_populated: 0,
            asked: false,
            planned: 0..0,
            stash: [(0, 0); BATCH_MAX],
            stash_len: 0,
            stashed: 0,
            helped_from: match ahead {
                Ahead::Nothing => usize::MAX,
                Ahead::Chunks | Ahead::Few => HELPED_FROM,
            },
            rest_asked: false,
            seen: (0, 0),
        };
        Ok(Self {
            map,
            ahead,
            state: Mutex::new(state),
            backing: Mutex::new(()),
        })
    }

    pub(super) fn start(&self) -> Base {
        self.map.start()
    }

    /// Takes a frame: that of the `wish` if it is free, else any.
    /// The second value: it is time for the helper.
    pub(super) fn take_any(&self, wish: Option<usize>) -> Result<(usize, bool), OutOfPages> {
        let mut guard = self.state();
        let frame = guard.choose(wish).ok_or(OutOfPages)?;
        guard.taken_map.set_taken(frame);
        Ok((frame, self.back_taken(&mut guard, frame)))
    }

    /// Takes this frame, or none. The second value: it is time for the helper.
    #[inline]
    pub(super) fn take_exactly(&self, frame: usize) -> Result<bool, OutOfPages> {
        let mut guard = self.state();
        if !guard.taken_map.set_taken(frame) {
            return Err(OutOfPages);
        }
        guard.forget_noted(frame, 1);
        if frame > guard.fresh {
            // Frames that are passed over are not backed.
            guard.populated = guard.populated.max(frame);
        }
        Ok(self.back_taken(&mut guard, frame))
    }

    /// Takes up to `count` frames that follow each other, from `first` on; returns how many, and
    /// whether it is time for the helper.
    pub(super) fn take_run(&self, first: usize, count: usize) -> (usize, bool) {
        let mut guard = self.state();
        let got = guard.taken_map.set_taken_run(first, count);
        if got == 0 {
            return (0, false);
        }
        guard.forget_noted(first, got);
        if first > guard.fresh {
            guard.populated = guard.populated.max(first);
        }
        (got, self.back_run(&mut guard, first + got - 1, got))
    }

    /// Backs a frame that was just taken, if it is not; true if it is time for the helper.
    #[inline]
    fn back_taken(&self, state: &mut State, frame: usize) -> bool {
        self.back_run(state, frame, 1)
    }

    /// The same for `count` frames, of which `last` is the last.
    #[inline]
    fn back_run(&self, state: &mut State, last: usize, count: usize) -> bool {
        if last >= state.populated {
            self.populate(state, last);
        }
        state.taken += count;
        if last < state.fresh {
            return false;
        }
        state.fresh = last + 1;
        if state.asked || !self.runs_short(state) {
            return false;
        }
        state.asked = true;
        true
    }

    /// Takes a frame back; true if the helper should know.
    #[inline]
    pub(super) fn give_back(&self, frame: usize) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let was_taken = state.taken_map.set_free(frame);
        debug_assert!(was_taken, "frame {frame} given back twice");
        state.taken -= usize::from(was_taken);
        self.note(state, frame as u32, 1)
    }

    /// Takes `count` frames back that follow each other; returns how many of them were taken, and whether the helper
    /// should know.
    pub(super) fn give_back_run(&self, first: usize, count: usize) -> (usize, bool) {
        let mut guard = self.state();
        let state = &mut *guard;
        let freed = state.taken_map.set_free_run(first, count);
        debug_assert_eq!(freed, count, "a frame of {first}.. given back twice");
        state.taken -= freed;
        (freed, self.note(state, first as u32, count as u32))
    }

    /// Bytes that are resident, asked from the kernel (`mincore`).
    pub(super) fn resident_bytes(&self) -> usize {
        let state = self.state();
        self.map
            .resident_bytes(state.populated.max(state.fresh) * PAGE)
    }

    /// Bytes of the map of taken frames, as far as it is not in the range itself.
    pub(super) fn map_bytes(&self) -> usize {
        let state = self.state();
        state.taken_map.touched_bytes(state.fresh, os_page_size())
    }

    #[inline]
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every update leaves the state whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Backs the next fresh frames, up to and including `frame`.
    #[cold]
    fn populate(&self, state: &mut State, frame: usize) {
        while state.populated <= frame {
            if state.planned.contains(&frame) {
                // The system would make two huge pages, and not be done before. Who backs it has the lock since it was
                // planned.
                drop(self.backing.lock());
                state.populated = state.populated.max(state.planned.end);
                break;
            }
            let start = state.populated;
            let boundary = (start + 1).next_multiple_of(CHUNK_BYTES / PAGE);
            let big = self.grows_in_chunks(state) && start.is_multiple_of(CHUNK_BYTES / PAGE);
            let batch = match self.ahead {
                // Until the helper comes, as much again as there is.
                Ahead::Chunks if state.populated < CHUNK_BYTES / PAGE => {
                    state.taken.clamp(AHEAD_MIN, BATCH_MAX)
                }
                Ahead::Chunks => (state.taken / BATCH_SHARE).clamp(AHEAD_MIN, BATCH_MAX),
                Ahead::Few => (state.taken / TABLES_SHARE).clamp(1, TABLES_MAX),
                Ahead::Nothing => 1,
            };
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
        // If the kernel does not know one (before 5.14) or is out of memory, the frames are faulted in on use.
        if big {
            self.map.prepare(from, bytes, Prepare::HugePages);
        }
        self.map.prepare(from, bytes, Prepare::Now);
        if big {
            self.map.prepare(from, bytes, Prepare::SmallPages);
        }
    }

    /// Backs what is to be backed next, if that was asked for; whether it was. The system calls are made
    /// without the lock.
    pub(super) fn back_ahead(&self) -> bool {
        let plan = self.plan_ahead();
        plan.map(|plan| self.back_planned(plan)).is_some()
    }

    /// What is to be backed, if anything was asked for.
    pub(super) fn plan_ahead(&self) -> Option<Plan<'_>> {
        let mut state = self.state();
        if !core::mem::take(&mut state.asked) {
            return None;
        }
        let frames = self.next_ahead(&state).unwrap_or(0..0);
        if Self::is_huge(&frames) {
            state.planned = frames.clone();
        }
        Some(Plan {
            frames,
            drops: state.drops,
            backing: self.backing.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// Backs it; what was given up by somebody else meanwhile is dropped again.
    pub(super) fn back_planned(&self, plan: Plan<'_>) {
        let Plan {
            frames,
            drops,
            backing,
        } = plan;
        if frames.is_empty() {
            return;
        }
        self.back(frames.start, frames.end, Self::is_huge(&frames));
        drop(backing);
        let mut state = self.state();
        state.planned = 0..0;
        // Some may have been taken and given back.
        let passed = state.fresh.min(frames.end);
        if let Some(count) = passed.checked_sub(frames.start) {
            self.drop_runs(&state, &[(frames.start as u32, count as u32)]);
        }
        if state.drops == drops {
            state.populated = state.populated.max(frames.end);
            state.taken_populated = state.taken_populated.max(state.taken);
            // There may be more to do at once.
            state.asked |= self.runs_short(&state);
        } else {
            self.drop_run(Some((frames.start.max(state.populated), frames.end)));
        }
    }

    /// Whether what is backed ahead becomes a huge page. The rest of a first chunk has small pages before it, so it gets
    /// small pages.
    fn is_huge(frames: &Range<usize>) -> bool {
        frames.start.is_multiple_of(CHUNK_BYTES / PAGE) && !frames.is_empty()
    }

    /// What the helper would back now: the next chunk, or what a first chunk lacks.
    fn next_ahead(&self, state: &State) -> Option<Range<usize>> {
        let chunk = CHUNK_BYTES / PAGE;
        let start = state.populated;
        let end = (start + 1).next_multiple_of(chunk);
        let first = !start.is_multiple_of(chunk);
        let wanted = (!first || end == chunk) && self.runs_short(state);
        let end = if first {
            end.min(start + BATCH_MAX)
        } else {
            end
        };
        (wanted && end <= state.taken_map.frames()).then_some(start..end)
    }

    #[inline]
    fn grows_in_chunks(&self, state: &State) -> bool {
        self.ahead == Ahead::Chunks && state.taken * PAGE >= CHUNKS_FROM_BYTES
    }

    /// Whether a range that grows in chunks has less than a chunk backed ahead.
    #[inline]
    fn runs_short(&self, state: &State) -> bool {
        let chunk = CHUNK_BYTES / PAGE;
        // One that is on its way to chunks has its first one filled up.
        let first = state.populated < chunk && state.taken * PAGE >= FIRST_CHUNK_FROM_BYTES;
        self.ahead == Ahead::Chunks
            && state.fresh + chunk > state.populated
            && (first || state.taken * PAGE >= CHUNKS_FROM_BYTES)
    }
}

impl State {
    /// Frames that may be noted.
    fn stash_max(&self) -> usize {
        let twice = u32::from(self.taken >= self.helped_from);
        let share = (self.taken << twice) / STASH_SHARE;
        STASH_MAX.min(share).max(1)
    }

    /// Some frames are taken again: what was noted last is taken first, from one end or the other. Others stay
    /// noted, and are found to be taken.
    #[inline]
    fn forget_noted(&mut self, taken: usize, taken_count: usize) {
        let Some((first, count)) = self.stash[..self.stash_len].last_mut() else {
            return;
        };
        let (start, end) = (*first as usize, (*first + *count) as usize);
        if taken == start {
            let gone = taken_count.min(*count as usize);
            *first += gone as u32;
            *count -= gone as u32;
            self.stashed -= gone;
        } else if taken + taken_count == end && taken > start {
            *count -= taken_count as u32;
            self.stashed -= taken_count;
        }
        if *count == 0 {
            self.stash_len -= 1;
        }
    }

    /// A free frame: the wanted one, else one that is still resident, else the lowest.
    fn choose(&mut self, wanted: Option<usize>) -> Option<usize> {
        if let Some(frame) = wanted.filter(|&f| f <= self.fresh && !self.taken_map.is_taken(f)) {
            return Some(frame);
        }
        while let Some((first, count)) = self.stash[..self.stash_len].last_mut() {
            let frame = (*first + count.saturating_sub(1)) as usize;
            *count = count.saturating_sub(1);
            self.stashed -= 1;
            if *count == 0 {
                self.stash_len -= 1;
            }
            if !self.taken_map.is_taken(frame) {
                return Some(frame);
            }
        }
        self.taken_map.lowest_free()
    }
}
