//! [`Tmem`]: pages under keys.

use crate::error::{BuildError, Error};
use crate::index::{Heads, Index, Refused, Removed};
use crate::key::{ObjectId, PoolId, PoolOptions};
use crate::record::IDS_MAX;
use crate::tables::Tables;
use alloc_xv::{PageSource, Slots};
use compcache::{Cache, Codec, Shared};
use core::ops::Deref;
use lock_api::{Mutex, RawMutex};

mod upkeep;

/// Times that a put drops pages and tries again.
const ROUNDS: u32 = 5;
/// Pages that a put drops at most for want of memory; those of its pool's limit aside.
pub const DROPS_MAX: u32 = 3 * Removed::MOST as u32 + 16 + 8;

/// Chunks of the index, of 2 KiB, that a put moves at most in a round.
const PACKED_CHUNKS: u64 = 256;

/// What a put did for want of room.
struct Retry {
    rounds: u32,
    /// Pages dropped in the last round.
    drops: u32,
}

impl Retry {
    const fn new() -> Self {
        Self {
            rounds: 0,
            drops: 0,
        }
    }
}

/// How a tmem behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The most pages, of all pools together.
    pub pages: u64,
    /// Keep a checksum with each page.
    pub checksum: bool,
    /// The most memory to take, in bytes, index included; 0 for no limit.
    pub mem_limit: u64,
    /// Key of the hash that spreads keys over buckets. Guests choose their keys: they must not know
    /// it, and it should be random.
    pub hash_key: [u64; 2],
}

impl Config {
    /// Room for `pages` pages, with checksums and without a memory limit.
    pub const fn new(pages: u64, hash_key: [u64; 2]) -> Self {
        Self {
            pages,
            checksum: true,
            mem_limit: 0,
            hash_key,
        }
    }
}

