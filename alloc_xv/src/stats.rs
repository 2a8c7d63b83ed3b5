//! What a pool says about itself.

/// Numbers of a pool at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of a page.
    pub page_size: u64,
    /// Live objects.
    pub objects: u64,
    /// Bytes they asked for.
    pub payload_bytes: u64,
    /// Bytes of their blocks: payload, headers, rounding.
    pub block_bytes: u64,
    /// Pages that hold blocks.
    pub data_pages: u64,
    /// Pages of page tables and entry tables.
    pub metadata_pages: u64,
    /// The most pages taken at once.
    pub pages_max: u64,
    /// Objects that compaction moved, ever.
    pub objects_moved: u64,
    /// Pages that compaction gave back, ever.
    pub pages_compacted: u64,
    /// Bytes of the pool's own struct, beside all pages.
    pub struct_bytes: u64,
}

impl Stats {
    /// Bytes of all pages taken from the source, metadata included.
    pub fn used_bytes(&self) -> u64 {
        (self.data_pages + self.metadata_pages) * self.page_size
    }
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Objects moved.
    pub objects: u64,
    /// Pages given back to the source.
    pub pages: u64,
    /// Every arena was gone through to its end.
    pub finished: bool,
}
