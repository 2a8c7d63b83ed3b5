//! What a cache is set up with, and what it says of itself.

use super::COMPCACHE_CODEC_LZ4;
use crate::abi::Versioned;

/// How a cache behaves. Set up by `compcache_cache_options_init`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct compcache_cache_options {
    /// Bytes of this struct.
    pub struct_size: usize,
    /// Bytes of a page, of the device and of the embedder: 4096, 16384 or 65536.
    pub page_size: u64,
    /// Pages of the device.
    pub pages: u64,
    /// The most memory to take, in bytes, tables included; 0 for no limit.
    pub mem_limit: u64,
    /// `COMPCACHE_NO_CHECKSUM`, or 0.
    pub flags: u64,
    /// Objects that a discard or an overwrite may move while much of the memory is unused: bounded
    /// work that keeps it dense. 0 where the embedder calls `compcache_cache_compact_to_target`.
    pub inline_moves: u64,
    /// One of the `COMPCACHE_CODEC_` numbers.
    pub codec: u32,
    /// As many calls can (de)compress at once, others wait, spinning: as many as there are CPUs, and one
    /// more for each context that interrupts another. Each takes about 16 KiB and three pages.
    pub workspaces: u32,
}

/// zram's `mm_stat`, under its names. Bytes and pages.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct compcache_mm_stat {
    /// Bytes of this struct, set by the caller; after the call the bytes that were filled in.
    pub struct_size: usize,
    /// Uncompressed size of the pages stored.
    pub orig_data_size: u64,
    /// Compressed size of the pages stored.
    pub compr_data_size: u64,
    /// Memory taken, with fragmentation and all tables in pages.
    pub mem_used_total: u64,
    /// The most memory that may be taken; 0 for no limit.
    pub mem_limit: u64,
    /// The most memory ever taken.
    pub mem_used_max: u64,
    /// Pages that are one word repeated.
    pub same_pages: u64,
    /// Pages given back by compaction.
    pub pages_compacted: u64,
    /// Pages stored raw because they did not shrink.
    pub huge_pages: u64,
    /// Pages that were ever stored raw.
    pub huge_pages_since: u64,
}

/// zram's `io_stat`, and how often pages were read and written.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct compcache_io_stat {
    /// Bytes of this struct, set by the caller; after the call the bytes that were filled in.
    pub struct_size: usize,
    /// Reads of a page that failed.
    pub failed_reads: u64,
    /// Writes of a page that failed.
    pub failed_writes: u64,
    /// Requests past the end, or not made of whole sectors.
    pub invalid_io: u64,
    /// Pages that were discarded.
    pub notify_free: u64,
    /// Reads of a page or a part of it.
    pub reads: u64,
    /// Writes of a page or a part of it.
    pub writes: u64,
}

// SAFETY: `repr(C)`, whole numbers only, the size first, no padding where `usize` has 8 bytes; where it
// has 4, what is between is never looked at.
unsafe impl Versioned for compcache_cache_options {
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        page_size: 4096,
        pages: 0,
        mem_limit: 0,
        flags: 0,
        inline_moves: 1,
        codec: COMPCACHE_CODEC_LZ4,
        workspaces: 4,
    };
}

// SAFETY: as above.
unsafe impl Versioned for compcache_mm_stat {
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        orig_data_size: 0,
        compr_data_size: 0,
        mem_used_total: 0,
        mem_limit: 0,
        mem_used_max: 0,
        same_pages: 0,
        pages_compacted: 0,
        huge_pages: 0,
        huge_pages_since: 0,
    };
}

// SAFETY: as above.
unsafe impl Versioned for compcache_io_stat {
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        failed_reads: 0,
        failed_writes: 0,
        invalid_io: 0,
        notify_free: 0,
        reads: 0,
        writes: 0,
    };
}
