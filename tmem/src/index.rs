//! The index: which page id a key leads to, who has how many pages, and which one goes first.
//!
//! ```text
//!   pool, object id ──hash──▶ object ──┐ first              page ids are indices of the page cache
//!                                      ▼
//!   object, index ────hash──▶ page ◀──▶ page ◀──▶ page      the object's pages
//!                              ▲│
//!                              │└── the pool's pages, by use     ephemeral ones: the first goes when the
//!                              └─── all ephemeral pages, by use  pool's limit, or memory, is reached
//! ```
//!
//! Everything here happens under the index lock and takes constant time: no codec runs, no page is
//! touched. Pages that leave the index are handed out as [`Removed`]; their owner is who called.

use crate::error::Error;
use crate::hash::{Buckets, CHAIN_MAX, NotInserted};
use crate::key::{ObjectId, PoolId};
use crate::record::{
    Ends, Link, NONE, OBJECT_LEN, OBJECTS_PER_CHUNK, Object, PAGE_LEN, PAGES_PER_CHUNK, Page,
};
use crate::state::Fate;
use crate::tables::{OBJECT_BUCKETS, OBJECTS, PAGE_BUCKETS, PAGES, Tables, contradiction};
use alloc_xv::PageSource;
use hashed::{PageRecords, page_hash};

mod check;
mod hashed;
mod objects;
mod pools;

type Pages = crate::chunks::Chunks<PAGE_LEN, PAGES_PER_CHUNK>;
type Objects = crate::chunks::Chunks<OBJECT_LEN, OBJECTS_PER_CHUNK>;

/// Stale numbers that an operation takes away at most.
const TRIM: u32 = 64;

/// Pages that left the index and belong to the caller now, who discards and frees them.
pub(crate) struct Removed {
    ids: [u32; Self::MOST],
    len: usize,
}

impl Removed {
    pub(crate) const MOST: usize = 32;

    pub(crate) const fn new() -> Self {
        Self {
            ids: [NONE; Self::MOST],
            len: 0,
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.len < Self::MOST
    }

    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids[..self.len]
    }

    pub(crate) fn push(&mut self, id: u32) {
        match self.ids.get_mut(self.len) {
            Some(place) => *place = id,
            None => contradiction("more pages were removed than there is room for"),
        }
        self.len += 1;
    }

    fn push_if(&mut self, id: u32, fate: Fate) {
        if fate == Fate::Free {
            self.push(id);
        }
    }
}

/// What the lock guards, beside the tables.
pub(crate) struct Heads {
    pages: Pages,
    objects: Objects,
    page_hash: Buckets,
    object_hash: Buckets,
    /// All ephemeral pages by use, the one to drop first at the front.
    all: Ends,
    pub(crate) ephemeral: u32,
    /// Pages that keys lead to.
    pub(crate) stored: u32,
    pub(crate) pools: u32,
    /// Places of pools that were ever used.
    places: u32,
    /// Pages dropped, ever, also of pools that are gone.
    pub(crate) drops: u64,
    /// Most memory in pages, cache and index; 0 for no limit.
    pub(crate) limit_pages: usize,
    /// The index's pages when memory was last shared out.
    pub(crate) shared_out: usize,
}

impl Heads {
    pub(crate) const fn new(pages: u32) -> Self {
        Self {
            pages: Pages::new(PAGES, pages),
            objects: Objects::new(OBJECTS, pages),
            page_hash: Buckets::new(PAGE_BUCKETS),
            object_hash: Buckets::new(OBJECT_BUCKETS),
            all: Ends::EMPTY,
            ephemeral: 0,
            stored: 0,
            pools: 0,
            places: 0,
            drops: 0,
            limit_pages: 0,
            shared_out: usize::MAX,
        }
    }
}

/// Where a page goes that has no id yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Dropping pages may help.
    Room(Error),
    /// It will not.
    Other(Error),
}

