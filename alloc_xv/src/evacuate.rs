//! Emptying sparse pages: the cheap half of compaction.
//!
//! A sweep goes over the pages in order. Of each it looks at the blocks that touch it, and if
//! little of the page is used it moves their objects into free blocks elsewhere, the best fit
//! that the index has; then the page has no object left and goes back to the source.
//!
//! ```text
//!        | page p-1      | page p        | page p+1      |
//!  before [A........][B ... free ... ][C .. free ..][D...
//!  after  [A........][free.] . hole . [free.........][D...      B and C went elsewhere
//! ```
//!
//! To give back a page costs moving less than a page, where packing costs moving everything
//! behind the first gap; but it needs free blocks that fit, so it cannot use the last few
//! percent. No page is taken for it.

use crate::arena::Arena;
use crate::entry::{self, Meaning, Object, Word};
use crate::frames::Frames;
use crate::index::{Class, NONE};
use crate::source::PageSource;
use crate::space::{Header, PageTable, Space, UNOWNED};

/// A page is sparse if at most this share of it is used, in percent.
const SPARSE_PERCENT: u32 = 65;
/// Pages with more objects than this are left alone: the work of a step is bounded.
const OBJECTS_MAX: usize = 6;
/// Blocks that are walked for one page.
const WALK_MAX: u32 = 32;
/// A sweep that gave back less than this share of the pages was not worth it.
const POOR_SHARE: u64 = 128;
/// Blocks of one list that are tried for a fit.
const PROBES: u32 = 4;

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Objects moved.
    pub(crate) objects: u32,
    /// The sweep came to the end of the space.
    pub(crate) wrapped: bool,
    /// It did, and gave back next to nothing on its way.
    pub(crate) poor: bool,
}

/// What stands on a page.
struct Survey {
    objects: [(u32, Object); OBJECTS_MAX],
    count: usize,
    /// Granules of the page that belong to objects.
    used: u32,
    /// The page can be emptied: not too many objects, none of them held.
    movable: bool,
    /// The last block that touches the page.
    last: u32,
    /// Where that block ends.
    end: u32,
}

impl Arena {
    /// Looks at up to `pages` pages and empties at most one.
    pub(crate) fn sweep_step<S: PageSource>(&mut self, frames: Frames<'_, S>, pages: u32) -> Swept {
        self.space.settle_pen(frames);
        let backed = self.space.backed;
        let mut swept = Swept::default();
        for _ in 0..pages {
            if let Some(page) = self.next_page(frames, &mut swept) {
                swept.objects = self.sweep_page(frames, page);
            }
            if swept.objects > 0 || swept.wrapped {
                break;
            }
        }
        let gained = backed.saturating_sub(self.space.backed);
        self.sweep_gained += gained;
        self.pages_compacted += u64::from(gained);
        if swept.wrapped {
            swept.poor = u64::from(self.sweep_gained) * POOR_SHARE < u64::from(self.space.backed);
            self.sweep_gained = 0;
        }
        swept
    }

    /// Looks at one page, and empties it if it is sparse. Returns the objects moved.
    fn sweep_page<S: PageSource>(&mut self, frames: Frames<'_, S>, page: u32) -> u32 {
        let page_len = Space::page_granules::<S>();
        let survey = self.survey(frames, page);
        let page_end = (page + 1) * page_len;
        // The next page begins in the last block, or behind it; a page of very many blocks is
        // passed in several steps.
        self.space.sweep = if survey.end > page_end {
            survey.last
        } else {
            survey.end
        };
        if survey.end >= page_end {
            self.space.sweep_page = page + 1;
        }
        if survey.movable && survey.used * 100 <= page_len * SPARSE_PERCENT {
            self.evacuate(frames, page, &survey)
        } else {
            0
        }
    }

