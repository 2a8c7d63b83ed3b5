//! The whole comparison, as `compcache bench` runs it.

use compcache::{AnyCodec, Codec, Lz4};

use crate::alloc_xv::AllocXv;
use crate::cache::run_cache;
use crate::comparison_engines;
use crate::engine::Engine;
use crate::phases::run_phases;
use crate::result::{BenchResult, PagesInfo};
use crate::scaling::scaling_point;
use crate::zram::run_zram;

const PAGE: usize = 4096;
/// Bytes of a bucket of the size histogram.
const BUCKET: usize = 64;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Codecs for the cache.
    pub codecs: Vec<AnyCodec>,
    /// Threads; with more than one, one thread is measured as well.
    pub threads: usize,
    /// Seed of the order of operations.
    pub seed: u64,
    /// Fewer rounds and pool sizes.
    pub quick: bool,
    /// Give the kernel's zram the same pages.
    pub zram: bool,
}

/// Runs everything on `bytes`, which is whole pages. `progress` hears what is being done and
/// how much of all is done, 0 to 1; it must not keep memory it allocates.
///
/// # Errors
/// What could not be run, in words.
pub fn run(
    bytes: &[u8],
    pages: PagesInfo,
    plan: &Plan,
    progress: &mut dyn FnMut(&str, f64),
) -> Result<BenchResult, String> {
    let (set, rest) = bytes.as_chunks::<PAGE>();
    if set.is_empty() || !rest.is_empty() {
        return Err(format!(
            "{} bytes are not whole pages of {PAGE}",
            bytes.len()
        ));
    }
    progress("compressed sizes", 0.0);
    let sizes = compressed_sizes(set)?;
    let mut result = BenchResult {
        version: 1,
        pages,
        cache: Vec::new(),
        allocators: Vec::new(),
        scaling: Vec::new(),
        size_histogram: histogram(&sizes),
        zram: None,
        tiers: None,
    };
    if plan.zram {
        progress("zram", 0.02);
        result.zram = Some(run_zram(bytes)?);
    }
    let mut counts = vec![1];
    if plan.threads > 1 {
        counts.push(plan.threads);
    }
    let rounds = if plan.quick { 3 } else { 5 };
    for (number, codec) in plan.codecs.iter().enumerate() {
        let threads = if plan.threads > 1 {
            format!("1 and {} threads", plan.threads)
        } else {
            "1 thread".to_owned()
        };
        let title = format!("cache, {codec}, {threads}");
        let codecs = plan.codecs.len() as f64;
        let mut inner =
            |share: f64| progress(&title, 0.03 + 0.47 * (number as f64 + share) / codecs);
        result.cache.extend(run_cache(
            set, *codec, &counts, plan.seed, rounds, &mut inner,
        )?);
    }
    let sizes: Vec<u32> = sizes.into_iter().flatten().collect();
    if sizes.is_empty() {
        return Err(
            "every page is one repeated word: nothing for the allocators to hold".to_owned(),
        );
    }
    allocators(&sizes, plan, &mut result, progress)?;
    let counts: &[usize] = if plan.quick {
        &[1_000, 4_000, 16_000]
    } else {
        &[1_000, 4_000, 16_000, 64_000, 256_000]
    };
    for (number, &objects) in counts.iter().enumerate() {
        progress(
            "pool sizes",
            0.9 + 0.1 * number as f64 / counts.len() as f64,
        );
        result
            .scaling
            .push(scaling_point(&sizes, objects, plan.seed).map_err(|error| error.to_string())?);
    }
    progress("done", 1.0);
    Ok(result)
}

fn allocators(
    sizes: &[u32],
    plan: &Plan,
    result: &mut BenchResult,
    progress: &mut dyn FnMut(&str, f64),
) -> Result<(), String> {
    let ours: Box<dyn Engine> = Box::new(AllocXv::new().ok_or("alloc_xv: no address space")?);
    let mut engines = vec![ours];
    engines.extend(comparison_engines());
    let count = engines.len();
    for (number, mut engine) in engines.into_iter().enumerate() {
        let name = engine.name();
        let mut inner = |phase: &str, share: f64| {
            let title = format!("{name}, {phase}");
            progress(
                &title,
                0.5 + 0.4 * (number as f64 + share / 5.0) / count as f64,
            );
        };
        let phases = run_phases(engine.as_mut(), sizes, plan.seed, &mut inner);
        result
            .allocators
            .push(phases.map_err(|error| format!("{name}: {error}"))?);
    }
    Ok(())
}

/// LZ4 size of each page, at most a page; none for pages of one repeated word.
fn compressed_sizes(pages: &[[u8; PAGE]]) -> Result<Vec<Option<u32>>, String> {
    let mut workspace = Lz4.workspace(PAGE).map_err(|error| error.to_string())?;
    let mut out = vec![0; Lz4.max_compressed_len(PAGE)];
    pages
        .iter()
        .map(|page| {
            if compress::same_filled(page).is_some() {
                return Ok(None);
            }
            let len = Lz4
                .compress(&mut workspace, page, &mut out)
                .map_err(|error| error.to_string())?;
            Ok(Some(len.min(PAGE) as u32))
        })
        .collect()
}

/// Pages in each bucket of 64 bytes; the last bucket has those that did not shrink.
fn histogram(sizes: &[Option<u32>]) -> Vec<u64> {
    let mut buckets = vec![0; PAGE / BUCKET + 1];
    for size in sizes.iter().flatten() {
        buckets[*size as usize / BUCKET] += 1;
    }
    buckets
}
