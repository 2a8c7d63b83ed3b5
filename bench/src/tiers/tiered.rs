//! The tiered store, driven by the harness's clock.

use std::path::Path;

use compcache_tiers::backing::FileStore;
use compcache_tiers::{AnyCodec, Config, Error, Ladder};

use super::result::{TierCounters, TierMemory};
use super::store::{Page, PutError, Store, StoreOptions};
use super::writeback::backing_bytes;

/// For cold pages if nothing else is said. Levels below 14 are some percent less dense, and 15 takes a good part
/// longer than 14 for next to nothing.
const COLD_CODEC: &str = "zstd:14";
/// Pages' worth of background work in a logical second, at most: some milliseconds.
const BUDGET: u64 = 1024;
/// The page cache with its policy, and a backing store if there is to be one.
pub struct Tiered {
    tiered: compcache_tiers::Tiered,
    now_ms: u64,
    has_backing: bool,
}

impl Tiered {
    /// The codecs of a store: LZ4 for what is put, and this one, or else the default, for what is cold.
    ///
    /// # Errors
    /// A codec that is not denser than LZ4, in words.
    pub fn ladder(cold: Option<AnyCodec>) -> Result<Ladder, String> {
        let cold = cold.map_or_else(|| COLD_CODEC.to_owned(), |codec| codec.to_string());
        let ladder = format!("lz4 {cold}").parse::<Ladder>();
        ladder.map_err(|error| error.to_string())
    }

    /// A store as the options say, with these codecs.
    ///
    /// # Errors
    /// What the system refuses, in words.
    pub fn build(ladder: &Ladder, options: &StoreOptions) -> Result<Box<dyn Store>, String> {
        let in_words = |error: &dyn std::fmt::Display| format!("tiered: {error}");
        let ladder = ladder.clone();
        let mut pages = compcache::Config::new(options.pages);
        pages.mem_limit = options.mem_limit;
        let mut config = Config::default();
        // The harness's clock is not the machine's.
        config.thread = false;
        config.policy.same = options.sharing;
        config.policy.patches = options.sharing;
        let tiered = compcache_tiers::Tiered::new(ladder, pages, config)
            .map_err(|error| in_words(&error))?;
        if let Some(path) = &options.backing {
            let file = open_backing(path, backing_bytes(options.pages as usize))?;
            tiered
                .set_store(Box::new(file))
                .map_err(|error| in_words(&error))?;
        }
        Ok(Box::new(Self {
            tiered,
            now_ms: 0,
            has_backing: options.backing.is_some(),
        }))
    }

    /// True if there is more to do.
    fn work(&self) -> bool {
        let done = self.tiered.tick(self.now_ms, BUDGET);
        done.is_ok_and(|tick| tick.more)
    }

    fn pack_and_clean(&self) {
        self.tiered.cache().compact_to_target();
        if self.has_backing {
            self.tiered.clean();
        }
    }
}

fn open_backing(path: &Path, bytes: u64) -> Result<FileStore, String> {
    FileStore::open(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

impl Store for Tiered {
    fn name(&self) -> &'static str {
        "tiered"
    }

    fn put(&self, index: u64, page: &Page) -> Result<(), PutError> {
        self.tiered.put(index, page).map_err(|error| match error {
            Error::Cache(compcache::Error::NoSpace(_)) => PutError::Full,
            other => PutError::Other(other.to_string()),
        })
    }

    fn get(&self, index: u64, page: &mut Page) -> Result<bool, String> {
        self.tiered
            .get(index, page)
            .map_err(|error| error.to_string())
    }

    fn discard(&self, index: u64) -> Result<bool, String> {
        self.tiered
            .discard(index)
            .map_err(|error| error.to_string())
    }

    fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.work();
        self.pack_and_clean();
    }

    /// Not `Tiered::settle`, which lets the clock go round: what is hot would get cold.
    fn settle(&mut self) {
        while self.work() {}
        self.pack_and_clean();
    }

    fn pack(&mut self) {
        self.tiered.cache().compact(u64::MAX);
    }

    fn memory(&self) -> TierMemory {
        let stat = self.tiered.stat();
        TierMemory {
            pages_held: stat.mm.orig_data_size / 4096,
            compr_data_size: stat.mm.compr_data_size,
            mem_used_total: stat.mm.mem_used_total,
            beside_bytes: stat.memory.beside,
            table_bytes: 0,
            workspace_bytes: self.tiered.workspace_bytes() as u64,
        }
    }

    fn counters(&self) -> TierCounters {
        let stat = self.tiered.stat();
        let backing = self.tiered.backing().map(|backing| backing.stats());
        TierCounters {
            recompressed: stat.tiers.recompressed,
            clusters: stat.tiers.clusters,
            clustered_pages: stat.tiers.clustered,
            duplicates: stat.tiers.deduplicated,
            patches: stat.tiers.patched,
            promoted: stat.tiers.promoted,
            written_back: stat.tiers.written_back,
            read_back: stat.tiers.backed_reads,
            backing_bytes: stat.backing.allocated,
            // As they were handed over: tags and padding are the file's.
            backing_compressed_bytes: backing.map_or(0, |stats| stats.payload_live),
        }
    }
}
