//! The logical space: blocks laid end to end over pages that need not be neighbours.
//!
//! ```text
//!  logical   | page 0        | page 1        |     page 2    | page 3        |
//!            [hd|A........][hd|B...............][F ....ft]   .               [hd|C...
//!  frames       #17             #4              (hole: no frame)                #9
//! ```
//!
//! Offsets count granules of 4 bytes, so every metadata word is aligned and none straddles a
//! page. A block is
//!
//! ```text
//!  used   [ owner << 2 | PREV_FREE | 0 ][ payload ...              ]
//!  free   [ size  << 2 |    0      | 1 ][ next ][ prev ][ ... ][ size << 2 | 1 ]
//! ```
//!
//! * The size of a used block is in its owner's entry; the owner's number leads there.
//! * The last word of a free block repeats its header: the next block finds its start.
//! * A free block under four granules has no room for links and stands in no list; it is found
//!   again when a neighbour is freed.
//!
//! Invariants (checked by `check.rs`):
//!
//! 1. Two free blocks are never neighbours.
//! 2. No free block holds a whole page: such pages go back to the source and become holes. One
//!    free block may be an exception for a while, the *wide* one: it may hold up to [`SPARE_MAX`]
//!    whole pages, and no more than 1/16 of the pages. So of many pages that come or go one after
//!    the other several are taken or given back at once. It stands in no list: it is used when
//!    the lists have nothing, and grows and shrinks without being linked again each time. While
//!    objects are packed it is what lies between the packed ones and the others, and may hold more:
//!    [`gap`](Space::gap), see `compaction.rs`.
//! 3. A block never crosses a hole, so the first granule after a hole starts a block.
//! 4. `PREV_FREE` of a block tells whether the one before it is free; where no block follows (a
//!    hole, the end) `TAIL_FREE` of the page table entry says it instead.
//!
//! # Time complexity
//!
//! Allocating and freeing touch at most a fixed number of blocks: see [`crate::BLOCKS_TOUCHED_MAX`].

use crate::frames::{Frames, Page, TakeError, Window};
use crate::index::{Class, Index, NONE};
use crate::source::PageSource;
use crate::tree::Tree;
use core::cell::Cell;

mod pages;
mod pen;
mod spare;
mod words;

use pen::Pen;
pub(crate) use pen::UNOWNED;
use words::At;

/// Header of a free block.
const FREE: u32 = 1;
/// The block before this one is free.
const PREV_FREE: u32 = 2;
const NUMBER_SHIFT: u32 = 2;
/// Free blocks from here on have links.
const LISTED_MIN: u32 = 4;
/// Blocks of the request's own class that are tried before a bigger class.
const PROBES: u32 = 2;

/// Page table entry: the page has a frame (its low 30 bits). Without it the entry is a hole, and
/// holds the next hole of its leaf plus one.
const BACKED: u32 = 1 << 31;
/// The block that ends where this page ends is free. Kept only where the next page is a hole.
const TAIL_FREE: u32 = 1 << 30;

/// Whole pages that the wide block may hold ...
pub(crate) const SPARE_MAX: u32 = 8;
/// ... and at most this share of all pages.
const SPARE_SHARE: u32 = 16;
/// So many are taken ahead of need at most: what a pool that only grows has for nothing.
const AHEAD_MAX: u32 = 6;
/// None are kept where fewer than this many may be taken by the limit: another arena needs them.
pub(crate) const SPARE_ROOM: usize = 16 * SPARE_MAX as usize;

/// Pages whose addresses are kept at hand.
const RECENT: usize = 16;

/// Why no block could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpaceError {
    Take(TakeError),
    /// Offsets are used up.
    Full,
}

impl From<TakeError> for SpaceError {
    fn from(error: TakeError) -> Self {
        Self::Take(error)
    }
}

/// A header, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Free { granules: u32 },
    Used { owner: u32, prev_free: bool },
}

pub(crate) type PageTable = Tree<4, 32>;

