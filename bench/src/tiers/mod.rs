//! The tiered store beside LZ4 alone and zstd level 1 alone: `compcache bench --tiers`.
//!
//! # The pattern
//!
//! ```text
//! pages      ▏▊▊▊      ▊      ▊▊▊▊▊▊▊        ▊▊▊▊       ▏   hot: 20 % or 5 %, in runs of 1 to 64
//!
//! time       │ fill     │ cooling                │ measured phase                 │
//!            │ put 0..n │ hot pages read, 3 times│ 80 % gets, 15 % overwrites,    │
//!            │ in order │ a minute; then settle  │ 2.5 % discards, 2.5 % re-puts  │
//!            └──────────┴────────────────────────┴────────────────────────────────┘
//!              a tick after each logical second: 1157 operations
//! ```
//!
//! * **Pages** 0 to n are put in order. The device is cut into runs of 1 to 64 neighbouring pages; random runs are hot until
//!   20 % of the pages are (`cold80`) or 5 % (`cold95`).
//! * **Gets**: 99 of 100 are of a hot page, by Zipf's law with exponent 1 over a random order of the hot pages; one is of a
//!   cold page, each as likely as the other.
//! * **Overwrites**: a page chosen like that, and a random hot page, exchange what they hold: two puts. So every page of the
//!   input is stored exactly once at any time; overwriting with copies would give a store that looks for copies something
//!   that the input does not have.
//! * **Discards**: a random hot page, which is put again 64 steps later.
//! * **Time** is logical: 10^8 operations are 24 hours. After the operations of each second every store is told the time and
//!   does its background work; that is no part of the operations' times, but of the CPU time.
//! * **Cooling**: in each third of a logical minute each hot page is read once. Then each store does all background work
//!   there is.
//! * **The same operations** in the same order for all stores, of which each in turn begins; every get is compared.
//!
//! The share of cold gets: Google's fleet is run so that fewer than 0.2 % of a job's working set are fetched from compressed
//! memory in a minute (Lagar-Cavilla et al., Software-Defined Far Memory in Warehouse-Scale Computers, ASPLOS 2019). With
//! 61,440 pages of which 80 % are cold, one get of a hundred is 4.5 % of the hot set in a logical minute: more than twenty
//! times that, so that a store cannot look good by making cold pages slow.
//!
//! # What is counted as memory
//!
//! Everything, for each store: every page taken from the page source (slots and tables of the cache included, and those of
//! the search for copies, which lie there too), the cache's own struct, and all workspaces, those of each CPU and that of the
//! background. Workspaces do not grow with the pages, so they are also reported by themselves, and the ratio without them.

mod copies;
mod cpu;
mod long;
mod pattern;
mod replay;
mod result;
mod scan;
mod setting;
mod store;
mod tiered;
mod writeback;

use std::path::PathBuf;

pub use self::copies::{CopiesLengths, Copy, changed_copy, run_copies, unrelated};
pub use self::long::{OPERATIONS_OF_A_DAY, run_long};
pub use self::pattern::{OPERATIONS_PER_SECOND, Operation, PAGES_MIN, Pattern};
pub use self::result::{
    CopiesResult, LongResult, LongSample, LongStore, TierCounters, TierMemory, TierSetting,
    TierStore, TiersResult, UnrelatedResult, WritebackResult,
};
pub use self::scan::TextRuns;
pub use self::setting::{Lengths, run_setting};
pub use self::store::{Build, Page, Plain, PutError, Store, StoreOptions};
pub use self::tiered::Tiered;
pub use self::writeback::{BackingFile, backing_bytes, run_writeback};

/// What to run.
#[derive(Clone, Debug)]
pub struct TiersPlan {
    /// Seed of the pattern.
    pub seed: u64,
    /// Shorter phases.
    pub quick: bool,
    /// Operations of the long run, if there is to be one.
    pub long: Option<u64>,
    /// Where the backing file is to be.
    pub backing: Option<PathBuf>,
    /// What the tiered store compresses with, for the results: `lz4 zstd:14`.
    pub codecs: String,
}

impl TiersPlan {
    fn lengths(&self) -> Lengths {
        if self.quick {
            Lengths {
                cooling_minutes: 30,
                operations: 100_000,
            }
        } else {
            Lengths {
                cooling_minutes: 60,
                operations: 1_000_000,
            }
        }
    }

    fn copies_lengths(&self) -> CopiesLengths {
        CopiesLengths {
            idle_minutes: self.lengths().cooling_minutes,
            rounds: 7,
        }
    }
}

/// Runs everything on `bytes`, which is whole pages. `progress` hears what is being done and how
/// much of all is done, 0 to 1.
///
/// # Errors
/// What could not be run, in words.
pub fn run_tiers(
    bytes: &[u8],
    plan: &TiersPlan,
    tiered: Build<'_>,
    progress: &mut dyn FnMut(&str, f64),
) -> Result<TiersResult, String> {
    let (pages, rest) = bytes.as_chunks::<4096>();
    if !rest.is_empty() {
        return Err(format!("{} bytes are not whole pages of 4096", bytes.len()));
    }
    // First, so that what is wrong with the place is known before the work.
    let backing = BackingFile::at(plan.backing.as_deref())?;
    // The parts' shares of the time.
    let end = if plan.long.is_some() { 0.3 } else { 1.0 };
    let lengths = plan.lengths();
    let mut setting = |cold: usize, from: f64| {
        let title = format!("tiers, {cold} % cold");
        run_setting(pages, cold, plan.seed, lengths, tiered, &mut |share| {
            progress(&title, (from + 0.3 * share) * end)
        })
    };
    let cold80 = setting(80, 0.0)?;
    let cold95 = setting(95, 0.3)?;
    let mut inner = |share: f64| progress("tiers, copies", (0.6 + 0.2 * share) * end);
    let copies = run_copies(pages, plan.seed, plan.copies_lengths(), tiered, &mut inner)?;
    let mut inner = |share: f64| progress("tiers, writeback", (0.8 + 0.2 * share) * end);
    let writeback = run_writeback(pages, plan.seed, lengths, &backing, tiered, &mut inner)?;
    let mut inner = |share: f64| progress("tiers, long run", end + (1.0 - end) * share);
    let long = plan
        .long
        .map(|operations| run_long(pages, plan.seed, operations, tiered, &mut inner))
        .transpose()?;
    progress("done", 1.0);
    Ok(TiersResult {
        codecs: plan.codecs.clone(),
        cold80,
        cold95,
        copies,
        writeback,
        long,
    })
}

#[cfg(test)]
pub(crate) mod tests;
