//! What `compcache bench --tiers` found: the key `tiers` of the JSON.
//!
//! Sizes are bytes, times nanoseconds, CPU time seconds. `A_vs_B` is A divided by B, both of the same run.

use serde::{Deserialize, Serialize};

use crate::result::Latency;

/// Everything about the tiered store, beside LZ4 alone and zstd alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TiersResult {
    /// Codecs of the tiered store: that of new pages, then that of cold ones.
    #[serde(default)]
    pub codecs: String,
    /// 80 % of the pages are cold.
    pub cold80: TierSetting,
    /// 95 % of the pages are cold.
    pub cold95: TierSetting,
    /// A second copy of the pages, a little changed; and what looking for copies costs where there are none.
    pub copies: CopiesResult,
    /// Half of the memory that is needed, and a backing file.
    pub writeback: WritebackResult,
    /// Memory over a long run.
    pub long: Option<LongResult>,
}

impl TiersResult {
    /// Pages that came back different, in all parts and stores.
    pub fn mismatches(&self) -> u64 {
        let long = self.long.iter().flat_map(|long| &long.stores);
        self.cold80.mismatches
            + self.cold95.mismatches
            + self.copies.mismatches
            + self.copies.unrelated.mismatches
            + self.writeback.mismatches
            + long.map(|store| store.mismatches).sum::<u64>()
    }

    /// The settings by name.
    pub fn settings(&self) -> [(&'static str, &TierSetting); 2] {
        [("cold80", &self.cold80), ("cold95", &self.cold95)]
    }
}

/// The pattern with one share of cold pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TierSetting {
    /// Bytes of pages held to all memory counted, of the tiered store.
    pub effective_ratio: f64,
    /// The same of LZ4 alone.
    pub lz4_effective_ratio: f64,
    /// The same of zstd level 1 alone.
    pub zstd1_effective_ratio: f64,
    /// Median get of the hot set.
    pub hot_get_p50_vs_lz4: f64,
    /// Mean get of the whole pattern: of 25 parts of it, the ratio in the middle.
    pub mean_get_vs_lz4: f64,
    /// Mean put of the whole pattern after the fill: of 25 parts of it, the ratio in the middle.
    pub put_vs_lz4: f64,
    /// Pages that came back different, in all stores. Anything but 0 is a bug.
    pub mismatches: u64,
    /// Mean put of the fill: of 25 parts of it, the ratio in the middle.
    pub fill_put_vs_lz4: f64,
    /// `effective_ratio` divided by `lz4_effective_ratio`.
    pub effective_ratio_vs_lz4: f64,
    /// Pages of the hot set.
    pub hot_pages: u64,
    /// Operations of the measured phase.
    pub operations: u64,
    /// Logical seconds of the whole run.
    pub logical_s: u64,
    /// Every store by itself.
    pub stores: Vec<TierStore>,
}

/// One store at the end of the pattern.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TierStore {
    /// `lz4`, `zstd1` or `tiered`.
    pub name: String,
    /// Memory at the end of the measured phase.
    pub memory: TierMemory,
    /// Bytes of pages held to all memory counted.
    pub effective_ratio: f64,
    /// The same without the workspaces, which do not grow with the pages.
    pub ratio_without_workspaces: f64,
    /// The first when the cold pages had become cold and nothing was left to do, before the measured phase.
    pub settled_ratio: f64,
    /// Pages that this ratio would put into the memory that LZ4 alone takes.
    pub pages_in_lz4_memory: u64,
    /// All gets of the measured phase.
    pub get_ns: Latency,
    /// Those of the hot set.
    pub hot_get_ns: Latency,
    /// The others.
    pub cold_get_ns: Latency,
    /// Puts of the measured phase.
    pub put_ns: Latency,
    /// Puts of the fill.
    pub fill_put_ns: Latency,
    /// Share of the measured phase that is in no mean of the ratios, because the CPU was taken away: the
    /// measure of how busy the machine was with other things.
    pub disturbed_share: f64,
    /// CPU time of the process for this store, all threads: foreground and background.
    pub cpu_s: f64,
    /// The part of it that was the background's.
    pub background_cpu_s: f64,
    /// What the background has done.
    pub counters: TierCounters,
    /// Pages that came back different.
    pub mismatches: u64,
}

/// Memory of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierMemory {
    /// Pages stored, same-filled ones and those written back included.
    pub pages_held: u64,
    /// Bytes of what they are stored as.
    pub compr_data_size: u64,
    /// Every page taken from the page source, tables of the cache included.
    pub mem_used_total: u64,
    /// The cache's own struct.
    pub beside_bytes: u64,
    /// What else the store keeps for its pages: tables of the policy, of duplicates, of similar pages.
    pub table_bytes: u64,
    /// Workspaces, one for each CPU and the background's: codecs' tables and buffers. They do not grow with the pages.
    pub workspace_bytes: u64,
}

impl TierMemory {
    /// All of it.
    pub fn total_bytes(&self) -> u64 {
        self.mem_used_total + self.beside_bytes + self.table_bytes + self.workspace_bytes
    }

    /// Bytes of pages held to all memory; 0 for no pages.
    pub fn effective_ratio(&self) -> f64 {
        (self.pages_held * 4096) as f64 / self.total_bytes().max(1) as f64
    }

