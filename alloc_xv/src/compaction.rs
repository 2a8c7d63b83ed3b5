//! Packing, the thorough half of compaction: objects are packed towards the start of the logical space, a few a step.
//!
//! ```text
//!            cursor                 scan
//!  [A][B][C] |.... free ... (holes) | [D][E]...[F][G]
//!            ^-- D goes here next --'
//! ```
//!
//! Everything between `cursor` and `scan` is free or a hole. A step takes the object at `scan`,
//! moves it to `cursor` (in place if the two overlap) and goes on behind it. Where the cursor
//! reaches a hole, the hole is backed; as many pages as are passed become free behind the
//! object, so a pass ends with every object packed and nothing but whole pages given back. An
//! object that somebody holds stays where it is, and the cursor goes on behind it.
//!
//! Because objects cross pages freely any object can move to any place: there is no search for
//! a free block that fits, and a pass always gets to a space without gaps. A step is bounded by
//! its budget; between two steps anything may be allocated and freed.

use crate::arena::Arena;
use crate::entry::{self, Meaning, Object, Word};
use crate::frames::Frames;
use crate::index::NONE;
use crate::source::PageSource;
use crate::space::{Header, PageTable, Space, UNOWNED};

/// A pool under this many pages is left alone.
const PAGES_MIN: u32 = 16;
/// In a pool under this many bytes, which is packed in some milliseconds, compaction starts when
/// free bytes are more than 1/48 of the pages', and stops at 1/256 ...
const SMALL_BYTES: usize = 64 << 20;
const SMALL_START_SHARE: u64 = 48;
const SMALL_STOP_SHARE: u64 = 256;
/// ... and under this many, where tables alone are a percent, it starts at 1/96 ...
const TINY_BYTES: usize = 16 << 20;
const TINY_START_SHARE: u64 = 96;
/// ... and in a bigger one at 1/16, and stops at 1/40.
const START_SHARE: u64 = 16;
const STOP_SHARE: u64 = 40;

/// Objects that an allocation moves itself when free bytes are more than a share of the pages':
/// the thread is late, and the more is free the later it is. A tiny pool is overwritten once in the time
/// that a thread needs to wake up.
const TINY_ASSISTANCE: [(u64, u32); 3] = [(56, ASSIST_MOVES_MAX), (64, 4), (80, 2)];
const SMALL_ASSISTANCE: [(u64, u32); 2] = [(36, ASSIST_MOVES_MAX), (40, 2)];
/// The most of them.
const ASSIST_MOVES_MAX: u32 = 8;
/// In a pool under this many pages none are: what is left in the last one is more than a share.
const ASSISTED_PAGES_MIN: u32 = 128;

/// How much one step may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Objects that may be moved.
    pub(crate) objects: u32,
    /// Granules of them; the last one may be longer than what is left.
    pub(crate) granules: u32,
    /// Blocks and holes that may be passed over.
    pub(crate) looks: u32,
    /// Whole pages that may be kept between the packed objects and the others.
    pub(crate) gap: u32,
}

