//! The way to the benchmark library: everything the command knows about running a benchmark.

use compcache_bench::result::BenchResult;
use compcache_bench::run::Plan;
use compcache_bench::tiers::{StoreOptions, Tiered, TiersPlan, run_tiers};
use compress::{AnyCodec, Ladder};

use crate::pages::PageSet;

/// What to run.
pub(crate) struct BenchOptions {
    /// Codecs, each once, in the order given.
    pub(crate) codecs: Vec<AnyCodec>,
    /// Threads that use the cache at once; at least one.
    pub(crate) threads: usize,
    /// Seed of the order of operations.
    pub(crate) seed: u64,
    /// Fewer rounds.
    pub(crate) quick: bool,
    /// Give the kernel's zram the same pages.
    pub(crate) zram: bool,
}

/// Runs the comparison on `pages`. `progress` hears what is being done and how much of the whole is done, 0 to 1.
///
/// # Errors
/// Where a part of the comparison cannot run, in words.
pub(crate) fn run_bench(
    pages: &PageSet,
    options: &BenchOptions,
    progress: &mut dyn FnMut(&str, f64),
) -> Result<BenchResult, String> {
    let plan = Plan {
        codecs: options.codecs.clone(),
        threads: options.threads,
        seed: options.seed,
        quick: options.quick,
        zram: options.zram,
    };
    compcache_bench::run::run(pages.bytes(), pages.info(), &plan, progress)
}

/// Puts the tiered store and those it is compared with through the access pattern on `pages`. `progress` is that of
/// [`run_bench`].
///
/// # Errors
/// Where a store refuses something, in words.
pub(crate) fn run_tiers_bench(
    pages: &PageSet,
    plan: &TiersPlan,
    ladder: &Ladder,
    progress: &mut dyn FnMut(&str, f64),
) -> Result<BenchResult, String> {
    let build = |options: &StoreOptions| Tiered::build(ladder, options);
    let tiers = run_tiers(pages.bytes(), plan, &build, progress)?;
    Ok(BenchResult {
        version: 1,
        pages: pages.info(),
        cache: Vec::new(),
        allocators: Vec::new(),
        scaling: Vec::new(),
        size_histogram: Vec::new(),
        zram: None,
        tiers: Some(tiers),
    })
}
