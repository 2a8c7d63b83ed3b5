//! The page cache on real pages, with the codec alone beside it.
//!
//! Two kinds of pass. In a *timed* pass every operation is timed by itself, and blocks of cache
//! operations alternate with blocks of the codec alone on other pages, half the set away, so
//! that both see the same machine and neither finds its pages in the processor's caches because
//! of the other. In a *rate* pass nothing but the whole is timed; each thread begins with its own
//! share of the pages and then helps the others, so that none is left with those that compress
//! slowly, and rounds of one thread and of several alternate. Pages of one repeated word never
//! reach a codec and are left out of the times (not of the sizes).
//!
//! A mean is that of the round whose ratio of cache to codec is the middle one: the machine stands
//! still for milliseconds now and then, which in one round of thousands of pages is more than
//! what is measured. The fewer pages, the more it is, so that small sets get more rounds. Percentiles
//! and the maximum are of all rounds.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use compcache::{AnyCodec, Codec, Config, Memory, MmStat, StdCache};

use crate::latency::Recorder;
use crate::result::{CacheResult, Latency};
use crate::rng::Rng;

const PAGE: usize = 4096;
/// Pages between two changes from cache to codec and back.
const BLOCK: usize = 32;
/// Pages that a thread takes at once in a rate pass.
const BITE: usize = 64;
/// More rounds than asked for are done until this time is over, and no more than so many.
const ENOUGH: Duration = Duration::from_secs(2);
const ROUNDS_MAX: usize = 15;
/// A page is stored raw from here on, as the cache does it.
const HUGE: usize = PAGE - PAGE / 64;

type Page = [u8; PAGE];

/// What the passes of one codec and thread count work on.
struct Input<'a> {
    pages: &'a [Page],
    codec: AnyCodec,
    threads: usize,
    seed: u64,
    /// Indices of the pages that reach the codec.
    coded: Vec<usize>,
}

/// Times of one kind of operation in the cache, and of the codec alone.
#[derive(Default)]
struct Times {
    cache: Recorder,
    codec: Recorder,
}

/// The times of all rounds.
#[derive(Default)]
struct AllTimes {
    together: Times,
    /// The mean of the cache and of the codec, for each round.
    means: Vec<[f64; 2]>,
}

impl AllTimes {
    fn add(&mut self, round: &Times) {
        self.means
            .push([round.cache.latency().mean, round.codec.latency().mean]);
        self.together.merge(round);
    }

    /// Of the cache and of the codec.
    fn latencies(mut self) -> [Latency; 2] {
        self.means
            .sort_by(|a, b| (a[0] * b[1]).total_cmp(&(b[0] * a[1])));
        let means = self.means.get(self.means.len() / 2).copied();
        let [cache, codec] = means.unwrap_or_default();
        let Times {
            cache: all_cache,
            codec: all_codec,
        } = self.together;
        [
            Latency {
                mean: cache,
                ..all_cache.latency()
            },
            Latency {
                mean: codec,
                ..all_codec.latency()
            },
        ]
    }
}

impl Times {
    fn merge(&mut self, other: &Self) {
        self.cache.merge(&other.cache);
        self.codec.merge(&other.codec);
    }
}

/// What the rounds of one thread count gave.
#[derive(Default)]
struct Rounds {
    put: AllTimes,
    get: AllTimes,
    mismatches: AtomicU64,
    fill_rates: Vec<f64>,
    put_rates: Vec<f64>,
    get_rates: Vec<f64>,
    sizes: Option<(MmStat, Memory)>,
}