impl Budget {
    /// A step beside an operation of the user: `objects` moved.
    pub(crate) const fn step(objects: u32) -> Self {
        Self {
            objects,
            granules: u32::MAX,
            looks: 16 * objects,
            gap: 0,
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The budget is used up; there is more.
    More,
    /// The pass came to the end of the space (or to what cannot be moved).
    Done,
}

impl Arena {
    /// Whether so much is free in the pages that compaction should start.
    pub(crate) fn wants_compaction<S: PageSource>(&self) -> bool {
        self.space.occupied() < Space::start_used::<S>(self.space.backed)
    }

    /// The same, once: after [`asked`](Self::asked) not again until pages come or go, or until
    /// [`rearm`](Self::rearm).
    #[inline]
    pub(crate) fn asks_for_compaction(&self) -> bool {
        self.space.occupied() < self.space.start_used
    }

    /// Whether no more is free than `fair`, however few pages the arena has; then it does not ask again before, as long
    /// as no page comes or goes.
    pub(crate) fn is_fair<S: PageSource>(&mut self, fair: u64) -> bool {
        let least = Space::granules_of_pages::<S>(self.space.backed).saturating_sub(fair);
        let is_fair = self.space.occupied() >= least;
        if is_fair {
            self.space.start_used = least;
        }
        is_fair
    }

    /// Somebody knows that compaction is wanted; if `assisted`, allocations help where it is late.
    pub(crate) fn asked<S: PageSource>(&mut self, assisted: bool, fair: u64) {
        self.space.start_used = 0;
        if assisted {
            self.assisted::<S>(fair);
        }
    }

    /// Whether an allocation should look if it has to help: never before somebody was asked.
    #[inline]
    pub(crate) fn asks_for_assistance(&self) -> bool {
        self.space.assist_used > 0 && self.space.occupied() < self.space.assist_used
    }

    /// Objects that it has to move. What is `fair` is free without anybody being late.
    pub(crate) fn assistance<S: PageSource>(&self, fair: u64) -> u32 {
        let pages = self.space.backed;
        if pages < ASSISTED_PAGES_MIN {
            return 0;
        }
        let all = Space::granules_of_pages::<S>(pages);
        let free =
            (all - self.space.occupied()).saturating_sub(Space::fair_extra::<S>(pages, fair));
        Space::assistance::<S>(pages)
            .iter()
            .find(|&&(share, _)| free * share > all)
            .map_or(0, |&(_, objects)| objects)
    }

    /// Sets what [`asks_for_assistance`](Self::asks_for_assistance) looks at for the pages that there are now.
    pub(crate) fn assisted<S: PageSource>(&mut self, fair: u64) {
        let pages = self.space.backed;
        let extra = Space::fair_extra::<S>(pages, fair);
        self.space.assist_used = Space::assist_used::<S>(pages).saturating_sub(extra);
    }

    /// Whoever was asked is done.
    pub(crate) fn rearm<S: PageSource>(&mut self) {
        self.space.set_start_used::<S>();
        self.space.assist_used = 0;
    }

    /// Whether compaction beside frees should start: one threshold for pools of all sizes.
    pub(crate) fn wants_compaction_beside_frees<S: PageSource>(&self) -> bool {
        self.space.backed >= PAGES_MIN && self.free_exceeds::<S>(START_SHARE)
    }

    /// Whether compaction that has started should go on.
    pub(crate) fn compaction_pays<S: PageSource>(&self) -> bool {
        let small = self.is_small::<S>();
        self.free_exceeds::<S>(if small { SMALL_STOP_SHARE } else { STOP_SHARE })
    }

    /// One step of what helps most: sweeps that empty sparse pages, and packing once they give
    /// back next to nothing while the arena is still below its target.
    pub(crate) fn compaction_step<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        budget: Budget,
    ) -> Step {
        if self.packing {
            let step = self.pack_step(frames, budget);
            self.packing = step == Step::More;
            return step;
        }
        // A small pool is packed at once.
        if !self.is_small::<S>() && !self.sweep_step(frames, budget.objects).poor {
            return Step::More;
        }
        self.packing = self.wants_compaction::<S>();
        self.restart_pass();
        if self.packing { Step::More } else { Step::Done }
    }

    #[inline]
    fn is_small<S: PageSource>(&self) -> bool {
        Space::is_small::<S>(self.space.backed)
    }

    #[inline]
    fn free_exceeds<S: PageSource>(&self, share: u64) -> bool {
        let page = u64::from(Space::page_granules::<S>());
        let all = u64::from(self.space.backed) * page;
        self.space.backed >= PAGES_MIN && (all - self.space.occupied()) * share > all
    }

    /// The next step begins a new pass.
    pub(crate) fn restart_pass(&mut self) {
        self.space.cursor = 0;
        self.space.scan = 0;
    }

    /// Moves objects until the budget is used up or the pass is done.
    pub(crate) fn pack_step<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        budget: Budget,
    ) -> Step {
        self.space.settle_pen(frames);
        if self.space.gap == 0 {
            // What goes at once is no gain.
            self.space.release_spare(frames);
        }
        // A step beside a free, which keeps nothing, may come between two of a pass.
        let packed = self.space.gap > 0 || budget.gap > 0;
        let backed = self.space.backed;
        self.space.gap = budget.gap;
        let step = self.run_step(frames, budget);
        self.pages_compacted += u64::from(backed.saturating_sub(self.space.backed));
        if step == Step::Done || budget.gap == 0 {
            self.give_up_gap(frames, packed);
        }
        step
    }

