//! The invariant checker: walks everything, for tests.

use crate::arena::{Arena, EntryTable};
use crate::entry::{self, Meaning};
use crate::frames::Frames;
use crate::index::{Class, Index, NONE};
use crate::pool_core::Core;
use crate::source::PageSource;
use crate::space::{Header, PageTable, SPARE_MAX, Space, UNOWNED};
use lock_api::RawMutex;

type Checked<T = ()> = Result<T, &'static str>;

fn ensure(condition: bool, broken: &'static str) -> Checked {
    if condition { Ok(()) } else { Err(broken) }
}

impl<S: PageSource, L: RawMutex, const ARENAS: usize> Core<S, L, ARENAS> {
    /// Every invariant of every arena, and the account of pages.
    pub(crate) fn check(&self) -> Checked {
        let mut pages = 0;
        for arena in 0..ARENAS {
            let arena = self.lock(arena);
            arena.check(self.frames())?;
            pages += arena.pages();
        }
        ensure(
            pages == self.account().used() as u64,
            "pages taken differ from pages in the tables",
        )
    }
}

/// What a walk over all blocks counts.
#[derive(Default)]
struct Walk {
    objects: u64,
    payload: u64,
    used: u64,
    free: u64,
    listed: u64,
    cursor_seen: bool,
    scan_seen: bool,
    sweep_seen: bool,
    wide_seen: bool,
}

impl Arena {
    fn check<S: PageSource>(&self, frames: Frames<'_, S>) -> Checked {
        let space = &self.space;
        let backed = self.check_pages(frames)?;
        ensure(backed == space.backed, "backed pages miscounted")?;
        ensure(
            space.start_used <= Space::start_used::<S>(backed),
            "compaction's threshold is over that of the pages",
        )?;
        let mut walk = Walk {
            cursor_seen: self.is_hole_start(frames, space.cursor),
            scan_seen: self.is_hole_start(frames, space.scan),
            sweep_seen: self.is_hole_start(frames, space.sweep),
            ..Walk::default()
        };
        let mut page = 0;
        while page < space.end {
            page = if space.is_backed(frames, page) {
                self.check_run(frames, page, &mut walk)?
            } else {
                page + 1
            };
        }
        ensure(
            walk.objects == u64::from(self.objects),
            "objects miscounted",
        )?;
        ensure(walk.payload == self.payload, "payload miscounted")?;
        ensure(walk.used == space.used, "used granules miscounted")?;
        ensure(
            walk.free == space.free_granules::<S>(),
            "free granules miscounted",
        )?;
        ensure(
            walk.cursor_seen,
            "compaction's cursor stands inside a block",
        )?;
        ensure(
            walk.scan_seen,
            "compaction's scan position stands inside a block",
        )?;
        ensure(
            walk.sweep_seen,
            "the sweep's position stands inside a block",
        )?;
        ensure(
            walk.wide_seen == (space.any_wide() != NONE) && walk.wide_seen == (space.spare > 0),
            "the wide free block is gone",
        )?;
        self.check_lists(frames, walk.listed)?;
        ensure(
            self.check_entries(frames)? == u64::from(self.objects),
            "entries of objects that have no block",
        )
    }

    /// Whether a page without a frame, or the end of the space, begins at `offset`.
    fn is_hole_start<S: PageSource>(&self, frames: Frames<'_, S>, offset: u32) -> bool {
        let page_len = Space::page_granules::<S>();
        let page = offset / page_len;
        offset.is_multiple_of(page_len)
            && page <= self.space.end
            && !self.space.is_backed(frames, page)
    }

    /// Page table: counts of leaves, the list of holes. Returns the pages that have a frame.
    fn check_pages<S: PageSource>(&self, frames: Frames<'_, S>) -> Checked<u32> {
        let space = &self.space;
        let leaf_len = PageTable::leaf_len::<S>();
        let mut backed = 0;
        for leaf in 0..space.end.div_ceil(leaf_len) {
            let pages = leaf * leaf_len..((leaf + 1) * leaf_len).min(space.end);
            let live = pages
                .clone()
                .filter(|&page| space.is_backed(frames, page))
                .count() as u32;
            let present = space.table.leaf_frame(frames, leaf).is_some();
            ensure(
                present == (live > 0),
                "page table leaf without pages, or the other way round",
            )?;
            ensure(
                !present || live == space.table.live(frames, leaf),
                "live pages of a leaf miscounted",
            )?;
            let holes = pages.len() as u32 - live;
            ensure(
                (holes > 0) == space.table.is_listed(frames, leaf),
                "leaf with holes not in the list",
            )?;
            ensure(
                !present || space.count_holes(frames, leaf) == Some(holes),
                "list of holes is broken",
            )?;
            backed += live;
        }
        ensure(
            backed > 0 || (space.end == 0 && space.table.pages() == 0),
            "an empty space keeps pages",
        )?;
        Ok(backed)
    }