/// Runs the cache on `pages` with one codec and each of the thread counts; `rounds` passes of each
/// kind, more where that takes no time.
///
/// # Errors
/// What the cache or the codec refused, in words.
pub fn run_cache(
    pages: &[Page],
    codec: AnyCodec,
    threads: &[usize],
    seed: u64,
    rounds: usize,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<CacheResult>, String> {
    let coded: Vec<usize> = (0..pages.len())
        .filter(|&i| compress::same_filled(&pages[i]).is_none())
        .collect();
    let mut runs: Vec<_> = threads
        .iter()
        .map(|&threads| {
            let input = Input {
                pages,
                codec,
                threads,
                seed,
                coded: coded.clone(),
            };
            (input, Rounds::default())
        })
        .collect();
    let all = (rounds * runs.len()) as f64;
    let began = Instant::now();
    for round in 0..rounds.max(ROUNDS_MAX) {
        if round >= rounds && began.elapsed() > ENOUGH {
            break;
        }
        for (number, (input, results)) in runs.iter_mut().enumerate() {
            let done = (round * threads.len() + number) as f64;
            timed_round(input, results)?;
            progress(((done + 0.5) / all).min(1.0));
            rate_round(input, results)?;
            progress(((done + 1.0) / all).min(1.0));
        }
    }
    runs.into_iter()
        .map(|(input, results)| results.summary(&input))
        .collect()
}

fn timed_round(input: &Input<'_>, results: &mut Rounds) -> Result<(), String> {
    let cache = new_cache(input)?;
    results.put.add(&timed_puts(input, &cache)?);
    results
        .get
        .add(&timed_gets(input, &cache, &results.mismatches)?);
    results.sizes = Some((cache.mm_stat(), cache.memory()));
    Ok(())
}

fn rate_round(input: &Input<'_>, results: &mut Rounds) -> Result<(), String> {
    let pages = input.pages;
    let cache = new_cache(input)?;
    let put = |index: usize| cache.put(index as u64, &pages[index]).map_err(in_words);
    results.fill_rates.push(rate(input, &put)?);
    results.put_rates.push(rate(input, &put)?);
    let mut order: Vec<usize> = (0..pages.len()).collect();
    Rng::new(input.seed).shuffle(&mut order);
    results.get_rates.push(rate(input, &|at| {
        let mut page = [0; PAGE];
        cache.get(order[at] as u64, &mut page).map_err(in_words)?;
        if page != pages[order[at]] {
            results.mismatches.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })?);
    Ok(())
}

impl Rounds {
    fn summary(self, input: &Input<'_>) -> Result<CacheResult, String> {
        let (stat, memory) = self.sizes.ok_or("no round was run")?;
        let [put_ns, codec_compress_ns] = self.put.latencies();
        let [get_ns, codec_decompress_ns] = self.get.latencies();
        Ok(CacheResult {
            codec: input.codec.to_string(),
            threads: input.threads as u64,
            orig_data_size: stat.orig_data_size,
            compr_data_size: stat.compr_data_size,
            mem_used_total: stat.mem_used_total,
            metadata_bytes: memory.metadata,
            beside_bytes: memory.beside,
            same_pages: stat.same_pages,
            huge_pages: stat.huge_pages,
            mismatches: self.mismatches.into_inner(),
            put_ns,
            get_ns,
            codec_compress_ns,
            codec_decompress_ns,
            put_pages_per_s: median(self.put_rates),
            fill_pages_per_s: median(self.fill_rates),
            get_pages_per_s: median(self.get_rates),
        })
    }
}

fn new_cache(input: &Input<'_>) -> Result<StdCache<AnyCodec>, String> {
    StdCache::build(input.codec, Config::new(input.pages.len() as u64)).map_err(in_words)
}

fn in_words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Runs `work` on each thread's share of `0..len` and merges what comes back.
fn on_threads<R: Send>(
    threads: usize,
    len: usize,
    work: &(dyn Fn(std::ops::Range<usize>) -> Result<R, String> + Sync),
) -> Result<Vec<R>, String> {
    let share = len.div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let range = (thread * share).min(len)..((thread + 1) * share).min(len);
                scope.spawn(move || work(range))
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().map_err(|_| "a thread failed".to_owned())?)
            .collect()
    })
}

/// Pages a second of `operation`, called once for each page, all threads together. Each begins
/// with its own share; who is done helps those who are not.
fn rate(
    input: &Input<'_>,
    operation: &(dyn Fn(usize) -> Result<(), String> + Sync),
) -> Result<f64, String> {
    let (len, threads) = (input.pages.len(), input.threads);
    let share = len.div_ceil(threads).max(1);
    let next: Vec<_> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
    let start = Instant::now();
    on_threads(threads, len, &|range| {
        let own = range.start / share;
        for turn in 0..threads {
            let whose = (own + turn) % threads;
            let (first, last) = ((whose * share).min(len), ((whose + 1) * share).min(len));
            loop {
                let from = first + next[whose].fetch_add(BITE, Ordering::Relaxed);
                if from >= last {
                    break;
                }
                (from..(from + BITE).min(last)).try_for_each(operation)?;
            }
        }
        Ok(())
    })?;
    Ok(input.pages.len() as f64 / start.elapsed().as_secs_f64())
}

/// Calls `cache` for blocks of positions and `codec` for blocks half the range away, in turn.
fn alternate(
    range: std::ops::Range<usize>,
    mut cache: impl FnMut(usize) -> Result<(), String>,
    mut codec: impl FnMut(usize) -> Result<(), String>,
) -> Result<(), String> {
    let len = range.len();
    for start in (0..len).step_by(BLOCK) {
        let end = (start + BLOCK).min(len);
        (start..end).try_for_each(|at| cache(range.start + at))?;
        (start..end).try_for_each(|at| codec(range.start + (at + len / 2) % len))?;
    }
    Ok(())
}

