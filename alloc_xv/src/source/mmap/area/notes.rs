//! Frames that were given back: noted, as they are often taken again, and returned to the system in batches.

use super::super::mapping::PARTS_MAX;
use super::{Area, BATCH_MAX, State, TIDY_QUARTERS};

impl<const PAGE: usize> Area<PAGE> {
    /// Notes frames that may be returned to the system, and returns what is noted if it is
    /// enough for that. True if the helper should know, who returns it when nothing is going on.
    #[inline]
    pub(super) fn note(&self, state: &mut State, first: u32, count: u32) -> bool {
        state.stashed += count as usize;
        if let Some(place) = state.stash.get_mut(state.stash_len) {
            *place = (first, count);
            state.stash_len += 1;
        }
        let most = state.stash_max();
        if state.stash_len == BATCH_MAX || state.stashed >= most {
            self.flush(state);
            return false;
        }
        state.stashed * 2 > most && self.ask_for_rest(state)
    }

    /// True if there is a helper for it, who was not asked yet.
    #[cold]
    fn ask_for_rest(&self, state: &mut State) -> bool {
        state.taken >= state.helped_from && !core::mem::replace(&mut state.rest_asked, true)
    }

    /// Returns all that is noted, if it is what was noted when this was last called; false if it is not.
    pub(in super::super) fn rest(&self) -> bool {
        let mut state = self.state();
        let now = (state.taken, state.stashed);
        let quiet = core::mem::replace(&mut state.seen, now) == now || state.stash_len == 0;
        if quiet {
            state.rest_asked = false;
            self.flush(&mut state);
        }
        quiet
    }

    /// Returns the older part of what is noted, if it is enough for who has time: what was given back
    /// last is what is taken next. Others may take and give back frames between the calls.
    pub(in super::super) fn tidy(&self) {
        let mut state = self.state();
        let [most, kept] = TIDY_QUARTERS.map(|quarters| state.stash_max() * quarters / 4);
        let [most_runs, kept_runs] = TIDY_QUARTERS.map(|quarters| BATCH_MAX * quarters / 4);
        if state.stashed < most.max(1) && state.stash_len < most_runs {
            return;
        }
        let mut noted = state.stash;
        let mut len = 0;
        while len < state.stash_len && (state.stashed > kept || state.stash_len - len > kept_runs) {
            state.stashed -= noted[len].1 as usize;
            len += 1;
        }
        let stash_len = state.stash_len;
        state.stash.copy_within(len..stash_len, 0);
        state.stash_len -= len;
        drop(state);
        let (noted, kept) = noted[..stash_len].split_at_mut(len);
        noted.sort_unstable();
        self.drop_but(noted, kept);
        self.drop_ahead(&mut self.state());
    }

    /// Returns to the system what is free but may be resident.
    #[cold]
    fn flush(&self, state: &mut State) {
        state.stashed = 0;
        let len = core::mem::take(&mut state.stash_len);
        let (first, count) = (state.stash[0].0 as usize, state.stash[0].1 as usize);
        // Small pools note little at a time.
        if len == 1 && state.taken_map.free_run(first, count) == count {
            self.drop_run(Some((first, first + count)));
        } else {
            let mut stash = state.stash;
            let noted = &mut stash[..len];
            noted.sort_unstable();
            self.drop_runs(state, noted);
        }
        self.drop_ahead(state);
    }

    /// Returns what was backed ahead, if the pool has shrunk since.
    fn drop_ahead(&self, state: &mut State) {
        // What was backed ahead goes once the pool shrinks; while it only breathes, it stays.
        if state.taken + state.taken / 32 < state.taken_populated || state.taken == 0 {
            // The helper may have backed again what was dropped before: nothing stays if none is taken.
            let from = if state.taken == 0 { 0 } else { state.fresh };
            self.drop_run(Some((from, state.populated)));
            state.populated = state.fresh;
            state.drops += 1;
            state.asked = false;
            state.planned = 0..0;
            state.taken_populated = state.taken;
        }
        if state.taken == 0 {
            state.fresh = 0;
            state.populated = 0;
            state.taken_map.drop_storage();
        }
    }

    /// Drops runs that were noted, in order, but for frames that were noted again since.
    fn drop_but(&self, noted: &[(u32, u32)], kept: &[(u32, u32)]) {
        let mut runs = [(0, 0); PARTS_MAX];
        let mut len = 0;
        for &(first, count) in noted {
            let mut run = first..first;
            for frame in first..first + count {
                let again = kept
                    .iter()
                    .any(|&(first, count)| (first..first + count).contains(&frame));
                if !again {
                    run.end = frame + 1;
                }
                if (again || run.end == first + count) && !run.is_empty() {
                    runs[len] = (run.start, run.end - run.start);
                    len += 1;
                }
                if len == PARTS_MAX {
                    self.drop_runs(&self.state(), &runs);
                    len = 0;
                }
                if again {
                    run = frame + 1..frame + 1;
                }
            }
        }
        self.drop_runs(&self.state(), &runs[..len]);
    }

    /// Drops runs that were noted, in order, as far as their frames are still free.
    #[allow(unsafe_code, reason = "only what is free is dropped")]
    pub(super) fn drop_runs(&self, state: &State, runs: &[(u32, u32)]) {
        let mut parts = [(0, 0); PARTS_MAX];
        let mut len = 0;
        // SAFETY: all of the parts are free, and stay so under the state's lock.
        let drop_parts = |parts: &[(usize, usize)]| unsafe { self.map.drop_parts(parts) };
        // What was noted twice is dropped once.
        let mut frame = 0;
        for &(first, count) in runs {
            frame = frame.max(first as usize);
            let end = first as usize + count as usize;
            while frame < end {
                let free = state.taken_map.free_run(frame, end - frame);
                let (from, bytes) = (frame * PAGE, free * PAGE);
                frame += free.max(1);
                match parts[..len].last_mut() {
                    _ if free == 0 => {}
                    Some((start, before)) if from == *start + *before => *before += bytes,
                    _ => {
                        if len == PARTS_MAX {
                            drop_parts(&parts);
                            len = 0;
                        }
                        parts[len] = (from, bytes);
                        len += 1;
                    }
                }
            }
        }
        drop_parts(&parts[..len]);
    }

    #[allow(unsafe_code, reason = "only what is free is dropped")]
    pub(super) fn drop_run(&self, run: Option<(usize, usize)>) {
        if let Some((start, end)) = run.filter(|&(start, end)| start < end) {
            // SAFETY: the frames are free, and stay so under the state's lock.
            unsafe { self.map.drop_content(start * PAGE, (end - start) * PAGE) };
        }
    }
}