    /// Gives back the pages that packing has kept. Called when it stops, too.
    pub(crate) fn close_gap<S: PageSource>(&mut self, frames: Frames<'_, S>) {
        self.give_up_gap(frames, self.space.gap > 0);
    }

    /// The same; what goes is a gain of packing, or was spare before.
    fn give_up_gap<S: PageSource>(&mut self, frames: Frames<'_, S>, packed: bool) {
        let backed = self.space.backed;
        self.space.gap = 0;
        self.space.release_spare(frames);
        if packed {
            self.pages_compacted += u64::from(backed.saturating_sub(self.space.backed));
        }
    }

    fn run_step<S: PageSource>(&mut self, frames: Frames<'_, S>, mut budget: Budget) -> Step {
        while budget.looks > 0 && budget.objects > 0 && budget.granules > 0 {
            budget.looks -= 1;
            let end = self.space.end.saturating_mul(Space::page_granules::<S>());
            if self.space.cursor >= end || self.space.scan >= end {
                self.space.cursor = 0;
                self.space.scan = 0;
                return Step::Done;
            }
            if self.space.scan <= self.space.cursor {
                self.advance_cursor(frames);
            } else {
                match self.look::<S>(frames) {
                    Look::Passed => {}
                    Look::Moved { granules } => {
                        budget.objects -= 1;
                        budget.granules = budget.granules.saturating_sub(granules);
                    }
                    Look::NoPage => {
                        self.space.cursor = 0;
                        self.space.scan = 0;
                        return Step::Done;
                    }
                }
            }
        }
        Step::More
    }

    /// The cursor stands on a block or at a hole: go on to the first free block, and let `scan`
    /// begin behind it.
    fn advance_cursor<S: PageSource>(&mut self, frames: Frames<'_, S>) {
        let space = &mut self.space;
        if let Some(next) = skip_hole(space, frames, space.cursor) {
            space.cursor = next;
            space.scan = next;
            return;
        }
        match space.header(frames, space.cursor) {
            Header::Free { granules } => space.scan = space.cursor + granules,
            Header::Used { owner, .. } => {
                let granules = self.granules_of(frames, owner);
                self.space.cursor = self.space.cursor.saturating_add(granules);
                self.space.scan = self.space.cursor;
            }
        }
    }

    /// Looks at what stands at `scan`, and moves it if it is an object that nobody holds.
    fn look<S: PageSource>(&mut self, frames: Frames<'_, S>) -> Look {
        let scan = self.space.scan;
        if let Some(next) = skip_hole(&self.space, frames, scan) {
            self.space.scan = next;
            return Look::Passed;
        }
        let owner = match self.space.header(frames, scan) {
            Header::Free { granules } => {
                self.space.scan = scan + granules;
                return Look::Passed;
            }
            Header::Used { owner, .. } => owner,
        };
        if owner == UNOWNED {
            self.space.cursor = scan + self.space.pen.settled_granules();
            self.space.scan = self.space.cursor;
            return Look::Passed;
        }
        let Some(cell) = self.entry(frames, owner) else {
            return Look::NoPage;
        };
        let word = entry::read(cell);
        let Meaning::Object(object) = word.meaning() else {
            return Look::NoPage;
        };
        debug_assert_eq!(object.offset, scan);
        if word.is_locked() {
            self.space.cursor = scan + object.granules();
            self.space.scan = self.space.cursor;
            return Look::Passed;
        }
        let to = self.space.cursor;
        if !self.space.relocate(frames, object, owner, to) {
            if self.space.wide == NONE {
                return Look::NoPage;
            }
            // The page for a hole may be one that is kept; the rest of the step keeps none.
            let backed = self.space.backed;
            self.space.gap = 0;
            self.space.release_spare(frames);
            return match self.space.backed < backed {
                true => Look::Passed,
                false => Look::NoPage,
            };
        }
        entry::set_unlocked(
            cell,
            Word::object(Object {
                offset: to,
                ..object
            }),
        );
        self.moved += 1;
        Look::Moved {
            granules: object.granules(),
        }
    }