    /// The same, without the workspaces: what it comes to in a store that is large beside them.
    pub fn ratio_without_workspaces(&self) -> f64 {
        let bytes = self.total_bytes() - self.workspace_bytes;
        (self.pages_held * 4096) as f64 / bytes.max(1) as f64
    }

    /// Memory taken for each compressed byte, as zram counts both.
    pub fn used_per_compressed(&self) -> f64 {
        self.mem_used_total as f64 / self.compr_data_size.max(1) as f64
    }
}

/// What the background has done, in pages unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierCounters {
    /// Pages stored again with a denser codec, alone.
    pub recompressed: u64,
    /// Clusters there are.
    pub clusters: u64,
    /// Pages put into clusters.
    pub clustered_pages: u64,
    /// Pages found to be copies of another.
    pub duplicates: u64,
    /// Pages stored as a difference.
    pub patches: u64,
    /// Pages that came back to the first codec because they were read again.
    pub promoted: u64,
    /// Records written to the backing store: a page or a cluster each.
    pub written_back: u64,
    /// Records read back from it.
    pub read_back: u64,
    /// Bytes of the backing store that are taken.
    pub backing_bytes: u64,
    /// Compressed bytes in it that are still wanted.
    pub backing_compressed_bytes: u64,
}

/// Copies, and the price of looking for them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CopiesResult {
    /// Memory that the tiered store takes for the second copy, to what LZ4 alone takes for it.
    pub second_copy_vs_lz4: f64,
    /// Bytes that the first copy takes in the tiered store, alone in it.
    pub first_copy_bytes: u64,
    /// Bytes that it takes with LZ4 alone.
    pub lz4_first_copy_bytes: u64,
    /// Bytes that the second copy takes in the tiered store.
    pub second_copy_bytes: u64,
    /// Bytes that it takes with LZ4 alone.
    pub lz4_second_copy_bytes: u64,
    /// Pages of the copy, and how many of them were changed.
    pub pages: u64,
    /// Pages with changed blocks.
    pub changed_pages: u64,
    /// Blocks of 64 bytes that were changed.
    pub changed_blocks: u64,
    /// What the background has done.
    pub counters: TierCounters,
    /// Pages that came back different.
    pub mismatches: u64,
    /// The same pages without copies and without similar ones.
    pub unrelated: UnrelatedResult,
}

/// The tiered store with the search for copies and similar pages, and without it, on pages that have neither.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnrelatedResult {
    /// Pages that share nothing worth mentioning with another.
    pub pages: u64,
    /// Time of all puts with the search to that without: of all rounds, the ratio in the middle.
    pub put_on_vs_off: f64,
    /// Memory with the search to that without, after everything has settled.
    pub memory_on_vs_off: f64,
    /// Pages put in a second, with the search.
    pub put_pages_per_s: f64,
    /// Pages put in a second, without.
    pub off_put_pages_per_s: f64,
    /// Share of the puts that are in neither time because the CPU was taken away.
    pub disturbed_share: f64,
    /// Memory with the search.
    pub memory_bytes: u64,
    /// Memory without.
    pub off_memory_bytes: u64,
    /// Pages that came back different.
    pub mismatches: u64,
}

/// Half of the memory, and a backing file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WritebackResult {
    /// The limit.
    pub mem_limit: u64,
    /// What the same store takes without a limit.
    pub needed_bytes: u64,
    /// The most memory seen, which is under the limit.
    pub mem_used_max: u64,
    /// Pages held.
    pub pages_held: u64,
    /// Gets that were compared.
    pub gets: u64,
    /// Pages that came back different. Anything but 0 is a bug.
    pub mismatches: u64,
    /// Gets that failed. Anything but 0 is a bug.
    pub unreadable: u64,
    /// Puts that had to wait for background work.
    pub put_waits: u64,
    /// Bytes that the file takes on its file system.
    pub file_bytes: u64,
    /// Compressed bytes in it.
    pub compressed_bytes: u64,
    /// The one to the other.
    pub file_per_compressed: f64,
    /// Runs of 16 bytes of text that were looked for in the file, at every place of it.
    pub text_runs: u64,
    /// How many of them are in it. Anything but 0 is a leak.
    pub text_runs_found: u64,
    /// Time of a get.
    pub get_ns: Latency,
    /// Time of a put.
    pub put_ns: Latency,
    /// What the background has done.
    pub counters: TierCounters,
}

/// Memory over a long run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LongResult {
    /// Operations.
    pub operations: u64,
    /// Logical seconds.
    pub logical_s: u64,
    /// Each store.
    pub stores: Vec<LongStore>,
}

/// One store over a long run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LongStore {
    /// `lz4` or `tiered`.
    pub name: String,
    /// The most memory for each compressed byte after the fill, looked at each logical second.
    pub used_per_compressed_max: f64,
    /// CPU time of the process for this store.
    pub cpu_s: f64,
    /// The part of it that was the background's.
    pub background_cpu_s: f64,
    /// Pages that came back different.
    pub mismatches: u64,
    /// What the background has done.
    pub counters: TierCounters,
    /// Memory over time.
    pub samples: Vec<LongSample>,
}

/// Memory at one moment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LongSample {
    /// Operations done.
    pub operations: u64,
    /// Logical hours passed.
    pub hours: f64,
    /// The most memory for each compressed byte since the sample before.
    pub used_per_compressed: f64,
    /// Bytes of pages held to all memory counted.
    pub effective_ratio: f64,
}