    /// The next page that has a frame; notes in `swept` when the sweep starts anew.
    fn next_page<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        swept: &mut Swept,
    ) -> Option<u32> {
        let space = &mut self.space;
        let page_len = Space::page_granules::<S>();
        // Merging may have moved the position back to a hole; nothing else moves it.
        if space.sweep.is_multiple_of(page_len) && !space.is_backed(frames, space.sweep / page_len)
        {
            space.sweep_page = space.sweep / page_len;
        }
        if space.sweep_page >= space.end {
            space.sweep = 0;
            space.sweep_page = 0;
            swept.wrapped = true;
            return None;
        }
        let page = space.sweep_page;
        if space.is_backed(frames, page) {
            return Some(page);
        }
        let leaf_len = PageTable::leaf_len::<S>();
        let next = match space.table.leaf_frame(frames, page / leaf_len) {
            Some(_) => page + 1,
            None => (page / leaf_len + 1) * leaf_len,
        };
        space.sweep_page = next.min(space.end);
        space.sweep = space.sweep_page * page_len;
        None
    }

    /// Walks the blocks from the sweep's position to the end of `page`.
    fn survey<S: PageSource>(&self, frames: Frames<'_, S>, page: u32) -> Survey {
        let page_len = Space::page_granules::<S>();
        let (start, stop) = (page * page_len, (page + 1) * page_len);
        let nothing = Object {
            offset: 0,
            size: 1,
            tag: 0,
        };
        let mut survey = Survey {
            objects: [(0, nothing); OBJECTS_MAX],
            count: 0,
            used: 0,
            // A walk that begins inside the page has not seen all of it.
            movable: self.space.sweep <= start,
            last: self.space.sweep,
            end: self.space.sweep,
        };
        for _ in 0..WALK_MAX {
            if survey.end >= stop {
                break;
            }
            if survey.end.is_multiple_of(page_len)
                && !self.space.is_backed(frames, survey.end / page_len)
            {
                survey.end += page_len;
                continue;
            }
            survey.last = survey.end;
            let granules = match self.space.header(frames, survey.last) {
                Header::Free { granules } => granules,
                Header::Used { owner, .. } => match self.unheld(frames, owner) {
                    Ok(object) => {
                        let end = survey.last + object.granules();
                        if end > start {
                            survey.used += end.min(stop) - survey.last.max(start);
                            survey.note(owner, object);
                        }
                        object.granules()
                    }
                    Err(granules) => {
                        survey.movable = false;
                        granules
                    }
                },
            };
            survey.end = survey.last.saturating_add(granules);
        }
        survey.movable &= survey.end >= stop;
        survey
    }

    /// The object of an entry that nobody holds; otherwise the granules of its block.
    fn unheld<S: PageSource>(&self, frames: Frames<'_, S>, owner: u32) -> Result<Object, u32> {
        if owner == UNOWNED {
            return Err(self.space.pen.settled_granules());
        }
        let word = self.entry(frames, owner).map_or(Word::NOTHING, entry::read);
        match word.meaning() {
            Meaning::Object(object) if word.is_locked() => Err(object.granules()),
            Meaning::Object(object) => Ok(object),
            // Contradicts the header: nothing sensible follows, so the walk ends here.
            _ => Err(u32::MAX),
        }
    }

    /// Moves the surveyed objects elsewhere, as far as free blocks fit. Returns how many.
    fn evacuate<S: PageSource>(
        &mut self,
        frames: Frames<'_, S>,
        page: u32,
        survey: &Survey,
    ) -> u32 {
        let mut moved = 0;
        // The biggest first would need sorting; the blocks of a page are few and any order ends
        // the same way: all of them, or the page stays.
        for &(owner, object) in survey.objects.iter().take(survey.count) {
            let granules = object.granules();
            let Some((start, len)) = self.space.find_outside(frames, granules, page) else {
                break;
            };
            let Some(cell) = self.entry(frames, owner) else {
                break;
            };
            self.space.place(frames, start, len, granules, owner);
            self.space
                .copy_block(frames, object.offset, start, granules);
            self.space.set_used(frames, start, owner);
            entry::set_unlocked(
                cell,
                Word::object(Object {
                    offset: start,
                    ..object
                }),
            );
            self.space.free_at_once(frames, object.offset, granules);
            self.moved += 1;
            moved += 1;
        }
        moved
    }
}

impl Survey {
    fn note(&mut self, owner: u32, object: Object) {
        match self.objects.get_mut(self.count) {
            Some(place) => {
                *place = (owner, object);
                self.count += 1;
            }
            None => self.movable = false,
        }
    }
}

impl Space {
    /// A free block of at least `granules` that does not touch `page`.
    fn find_outside<S: PageSource>(
        &self,
        frames: Frames<'_, S>,
        granules: u32,
        page: u32,
    ) -> Option<(u32, u32)> {
        let page_len = Self::page_granules::<S>();
        let outside =
            |start: u32, len: u32| start / page_len > page || (start + len - 1) / page_len < page;
        let class = Class::of(granules);
        let above = self
            .index
            .find_above(class)
            .map_or(NONE, |(start, _)| start);
        for mut at in [self.index.head(class), above] {
            for _ in 0..PROBES {
                if at == NONE {
                    break;
                }
                let Some(len) = self.free_at(frames, at) else {
                    break;
                };
                if len >= granules && outside(at, len) {
                    return Some((at, len));
                }
                at = self.links(frames, at).0;
            }
        }
        None
    }
}