    /// Granules of the block that entry `owner` owns.
    fn granules_of<S: PageSource>(&self, frames: Frames<'_, S>, owner: u32) -> u32 {
        if owner == UNOWNED {
            return self.space.pen.settled_granules();
        }
        let word = self.entry(frames, owner).map_or(Word::NOTHING, entry::read);
        match word.meaning() {
            Meaning::Object(object) => object.granules(),
            _ => u32::MAX,
        }
    }
}

enum Look {
    Passed,
    Moved {
        granules: u32,
    },
    /// No page for a hole that has to be backed.
    NoPage,
}

/// If a hole begins at `offset`: where to go on looking.
fn skip_hole<S: PageSource>(space: &Space, frames: Frames<'_, S>, offset: u32) -> Option<u32> {
    let page_len = Space::page_granules::<S>();
    let page = offset / page_len;
    if !offset.is_multiple_of(page_len) || space.is_backed(frames, page) {
        return None;
    }
    let leaf_len = PageTable::leaf_len::<S>();
    let next = match space.table.leaf_frame(frames, page / leaf_len) {
        Some(_) => page + 1,
        None => (page / leaf_len + 1) * leaf_len,
    };
    Some(next.min(space.end) * page_len)
}

impl Space {
    /// Granules that compaction cannot gain: those of used blocks and of spare pages.
    #[inline]
    fn occupied(&self) -> u64 {
        self.used + self.spare
    }

    #[inline]
    fn is_small<S: PageSource>(pages: u32) -> bool {
        (pages as usize) < SMALL_BYTES / S::PAGE_SIZE
    }

    #[inline]
    fn is_tiny<S: PageSource>(pages: u32) -> bool {
        (pages as usize) < TINY_BYTES / S::PAGE_SIZE
    }

    #[inline]
    fn granules_of_pages<S: PageSource>(pages: u32) -> u64 {
        u64::from(pages) * u64::from(Self::page_granules::<S>())
    }

    /// Free granules that any of `arenas` arenas may have in a pool of `pages` pages: as many as if all had the same number of
    /// pages. An arena with few of many pages would be packed for every two pages that it gets free.
    pub(crate) fn fair_free<S: PageSource>(pages: usize, arenas: usize) -> u64 {
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        Self::granules_of_pages::<S>(pages) / TINY_START_SHARE / arenas.max(1) as u64
    }

    /// What of that is more than an arena of `pages` pages may have by itself.
    fn fair_extra<S: PageSource>(pages: u32, fair: u64) -> u64 {
        let own = Self::granules_of_pages::<S>(pages) - Self::start_used::<S>(pages);
        fair.saturating_sub(own)
    }

    /// Granules under which compaction should start in a space of `pages` pages.
    #[inline]
    pub(crate) fn start_used<S: PageSource>(pages: u32) -> u64 {
        if pages < PAGES_MIN {
            return 0;
        }
        let granules = Self::granules_of_pages::<S>(pages);
        granules
            - if Self::is_tiny::<S>(pages) {
                granules / TINY_START_SHARE
            } else if Self::is_small::<S>(pages) {
                granules / SMALL_START_SHARE
            } else {
                granules / START_SHARE
            }
    }

