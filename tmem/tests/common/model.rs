//! A tmem beside a plain map that has tmem's rules. Used by the tests here and by the fuzz target
//! `tmem_ops`.
//!
//! Ephemeral pages may vanish: then the tmem must have counted them, they must be those that were
//! not used for the longest time, and they must not come back. Everything else is exact.

use alloc_xv::{AllocError, Failing, PageSource};
use compcache::{Lz4, Shared};
use compcache_tmem::{Config, DROPS_MAX, Error, Lifetime, ObjectId, PoolId, PoolOptions, Tmem};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

pub(crate) type Page = Box<[u8; 4096]>;
pub(crate) type Tested<'s, F, W> = Tmem<&'s Failing<F>, Lz4, W, spin::Mutex<()>, 4096, 2>;

/// Pages of the cache: few, so that they run out.
pub(crate) const PAGES: u64 = 60;
const INDICES: u32 = 12;
const OBJECTS: u8 = 4;

/// What the pools are: private and shared, both lifetimes, with and without a limit.
const KINDS: [PoolOptions; 6] = [
    PoolOptions::EPHEMERAL,
    PoolOptions::PERSISTENT,
    PoolOptions::EPHEMERAL.shared_as(1),
    PoolOptions::PERSISTENT.shared_as(2).with_limit(9),
    PoolOptions::EPHEMERAL.with_limit(7),
    PoolOptions::PERSISTENT.with_limit(5),
];

/// One operation: five bytes of input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step(pub(crate) [u8; 5]);

type Key = (usize, u8, u32);

struct Pool {
    id: PoolId,
    clients: u32,
    limit: u32,
}

pub(crate) struct Model<'s, F: PageSource, W> {
    pub(crate) tmem: Tested<'s, F, W>,
    pools: [Option<Pool>; KINDS.len()],
    gone: Vec<PoolId>,
    map: BTreeMap<Key, Page>,
    /// Ephemeral pages, the one that was used last at the end.
    order: Vec<Key>,
    drops: u64,
    steps: u64,
    /// The source or the limit may make any put fail.
    short: bool,
    limit: u64,
}

