//! One setting: fill, cool down, and the measured phase.

use super::pattern::{OPERATIONS_PER_SECOND, Pattern};
use super::replay::{Lane, PARTS, Parts, Replay, Times, middle_ratio};
use super::result::{TierSetting, TierStore};
use super::store::{Build, Page, Plain, StoreOptions};

/// How long the phases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Logical minutes in which only the hot set is read.
    pub cooling_minutes: u64,
    /// Operations of the measured phase.
    pub operations: u64,
}

/// How often each hot page is read in a logical minute of cooling.
pub(super) const SWEEPS_PER_MINUTE: u64 = 3;

const LZ4: usize = 0;
const ZSTD1: usize = 1;
const TIERED: usize = 2;

/// Runs the pattern with `cold_percent` on all stores.
///
/// # Errors
/// What a store refused, in words.
pub fn run_setting(
    pages: &[Page],
    cold_percent: usize,
    seed: u64,
    lengths: Lengths,
    tiered: Build<'_>,
    progress: &mut dyn FnMut(f64),
) -> Result<TierSetting, String> {
    let mut pattern = Pattern::new(pages.len(), cold_percent, seed)?;
    let stores = vec![
        Plain::lz4(pages.len())?,
        Plain::zstd1(pages.len())?,
        tiered(&StoreOptions::new(pages.len()))?,
    ];
    let mut replay = Replay::new(pages, stores);
    let new_times = || -> Vec<Times> { replay.lanes.iter().map(|_| Times::default()).collect() };
    let (mut fill, mut times) = (new_times(), new_times());

    let mut operations = Vec::new();
    pattern.fill(&mut operations);
    replay.seconds(&operations, &mut fill)?;
    progress(0.2);
    cool_down(&mut pattern, &mut replay, lengths.cooling_minutes)?;
    let settled: Vec<f64> = replay
        .lanes
        .iter()
        .map(|lane| lane.store.memory().effective_ratio())
        .collect();
    progress(0.6);

    let seconds = lengths.operations.div_ceil(OPERATIONS_PER_SECOND).max(1);
    let mut done = 0;
    for second in 0..seconds {
        operations.clear();
        pattern.second(&mut operations);
        done += operations.len() as u64;
        let part = (second * PARTS as u64 / seconds) as usize;
        replay.second(&operations, &mut times, part)?;
        progress(0.6 + 0.4 * second as f64 / seconds as f64);
    }
    summary(&replay, &fill, &times, &settled, &pattern, done)
}

/// In each of three parts of a minute every hot page is read once, and no other; then comes all
/// background work there is.
pub(super) fn cool_down(
    pattern: &mut Pattern,
    replay: &mut Replay<'_>,
    minutes: u64,
) -> Result<(), String> {
    let mut operations = Vec::new();
    for _ in 0..minutes * SWEEPS_PER_MINUTE {
        operations.clear();
        pattern.sweep(&mut operations);
        let end = replay.now_ms + 60_000 / SWEEPS_PER_MINUTE;
        // A hot set that is read in less time leaves seconds without operations.
        replay.seconds(&operations, &mut [])?;
        while replay.now_ms < end {
            replay.tick();
        }
    }
    replay.settle();
    Ok(())
}

fn summary(
    replay: &Replay<'_>,
    fill: &[Times],
    times: &[Times],
    settled: &[f64],
    pattern: &Pattern,
    operations: u64,
) -> Result<TierSetting, String> {
    let lz4_bytes = replay.lanes[LZ4].store.memory().total_bytes();
    let stores: Vec<TierStore> = (0..replay.lanes.len())
        .map(|at| {
            store(
                &replay.lanes[at],
                &fill[at],
                &times[at],
                settled[at],
                lz4_bytes,
            )
        })
        .collect();
    let [lz4, zstd1, tiered] = [LZ4, ZSTD1, TIERED].map(|at| stores[at].effective_ratio);
    let ratio = |times: &[Times], parts: fn(&Times) -> &Parts| {
        middle_ratio(parts(&times[TIERED]), parts(&times[LZ4]))
            .ok_or("the machine is too busy to measure times; try again when it is not")
    };
    let hot_p50 = |at: usize| stores[at].hot_get_ns.p50.max(1) as f64;
    Ok(TierSetting {
        effective_ratio: tiered,
        lz4_effective_ratio: lz4,
        zstd1_effective_ratio: zstd1,
        hot_get_p50_vs_lz4: hot_p50(TIERED) / hot_p50(LZ4),
        mean_get_vs_lz4: ratio(times, |times| &times.get_parts)?,
        put_vs_lz4: ratio(times, |times| &times.put_parts)?,
        mismatches: stores.iter().map(|store| store.mismatches).sum(),
        fill_put_vs_lz4: ratio(fill, |times| &times.put_parts)?,
        effective_ratio_vs_lz4: tiered / lz4,
        hot_pages: pattern.hot().len() as u64,
        operations,
        logical_s: replay.now_ms / 1000,
        stores,
    })
}

fn store(
    lane: &Lane,
    fill: &Times,
    times: &Times,
    settled_ratio: f64,
    lz4_bytes: u64,
) -> TierStore {
    let memory = lane.store.memory();
    let effective_ratio = memory.effective_ratio();
    TierStore {
        name: lane.store.name().to_owned(),
        memory,
        effective_ratio,
        ratio_without_workspaces: memory.ratio_without_workspaces(),
        settled_ratio,
        pages_in_lz4_memory: (effective_ratio * lz4_bytes as f64 / 4096.0) as u64,
        get_ns: times.get.latency(),
        hot_get_ns: times.hot_get.latency(),
        cold_get_ns: times.cold_get.latency(),
        put_ns: times.put.latency(),
        fill_put_ns: fill.put.latency(),
        disturbed_share: times.disturbed_groups as f64 / times.groups.max(1) as f64,
        cpu_s: lane.cpu_s,
        background_cpu_s: lane.background_cpu_s,
        counters: lane.store.counters(),
        mismatches: lane.mismatches,
    }
}