/// The index, locked.
pub(crate) struct Index<'t, S: PageSource> {
    pub(crate) tables: &'t Tables<S>,
    pub(crate) heads: &'t mut Heads,
    pub(crate) hash_key: [u64; 2],
}

/// Which of its lists a page stands in.
#[derive(Clone, Copy)]
struct List {
    prev: Link,
    next: Link,
}

const BY_POOL: List = List {
    prev: Link::PoolPrev,
    next: Link::PoolNext,
};
const BY_USE: List = List {
    prev: Link::AllPrev,
    next: Link::AllNext,
};
const BY_OBJECT: List = List {
    prev: Link::ObjectPrev,
    next: Link::ObjectNext,
};

impl<S: PageSource> Index<'_, S> {
    fn page(&self, id: u32) -> Page {
        Page::from_bytes(&self.heads.pages.read(self.tables, id))
    }

    fn set_page(&self, id: u32, page: Page) {
        self.heads.pages.write(self.tables, id, &page.to_bytes());
    }

    fn object(&self, number: u32) -> Object {
        Object::from_bytes(&self.heads.objects.read(self.tables, number))
    }

    fn set_object(&self, number: u32, object: Object) {
        self.heads
            .objects
            .write(self.tables, number, &object.to_bytes());
    }

    fn change_link(&self, id: u32, link: Link, to: u32) {
        let mut page = self.page(id);
        page.set_link(link, to);
        self.set_page(id, page);
    }

    fn push_back(&self, ends: &mut Ends, list: List, id: u32, page: &mut Page) {
        page.set_link(list.prev, ends.last);
        page.set_link(list.next, NONE);
        match ends.last {
            NONE => ends.first = id,
            last => self.change_link(last, list.next, id),
        }
        ends.last = id;
    }

    fn take_out(&self, ends: &mut Ends, list: List, page: &Page) {
        let (prev, next) = (page.link(list.prev), page.link(list.next));
        match prev {
            NONE => ends.first = next,
            prev => self.change_link(prev, list.next, next),
        }
        match next {
            NONE => ends.last = prev,
            next => self.change_link(next, list.prev, prev),
        }
    }

    /// A page id for a page that is about to be stored; nobody else has it.
    pub(crate) fn take_id(&mut self, cache_pages: u64) -> Result<u32, Error> {
        self.heads
            .pages
            .take(self.tables)
            .map_err(|error| match error {
                crate::chunks::NoRecord::Limit => Error::NoPages { pages: cache_pages },
                crate::chunks::NoRecord::Alloc(error) => Error::NoSpace(error),
            })
    }

    /// Gives an id back, of which the cache has no page any more.
    pub(crate) fn free_id(&mut self, id: u32) {
        self.heads.pages.free(self.tables, id);
    }

    fn find_in_object(&self, object: u32, index: u32) -> Option<u32> {
        let hash = page_hash(self.hash_key, object, index);
        self.heads.page_hash.find(self.tables, hash, |id| {
            let page = self.page(id);
            let found = page.link(Link::Object) == object && page.index == index;
            (found, page.link(Link::Chain))
        })
    }

    /// The page that a key leads to.
    pub(crate) fn find(&self, pool: u32, object: &ObjectId, index: u32) -> Option<u32> {
        self.find_in_object(self.find_object(pool, object)?, index)
    }

    /// Makes a key lead to a page, in place of the one it leads to. If it refuses, the key leads
    /// where it led, though others may have been dropped.
    pub(crate) fn publish(
        &mut self,
        id: PoolId,
        key: &ObjectId,
        index: u32,
        page: u32,
        removed: &mut Removed,
    ) -> Result<(), Refused> {
        let pool = self.pool(id).map_err(Refused::Other)?;
        let place = id.slot();
        let object = self.find_object(place, key);
        let old = object.and_then(|object| self.find_in_object(object, index));
        if let (Some(object), Some(old)) = (object, old) {
            // The new one first: what could be missing is there while the old one is.
            self.attach(place, object, index, page)
                .map_err(Refused::Other)?;
            self.remove_page(old, removed);
            return Ok(());
        }
        if pool.is_full() {
            if !pool.is_ephemeral() {
                let limit_pages = pool.limit;
                return Err(Refused::Other(Error::PoolFull { limit_pages }));
            }
            // One is enough unless the limit was lowered; two for each page until then.
            for _ in 0..2 {
                if self.pool_at(place).is_full() {
                    self.drop_first_of(place, removed);
                }
            }
        }
        // Dropping may have taken the object's last page.
        let object = match self.find_object(place, key) {
            Some(object) => object,
            None => self.add_object(place, key)?,
        };
        if let Err(error) = self.attach(place, object, index, page) {
            if self.object(object).pages == 0 {
                self.remove_object(object);
            }
            return Err(match error {
                Error::NoSpace(_) => Refused::Room(error),
                _ => Refused::Other(error),
            });
        }
        Ok(())
    }

    /// Puts a page into the table and all lists. On failure nothing has changed.
    fn attach(&mut self, place: u32, number: u32, index: u32, id: u32) -> Result<(), Error> {
        self.set_page(id, Page::new(number, index));
        let records = PageRecords(self.tables, &self.heads.pages, self.hash_key);
        self.heads
            .page_hash
            .insert(self.tables, &records, id)
            .map_err(|error| match error {
                NotInserted::Crowded => Error::Crowded { max: CHAIN_MAX },
                NotInserted::Alloc(error) => Error::NoSpace(error),
            })?;
        let mut page = self.page(id);
        let mut object = self.object(number);
        page.set_link(Link::ObjectNext, object.first);
        if object.first != NONE {
            self.change_link(object.first, Link::ObjectPrev, id);
        }
        object.first = id;
        object.pages += 1;
        self.set_object(number, object);

        let mut pool = self.pool_at(place);
        self.push_back(&mut pool.ends, BY_POOL, id, &mut page);
        pool.pages += 1;
        // A page that is replaced is counted for a moment.
        if pool.limit == 0 || pool.pages <= pool.limit {
            pool.pages_max = pool.pages_max.max(pool.pages);
        }
        self.set_pool_at(place, &pool);
        if pool.is_ephemeral() {
            let mut all = self.heads.all;
            self.push_back(&mut all, BY_USE, id, &mut page);
            self.heads.all = all;
            self.heads.ephemeral += 1;
        }
        self.set_page(id, page);
        self.heads.stored += 1;
        Ok(())
    }

    /// Takes a page out of the table and all lists. It is the caller's then, or its last reader's.
    pub(crate) fn remove_page(&mut self, id: u32, removed: &mut Removed) {
        let fate = self.detach(id);
        removed.push_if(id, fate);
    }

    fn detach(&mut self, id: u32) -> Fate {
        let records = PageRecords(self.tables, &self.heads.pages, self.hash_key);
        self.heads.page_hash.remove(self.tables, &records, id);
        let page = self.page(id);
        let number = page.link(Link::Object);
        let mut object = self.object(number);
        let mut ends = Ends {
            first: object.first,
            last: NONE,
        };
        self.take_out(&mut ends, BY_OBJECT, &page);
        object.first = ends.first;
        object.pages -= 1;
        self.set_object(number, object);

        let mut pool = self.pool_at(object.pool);
        self.take_out(&mut pool.ends, BY_POOL, &page);
        // Those of a detached object were taken off when it was.
        if !object.detached {
            pool.pages -= 1;
            if !pool.dying {
                self.heads.stored -= 1;
            }
        }
        self.set_pool_at(object.pool, &pool);
        if pool.is_ephemeral() {
            let mut all = self.heads.all;
            self.take_out(&mut all, BY_USE, &page);
            self.heads.all = all;
            self.heads.ephemeral -= 1;
        }
        let (state, fate) = page.state.retire();
        let mut gone = Page::new(NONE, 0);
        gone.state = state;
        self.set_page(id, gone);
        if object.pages == 0 && !object.detached {
            self.remove_object(number);
        }
        fate
    }

    /// Drops the page of an ephemeral pool that was not used for the longest time.
    fn drop_first_of(&mut self, place: u32, removed: &mut Removed) {
        let first = self.pool_at(place).ends.first;
        if first != NONE {
            self.drop_page(first, removed);
        }
    }

    /// Drops the ephemeral page that was not used for the longest time, of whatever pool; false if
    /// there is none.
    pub(crate) fn drop_first(&mut self, removed: &mut Removed) -> bool {
        let first = self.heads.all.first;
        if first == NONE {
            return false;
        }
        self.drop_page(first, removed);
        true
    }

    fn drop_page(&mut self, id: u32, removed: &mut Removed) {
        let object = self.object(self.page(id).link(Link::Object));
        self.remove_page(id, removed);
        if !object.detached {
            self.heads.drops += 1;
            self.change_pool(object.pool, |pool| pool.counts.drops += 1);
        }
    }

    /// Drops pages of an ephemeral pool above its limit; true if it has no more of them.
    pub(crate) fn drop_over_limit(
        &mut self,
        id: PoolId,
        removed: &mut Removed,
    ) -> Result<bool, Error> {
        while removed.has_room() {
            let pool = self.pool(id)?;
            if !pool.is_ephemeral() || pool.limit == 0 || pool.pages <= pool.limit {
                return Ok(true);
            }
            self.drop_first_of(id.slot(), removed);
        }
        Ok(false)
    }

    /// A reader comes: the page is used, and stays while it is read.
    pub(crate) fn pin(&mut self, place: u32, id: u32) -> Result<(), Error> {
        let mut page = self.page(id);
        if page.state.is_damaged() {
            return Err(Error::Damaged);
        }
        page.state = page.state.pin().ok_or(Error::TooManyReaders)?;
        let mut pool = self.pool_at(place);
        if !pool.is_ephemeral() {
            self.set_page(id, page);
            return Ok(());
        }
        // To the end of both lists.
        self.take_out(&mut pool.ends, BY_POOL, &page);
        self.push_back(&mut pool.ends, BY_POOL, id, &mut page);
        self.set_pool_at(place, &pool);
        let mut all = self.heads.all;
        self.take_out(&mut all, BY_USE, &page);
        self.push_back(&mut all, BY_USE, id, &mut page);
        self.heads.all = all;
        self.set_page(id, page);
        Ok(())
    }

    /// A reader goes. If the page left the index meanwhile, it may be the caller's now. One that was
    /// found to be damaged is dropped, or stays as an error where pages must not vanish.
    pub(crate) fn unpin(&mut self, id: u32, damaged: bool, removed: &mut Removed) {
        let mut page = self.page(id);
        let (state, fate) = page.state.unpin();
        page.state = state;
        if damaged && !state.is_retired() {
            page.state = state.with_damage();
            self.set_page(id, page);
            let object = self.object(page.link(Link::Object));
            if self.pool_at(object.pool).is_ephemeral() {
                self.remove_page(id, removed);
            }
            return;
        }
        self.set_page(id, page);
        removed.push_if(id, fate);
    }

    /// Takes away what is left of tables that have become empty, some at a time; false if there is
    /// more.
    pub(crate) fn trim(&mut self) -> bool {
        self.heads.pages.trim(self.tables, TRIM) & self.heads.objects.trim(self.tables, TRIM)
    }

    /// Buckets, keys in them, longest chain: of pages and of objects.
    pub(crate) fn hash_sizes(&self) -> [[u32; 3]; 2] {
        [&self.heads.page_hash, &self.heads.object_hash]
            .map(|hash| [hash.count, hash.entries, hash.chain_max])
    }
}