/// See the module's text.
pub(crate) struct Space {
    pub(crate) table: PageTable,
    pub(crate) index: Index,
    /// All pages, if the source has windows.
    pub(crate) window: Window,
    /// Without windows: pages that were looked up last, by the low bits of their numbers: the words that an
    /// operation touches lie in few pages. A page is forgotten when its frame goes.
    recent: [Cell<(u32, Page)>; RECENT],
    /// Start of the free block that holds whole pages, or [`NONE`]; while somebody writes into it the pen has it.
    pub(crate) wide: u32,
    /// Granules of these pages.
    pub(crate) spare: u64,
    /// Whole pages that it may hold while objects are packed; 0 while none are.
    pub(crate) gap: u32,
    /// Who writes into the wide block: see `pen.rs`.
    pub(crate) pen: Pen,
    /// Pages from here on were never used, or not since the space shrank.
    pub(crate) end: u32,
    /// Pages that have a frame.
    pub(crate) backed: u32,
    /// Granules in used blocks.
    pub(crate) used: u64,
    /// With fewer of them compaction should start; follows from `backed`, see `compaction.rs`.
    pub(crate) start_used: u64,
    /// With fewer of them an allocation looks whether it should help; 0 while nobody is asked to.
    pub(crate) assist_used: u64,
    /// Where compaction packs to, and where it looks for objects: see `compaction.rs`.
    /// Both are always the start of a block or of a page.
    pub(crate) cursor: u32,
    pub(crate) scan: u32,
    /// Where the search for sparse pages goes on, and with which page: see `evacuate.rs`.
    pub(crate) sweep: u32,
    pub(crate) sweep_page: u32,
    /// Blocks whose header or links were touched; the bound on it is a tested constant.
    #[cfg(test)]
    pub(crate) touched: core::cell::Cell<u32>,
}

impl Space {
    pub(crate) const fn new() -> Self {
        Self {
            table: Tree::new(),
            index: Index::new(),
            window: Window::CLOSED,
            recent: [const { Cell::new((NONE, Page::NONE)) }; RECENT],
            wide: NONE,
            spare: 0,
            gap: 0,
            pen: Pen::AWAY,
            end: 0,
            backed: 0,
            used: 0,
            start_used: 0,
            assist_used: 0,
            cursor: 0,
            scan: 0,
            sweep: 0,
            sweep_page: 0,
            #[cfg(test)]
            touched: core::cell::Cell::new(0),
        }
    }

    /// Granules of a page.
    #[inline]
    pub(crate) const fn page_granules<S: PageSource>() -> u32 {
        (S::PAGE_SIZE / 4) as u32
    }

    /// Pages that offsets can name; the last offset of all stays free for `NONE`.
    pub(crate) const fn pages_max<S: PageSource>() -> u32 {
        (((1u64 << 32) / Self::page_granules::<S>() as u64) - 1) as u32
    }

    /// Free granules in pages that have a frame.
    pub(crate) fn free_granules<S: PageSource>(&self) -> u64 {
        u64::from(self.backed) * u64::from(Self::page_granules::<S>()) - self.used
    }

