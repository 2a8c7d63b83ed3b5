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
use crate::hash::{Buckets, CHAIN_MAX, Chained, NotInserted};
use crate::key::{GENERATION_MAX, Lifetime, ObjectId, POOLS_MAX, PoolId, PoolOptions};
use crate::record::{
    Ends, Link, NONE, OBJECT_LEN, OBJECTS_PER_CHUNK, Object, PAGE_LEN, PAGES_PER_CHUNK, POOL_LEN,
    Page, Pool,
};
use crate::state::Fate;
use crate::tables::{OBJECT_BUCKETS, OBJECTS, PAGE_BUCKETS, PAGES, POOLS, Tables, contradiction};
use alloc_xv::PageSource;
use core::hash::Hasher;
use siphasher::sip::SipHasher13;

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

/// The records of pages as the hash table sees them.
struct PageRecords<'r, S: PageSource>(&'r Tables<S>, &'r Pages, [u64; 2]);
/// Those of objects.
struct ObjectRecords<'r, S: PageSource>(&'r Tables<S>, &'r Objects, [u64; 2]);

fn hash_words<const N: usize>(key: [u64; 2], words: [u64; N]) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(key[0], key[1]);
    for word in words {
        hasher.write_u64(word);
    }
    hasher.finish() as u32
}

fn page_hash(key: [u64; 2], object: u32, index: u32) -> u32 {
    hash_words(key, [u64::from(object) << 32 | u64::from(index)])
}

fn object_hash(key: [u64; 2], pool: u32, id: &ObjectId) -> u32 {
    let [a, b, c] = id.0;
    hash_words(key, [u64::from(pool), a, b, c])
}

impl<S: PageSource> Chained for PageRecords<'_, S> {
    fn hash(&self, id: u32) -> u32 {
        let page = Page::from_bytes(&self.1.read(self.0, id));
        page_hash(self.2, page.link(Link::Object), page.index)
    }

    fn next(&self, id: u32) -> u32 {
        Page::from_bytes(&self.1.read(self.0, id)).link(Link::Chain)
    }

    fn set_next(&self, id: u32, next: u32) {
        let mut page = Page::from_bytes(&self.1.read(self.0, id));
        page.set_link(Link::Chain, next);
        self.1.write(self.0, id, &page.to_bytes());
    }
}