/// Bytes that tell which put they come from.
fn page(seed: u64, kind: u8) -> Page {
    let mut page: Page = vec![0; 4096].try_into().expect("a page");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let noisy = match kind % 4 {
        0 => 0,
        1 => 4096,
        _ => usize::from(kind) * 12,
    };
    for chunk in page[..noisy / 8 * 8].chunks_mut(8) {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        chunk.copy_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    for chunk in page[noisy / 8 * 8..].chunks_mut(8) {
        chunk.copy_from_slice(&seed.to_le_bytes());
    }
    page
}

fn object(number: u8) -> ObjectId {
    ObjectId([u64::from(number), 0, u64::from(number % 2)])
}

fn is_ephemeral(slot: usize) -> bool {
    KINDS[slot].lifetime == Lifetime::Ephemeral
}

impl<'s, F: PageSource, W: Deref<Target = [Shared<Lz4, 4096>]>> Model<'s, F, W> {
    pub(crate) fn new(source: &'s Failing<F>, bank: W) -> Self {
        let config = Config::new(PAGES, [3, 5]);
        Self {
            tmem: Tmem::new([source, source], Lz4, bank, config).unwrap(),
            pools: [const { None }; KINDS.len()],
            gone: vec![],
            map: BTreeMap::new(),
            order: vec![],
            drops: 0,
            steps: 0,
            short: false,
            limit: 0,
        }
    }

    fn used(&self) -> u64 {
        let memory = self.tmem.memory();
        memory.cache + memory.index
    }

    pub(crate) fn step(&mut self, Step([op, slot, obj, index, extra]): Step) {
        self.steps += 1;
        let slot = usize::from(slot) % KINDS.len();
        let key = (slot, obj % OBJECTS, u32::from(index) % INDICES);
        let before = self.used();
        match op % 32 {
            18 | 19 => self.open(slot),
            20 => self.close(slot),
            _ if self.pools[slot].is_none() && op % 32 < 21 => {
                if !self.gone.is_empty() {
                    self.use_gone(key, extra);
                }
                self.open(slot);
            }
            0..=8 => self.put(key, extra),
            9..=13 => self.get(key),
            14 | 15 => self.flush_page(key),
            16 => self.flush_object(key),
            17 => self.contains(key),
            21 => self.set_limit(slot, u32::from(extra % 12)),
            22 => {
                self.limit = (u64::from(extra) % 64 + 12) * 4096;
                self.short = true;
                self.tmem.set_mem_limit(self.limit);
            }
            23 => {
                self.limit = 0;
                self.tmem.set_mem_limit(0);
                self.tmem.source().never_fail();
                self.short = false;
            }
            24 | 25 => {
                self.short = true;
                self.tmem.source().fail_after(usize::from(extra % 6));
            }
            26 => {
                self.tmem.source().never_fail();
                self.short = self.limit != 0;
            }
            27 => self.shrink(u64::from(extra % 8)),
            28 => drop(self.tmem.compact(u64::from(extra))),
            _ => self.check(),
        }
        self.settle(None, 0);
        if self.limit != 0 {
            let most = (self.limit + 4096).max(before);
            assert!(self.used() <= most, "{} of {most} bytes", self.used());
        }
    }

    fn open(&mut self, slot: usize) {
        let options = KINDS[slot];
        match self.tmem.new_pool(options) {
            Ok(id) => match &mut self.pools[slot] {
                Some(pool) if options.shared.is_some() => {
                    assert_eq!(id, pool.id, "a shared pool has one id");
                    pool.clients += 1;
                }
                Some(pool) => {
                    assert_ne!(id, pool.id);
                    assert_eq!(self.tmem.destroy_pool(id), Ok(0));
                    self.gone.push(id);
                }
                none => {
                    *none = Some(Pool {
                        id,
                        clients: 1,
                        limit: options.limit_pages,
                    });
                }
            },
            Err(Error::NoSpace(_)) => assert!(self.short),
            Err(error) => panic!("{error}"),
        }
        if let (Some(id), Some(pool)) = (options.shared, &self.pools[slot]) {
            let other = match options.lifetime {
                Lifetime::Ephemeral => PoolOptions::PERSISTENT,
                Lifetime::Persistent => PoolOptions::EPHEMERAL,
            };
            let joined = self.tmem.new_pool(other.shared_as(id));
            assert_eq!(joined, Err(Error::LifetimeMismatch));
            let stats = self.tmem.pool_stats(pool.id).unwrap();
            assert_eq!((stats.clients, stats.shared), (pool.clients, true));
        }
    }

    fn close(&mut self, slot: usize) {
        let Some(pool) = &mut self.pools[slot] else {
            return;
        };
        pool.clients -= 1;
        let (id, last) = (pool.id, pool.clients == 0);
        let mut pages = 0;
        if last {
            pages = self.map.len();
            self.map.retain(|key, _| key.0 != slot);
            self.order.retain(|key| key.0 != slot);
            pages -= self.map.len();
            self.pools[slot] = None;
            self.gone.push(id);
        }
        assert_eq!(self.tmem.destroy_pool(id), Ok(pages as u64));
    }

    /// A pool that was destroyed is an error, and its keys lead nowhere.
    fn use_gone(&mut self, (_, obj, index): Key, extra: u8) {
        let pool = self.gone[usize::from(extra) % self.gone.len()];
        let bad = Error::BadPool { pool };
        let mut page = page(0, 0);
        assert_eq!(self.tmem.put(pool, object(obj), index, &page), Err(bad));
        assert_eq!(self.tmem.get(pool, object(obj), index, &mut page), Err(bad));
        assert_eq!(self.tmem.flush_page(pool, object(obj), index), Err(bad));
        assert_eq!(self.tmem.flush_object(pool, object(obj)), Err(bad));
        assert_eq!(self.tmem.destroy_pool(pool), Err(bad));
        assert_eq!(self.tmem.set_limit(pool, 1), Err(bad));
        assert_eq!(self.tmem.pool_stats(pool).err(), Some(bad));
    }

    fn pool(&self, slot: usize) -> &Pool {
        self.pools[slot].as_ref().expect("an open pool")
    }

    fn count(&self, slot: usize) -> usize {
        self.map.keys().filter(|key| key.0 == slot).count()
    }

    fn forget(&mut self, key: Key) -> Option<Page> {
        self.order.retain(|&other| other != key);
        self.map.remove(&key)
    }

    fn put(&mut self, key: Key, kind: u8) {
        let (slot, obj, index) = key;
        let (id, limit) = (self.pool(slot).id, self.pool(slot).limit as usize);
        let page = page(self.steps, kind);
        let full = limit != 0 && self.count(slot) >= limit && !self.map.contains_key(&key);
        let old = self.forget(key);
        let result = self.tmem.put(id, object(obj), index, &page);
        // The page that was overwritten may have been dropped first.
        self.settle(Some(slot), usize::from(old.is_some() && is_ephemeral(slot)));
        match result {
            Ok(()) => {
                assert!(!full || is_ephemeral(slot), "more pages than the limit");
                self.map.insert(key, page);
                if is_ephemeral(slot) {
                    self.order.push(key);
                }
            }
            Err(Error::PoolFull { limit_pages }) => {
                assert!(full && !is_ephemeral(slot) && limit_pages as usize == limit);
            }
            Err(Error::NoPages { pages }) => {
                assert_eq!(pages, PAGES);
                assert!(self.order.is_empty(), "there were pages to drop");
                assert!(!full || is_ephemeral(slot));
            }
            Err(Error::NoSpace(error)) => {
                assert!(self.short, "{error}");
                assert!(matches!(
                    error,
                    AllocError::OutOfPages | AllocError::LimitReached { .. }
                ));
            }
            Err(error) => panic!("{error}"),
        }
        let there = self.tmem.contains(id, object(obj), index);
        assert_eq!(there, Ok(self.map.contains_key(&key)));
    }

    fn get(&mut self, key: Key) {
        let (slot, obj, index) = key;
        let id = self.pool(slot).id;
        let mut page: Page = vec![0xa5; 4096].try_into().expect("a page");
        let found = self.tmem.get(id, object(obj), index, &mut page).unwrap();
        match self.map.get(&key) {
            Some(stored) => assert!(found && page == *stored, "another page"),
            None => assert!(!found && page.iter().all(|&byte| byte == 0xa5)),
        }
        if found && is_ephemeral(slot) {
            self.order.retain(|&other| other != key);
            if KINDS[slot].shared.is_some() {
                self.order.push(key);
            } else {
                self.map.remove(&key);
            }
        }
    }

    fn flush_page(&mut self, key: Key) {
        let id = self.pool(key.0).id;
        let found = self.forget(key).is_some();
        assert_eq!(self.tmem.flush_page(id, object(key.1), key.2), Ok(found));
        assert_eq!(self.tmem.flush_page(id, object(key.1), key.2), Ok(false));
    }

    fn flush_object(&mut self, (slot, obj, _): Key) {
        let id = self.pool(slot).id;
        let pages = self.map.len();
        self.map.retain(|key, _| (key.0, key.1) != (slot, obj));
        self.order.retain(|key| (key.0, key.1) != (slot, obj));
        let flushed = (pages - self.map.len()) as u64;
        assert_eq!(self.tmem.flush_object(id, object(obj)), Ok(flushed));
    }

    fn contains(&mut self, key: Key) {
        let id = self.pool(key.0).id;
        let there = self.tmem.contains(id, object(key.1), key.2);
        assert_eq!(there, Ok(self.map.contains_key(&key)));
    }

    fn set_limit(&mut self, slot: usize, limit: u32) {
        let Some(pool) = &mut self.pools[slot] else {
            return;
        };
        pool.limit = limit;
        self.tmem.set_limit(pool.id, limit).unwrap();
        let over = match limit {
            0 => 0,
            _ => self.count(slot).saturating_sub(limit as usize),
        };
        let expected = if is_ephemeral(slot) { over } else { 0 };
        assert_eq!(self.vanished().len(), expected);
        self.settle(Some(slot), 0);
    }

    fn shrink(&mut self, pages: u64) {
        let expected = pages.min(self.order.len() as u64);
        assert_eq!(self.tmem.shrink(pages), expected);
        assert_eq!(self.vanished().len() as u64, expected);
    }

    /// Ephemeral pages that the model has and the tmem has not.
    fn vanished(&self) -> BTreeSet<Key> {
        let gone = |key: &&Key| {
            let id = self.pool(key.0).id;
            self.tmem.contains(id, object(key.1), key.2) == Ok(false)
        };
        self.order.iter().filter(gone).copied().collect()
    }

    /// Takes what was dropped out of the model. `slot`: the pool whose limit may have been the
    /// reason. `hidden`: pages that may have been dropped although the model has forgotten them.
    fn settle(&mut self, slot: Option<usize>, hidden: usize) {
        let drops = self.tmem.stats().drops;
        let dropped = (drops - self.drops) as usize;
        self.drops = drops;
        if dropped == 0 {
            return;
        }
        assert!(dropped <= DROPS_MAX as usize + 2);
        let mut vanished = self.vanished();
        assert!(
            vanished.len() == dropped || vanished.len() + hidden == dropped,
            "{dropped} drops counted, {} seen",
            vanished.len()
        );
        while !vanished.is_empty() {
            let first = self.order[0];
            let of_pool = self.order.iter().find(|key| Some(key.0) == slot);
            let key = match of_pool {
                _ if vanished.contains(&first) => first,
                Some(key) if vanished.contains(key) => *key,
                _ => panic!("dropped out of order: {vanished:?} of {:?}", self.order),
            };
            vanished.remove(&key);
            self.forget(key);
        }
    }

    pub(crate) fn check(&mut self) {
        self.tmem.check().unwrap();
        let stats = self.tmem.stats();
        assert_eq!(stats.pages as usize, self.map.len());
        assert_eq!(stats.ephemeral_pages as usize, self.order.len());
        assert_eq!(stats.pools as usize, self.pools.iter().flatten().count());
        assert!(stats.page_chain_max <= 16 && stats.object_chain_max <= 16);
        for (slot, pool) in self.pools.iter().enumerate() {
            let Some(pool) = pool else { continue };
            let stats = self.tmem.pool_stats(pool.id).unwrap();
            assert_eq!(stats.pages as usize, self.count(slot));
            assert_eq!(stats.limit_pages, pool.limit);
            if is_ephemeral(slot) && pool.limit != 0 {
                assert!(stats.pages <= pool.limit);
            }
            let objects: BTreeSet<u8> = (self.map.keys())
                .filter(|key| key.0 == slot)
                .map(|key| key.1)
                .collect();
            assert_eq!(stats.objects as usize, objects.len());
        }
    }

    /// Everything that is there reads as it was put; then nothing is there and nothing taken
    /// but two or three pages that remember generations.
    pub(crate) fn finish(mut self) {
        self.tmem.source().never_fail();
        self.tmem.set_mem_limit(0);
        self.short = false;
        self.limit = 0;
        self.check();
        for key in self.map.keys().copied().collect::<Vec<_>>() {
            self.get(key);
        }
        for slot in 0..KINDS.len() {
            while self.pools[slot].is_some() {
                self.close(slot);
            }
        }
        self.check();
        let memory = self.tmem.memory();
        assert_eq!(memory.cache, 0);
        let places = if self.gone.is_empty() { 0 } else { 3 };
        assert!(memory.index <= places * F::PAGE_SIZE as u64, "{memory:?}");
    }
}