fn timed_puts(input: &Input<'_>, cache: &StdCache<AnyCodec>) -> Result<Times, String> {
    let mut same =
        (0..input.pages.len()).filter(|&i| compress::same_filled(&input.pages[i]).is_some());
    same.try_for_each(|index| {
        cache
            .put(index as u64, &input.pages[index])
            .map_err(in_words)
    })?;
    let results = on_threads(input.threads, input.coded.len(), &|range| {
        let mut times = Times::default();
        let mut workspace = input.codec.workspace(PAGE).map_err(in_words)?;
        let mut out = vec![0; input.codec.max_compressed_len(PAGE)];
        alternate(
            range,
            |at| {
                let index = input.coded[at];
                let start = Instant::now();
                let result = cache.put(index as u64, &input.pages[index]);
                times.cache.record_since(start);
                result.map_err(in_words)
            },
            |at| {
                let page = &input.pages[input.coded[at]];
                let start = Instant::now();
                let result = input.codec.compress(&mut workspace, page, &mut out);
                times.codec.record_since(start);
                result.map(drop).map_err(in_words)
            },
        )?;
        Ok(times)
    })?;
    Ok(merged(&results))
}

fn merged(threads: &[Times]) -> Times {
    let mut all = Times::default();
    threads.iter().for_each(|times| all.merge(times));
    all
}

/// The compressed bytes of every coded page, one after the other; a page that is stored raw
/// has its own bytes.
struct Streams {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Streams {
    fn new(input: &Input<'_>) -> Result<Self, String> {
        let mut workspace = input.codec.workspace(PAGE).map_err(in_words)?;
        let mut out = vec![0; input.codec.max_compressed_len(PAGE)];
        let mut streams = Self {
            bytes: Vec::new(),
            ends: Vec::new(),
        };
        for &index in &input.coded {
            let page = &input.pages[index];
            let len = input
                .codec
                .compress(&mut workspace, page, &mut out)
                .map_err(in_words)?;
            streams
                .bytes
                .extend_from_slice(if len < HUGE { &out[..len] } else { page });
            streams.ends.push(streams.bytes.len());
        }
        Ok(streams)
    }

    fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[at]]
    }
}

fn timed_gets(
    input: &Input<'_>,
    cache: &StdCache<AnyCodec>,
    mismatches: &AtomicU64,
) -> Result<Times, String> {
    let streams = Streams::new(input)?;
    let mut order: Vec<usize> = (0..input.coded.len()).collect();
    Rng::new(input.seed).shuffle(&mut order);
    let check = |page: &Page, at: usize| {
        if *page != input.pages[input.coded[at]] {
            mismatches.fetch_add(1, Ordering::Relaxed);
        }
    };
    let results = on_threads(input.threads, order.len(), &|range| {
        let mut times = Times::default();
        let mut workspace = input.codec.workspace(PAGE).map_err(in_words)?;
        let (mut page, mut other) = ([0; PAGE], [0; PAGE]);
        alternate(
            range,
            |at| {
                let start = Instant::now();
                let result = cache.get(input.coded[order[at]] as u64, &mut page);
                times.cache.record_since(start);
                check(&page, order[at]);
                result.map(drop).map_err(in_words)
            },
            |at| {
                let stream = streams.get(order[at]);
                let start = Instant::now();
                let result = if stream.len() == PAGE {
                    other.copy_from_slice(stream);
                    Ok(())
                } else {
                    input.codec.decompress(&mut workspace, stream, &mut other)
                };
                times.codec.record_since(start);
                check(&other, order[at]);
                result.map_err(in_words)
            },
        )?;
        Ok(times)
    })?;
    Ok(merged(&results))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(cache: u64, codec: u64) -> Times {
        let mut times = Times::default();
        times.cache.record(cache);
        times.codec.record(codec);
        times
    }

    /// A host that stood still for 9 ms made a put of 5 us look 9 % slower.
    #[test]
    fn one_round_that_was_disturbed_changes_no_mean() {
        let mut all = AllTimes::default();
        for (cache, codec) in [(5_300, 5_000), (90_000, 5_000), (5_400, 5_050)] {
            all.add(&round(cache, codec));
        }
        let [cache, codec] = all.latencies();
        assert_eq!((cache.mean, codec.mean), (5_400.0, 5_050.0));
        assert_eq!(cache.max, 90_000);
    }
}