impl<S: PageSource> Chained for ObjectRecords<'_, S> {
    fn hash(&self, id: u32) -> u32 {
        let object = Object::from_bytes(&self.1.read(self.0, id));
        object_hash(self.2, object.pool, &object.id)
    }

    fn next(&self, id: u32) -> u32 {
        Object::from_bytes(&self.1.read(self.0, id)).chain
    }

    fn set_next(&self, id: u32, next: u32) {
        let mut object = Object::from_bytes(&self.1.read(self.0, id));
        object.chain = next;
        self.1.write(self.0, id, &object.to_bytes());
    }
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

    // Lists.

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

    // Pools.

    fn pool_at(&self, place: u32) -> Pool {
        Pool::from_bytes(&self.tables.read::<POOL_LEN>(POOLS.key(place), 0))
    }

    fn set_pool_at(&self, place: u32, pool: &Pool) {
        self.tables.write(POOLS.key(place), 0, &pool.to_bytes());
    }

    pub(crate) fn change_pool(&self, place: u32, change: impl FnOnce(&mut Pool)) {
        let mut pool = self.pool_at(place);
        change(&mut pool);
        self.set_pool_at(place, &pool);
    }

    /// A pool that is there.
    pub(crate) fn pool(&self, id: PoolId) -> Result<Pool, Error> {
        let bad = Error::BadPool { pool: id };
        if id.slot() >= self.heads.places || self.tables.value(POOLS.key(id.slot())).is_some() {
            return Err(bad);
        }
        let pool = self.pool_at(id.slot());
        if pool.dying || pool.generation != id.generation() {
            return Err(bad);
        }
        Ok(pool)
    }

    pub(crate) fn new_pool(&mut self, options: PoolOptions) -> Result<PoolId, Error> {
        if let Some(shared) = options.shared
            && let Some((place, mut pool)) = self.shared_pool(shared)
        {
            if pool.lifetime != options.lifetime {
                return Err(Error::LifetimeMismatch);
            }
            pool.clients = pool.clients.saturating_add(1);
            self.set_pool_at(place, &pool);
            return Ok(PoolId::new(place, pool.generation));
        }
        let free = (0..self.heads.places).find_map(|place| {
            let generation = self.tables.value(POOLS.key(place))?;
            let generation = u32::try_from(generation).ok()?;
            (generation <= GENERATION_MAX).then_some((place, generation))
        });
        let (place, generation) = match free {
            Some(free) => free,
            None if self.heads.places < POOLS_MAX => (self.heads.places, 1),
            None => return Err(Error::TooManyPools { max: POOLS_MAX }),
        };
        let pool = Pool {
            generation,
            lifetime: options.lifetime,
            shared: options.shared,
            dying: false,
            clients: 1,
            limit: options.limit_pages,
            pages: 0,
            pages_max: 0,
            objects: 0,
            ends: Ends::EMPTY,
            counts: Default::default(),
        };
        self.tables
            .create(POOLS.key(place), POOL_LEN, &pool.to_bytes())
            .map_err(Error::NoSpace)?;
        self.heads.places = self.heads.places.max(place + 1);
        self.heads.pools += 1;
        Ok(PoolId::new(place, generation))
    }

    fn shared_pool(&self, shared: u128) -> Option<(u32, Pool)> {
        (0..self.heads.places).find_map(|place| {
            if self.tables.value(POOLS.key(place)).is_some() {
                return None;
            }
            let pool = self.pool_at(place);
            (pool.shared == Some(shared) && !pool.dying).then_some((place, pool))
        })
    }

    /// A client leaves. True if it was the last: no key leads to the pool's pages any more, and
    /// the caller takes them apart.
    pub(crate) fn leave_pool(&mut self, id: PoolId) -> Result<bool, Error> {
        let mut pool = self.pool(id)?;
        pool.clients = pool.clients.saturating_sub(1);
        pool.dying = pool.clients == 0;
        if pool.dying {
            self.heads.stored -= pool.pages;
        }
        self.set_pool_at(id.slot(), &pool);
        Ok(pool.dying)
    }

    /// Takes some pages of a dying pool out of the index; true if it had no more, and is gone.
    pub(crate) fn take_pool_apart(&mut self, place: u32, removed: &mut Removed) -> bool {
        while removed.has_room() {
            let first = self.pool_at(place).ends.first;
            if first == NONE {
                break;
            }
            self.remove_page(first, removed);
        }
        self.trim();
        let pool = self.pool_at(place);
        // An object that is being flushed has a look at its pool when it is done.
        if pool.ends.first != NONE || pool.objects != 0 {
            return false;
        }
        let next = u64::from(pool.generation) + 1;
        self.tables.replace_by_value(POOLS.key(place), next);
        self.heads.pools -= 1;
        true
    }

    // Pages.

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

    fn find_object(&self, pool: u32, id: &ObjectId) -> Option<u32> {
        let hash = object_hash(self.hash_key, pool, id);
        self.heads.object_hash.find(self.tables, hash, |number| {
            let object = self.object(number);
            (object.pool == pool && object.id == *id, object.chain)
        })
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

    fn add_object(&mut self, place: u32, id: &ObjectId) -> Result<u32, Refused> {
        let number = self
            .heads
            .objects
            .take(self.tables)
            .map_err(|error| match error {
                crate::chunks::NoRecord::Limit => contradiction("more objects than pages"),
                crate::chunks::NoRecord::Alloc(error) => Refused::Room(Error::NoSpace(error)),
            })?;
        self.set_object(
            number,
            Object {
                id: *id,
                pool: place,
                detached: false,
                chain: NONE,
                first: NONE,
                pages: 0,
            },
        );
        let records = ObjectRecords(self.tables, &self.heads.objects, self.hash_key);
        if let Err(error) = self.heads.object_hash.insert(self.tables, &records, number) {
            self.heads.objects.free(self.tables, number);
            return Err(match error {
                NotInserted::Crowded => Refused::Other(Error::Crowded { max: CHAIN_MAX }),
                NotInserted::Alloc(error) => Refused::Room(Error::NoSpace(error)),
            });
        }
        self.change_pool(place, |pool| pool.objects += 1);
        Ok(number)
    }

    /// Takes an object away that no list leads to any more but, if it is not detached, its key.
    fn remove_object(&mut self, number: u32) {
        let object = self.object(number);
        if !object.detached {
            let records = ObjectRecords(self.tables, &self.heads.objects, self.hash_key);
            self.heads.object_hash.remove(self.tables, &records, number);
        }
        self.heads.objects.free(self.tables, number);
        self.change_pool(object.pool, |pool| pool.objects -= 1);
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

    /// Makes an object's key lead nowhere, in one step; its pages are then taken apart.
    pub(crate) fn detach_object(&mut self, place: u32, id: &ObjectId) -> Option<(u32, u32)> {
        let number = self.find_object(place, id)?;
        let records = ObjectRecords(self.tables, &self.heads.objects, self.hash_key);
        self.heads.object_hash.remove(self.tables, &records, number);
        let mut object = self.object(number);
        object.detached = true;
        self.set_object(number, object);
        self.heads.stored -= object.pages;
        self.change_pool(place, |pool| {
            pool.pages -= object.pages;
            pool.counts.flushes += u64::from(object.pages);
        });
        Some((number, object.pages))
    }

    /// Takes some pages of a detached object out of the index; true if it had no more, and is gone.
    pub(crate) fn take_object_apart(&mut self, number: u32, removed: &mut Removed) -> bool {
        while removed.has_room() {
            let first = self.object(number).first;
            if first == NONE {
                self.remove_object(number);
                return true;
            }
            self.remove_page(first, removed);
        }
        false
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

    /// Checks every list and table: for tests.
    pub(crate) fn check(&self, stored: &impl Fn(u32) -> bool) -> Result<(), &'static str> {
        self.tables.slots.check()?;
        let heads = &*self.heads;
        let pages = PageRecords(self.tables, &heads.pages, self.hash_key);
        heads.page_hash.check(self.tables, &pages)?;
        let objects = ObjectRecords(self.tables, &heads.objects, self.hash_key);
        heads.object_hash.check(self.tables, &objects)?;
        let (mut listed, mut ephemeral, mut objects, mut pools) = (0, 0, 0, 0);
        for place in 0..heads.places {
            if self.tables.value(POOLS.key(place)).is_some() {
                continue;
            }
            let pool = self.pool_at(place);
            pools += 1;
            objects += pool.objects;
            let count = self.check_list(pool.ends, BY_POOL, pool.pages, |id, page| {
                let object = self.object(page.link(Link::Object));
                let found = self.find(place, &object.id, page.index);
                object.pool == place && found == Some(id) && stored(id)
            })?;
            if count != pool.pages {
                return Err("a pool's list and its count differ");
            }
            listed += count;
            if pool.lifetime == Lifetime::Ephemeral {
                ephemeral += count;
            }
        }
        let all = self.check_list(heads.all, BY_USE, heads.ephemeral, |_, _| true)?;
        if all != ephemeral || all != heads.ephemeral {
            return Err("the list of all ephemeral pages is not that of the pools");
        }
        if listed != heads.stored || listed != heads.page_hash.entries {
            return Err("pools have more or less pages than there are keys");
        }
        if listed != heads.pages.live {
            return Err("a page id belongs to nobody");
        }
        if objects != heads.objects.live || objects != heads.object_hash.entries {
            return Err("an object belongs to nobody");
        }
        if pools != heads.pools {
            return Err("the count of pools is wrong");
        }
        Ok(())
    }

    fn check_list(
        &self,
        ends: Ends,
        list: List,
        most: u32,
        is_good: impl Fn(u32, &Page) -> bool,
    ) -> Result<u32, &'static str> {
        let (mut count, mut before, mut id) = (0, NONE, ends.first);
        while id != NONE {
            let page = self.page(id);
            if page.link(list.prev) != before {
                return Err("a list's links do not match");
            }
            if page.state.is_retired() || page.state.is_pinned() || !is_good(id, &page) {
                return Err("a listed page is not what its key leads to");
            }
            count += 1;
            if count > most {
                return Err("a list is longer than its count");
            }
            (before, id) = (id, page.link(list.next));
        }
        if ends.last != before {
            return Err("a list ends elsewhere");
        }
        Ok(count)
    }
}
