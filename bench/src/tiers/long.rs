//! Memory over a long run: 10^8 operations are 24 logical hours.
//!
//! Nothing is timed but the whole. Each logical hour the hot set moves by an eighth.

use super::pattern::{OPERATIONS_PER_SECOND, Pattern};
use super::replay::Replay;
use super::result::{LongResult, LongSample, LongStore};
use super::store::{Build, Page, Plain, StoreOptions};

/// Operations of 24 logical hours.
pub const OPERATIONS_OF_A_DAY: u64 = 100_000_000;
/// Share of cold pages.
const COLD_PERCENT: usize = 80;
/// Points of the curve.
const SAMPLES: u64 = 480;
const HOUR_S: u64 = 3600;

/// Runs the pattern for about `operations` operations after the fill.
///
/// # Errors
/// What a store refused, in words.
pub fn run_long(
    pages: &[Page],
    seed: u64,
    operations: u64,
    tiered: Build<'_>,
    progress: &mut dyn FnMut(f64),
) -> Result<LongResult, String> {
    let mut pattern = Pattern::new(pages.len(), COLD_PERCENT, seed)?;
    let stores = vec![
        Plain::lz4(pages.len())?,
        tiered(&StoreOptions::new(pages.len()))?,
    ];
    let mut replay = Replay::new(pages, stores);
    let mut block = Vec::new();
    pattern.fill(&mut block);
    replay.seconds(&block, &mut [])?;

    let mut curves: Vec<Curve> = replay.lanes.iter().map(|_| Curve::default()).collect();
    let seconds = operations.div_ceil(OPERATIONS_PER_SECOND).max(1);
    let every = (seconds / SAMPLES).max(1);
    let mut done = 0;
    for second in 1..=seconds {
        block.clear();
        pattern.second(&mut block);
        done += block.len() as u64;
        replay.second(&block, &mut [], 0)?;
        for (lane, curve) in replay.lanes.iter().zip(&mut curves) {
            curve.look(lane, second, done, second % every == 0);
        }
        if second % HOUR_S == 0 {
            pattern.move_hot_set();
        }
        progress(second as f64 / seconds as f64);
    }
    // What every page holds in the end.
    let expected: Vec<(u32, u32)> = (0..pages.len() as u32)
        .filter_map(|index| Some((index, pattern.content(index)?)))
        .collect();
    let stores = replay.lanes.into_iter().zip(curves);
    let stores = stores.map(|(mut lane, curve)| {
        for &(index, content) in &expected {
            lane.verify(
                u64::from(index),
                std::slice::from_ref(&pages[content as usize]),
            )?;
        }
        Ok(LongStore {
            name: lane.store.name().to_owned(),
            used_per_compressed_max: curve.max,
            cpu_s: lane.cpu_s,
            background_cpu_s: lane.background_cpu_s,
            mismatches: lane.mismatches,
            counters: lane.store.counters(),
            samples: curve.samples,
        })
    });
    Ok(LongResult {
        operations: done,
        logical_s: seconds,
        stores: stores.collect::<Result<_, String>>()?,
    })
}

/// Memory of one store over time.
#[derive(Default)]
struct Curve {
    samples: Vec<LongSample>,
    max: f64,
    since_sample: f64,
}

impl Curve {
    fn look(&mut self, lane: &super::replay::Lane, second: u64, operations: u64, sample: bool) {
        let memory = lane.store.memory();
        let used_per_compressed = memory.used_per_compressed();
        self.max = self.max.max(used_per_compressed);
        self.since_sample = self.since_sample.max(used_per_compressed);
        if sample {
            self.samples.push(LongSample {
                operations,
                hours: second as f64 / HOUR_S as f64,
                used_per_compressed: std::mem::take(&mut self.since_sample),
                effective_ratio: memory.effective_ratio(),
            });
        }
    }
}
