//! Spare pages: what the wide block may hold, and when it gives it up. See invariant 2 of the module above.

use super::{AHEAD_MAX, NUMBER_SHIFT, SPARE_MAX, SPARE_ROOM, SPARE_SHARE, Space};
use crate::frames::Frames;
use crate::index::NONE;
use crate::source::PageSource;

impl Space {
    /// Whole pages that the wide block may hold while no objects are packed.
    #[inline]
    pub(super) fn spare_max<S: PageSource>(&self, frames: Frames<'_, S>) -> u32 {
        if !frames.has_room(SPARE_ROOM) {
            return 0;
        }
        (self.backed / SPARE_SHARE).min(SPARE_MAX)
    }

    /// Whole pages that are taken ahead at the end of the space.
    #[inline]
    pub(super) fn ahead_max<S: PageSource>(&self, frames: Frames<'_, S>) -> u32 {
        self.spare_max(frames).min(AHEAD_MAX)
    }

    /// As `spare_max`, while objects are packed.
    #[cold]
    fn gap_max<S: PageSource>(&self, frames: Frames<'_, S>) -> u32 {
        let most = (self.backed / SPARE_SHARE).min(self.gap);
        match frames.has_room(SPARE_ROOM + most as usize) {
            true => most,
            false => 0,
        }
    }

    /// Whether a free block with this many whole pages may be the wide one. No other is then.
    #[inline]
    pub(super) fn keeps<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        whole: u32,
        range: (u32, u32),
    ) -> bool {
        if self.gap > 0 {
            return self.keeps_gap(frames, whole, range);
        }
        if self.wide != NONE {
            self.release_spare(frames);
        }
        whole <= self.spare_max(frames)
    }

    /// The same while objects are packed: the wide block lies where they are packed to or taken
    /// from.
    #[cold]
    fn keeps_gap<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        whole: u32,
        (from, to): (u32, u32),
    ) -> bool {
        if self.used == 0 {
            // With the last object there is nothing to pack any more.
            self.gap = 0;
            self.release_spare(frames);
            return whole <= self.spare_max(frames);
        }
        let is_gap = |at: u32| from <= at && at <= to;
        self.wide == NONE
            && (is_gap(self.cursor) || is_gap(self.scan))
            && whole <= self.gap_max(frames)
    }

    /// Gives back the whole pages of the wide block.
    #[cold]
    pub(crate) fn release_spare<S: PageSource>(&mut self, frames: Frames<'_, S>) {
        self.settle_pen(frames);
        if self.wide == NONE {
            return;
        }
        let at = self.at(frames, self.wide);
        let len = at.get::<S>() >> NUMBER_SHIFT;
        self.unlink_at(frames, at, len);
        self.free_pages(frames, at, at.offset + len);
    }

    /// [`make_free`](Self::make_free), but whole pages are kept as long as the wide block may hold so many.
    pub(crate) fn make_free_to_keep<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        from: u32,
        to: u32,
    ) {
        let whole = Self::whole_pages::<S>(from, to);
        let keeps = self.gap > 0 && self.wide == NONE && whole <= self.gap_max(frames);
        if whole == 0 || !keeps {
            return self.make_free(frames, from, to);
        }
        self.link(frames, from, to - from);
        self.set_prev_free(frames, to, true);
    }
}
