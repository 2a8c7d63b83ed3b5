//! What a tmem says about itself.

use crate::key::Lifetime;

/// Numbers of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Whether its pages may go.
    pub lifetime: Lifetime,
    /// Whether it is shared.
    pub shared: bool,
    /// Clients that joined and did not leave; 1 for a private pool.
    pub clients: u32,
    /// The most pages; 0 for no limit.
    pub limit_pages: u32,
    /// Pages stored.
    pub pages: u32,
    /// The most pages ever stored at once.
    pub pages_max: u32,
    /// Objects that have pages.
    pub objects: u32,
    /// Puts.
    pub puts: u64,
    /// Puts that failed.
    pub failed_puts: u64,
    /// Gets that found their page.
    pub get_hits: u64,
    /// Gets that did not.
    pub get_misses: u64,
    /// Pages that were flushed, one by one or with their object.
    pub flushes: u64,
    /// Pages that were dropped for want of memory or because of the limit.
    pub drops: u64,
    /// Gets that found their page damaged.
    pub damaged: u64,
}

/// Numbers of all pools together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Pools.
    pub pools: u32,
    /// Pages stored.
    pub pages: u32,
    /// Of these, pages that may be dropped; for a moment also such that are being flushed.
    pub ephemeral_pages: u32,
    /// Pages ever dropped.
    pub drops: u64,
    /// Bytes the pages were compressed to: the cache's `compr_data_size`.
    pub compressed_bytes: u64,
    /// Buckets of the pages' hash table.
    pub page_buckets: u32,
    /// The longest chain of it there ever was, after a put; at most [`CHAIN_MAX`](crate::CHAIN_MAX).
    pub page_chain_max: u32,
    /// Buckets of the objects' hash table.
    pub object_buckets: u32,
    /// The longest chain of it there ever was.
    pub object_chain_max: u32,
}

/// Where the memory goes. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Everything: pages taken from both sources, and the struct.
    pub total: u64,
    /// Taken by the page cache.
    pub cache: u64,
    /// Taken by the index.
    pub index: u64,
    /// The struct, with the cache in it.
    pub beside: u64,
    /// What of all that is no block of a stored page.
    pub metadata: u64,
}
