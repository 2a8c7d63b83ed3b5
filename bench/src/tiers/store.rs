//! What the harness asks of a store, and the stores of one codec.

use std::path::PathBuf;

use std::sync::Arc;

use compcache::{AnyCodec, Codec, Compactor, Config, Shared, StdCache};
use compress::AnyWorkspace;

use super::result::{TierCounters, TierMemory};

/// A page of the input.
pub type Page = [u8; 4096];

/// A store of pages that is put through the access pattern.
///
/// The harness calls from one thread. Background work is done in [`tick`](Store::tick) and
/// [`settle`](Store::settle), so that it can be told from the foreground's and comes at the same
/// place in every run.
pub trait Store {
    /// Name as it stands in the results.
    fn name(&self) -> &'static str;

    /// Stores a page.
    fn put(&self, index: u64, page: &Page) -> Result<(), PutError>;

    /// Reads a page: true if one was stored.
    fn get(&self, index: u64, page: &mut Page) -> Result<bool, String>;

    /// Forgets a page: true if one was stored.
    fn discard(&self, index: u64) -> Result<bool, String>;

    /// A logical second has passed: the background work of that time.
    fn tick(&mut self, now_ms: u64);

    /// All background work that there is to do now.
    fn settle(&mut self);

    /// Packs all that is stored, however little that gives, so that memory can be compared to a tenth of a
    /// percent.
    fn pack(&mut self) {}

    /// Bytes taken now.
    fn memory(&self) -> TierMemory;

    /// What the background work has done so far.
    fn counters(&self) -> TierCounters;
}

/// Why a page was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutError {
    /// The memory limit is reached; background work may make room.
    Full,
    /// Anything else, in words.
    Other(String),
}

impl std::fmt::Display for PutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full => f.write_str("the memory limit is reached"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// How a tiered store is to be built.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Pages of the device.
    pub pages: u64,
    /// The most memory, in bytes; 0 for no limit.
    pub mem_limit: u64,
    /// Whether identical pages are stored once, and similar ones as differences.
    pub sharing: bool,
    /// Where cold pages are written back to.
    pub backing: Option<PathBuf>,
}

impl StoreOptions {
    /// No limit, nothing written back.
    pub fn new(pages: usize) -> Self {
        Self {
            pages: pages as u64,
            mem_limit: 0,
            sharing: true,
            backing: None,
        }
    }
}

/// Builds the tiered store.
pub type Build<'a> = &'a dyn Fn(&StoreOptions) -> Result<Box<dyn Store>, String>;

/// The page cache with one codec and nothing else.
pub struct Plain {
    name: &'static str,
    cache: Arc<StdCache<AnyCodec>>,
    workspace_bytes: u64,
    _compactor: Compactor,
}

impl Plain {
    /// A store of `pages` pages with LZ4.
    ///
    /// # Errors
    /// What the system refuses, in words.
    pub fn lz4(pages: usize) -> Result<Box<dyn Store>, String> {
        Self::build("lz4", "lz4", pages)
    }

    /// A store of `pages` pages with zstd at level 1.
    ///
    /// # Errors
    /// What the system refuses, in words.
    pub fn zstd1(pages: usize) -> Result<Box<dyn Store>, String> {
        Self::build("zstd1", "zstd:1", pages)
    }

    fn build(name: &'static str, codec: &str, pages: usize) -> Result<Box<dyn Store>, String> {
        let in_words = |error: &dyn std::fmt::Display| format!("{name}: {error}");
        let codec: AnyCodec = codec.parse().map_err(|error| in_words(&error))?;
        let cache =
            StdCache::build(codec, Config::new(pages as u64)).map_err(|error| in_words(&error))?;
        let cache = Arc::new(cache);
        let workspace = codec.workspace(4096).map_err(|error| in_words(&error))?;
        let each = size_of::<Shared<AnyCodec, 4096>>() + heap_bytes(&workspace);
        // As `StdCache` makes them.
        let count = std::thread::available_parallelism().map_or(1, usize::from) + 1;
        Ok(Box::new(Self {
            name,
            // As the product has it; what the tick finds to pack, the thread does not.
            _compactor: Compactor::spawn(&cache).map_err(|error| in_words(&error))?,
            cache,
            workspace_bytes: (each * count) as u64,
        }))
    }
}

/// What a workspace has on the heap.
fn heap_bytes(workspace: &AnyWorkspace) -> usize {
    match workspace {
        AnyWorkspace::Zstd(zstd) => zstd.heap_bytes(),
        _ => 0,
    }
}

impl Store for Plain {
    fn name(&self) -> &'static str {
        self.name
    }

    fn put(&self, index: u64, page: &Page) -> Result<(), PutError> {
        self.cache
            .put(index, page)
            .map_err(|error| PutError::Other(error.to_string()))
    }

    fn get(&self, index: u64, page: &mut Page) -> Result<bool, String> {
        self.cache
            .get(index, page)
            .map_err(|error| error.to_string())
    }

    fn discard(&self, index: u64) -> Result<bool, String> {
        self.cache.discard(index).map_err(|error| error.to_string())
    }

    fn tick(&mut self, _now_ms: u64) {
        self.cache.compact_to_target();
    }

    fn settle(&mut self) {
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
            workspace_bytes: self.workspace_bytes,
        }
    }

    fn counters(&self) -> TierCounters {
        TierCounters::default()
    }
}