    /// Walks the blocks from the first of a run of pages to the hole after it; returns that page.
    fn check_run<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        first: u32,
        walk: &mut Walk,
    ) -> Checked<u32> {
        let space = &self.space;
        let page_len = Space::page_granules::<S>();
        let mut offset = first * page_len;
        let mut before_free = false;
        loop {
            walk.cursor_seen |= offset == space.cursor;
            walk.scan_seen |= offset == space.scan;
            walk.sweep_seen |= offset == space.sweep;
            if offset.is_multiple_of(page_len) && !space.is_backed(frames, offset / page_len) {
                let tail = space.tail_before(frames, offset / page_len);
                ensure(
                    (tail > 0) == before_free,
                    "TAIL_FREE differs from the last block",
                )?;
                return Ok(offset / page_len);
            }
            let granules = match space.header(frames, offset) {
                Header::Free { granules } => {
                    ensure(!before_free, "two free blocks are neighbours")?;
                    self.check_free(frames, offset, granules, walk)?;
                    before_free = true;
                    granules
                }
                Header::Used { owner, prev_free } => {
                    ensure(
                        prev_free == before_free,
                        "PREV_FREE differs from the block before",
                    )?;
                    before_free = false;
                    self.check_used(frames, offset, owner, walk)?
                }
            };
            for page in (offset / page_len)..=((offset + granules - 1) / page_len) {
                ensure(space.is_backed(frames, page), "a block crosses a hole")?;
            }
            offset += granules;
        }
    }

    fn check_free<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        offset: u32,
        granules: u32,
        walk: &mut Walk,
    ) -> Checked {
        ensure(granules > 0, "a free block of no size")?;
        let end = offset + granules;
        let whole = Space::whole_pages::<S>(offset, end);
        ensure(
            (whole > 0) == (offset == self.space.any_wide()),
            "a free block that is not the wide one holds a whole page, or the other way round",
        )?;
        ensure(
            whole <= SPARE_MAX.max(self.space.gap),
            "the wide free block holds too many pages",
        )?;
        ensure(
            whole == 0 || self.space.spare == u64::from(whole * Space::page_granules::<S>()),
            "spare pages miscounted",
        )?;
        walk.wide_seen |= whole > 0;
        let (header, footer) = (
            self.space.word(frames, offset),
            self.space.word(frames, end - 1),
        );
        ensure(
            header == footer,
            "the footer of a free block differs from its header",
        )?;
        walk.free += u64::from(granules);
        walk.listed += u64::from(granules >= 4 && whole == 0);
        Ok(())
    }

    fn check_used<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        offset: u32,
        owner: u32,
        walk: &mut Walk,
    ) -> Checked<u32> {
        if owner == UNOWNED {
            let granules = self.space.pen.settled_granules();
            ensure(granules > 0, "a block without an owner, and nobody writes")?;
            walk.used += u64::from(granules);
            return Ok(granules);
        }
        let cell = self
            .entry(frames, owner)
            .ok_or("a block's owner has no entry")?;
        let word = entry::read(cell);
        ensure(
            !word.is_locked(),
            "an entry is held while the pool is checked",
        )?;
        let Meaning::Object(object) = word.meaning() else {
            return Err("a block's owner holds no object");
        };
        ensure(object.offset == offset, "a block's owner has another block")?;
        walk.objects += 1;
        walk.payload += u64::from(object.size);
        walk.used += u64::from(object.granules());
        Ok(object.granules())
    }

    /// Every list of the index: its blocks are free, of its class, and linked both ways.
    fn check_lists<S: PageSource>(&self, frames: Frames<'_, S>, expected: u64) -> Checked {
        let space = &self.space;
        ensure(space.index.is_consistent(), "bitmaps differ from the heads")?;
        let mut listed = 0;
        for class in Index::classes() {
            let (mut at, mut before) = (space.index.head(class), NONE);
            while at != NONE {
                listed += 1;
                ensure(
                    listed <= expected,
                    "a list has a block twice, or one that is not free",
                )?;
                let granules = space
                    .free_at(frames, at)
                    .ok_or("a used block is in a list")?;
                ensure(
                    Class::of(granules) == class,
                    "a free block is in the wrong list",
                )?;
                let (next, prev) = space.links(frames, at);
                ensure(prev == before, "the links of a list differ")?;
                (before, at) = (at, next);
            }
        }
        ensure(listed == expected, "a free block is in no list")
    }

    /// Counts of the leaves of entries. Returns how many entries hold objects.
    fn check_entries<S: PageSource>(&self, frames: Frames<'_, S>) -> Checked<u64> {
        let leaf_len = EntryTable::leaf_len::<S>();
        let mut objects = 0;
        for leaf in self.entries.known_leaves::<S>() {
            if self.entries.leaf_frame(frames, leaf).is_none() {
                continue;
            }
            let mut live = 0;
            for index in leaf * leaf_len..(leaf + 1) * leaf_len {
                let Some(cell) = self.entry(frames, index) else {
                    continue;
                };
                let word = entry::read(cell);
                ensure(
                    !word.is_locked(),
                    "an entry is held while the pool is checked",
                )?;
                match word.meaning() {
                    Meaning::Nothing => {}
                    Meaning::Value(_) => live += 1,
                    Meaning::Object(_) => {
                        live += 1;
                        objects += 1;
                    }
                }
            }
            ensure(
                live > 0,
                "a leaf of entries is kept although nothing lives in it",
            )?;
            ensure(
                live == self.entries.live(frames, leaf),
                "live entries of a leaf miscounted",
            )?;
        }
        Ok(objects)
    }
}
