//! What a pool is set up with, and what it says of itself.

use crate::abi::Versioned;

/// How a pool behaves. Set up by `compcache_pool_options_init`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct compcache_pool_options {
    /// Bytes of this struct.
    pub struct_size: usize,
    /// Bytes of the embedder's pages: 4096, 16384 or 65536.
    pub page_size: u64,
    /// The most pages to take, tables included; 0 for no limit.
    pub limit_pages: u64,
    /// Objects that a free may move while much of the pool's pages is unused: bounded work that
    /// keeps the pool dense. 0 where the embedder calls `compcache_pool_compact_to_target`.
    pub inline_moves: u64,
}

/// Numbers of a pool.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct compcache_pool_stats {
    /// Bytes of this struct, set by the caller; after the call the bytes that were filled in.
    pub struct_size: usize,
    /// Live objects.
    pub objects: u64,
    /// Bytes they asked for.
    pub payload_bytes: u64,
    /// Bytes of their blocks: payload, headers, rounding.
    pub block_bytes: u64,
    /// Bytes of all pages taken, tables included.
    pub used_bytes: u64,
    /// Pages that hold blocks.
    pub data_pages: u64,
    /// Pages of tables.
    pub metadata_pages: u64,
    /// The most pages taken at once.
    pub pages_max: u64,
    /// Objects that compaction moved, ever.
    pub objects_moved: u64,
    /// Pages that compaction gave back, ever.
    pub pages_compacted: u64,
}

/// What a compaction did.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct compcache_compacted {
    /// Bytes of this struct, set by the caller; after the call the bytes that were filled in.
    pub struct_size: usize,
    /// Objects moved.
    pub objects: u64,
    /// Pages given back.
    pub pages: u64,
    /// 1 if all of it was gone through, 0 if the budget was used up before.
    pub finished: u64,
}

// SAFETY: `repr(C)`, whole numbers only, the size first, no padding where `usize` has 4 or 8 bytes
// (checked below).
unsafe impl Versioned for compcache_pool_options {
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        page_size: 4096,
        limit_pages: 0,
        inline_moves: 1,
    };
}

// SAFETY: as above.
unsafe impl Versioned for compcache_pool_stats {
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        objects: 0,
        payload_bytes: 0,
        block_bytes: 0,
        used_bytes: 0,
        data_pages: 0,
        metadata_pages: 0,
        pages_max: 0,
        objects_moved: 0,
        pages_compacted: 0,
    };
}

// SAFETY: as above.
unsafe impl Versioned for compcache_compacted {
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        objects: 0,
        pages: 0,
        finished: 0,
    };
}
