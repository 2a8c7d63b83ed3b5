//! What a benchmark run found, in the shape of the JSON contract (version 1).
//!
//! All sizes are bytes and all times nanoseconds; further keys may be added,
//! none may change its meaning.

use serde::{Deserialize, Serialize};

pub use crate::tiers::TiersResult;

/// The document that `compcache bench --json` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchResult {
    /// Version of this shape; 1.
    pub version: u32,
    /// The pages that went in.
    pub pages: PagesInfo,
    /// The page cache, one entry for each codec and thread count.
    pub cache: Vec<CacheResult>,
    /// The allocators, on the compressed sizes of the same pages.
    pub allocators: Vec<AllocatorResult>,
    /// Footprint and time of `alloc_xv` at several pool sizes.
    #[serde(default)]
    pub scaling: Vec<ScalingPoint>,
    /// How many of the compressed pages have a size in each 64-byte bucket.
    #[serde(default)]
    pub size_histogram: Vec<u64>,
    /// What the kernel's zram took for the same pages, where `/dev/zram0` could be used.
    #[serde(default)]
    pub zram: Option<ZramResult>,
    /// The tiered store beside LZ4 alone and zstd alone, where `--tiers` was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<TiersResult>,
}

/// The input pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PagesInfo {
    /// Where they came from, in words.
    pub source: String,
    /// Number of pages.
    pub count: u64,
    /// Pages that are one 8-byte word repeated.
    pub same_filled: u64,
    /// Pages equal to an earlier page that is not same-filled.
    pub duplicates: u64,
}

/// Percentiles of one kind of operation, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Arithmetic mean; of the cache and of the codec beside it, that of the middle round.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Largest value seen.
    pub max: u64,
}

/// One run of the page cache.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CacheResult {
    /// Codec name, as `--codec` takes it.
    pub codec: String,
    /// Threads that put and got at once.
    pub threads: u64,
    /// zram's `orig_data_size`.
    pub orig_data_size: u64,
    /// zram's `compr_data_size`.
    pub compr_data_size: u64,
    /// Every page taken from the page source, metadata included.
    pub mem_used_total: u64,
    /// The part of `mem_used_total`, and anything beside it, that holds no payload block.
    pub metadata_bytes: u64,
    /// What of `metadata_bytes` lies beside the pages of `mem_used_total` (the cache's own struct).
    pub beside_bytes: u64,
    /// Pages stored as one word.
    pub same_pages: u64,
    /// Pages that did not shrink and are stored raw.
    pub huge_pages: u64,
    /// Pages that came back different. Anything but 0 is a bug.
    pub mismatches: u64,
    /// Time of a put of a page that reaches the codec.
    pub put_ns: Latency,
    /// Time of a get of a page that reaches the codec.
    pub get_ns: Latency,
    /// The codec alone, compressing the same pages in the same order.
    pub codec_compress_ns: Latency,
    /// The codec alone, decompressing the same bytes in the same shuffled order.
    pub codec_decompress_ns: Latency,
    /// Pages put in a second over pages that are stored already, all threads together.
    pub put_pages_per_s: f64,
    /// The same into an empty cache, which takes its memory from the system meanwhile.
    #[serde(default)]
    pub fill_pages_per_s: f64,
    /// Pages got in a second, all threads together.
    pub get_pages_per_s: f64,
}

/// One allocator, through all phases.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AllocatorResult {
    /// `alloc_xv`, `slab`, `buddy`, `first_fit`, `xvmalloc`, `zsmalloc`, `tlsf`, `malloc`.
    pub name: String,
    /// `fill`, `churn`, `discard`, `compact`, `drain`, in this order.
    pub phases: Vec<PhaseResult>,
}

/// One allocator at the end of one phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhaseResult {
    /// Name of the phase.
    pub phase: String,
    /// Live objects.
    pub objects: u64,
    /// Bytes the live objects asked for.
    pub payload_bytes: u64,
    /// Pages with all metadata: `data_bytes + metadata_bytes + reference_bytes`.
    pub footprint_bytes: u64,
    /// Pages that hold objects.
    pub data_bytes: u64,
    /// Tables and control structures, in whole pages.
    pub metadata_bytes: u64,
    /// What the owner must keep to find its objects again: 8 bytes an object where the
    /// allocator hands out pointers or handles, nothing where it is addressed by the owner's index.
    pub reference_bytes: u64,
    /// Resident memory of the allocator's mapping, where it can be told apart.
    pub rss_bytes: Option<u64>,
    /// Time of the allocations in this phase, payload copy excluded.
    pub alloc_ns: Latency,
    /// Time of the frees in this phase.
    pub free_ns: Latency,
}

/// `alloc_xv` at one pool size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScalingPoint {
    /// Live objects.
    pub objects: u64,
    /// Footprint divided by payload after a fill.
    pub fill_ratio: f64,
    /// Footprint divided by payload after ten overwrites an object.
    pub churn_ratio: f64,
    /// Time of an allocation in the churn.
    pub alloc_ns: Latency,
    /// Time of a free in the churn.
    pub free_ns: Latency,
}

/// The kernel's zram on the same pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ZramResult {
    /// Kernel release.
    pub kernel: String,
    /// Algorithm.
    pub codec: String,
    /// `orig_data_size` of `mm_stat`.
    pub orig_data_size: u64,
    /// `compr_data_size` of `mm_stat`.
    pub compr_data_size: u64,
    /// `mem_used_total` of `mm_stat`.
    pub mem_used_total: u64,
    /// Its slot table: 16 bytes a page of the device.
    pub slot_table_bytes: u64,
}