    /// What allocations do in a space of `pages` pages; the smallest share comes last.
    fn assistance<S: PageSource>(pages: u32) -> &'static [(u64, u32)] {
        match (Self::is_tiny::<S>(pages), Self::is_small::<S>(pages)) {
            (true, _) => &TINY_ASSISTANCE,
            (_, true) => &SMALL_ASSISTANCE,
            _ => &[],
        }
    }

    /// Granules under which they should do it.
    fn assist_used<S: PageSource>(pages: u32) -> u64 {
        match Self::assistance::<S>(pages).last() {
            Some(&(share, _)) if pages >= ASSISTED_PAGES_MIN => {
                let granules = Self::granules_of_pages::<S>(pages);
                granules - granules / share
            }
            _ => 0,
        }
    }

    /// Called whenever `backed` has changed.
    #[inline]
    pub(crate) fn set_start_used<S: PageSource>(&mut self) {
        self.start_used = Self::start_used::<S>(self.backed);
    }

    /// Moves the block of `object`, which stands at `scan`, to `to`, the cursor. False if a hole
    /// there could not be backed; then nothing has changed.
    ///
    /// ```text
    ///  contiguous   to                    from       stop
    ///               [F .................. ][object][tail]
    ///
    ///  with holes   to      gap       back    from       stop
    ///               [F ... ] . holes . [R ... ][object][tail]      F or R may be empty
    /// ```
    fn relocate<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        object: Object,
        owner: u32,
        to: u32,
    ) -> bool {
        let page_len = Self::page_granules::<S>();
        let (from, granules) = (object.offset, object.granules());
        let dest_end = to + granules;
        let front = self.free_at(frames, to).unwrap_or(0);
        // The free block before the object, if it holds whole pages that were kept.
        let kept = self.kept_before(frames, to, from);
        // First page without a frame, and first page behind the holes: equal if there are none.
        let gap = (to + front).div_ceil(page_len);
        let back = if to + front == from {
            gap
        } else {
            kept.unwrap_or(from) / page_len
        };
        let backed_to = dest_end.div_ceil(page_len).clamp(gap, back);
        if !self.back_holes(frames, gap, backed_to) {
            return false;
        }
        if front > 0 {
            self.unlink(frames, to, front);
        }
        if gap < back && back * page_len < from {
            self.unlink(frames, back * page_len, from - back * page_len);
        }
        let mut stop = from + granules;
        if let Some(tail) = self.free_at(frames, stop) {
            self.unlink(frames, stop, tail);
            stop += tail;
        }
        self.copy_block(frames, from, to, granules);
        self.set_used(frames, to, owner);
        self.cursor = dest_end;
        self.scan = stop;
        if to < self.sweep && self.sweep < stop {
            self.sweep = to;
        }
        if backed_to == back {
            self.make_free_to_keep(frames, dest_end, stop);
            return true;
        }
        // Holes are left between the object's new end and its old place.
        let front_end = backed_to * page_len;
        if dest_end < front_end {
            self.make_free_to_keep(frames, dest_end, front_end);
        } else {
            self.set_prev_free(frames, front_end, false);
        }
        self.make_free_to_keep(frames, back * page_len, stop);
        true
    }

    /// Start of the wide block if it lies between `to` and `from`, where it begins at a page, and
    /// ends at `from`. If holes follow it, it becomes holes as well.
    fn kept_before<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        to: u32,
        from: u32,
    ) -> Option<u32> {
        let wide = self.wide;
        if wide == NONE || wide <= to || wide >= from {
            return None;
        }
        if self
            .free_at(frames, wide)
            .is_some_and(|len| wide + len == from)
        {
            return Some(wide);
        }
        self.release_spare(frames);
        None
    }

    /// Backs the holes `first..last`. On failure nothing has changed.
    fn back_holes<S: PageSource>(&mut self, frames: Frames<'_, S>, first: u32, last: u32) -> bool {
        for page in first..last {
            if self.back_hole(frames, page).is_err() {
                for undo in first..page {
                    self.unback(frames, undo);
                }
                return false;
            }
        }
        true
    }

    /// Copies a block to a lower offset; the two may overlap.
    pub(crate) fn copy_block<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        from: u32,
        to: u32,
        granules: u32,
    ) {
        if S::WINDOWS {
            return self.window.base.copy_granules(from, to, granules);
        }
        let page_len = Self::page_granules::<S>();
        let mut done = 0;
        while done < granules {
            let (source, dest) = (from + done, to + done);
            let room = page_len - (source % page_len).max(dest % page_len);
            let len = room.min(granules - done);
            frames.copy(
                self.locate(frames, source),
                self.locate(frames, dest),
                len as usize * 4,
            );
            done += len;
        }
    }
}
