//! Room for bytes that are written before anybody knows how many there will be: a codec's output goes
//! where it will stay, and nobody copies it there.
//!
//! ```text
//!  wide block    [free | ................................ |ft]
//!  open pen      [free | being written ----->             |ft]    nothing of it is on the books
//!  committed     [used | bytes      ][free | ............ |ft]    the block is as long as the bytes
//!  settled       [used by nobody yet    ][free | ........ |ft]    somebody else needed the wide block
//! ```
//!
//! One thread has the pen of a space, for as long as it writes, and holds no lock meanwhile. It writes into the wide
//! block, whose inside nobody looks at, so taking the pen and putting it away changes no word of the space. Whoever
//! else has to do with the wide block settles the pen first: what is being written becomes a block without an owner,
//! which stays where it is. So nobody ever waits for who writes.
//!
//! There is a pen only in a space that grows: where the wide block is the only free one. Elsewhere a free block that
//! fits is better, and which one fits is known when the bytes are.

use super::{NUMBER_SHIFT, PREV_FREE, Space};
use crate::frames::Frames;
use crate::index::{Class, NONE};
use crate::source::PageSource;

/// The owner of a settled block: no entry has this number.
pub(crate) const UNOWNED: u32 = u32::MAX >> NUMBER_SHIFT;

/// See the module's text.
pub(crate) struct Pen {
    /// The wide block whose start is being written, hidden from everybody else; [`NONE`] if nobody writes, or if it is
    /// settled.
    wide: u32,
    /// The settled block, or [`NONE`].
    block: u32,
    /// Granules that are being written, in either.
    granules: u32,
}

impl Pen {
    pub(super) const AWAY: Self = Self {
        wide: NONE,
        block: NONE,
        granules: 0,
    };

    /// Whether somebody writes into the wide block.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.wide != NONE
    }

    /// Granules of the block that has no owner.
    pub(crate) fn settled_granules(&self) -> u32 {
        self.granules
    }
}

impl Space {
    /// Start of the wide block, whether somebody writes into it or not.
    pub(crate) fn any_wide(&self) -> u32 {
        self.wide.min(self.pen.wide)
    }

    /// Takes the pen for a block of up to `most` granules, and returns where the block will begin; nothing if
    /// somebody has it, or if there is no room that is better than any other.
    #[inline]
    pub(crate) fn take_pen<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        most: u32,
    ) -> Option<u32> {
        if self.pen.granules > 0 || self.gap > 0 {
            return None;
        }
        // One granule more, where the footer is.
        let fits = self.wide != NONE
            && self.index.is_empty()
            && self.at(frames, self.wide).get::<S>() >> NUMBER_SHIFT > most;
        if !fits && !self.grow_for_pen(frames, most) {
            return None;
        }
        debug_assert_ne!(self.wide, NONE, "what was added holds a page");
        self.pen.wide = core::mem::replace(&mut self.wide, NONE);
        self.pen.granules = most;
        Some(self.pen.wide)
    }

    /// Makes the free block at the end of the space, if it is the only one, longer than `most`.
    #[cold]
    fn grow_for_pen<S: PageSource>(&mut self, frames: Frames<'_, S>, most: u32) -> bool {
        let page_len = Self::page_granules::<S>();
        let ahead = self.ahead_max(frames);
        let first = self.end;
        let before = self.tail_before(frames, first);
        let start = first * page_len - before;
        let only = match self.wide {
            NONE if before < super::LISTED_MIN => self.index.is_empty(),
            NONE => {
                self.index.has_only(Class::of(before), start) && self.links(frames, start).0 == NONE
            }
            wide => wide == start && self.index.is_empty(),
        };
        if !only || ahead == 0 || before > most {
            return false;
        }
        // The wide block holds no more pages than at other times. The block will be shorter than the most it may be, so what is taken ahead is one page less than beside
        // an allocation.
        let needed = (most + 1 - before).div_ceil(page_len);
        let wanted = needed + ahead - 1;
        if first + wanted > Self::pages_max::<S>()
            || Self::whole_pages::<S>(start, (first + wanted) * page_len) > super::SPARE_MAX
        {
            return false;
        }
        let Ok((at, len)) = self.extend_tail(frames, before, needed, wanted) else {
            return false;
        };
        self.link_at(frames, at, len);
        self.set_tail_free(frames, self.end - 1, true);
        true
    }

    /// Puts the pen away: what was written is a block of `granules`, of `owner`. Returns where it begins.
    #[inline]
    pub(crate) fn commit_pen<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        granules: u32,
        owner: u32,
    ) -> u32 {
        if !self.pen.is_open() {
            return self.commit_settled(frames, granules, owner);
        }
        let pen = core::mem::replace(&mut self.pen, Pen::AWAY);
        self.occupy_wide(frames, pen.wide, granules, owner);
        pen.wide
    }

    /// Puts a block at the start of what was the wide block, which is longer.
    #[inline]
    fn occupy_wide<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        start: u32,
        granules: u32,
        owner: u32,
    ) {
        let at = self.at(frames, start);
        let len = at.get::<S>() >> NUMBER_SHIFT;
        self.touch();
        self.spare = 0;
        self.occupy(frames, at, len, granules, owner);
    }

    #[cold]
    fn commit_settled<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        granules: u32,
        owner: u32,
    ) -> u32 {
        let (start, all) = self.take_settled();
        let at = self.at(frames, start);
        self.touch();
        at.set::<S>(owner << NUMBER_SHIFT | at.get::<S>() & PREV_FREE);
        if granules < all {
            let rest = start + granules;
            self.set_used(frames, rest, UNOWNED);
            self.free(frames, rest, all - granules);
        }
        start
    }

    /// Puts the pen away: nothing was written.
    #[cold]
    pub(crate) fn drop_pen<S: PageSource>(&mut self, frames: Frames<'_, S>) {
        if self.pen.is_open() {
            self.wide = core::mem::replace(&mut self.pen, Pen::AWAY).wide;
        } else {
            let (start, granules) = self.take_settled();
            self.free(frames, start, granules);
        }
    }

    fn take_settled(&mut self) -> (u32, u32) {
        let pen = core::mem::replace(&mut self.pen, Pen::AWAY);
        debug_assert_ne!(pen.block, NONE, "the pen was not taken");
        (pen.block, pen.granules)
    }

    /// Makes what is being written a block, so that the wide block can be used by somebody else.
    #[cold]
    pub(crate) fn settle_pen<S: PageSource>(&mut self, frames: Frames<'_, S>) {
        if self.pen.is_open() {
            let start = core::mem::replace(&mut self.pen.wide, NONE);
            self.occupy_wide(frames, start, self.pen.granules, UNOWNED);
            self.pen.block = start;
        }
    }
}