    /// Allocates a block of `granules` for `owner` and returns its offset.
    /// On failure nothing has changed.
    #[inline]
    pub(crate) fn alloc<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        granules: u32,
        owner: u32,
    ) -> Result<u32, SpaceError> {
        if let Some((at, len, class)) = self.find(frames, granules) {
            self.unlink_from(frames, at, class);
            self.occupy(frames, at, len, granules, owner);
            // Behind a block that was listed, what follows knows that it follows a free one.
            if len == granules {
                self.set_prev_free(frames, at.offset + len, false);
            }
            return Ok(at.offset);
        }
        if let Some(start) = self.alloc_in_wide(frames, granules, owner) {
            return Ok(start);
        }
        self.alloc_grown(frames, granules, owner)
    }

    /// Puts a block at the start of the wide one, if that is long enough.
    #[inline]
    fn alloc_in_wide<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        granules: u32,
        owner: u32,
    ) -> Option<u32> {
        if self.wide == NONE {
            return None;
        }
        let at = self.at(frames, self.wide);
        let len = at.get::<S>() >> NUMBER_SHIFT;
        if len < granules {
            return None;
        }
        self.touch();
        self.wide = NONE;
        self.spare = 0;
        self.occupy(frames, at, len, granules, owner);
        if len == granules {
            self.set_prev_free(frames, at.offset + len, false);
        }
        Some(at.offset)
    }

    /// Makes a listed free block the block of an object.
    pub(crate) fn place<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        start: u32,
        len: u32,
        granules: u32,
        owner: u32,
    ) {
        let at = self.at(frames, start);
        self.unlink_at(frames, at, len);
        self.occupy(frames, at, len, granules, owner);
        if len == granules {
            self.set_prev_free(frames, start + len, false);
        }
    }

    /// Puts an object's block at the start of a free range that is on no list.
    #[inline]
    fn occupy<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        at: At,
        len: u32,
        granules: u32,
        owner: u32,
    ) {
        at.set::<S>(owner << NUMBER_SHIFT);
        self.used += u64::from(granules);
        if len > granules {
            let rest = self.beside(frames, at, at.offset + granules);
            self.link_at(frames, rest, len - granules);
        }
        if self.cursor <= at.offset && at.offset < self.scan {
            self.scan = at.offset;
        }
    }

    /// Frees the used block at `start`.
    #[inline(never)]
    pub(crate) fn free<S: PageSource>(&mut self, frames: Frames<'_, S>, start: u32, granules: u32) {
        self.free_block::<S, true>(frames, start, granules);
    }

    /// The same, and no page of it is kept that is not needed.
    #[cold]
    pub(crate) fn free_at_once<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        start: u32,
        granules: u32,
    ) {
        self.free_block::<S, false>(frames, start, granules);
    }

    #[inline]
    fn free_block<S: PageSource, const KEEP: bool>(
        &mut self,
        frames: Frames<'_, S>,
        start: u32,
        granules: u32,
    ) {
        if self.pen.is_open() {
            // What is freed may lie before or behind it, or become the wide block.
            self.settle_pen(frames);
        }
        self.used -= u64::from(granules);
        let page_len = Self::page_granules::<S>();
        let (mut from, mut to) = (self.at(frames, start), start + granules);
        self.touch();
        if from.get::<S>() & PREV_FREE != 0 {
            let footer = self.beside(frames, from, start - 1);
            let len = footer.get::<S>() >> NUMBER_SHIFT;
            from = self.beside(frames, footer, start - len);
            self.unlink_at(frames, from, len);
        }
        let next_is_hole = to % page_len == 0 && !self.is_backed(frames, to / page_len);
        if !next_is_hole {
            let next = self.beside(frames, from, to);
            self.touch();
            let word = next.get::<S>();
            if word & FREE != 0 {
                // What follows a block that was free knows that already.
                let len = word >> NUMBER_SHIFT;
                self.unlink_at(frames, next, len);
                to += len;
            } else {
                next.set::<S>(word | PREV_FREE);
            }
        }
        self.forget_positions(from.offset, to);
        let whole = Self::whole_pages::<S>(from.offset, to);
        if whole > 0 && !(KEEP && self.keeps(frames, whole, (from.offset, to))) {
            return self.free_pages(frames, from, to);
        }
        self.link_at(frames, from, to - from.offset);
        if next_is_hole {
            self.set_tail_free(frames, to / page_len - 1, true);
        }
    }

    /// Whole pages in a range.
    #[inline]
    pub(crate) fn whole_pages<S: PageSource>(from: u32, to: u32) -> u32 {
        let page = Self::page_granules::<S>();
        (to / page).saturating_sub(from.div_ceil(page))
    }

    /// A free block of at least `granules`: one of the first of its own list if it fits, else the
    /// first of the next list whose blocks all do.
    #[inline]
    fn find<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        granules: u32,
    ) -> Option<(At, u32, Class)> {
        let class = Class::of(granules);
        let mut start = self.index.head(class);
        for _ in 0..PROBES {
            if start == NONE {
                break;
            }
            let at = self.at(frames, start);
            self.touch();
            let len = at.get::<S>() >> NUMBER_SHIFT;
            if len >= granules {
                return Some((at, len, class));
            }
            start = self.beside(frames, at, start + 1).get::<S>();
        }
        let (start, class) = self.index.find_above(class)?;
        let at = self.at(frames, start);
        Some((at, at.get::<S>() >> NUMBER_SHIFT, class))
    }

    /// Makes the range free, which is bounded by used blocks, holes or the end: whole pages go
    /// back to the source, the rest becomes free blocks. Every page in it has a frame.
    pub(crate) fn make_free<S: PageSource>(&mut self, frames: Frames<'_, S>, from: u32, to: u32) {
        let page = Self::page_granules::<S>();
        if from >= to {
            return;
        }
        let at = self.at(frames, from);
        if from.div_ceil(page) < to / page {
            if !to.is_multiple_of(page) {
                self.set_prev_free(frames, to, true);
            }
            return self.free_pages(frames, at, to);
        }
        self.link_at(frames, at, to - from);
        self.set_prev_free(frames, to, true);
    }

    /// [`make_free`](Self::make_free) where the range holds a whole page, and a block that follows it inside a page
    /// knows already that what is before it is free.
    fn free_pages<S: PageSource>(&mut self, frames: Frames<'_, S>, from: At, to: u32) {
        let page = Self::page_granules::<S>();
        let (first, last) = (from.offset.div_ceil(page), to / page);
        if last * page < to {
            self.link(frames, last * page, to - last * page);
        } else {
            self.set_prev_free(frames, to, false);
        }
        let front = first * page - from.offset;
        if front > 0 {
            self.link_at(frames, from, front);
        }
        if first > 0 {
            self.set_tail_free(frames, first - 1, front > 0);
        }
        self.unback_run(frames, first, last);
    }

    /// Length of the free block that starts at `offset`, if one does.
    #[inline]
    pub(crate) fn free_at<S: PageSource>(&self, frames: Frames<'_, S>, offset: u32) -> Option<u32> {
        if offset.is_multiple_of(Self::page_granules::<S>())
            && !self.is_backed(frames, offset / Self::page_granules::<S>())
        {
            return None;
        }
        match self.header(frames, offset) {
            Header::Free { granules } => Some(granules),
            Header::Used { .. } => None,
        }
    }

    /// The header at `offset`, where a block starts.
    #[inline]
    pub(crate) fn header<S: PageSource>(&self, frames: Frames<'_, S>, offset: u32) -> Header {
        self.touch();
        let word = self.word(frames, offset);
        let number = word >> NUMBER_SHIFT;
        if word & FREE != 0 {
            Header::Free { granules: number }
        } else {
            Header::Used {
                owner: number,
                prev_free: word & PREV_FREE != 0,
            }
        }
    }

    /// Writes the header of a used block whose neighbour before is used, a hole or the start.
    pub(crate) fn set_used<S: PageSource>(&self, frames: Frames<'_, S>, offset: u32, owner: u32) {
        self.set_word(frames, offset, owner << NUMBER_SHIFT);
    }

    /// Records whether the block that ends at `offset` is free.
    pub(crate) fn set_prev_free<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        offset: u32,
        free: bool,
    ) {
        let page = Self::page_granules::<S>();
        if offset.is_multiple_of(page) && !self.is_backed(frames, offset / page) {
            if offset > 0 {
                self.set_tail_free(frames, offset / page - 1, free);
            }
            return;
        }
        self.touch();
        let word = self.word(frames, offset);
        self.set_word(
            frames,
            offset,
            if free {
                word | PREV_FREE
            } else {
                word & !PREV_FREE
            },
        );
    }

    /// Puts a free block on the books: header, footer and list.
    pub(crate) fn link<S: PageSource>(&mut self, frames: Frames<'_, S>, start: u32, len: u32) {
        self.link_at(frames, self.at(frames, start), len);
    }

    #[inline]
    fn link_at<S: PageSource>(&mut self, frames: Frames<'_, S>, at: At, len: u32) {
        let header = len << NUMBER_SHIFT | FREE;
        self.touch();
        at.set::<S>(header);
        self.beside(frames, at, at.offset + len - 1)
            .set::<S>(header);
        if len < LISTED_MIN || self.becomes_wide::<S>(at.offset, len) {
            return;
        }
        let next = self.index.replace_head(Class::of(len), at.offset);
        self.set_links(frames, at, next, NONE);
        if next != NONE {
            self.touch();
            self.set_word(frames, next + 2, at.offset);
        }
    }

    /// Makes a new free block the wide one, if it holds whole pages.
    #[inline]
    fn becomes_wide<S: PageSource>(&mut self, start: u32, len: u32) -> bool {
        let page = Self::page_granules::<S>();
        let whole = Self::whole_pages::<S>(start, start + len);
        if len < page || whole == 0 {
            return false;
        }
        debug_assert_eq!(self.wide, NONE, "two free blocks hold whole pages");
        self.wide = start;
        self.spare = u64::from(whole * page);
        true
    }

    /// Takes a free block off its list.
    pub(crate) fn unlink<S: PageSource>(&mut self, frames: Frames<'_, S>, start: u32, len: u32) {
        self.unlink_at(frames, self.at(frames, start), len);
    }

    #[inline]
    fn unlink_at<S: PageSource>(&mut self, frames: Frames<'_, S>, at: At, len: u32) {
        self.touch();
        if at.offset == self.wide {
            self.wide = NONE;
            self.spare = 0;
        } else if len >= LISTED_MIN {
            self.unlink_from(frames, at, Class::of(len));
        }
    }

    /// Takes a block off the list it stands in.
    #[inline]
    fn unlink_from<S: PageSource>(&mut self, frames: Frames<'_, S>, at: At, class: Class) {
        let (next, prev) = self.links_at(frames, at);
        if next != NONE {
            self.touch();
            self.set_word(frames, next + 2, prev);
        }
        if prev != NONE {
            self.touch();
            self.set_word(frames, prev + 1, next);
        } else {
            self.index.set_head(class, next);
        }
    }

    #[inline]
    fn set_links<S: PageSource>(&self, frames: Frames<'_, S>, at: At, next: u32, prev: u32) {
        if !S::WINDOWS && at.byte + 12 <= S::PAGE_SIZE {
            at.page.store::<S>(at.byte + 4, next);
            at.page.store::<S>(at.byte + 8, prev);
        } else {
            self.set_word(frames, at.offset + 1, next);
            self.set_word(frames, at.offset + 2, prev);
        }
    }

    /// The next and the previous block in the list of a free one.
    pub(crate) fn links<S: PageSource>(&self, frames: Frames<'_, S>, start: u32) -> (u32, u32) {
        self.links_at(frames, self.at(frames, start))
    }

    #[inline]
    fn links_at<S: PageSource>(&self, frames: Frames<'_, S>, at: At) -> (u32, u32) {
        if !S::WINDOWS && at.byte + 12 <= S::PAGE_SIZE {
            return (
                at.page.load::<S>(at.byte + 4),
                at.page.load::<S>(at.byte + 8),
            );
        }
        (
            self.word(frames, at.offset + 1),
            self.word(frames, at.offset + 2),
        )
    }

    /// Compaction's positions must not stand inside a block that is being merged.
    #[inline]
    pub(crate) fn forget_positions(&mut self, from: u32, to: u32) {
        if self.cursor | self.scan | self.sweep == 0 {
            return;
        }
        // The cursor also moves back to a free block that ends where it stands: what is packed
        // to it must follow a used block.
        if from < self.cursor && self.cursor <= to {
            self.cursor = from;
        }
        if from < self.scan && self.scan < to {
            self.scan = from;
        }
        if from < self.sweep && self.sweep < to {
            self.sweep = from;
        }
    }

    #[inline]
    pub(crate) fn touch(&self) {
        #[cfg(test)]
        self.touched.set(self.touched.get() + 1);
    }
}