/// Keyed pools of compressed pages.
///
/// ```text
///   put(pool, object, index, page)                  get(pool, object, index, page)
///     │ id      ── index lock ──                      │ key to id, pinned or taken out ── index lock ──
///     ▼                                               ▼
///   page cache: compress, store under id            page cache: decode id
///     │         no index lock                         │         no index lock
///     ▼                                               ▼
///   key leads to id now ── index lock ──            let go ── index lock ──
///   what it led to before is discarded
/// ```
///
/// A page id is written once, before any key leads to it, and is free again when no key and no
/// reader has it. So the moment at which a key is changed, under the index lock, is the moment of
/// the whole operation, and no reader can see half of one, or the page of another key.
///
/// The parameters are those of [`Cache`]; with the feature `std`, `StdTmem` fills them in.
///
/// # Coherency
///
/// * A get that begins after a put has returned never finds an older page, whether the put
///   succeeded or failed: one that fails removes the page that was there.
/// * After a get that found nothing there is nothing until the next put. So it is after a flush.
/// * A persistent page is there until it is flushed or overwritten. If its bytes are damaged, gets
///   fail ([`Error::Damaged`]) until then.
///
/// # Time complexity
///
/// `put`, `get` and `flush_page` are linear in the page and expected constant in everything else; a put
/// drops at most [`DROPS_MAX`] pages and compresses at most six times. `flush_object` and `destroy_pool`
/// are linear in the pages they flush, 32 of them under one hold of the lock.
pub struct Tmem<S, C, W, L = spin::Mutex<()>, const PAGE: usize = 4096, const ARENAS: usize = 4>
where
    S: PageSource,
    C: Codec,
    L: RawMutex,
{
    pub(crate) cache: Cache<S, C, W, L, PAGE, ARENAS>,
    pub(crate) tables: Tables<S>,
    pub(crate) heads: Mutex<L, Heads>,
    pub(crate) hash_key: [u64; 2],
}

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Tmem<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// A tmem without pools. `sources` are where stored pages and the index lie; they may be
    /// references to the same one. Takes no page from them.
    pub fn new(sources: [S; 2], codec: C, bank: W, config: Config) -> Result<Self, BuildError> {
        let pages = Self::check_config(config)?;
        let [source, index_source] = sources;
        let tmem = Self {
            cache: Cache::new(source, codec, bank, cache_config(config))?,
            tables: Tables {
                slots: Slots::new(index_source),
            },
            heads: Mutex::new(Heads::new(pages)),
            hash_key: config.hash_key,
        };
        tmem.set_mem_limit(config.mem_limit);
        Ok(tmem)
    }

    pub(crate) fn check_config(config: Config) -> Result<u32, BuildError> {
        let max = u64::from(IDS_MAX);
        u32::try_from(config.pages)
            .ok()
            .filter(|&pages| pages <= IDS_MAX)
            .ok_or(BuildError::TooManyPages {
                pages: config.pages,
                max,
            })
    }

    /// Works on the index, and shares out memory if the index grew or shrank.
    fn with_index<R>(&self, work: impl FnOnce(&mut Index<'_, S>) -> R) -> R {
        let mut heads = self.heads.lock();
        let mut index = Index {
            tables: &self.tables,
            heads: &mut heads,
            hash_key: self.hash_key,
        };
        let result = work(&mut index);
        if heads.limit_pages != 0 && self.tables.slots.pages_used() != heads.shared_out {
            self.share_out(&mut heads);
        }
        result
    }

    /// Divides the memory limit between cache and index: the index may grow by some pages before it
    /// asks again, the cache has the rest. Both limits together are never more than the whole.
    #[cold]
    fn share_out(&self, heads: &mut Heads) {
        /// As many as make a put of each table succeed.
        const AHEAD: usize = 8;
        let used = self.tables.slots.pages_used();
        let left = heads.limit_pages.saturating_sub(used);
        // Lowered first: what the cache has then, it cannot have more of later.
        let for_cache = left.saturating_sub(AHEAD).max(1);
        self.cache
            .set_mem_limit(for_cache as u64 * S::PAGE_SIZE as u64);
        let taken = self.cache.memory().mem_used_total / S::PAGE_SIZE as u64;
        let taken = usize::try_from(taken).unwrap_or(usize::MAX).max(for_cache);
        self.tables
            .slots
            .set_limit_pages(used + left.saturating_sub(taken));
        heads.shared_out = used;
    }

    /// Makes a pool, or joins the shared one of that id.
    ///
    /// Linear in the number of pools.
    pub fn new_pool(&self, options: PoolOptions) -> Result<PoolId, Error> {
        self.with_index(|index| index.new_pool(options))
    }

    /// Leaves a pool. The last client's call flushes all its pages; each client of a shared pool
    /// calls this once. Returns how many pages went.
    pub fn destroy_pool(&self, pool: PoolId) -> Result<u64, Error> {
        if !self.with_index(|index| index.leave_pool(pool))? {
            return Ok(0);
        }
        let mut pages = 0;
        loop {
            let mut removed = Removed::new();
            let done = self.with_index(|index| index.take_pool_apart(pool.slot(), &mut removed));
            pages += removed.ids().len() as u64;
            self.release(&removed);
            if done {
                break;
            }
        }
        self.trim();
        Ok(pages)
    }

    /// Stores a page. On failure no page is stored under the key.
    pub fn put(
        &self,
        pool: PoolId,
        object: ObjectId,
        index: u32,
        page: &[u8; PAGE],
    ) -> Result<(), Error> {
        let mut held = None;
        let result = self.store(pool, &object, index, page, &mut held);
        let mut removed = Removed::new();
        if result.is_err() {
            self.with_index(|at| {
                if at.pool(pool).is_ok() {
                    at.change_pool(pool.slot(), |pool| pool.counts.failed_puts += 1);
                    if let Some(old) = at.find(pool.slot(), &object, index) {
                        at.remove_page(old, &mut removed);
                    }
                }
            });
            if let Some(id) = held {
                removed.push(id);
            }
            self.release(&removed);
        }
        result
    }

    /// A put, without what happens if it fails. `held` is the page id that no key leads to.
    fn store(
        &self,
        pool: PoolId,
        object: &ObjectId,
        index: u32,
        page: &[u8; PAGE],
        held: &mut Option<u32>,
    ) -> Result<(), Error> {
        let mut retry = Retry::new();
        let id = self.begin_put(pool, object, index, &mut retry)?;
        *held = Some(id);
        self.retry(&mut retry, || match self.cache.put(u64::from(id), page) {
            Ok(()) => Ok(()),
            Err(compcache::Error::NoSpace(error)) => Err(Refused::Room(Error::NoSpace(error))),
            Err(error) => Err(Refused::Other(Error::Cache(error))),
        })?;
        self.retry(&mut retry, || {
            let mut removed = Removed::new();
            let result = self.with_index(|at| at.publish(pool, object, index, id, &mut removed));
            if result.is_ok() {
                *held = None;
            }
            self.release(&removed);
            result
        })
    }

    /// Counts a put and takes a page id for it.
    fn begin_put(
        &self,
        pool: PoolId,
        object: &ObjectId,
        index: u32,
        retry: &mut Retry,
    ) -> Result<u32, Error> {
        let mut counted = false;
        self.retry(retry, || {
            self.with_index(|at| {
                let state = at.pool(pool).map_err(Refused::Other)?;
                if !core::mem::replace(&mut counted, true) {
                    at.change_pool(pool.slot(), |pool| pool.counts.puts += 1);
                }
                // What cannot be kept need not be compressed.
                if !state.is_ephemeral()
                    && state.is_full()
                    && at.find(pool.slot(), object, index).is_none()
                {
                    let limit_pages = state.limit;
                    return Err(Refused::Other(Error::PoolFull { limit_pages }));
                }
                at.trim();
                at.take_id(self.cache.pages()).map_err(Refused::Room)
            })
        })
    }

    /// Tries, drops pages while there is no room, tries again.
    fn retry<R>(
        &self,
        retry: &mut Retry,
        mut step: impl FnMut() -> Result<R, Refused>,
    ) -> Result<R, Error> {
        loop {
            match step() {
                Ok(done) => return Ok(done),
                Err(Refused::Other(error)) => return Err(error),
                Err(Refused::Room(error)) => {
                    if !self.drop_some(retry) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Drops the ephemeral pages that were not used for the longest time, twice as many as the
    /// last time; false if there are none, or this put has dropped enough.
    ///
    /// Of many pages it begins with eight, so that the puts after this one need not come here: each
    /// time costs one more compression.
    fn drop_some(&self, retry: &mut Retry) -> bool {
        if retry.rounds == ROUNDS {
            return false;
        }
        retry.rounds += 1;
        let mut removed = Removed::new();
        let any = self.with_index(|at| {
            let first = (at.heads.ephemeral / 64).clamp(1, 8);
            retry.drops = (retry.drops * 2).clamp(first, Removed::MOST as u32);
            (0..retry.drops)
                .take_while(|_| at.drop_first(&mut removed))
                .count()
                > 0
        });
        self.release(&removed);
        if retry.rounds > 2 {
            // What was dropped left gaps in the index, and the cache needs whole pages.
            self.tables.slots.compact(PACKED_CHUNKS);
        }
        let mut heads = self.heads.lock();
        if heads.limit_pages != 0 {
            // What the cache gave back the index may have.
            self.share_out(&mut heads);
        }
        any
    }

    /// Discards pages that no key and no reader has, and frees their ids.
    fn release(&self, removed: &Removed) {
        if removed.ids().is_empty() {
            return;
        }
        for &id in removed.ids() {
            // Out of range is the only error there is, and ids are not.
            let _ = self.cache.discard(u64::from(id));
        }
        self.with_index(|at| {
            for &id in removed.ids() {
                at.free_id(id);
            }
            at.trim();
        });
    }

    /// Reads a page: false if there is none, and `page` is as it was. A page of a private ephemeral pool
    /// is removed by that.
    pub fn get(
        &self,
        pool: PoolId,
        object: ObjectId,
        index: u32,
        page: &mut [u8; PAGE],
    ) -> Result<bool, Error> {
        let mut removed = Removed::new();
        let found = self.with_index(|at| {
            let state = at.pool(pool)?;
            let Some(id) = at.find(pool.slot(), &object, index) else {
                at.change_pool(pool.slot(), |pool| pool.counts.misses += 1);
                return Ok(None);
            };
            let exclusive = state.is_exclusive();
            if exclusive {
                at.remove_page(id, &mut removed);
            } else if let Err(error) = at.pin(pool.slot(), id) {
                if error == Error::Damaged {
                    at.change_pool(pool.slot(), |pool| pool.counts.damaged += 1);
                }
                return Err(error);
            }
            at.change_pool(pool.slot(), |pool| pool.counts.hits += 1);
            Ok(Some((id, exclusive)))
        })?;
        let Some((id, exclusive)) = found else {
            return Ok(false);
        };
        let result = match self.cache.get(u64::from(id), page) {
            Ok(true) => Ok(true),
            Ok(false) | Err(compcache::Error::Corrupt { .. }) => Err(Error::Damaged),
            Err(error) => Err(Error::Cache(error)),
        };
        if !exclusive || result.is_err() {
            self.with_index(|at| {
                if !exclusive {
                    at.unpin(id, result.is_err(), &mut removed);
                }
                if result.is_err() && at.pool(pool).is_ok() {
                    at.change_pool(pool.slot(), |pool| {
                        pool.counts.hits = pool.counts.hits.saturating_sub(1);
                        pool.counts.damaged += 1;
                    });
                }
            });
        }
        self.release(&removed);
        result
    }

    /// Removes a page; true if there was one.
    pub fn flush_page(&self, pool: PoolId, object: ObjectId, index: u32) -> Result<bool, Error> {
        let mut removed = Removed::new();
        let found = self.with_index(|at| {
            at.pool(pool)?;
            at.trim();
            let Some(id) = at.find(pool.slot(), &object, index) else {
                return Ok(false);
            };
            at.remove_page(id, &mut removed);
            at.change_pool(pool.slot(), |pool| pool.counts.flushes += 1);
            Ok(true)
        })?;
        self.release(&removed);
        Ok(found)
    }

    /// Removes all pages of an object, in one step for everybody else; returns how many there
    /// were.
    pub fn flush_object(&self, pool: PoolId, object: ObjectId) -> Result<u64, Error> {
        let detached = self.with_index(|at| {
            at.pool(pool)?;
            Ok(at.detach_object(pool.slot(), &object))
        })?;
        let Some((number, pages)) = detached else {
            return Ok(0);
        };
        loop {
            let mut removed = Removed::new();
            let done = self.with_index(|at| at.take_object_apart(number, &mut removed));
            self.release(&removed);
            if done {
                break;
            }
        }
        self.trim();
        Ok(u64::from(pages))
    }

    /// Whether a page is there. It may be gone when this returns, if others use the pool or it is ephemeral;
    /// does not count as use.
    pub fn contains(&self, pool: PoolId, object: ObjectId, index: u32) -> Result<bool, Error> {
        self.with_index(|at| {
            at.pool(pool)?;
            Ok(at.find(pool.slot(), &object, index).is_some())
        })
    }
}

/// What the page cache is told.
pub(crate) fn cache_config(config: Config) -> compcache::Config {
    compcache::Config {
        checksum: config.checksum,
        ..compcache::Config::new(config.pages)
    }
}
