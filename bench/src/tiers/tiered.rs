//! The tiered store: the page cache with its policy, driven by the harness's clock.

use std::sync::Mutex;

use compcache::{Config, Error, Policy, StdCache, Worker};
use compress::{Codec, Ladder};

use super::result::{TierCounters, TierMemory};
use super::store::{Page, PutError, Store, StoreOptions};

/// The codecs: LZ4 for what is put, zstd for what is cold.
const LADDER: &str = "lz4 zstd:9";
/// Pages' worth of work in a logical second.
const BUDGET: u64 = 1024;

/// The page cache and its worker.
pub struct Tiered {
    cache: StdCache<Ladder>,
    worker: Mutex<Box<Worker<Ladder>>>,
    worker_bytes: u64,
    reader_bytes: u64,
    policy: Policy,
    now_ms: u64,
}

impl Tiered {
    /// A store as the options say.
    ///
    /// # Errors
    /// What the system refuses, in words.
    pub fn build(options: &StoreOptions) -> Result<Box<dyn Store>, String> {
        let in_words = |error: &dyn std::fmt::Display| format!("tiered: {error}");
        let ladder: Ladder = LADDER.parse().map_err(|error| in_words(&error))?;
        let mut config = Config::new(options.pages);
        config.mem_limit = options.mem_limit;
        let cache = StdCache::build(ladder, config).map_err(|error| in_words(&error))?;
        // Packing is the tick's, as it is a thread's in the product.
        cache.set_inline_moves(0);
        let space = ladder
            .worker_workspace(4096)
            .map_err(|error| in_words(&error))?;
        let worker_bytes = size_of::<Worker<Ladder>>() + space.heap_bytes();
        let reader = ladder.workspace(4096).map_err(|error| in_words(&error))?;
        let mut policy = Policy::ALL;
        policy.same = options.sharing;
        policy.patches = options.sharing;
        Ok(Box::new(Self {
            cache,
            worker: Mutex::new(Box::new(Worker::new(space))),
            worker_bytes: worker_bytes as u64,
            reader_bytes: reader.heap_bytes() as u64,
            policy,
            now_ms: 0,
        }))
    }

    fn work(&mut self, budget: u64) -> bool {
        let Ok(worker) = self.worker.get_mut() else {
            return false;
        };
        let done = self.cache.tick(worker, &self.policy, self.now_ms, budget);
        done.is_ok_and(|tick| tick.more)
    }
}

impl Store for Tiered {
    fn name(&self) -> &'static str {
        "tiered"
    }

    fn put(&self, index: u64, page: &Page) -> Result<(), PutError> {
        self.cache.put(index, page).map_err(|error| match error {
            Error::NoSpace(_) => PutError::Full,
            other => PutError::Other(other.to_string()),
        })
    }

    fn get(&self, index: u64, page: &mut Page) -> Result<bool, String> {
        self.cache
            .get(index, page)
            .map_err(|error| error.to_string())
    }

    fn discard(&self, index: u64) -> Result<bool, String> {
        self.cache.discard(index).map_err(|error| error.to_string())
    }

    fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.work(BUDGET);
        self.cache.compact_to_target();
    }

    fn settle(&mut self) {
        while self.work(BUDGET) {}
        self.cache.compact_to_target();
    }

    fn memory(&self) -> TierMemory {
        let (stat, memory) = (self.cache.mm_stat(), self.cache.memory());
        TierMemory {
            pages_held: stat.orig_data_size / 4096,
            compr_data_size: stat.compr_data_size,
            mem_used_total: stat.mem_used_total,
            beside_bytes: memory.beside,
            table_bytes: 0,
            workspace_bytes: self.worker_bytes,
            foreground_workspace_bytes: self.reader_bytes,
        }
    }

    fn counters(&self) -> TierCounters {
        let stat = self.cache.tier_stat();
        TierCounters {
            recompressed: stat.recompressed,
            clusters: stat.clusters,
            clustered_pages: stat.clustered,
            duplicates: stat.deduplicated,
            patches: stat.patched,
            promoted: stat.promoted,
            written_back: stat.written_back,
            read_back: stat.backed_reads,
            backing_bytes: 0,
            backing_compressed_bytes: stat.backed_bytes,
        }
    }
}
