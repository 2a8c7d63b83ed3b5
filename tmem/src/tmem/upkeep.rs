//! What keeps a tmem in order, and says how it is: limits, packing, statistics.

use super::Tmem;
use crate::error::Error;
use crate::index::Removed;
use crate::key::PoolId;
use crate::stats::{Memory, PoolStats, Stats};
use alloc_xv::{Compacted, PageSource};
use compcache::{Codec, MmStat, Shared};
use core::ops::Deref;
use lock_api::RawMutex;

impl<S, C, W, L, const PAGE: usize, const ARENAS: usize> Tmem<S, C, W, L, PAGE, ARENAS>
where
    S: PageSource,
    C: Codec,
    W: Deref<Target = [Shared<C, PAGE>]>,
    L: RawMutex,
{
    /// Changes a pool's limit; 0 for none. An ephemeral pool's pages above it are dropped. A
    /// persistent pool keeps them, and takes no more until there are fewer.
    pub fn set_limit(&self, pool: PoolId, limit_pages: u32) -> Result<(), Error> {
        self.with_index(|at| {
            at.pool(pool)?;
            at.change_pool(pool.slot(), |pool| pool.limit = limit_pages);
            Ok(())
        })?;
        loop {
            let mut removed = Removed::new();
            let done = self.with_index(|at| at.drop_over_limit(pool, &mut removed));
            self.release(&removed);
            if done? {
                return Ok(());
            }
        }
    }

    /// Limits the memory taken, in bytes rounded up to pages of the source, index included and the
    /// struct not; 0 for no limit. What is taken stays taken until pages go.
    pub fn set_mem_limit(&self, bytes: u64) {
        let pages = usize::try_from(bytes.div_ceil(S::PAGE_SIZE as u64)).unwrap_or(usize::MAX);
        let mut heads = self.heads.lock();
        heads.limit_pages = pages;
        if pages == 0 {
            self.cache.set_mem_limit(0);
            self.tables.slots.set_limit_pages(usize::MAX);
        } else {
            self.share_out(&mut heads);
        }
    }

    /// Drops ephemeral pages, least recently used first, at most `pages`: for an embedder that is
    /// short of memory. Returns how many were dropped.
    pub fn shrink(&self, pages: u64) -> u64 {
        let mut dropped = 0;
        while dropped < pages {
            let mut removed = Removed::new();
            let batch = (pages - dropped).min(Removed::MOST as u64);
            let done = self.with_index(|at| {
                (0..batch)
                    .take_while(|_| at.drop_first(&mut removed))
                    .count() as u64
            });
            self.release(&removed);
            dropped += done;
            if done < batch {
                break;
            }
        }
        dropped
    }

    pub(super) fn trim(&self) {
        while !self.with_index(|at| at.trim()) {}
    }

    /// A pool's numbers.
    pub fn pool_stats(&self, pool: PoolId) -> Result<PoolStats, Error> {
        let pool = self.with_index(|at| at.pool(pool))?;
        let counts = pool.counts;
        Ok(PoolStats {
            lifetime: pool.lifetime,
            shared: pool.shared.is_some(),
            clients: pool.clients,
            limit_pages: pool.limit,
            pages: pool.pages,
            pages_max: pool.pages_max,
            objects: pool.objects,
            puts: counts.puts,
            failed_puts: counts.failed_puts,
            get_hits: counts.hits,
            get_misses: counts.misses,
            flushes: counts.flushes,
            drops: counts.drops,
            damaged: counts.damaged,
        })
    }

    /// Numbers of all pools together.
    pub fn stats(&self) -> Stats {
        let mut stats = self.with_index(|at| {
            let [page, object] = at.hash_sizes();
            Stats {
                pools: at.heads.pools,
                pages: at.heads.stored,
                ephemeral_pages: at.heads.ephemeral,
                drops: at.heads.drops,
                compressed_bytes: 0,
                page_buckets: page[0],
                page_chain_max: page[2],
                object_buckets: object[0],
                object_chain_max: object[2],
            }
        });
        stats.compressed_bytes = self.cache.mm_stat().compr_data_size;
        stats
    }

    /// Where the memory goes.
    pub fn memory(&self) -> Memory {
        let cache = self.cache.memory();
        let index = self.tables.slots.pages_used() as u64 * S::PAGE_SIZE as u64;
        let beside = size_of::<Self>() as u64;
        let total = cache.mem_used_total + index + beside;
        Memory {
            total,
            cache: cache.mem_used_total,
            index,
            beside,
            metadata: cache.metadata - cache.beside + index + beside,
        }
    }

    /// The page cache's statistics, under zram's names.
    pub fn mm_stat(&self) -> MmStat {
        self.cache.mm_stat()
    }

    /// Packs the stored pages together, all of them or `objects`; see [`Cache::compact`](compcache::Cache::compact).
    pub fn compact(&self, objects: u64) -> Compacted {
        self.cache.compact(objects)
    }

    /// Packs what is below its target fill, in bounded steps; see [`Cache::compact_to_target`](compcache::Cache::compact_to_target).
    pub fn compact_to_target(&self) {
        self.cache.compact_to_target();
    }

    /// How many pages a discard may move; see [`Cache::set_inline_moves`](compcache::Cache::set_inline_moves).
    pub fn set_inline_moves(&self, objects: u32) {
        self.cache.set_inline_moves(objects);
    }

    /// Where the stored pages lie.
    pub fn source(&self) -> &S {
        self.cache.source()
    }

    /// Checks every invariant of index and cache, for tests; no other thread may use the tmem.
    pub fn check(&self) -> Result<(), &'static str> {
        self.cache.check()?;
        let stored = self.with_index(|at| {
            at.check(&|id| self.cache.contains(u64::from(id)) == Ok(true))?;
            Ok(at.heads.stored)
        })?;
        let stat = self.cache.mm_stat();
        if stat.orig_data_size != u64::from(stored) * PAGE as u64 {
            return Err("the cache has pages that no key leads to");
        }
        Ok(())
    }
}
