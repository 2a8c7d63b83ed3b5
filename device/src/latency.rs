//! How long requests take: histograms that are read while they are written.
//!
//! A bucket is a power of two of nanoseconds cut in four, so a percentile is right to within a
//! quarter. Values past the last bucket (some 9 minutes) count in it.
//!
//! ```text
//!   nanoseconds   4  5  6  7 │ 8  10  12  14 │ 16  20  24  28 │ ...
//!   bucket        4  5  6  7 │ 8   9  10  11 │ 12  13  14  15 │ ...
//! ```

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Two bits behind the leading one: quarters of a power of two.
const QUARTER_BITS: u32 = 2;
const BUCKETS: usize = 38 * 4;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// Bytes out.
    Read,
    /// Bytes in.
    Write,
    /// Whole pages forgotten.
    Discard,
    /// Zeroes.
    WriteZeroes,
    /// Waiting for what was written.
    Flush,
}

impl Kind {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Read,
        Self::Write,
        Self::Discard,
        Self::WriteZeroes,
        Self::Flush,
    ];

    /// The name in statistics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Discard => "discard",
            Self::WriteZeroes => "write_zeroes",
            Self::Flush => "flush",
        }
    }
}

/// Counts of one kind of request, by one group of threads.
#[derive(Debug)]
pub(crate) struct Recorder {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
}

impl Recorder {
    pub(crate) const fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum_ns: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(crate) fn record(&self, ns: u64, bytes: u64, ok: bool) {
        if let Some(bucket) = self.buckets.get(bucket_of(ns)) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum_ns.fetch_add(ns, Relaxed);
        match ok {
            true => self.bytes.fetch_add(bytes, Relaxed),
            false => self.failed.fetch_add(1, Relaxed),
        };
    }

    /// Adds what was recorded to a sum.
    pub(crate) fn add_to(&self, sum: &mut Latency) {
        for (bucket, total) in self.buckets.iter().zip(&mut sum.buckets) {
            *total = total.wrapping_add(bucket.load(Relaxed));
        }
        sum.sum_ns = sum.sum_ns.wrapping_add(self.sum_ns.load(Relaxed));
        sum.bytes = sum.bytes.wrapping_add(self.bytes.load(Relaxed));
        sum.failed = sum.failed.wrapping_add(self.failed.load(Relaxed));
    }

    pub(crate) fn reset(&self) {
        for counter in &self.buckets {
            counter.store(0, Relaxed);
        }
        for counter in [&self.sum_ns, &self.bytes, &self.failed] {
            counter.store(0, Relaxed);
        }
    }
}

/// The requests of one kind so far: how many, how much, how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    buckets: [u64; BUCKETS],
    sum_ns: u64,
    bytes: u64,
    failed: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            sum_ns: 0,
            bytes: 0,
            failed: 0,
        }
    }
}

impl Latency {
    /// Requests, failed ones included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Requests that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Bytes of the requests that did not fail.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Time of all requests together, in nanoseconds.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The time, in nanoseconds, within which this share (0 to 1) of the requests were done:
    /// the upper end of the bucket it falls into, 0 without requests.
    #[must_use]
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let all = self.requests();
        let wanted = ((all as f64 * share.clamp(0.0, 1.0)).ceil() as u64).clamp(1, all.max(1));
        let mut below = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= wanted {
                return upper_ns(bucket);
            }
        }
        0
    }

    /// Upper end in nanoseconds (exclusive) and count of every bucket that is not empty.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.buckets
            .iter()
            .enumerate()
            .filter(|&(_, &count)| count > 0)
            .map(|(bucket, &count)| (upper_ns(bucket), count))
    }

    /// What was recorded since `earlier`, of the same kind of the same device.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut new = *self;
        for (bucket, old) in new.buckets.iter_mut().zip(earlier.buckets) {
            *bucket = bucket.saturating_sub(old);
        }
        new.sum_ns = new.sum_ns.saturating_sub(earlier.sum_ns);
        new.bytes = new.bytes.saturating_sub(earlier.bytes);
        new.failed = new.failed.saturating_sub(earlier.failed);
        new
    }
}

fn bucket_of(ns: u64) -> usize {
    let quarters = 1 << QUARTER_BITS;
    if ns < quarters {
        return ns as usize;
    }
    let power = ns.ilog2();
    let quarter = (ns >> (power - QUARTER_BITS)) & (quarters - 1);
    let bucket = (u64::from(power - QUARTER_BITS + 1) << QUARTER_BITS) + quarter;
    (bucket as usize).min(BUCKETS - 1)
}

/// The first value behind a bucket.
fn upper_ns(bucket: usize) -> u64 {
    let next = bucket as u64 + 1;
    let (row, quarter) = (next >> QUARTER_BITS, next & 3);
    match row {
        0 => next,
        _ => (4 + quarter) << (row - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_in_its_bucket() {
        let mut last = 0;
        for ns in (0..5000).chain((13..39).flat_map(|power| [(1 << power) - 1, 1 << power])) {
            let bucket = bucket_of(ns);
            assert!(bucket >= last && bucket < BUCKETS, "{ns}");
            assert!(ns < upper_ns(bucket), "{ns}");
            assert!(bucket == 0 || ns >= upper_ns(bucket - 1), "{ns}");
            last = bucket;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_right_to_within_a_quarter() {
        let recorder = Recorder::new();
        for ns in 1..=1000 {
            recorder.record(ns * 100, 512, ns != 7);
        }
        let mut sum = Latency::default();
        recorder.add_to(&mut sum);
        assert_eq!(
            (sum.requests(), sum.failed(), sum.bytes()),
            (1000, 1, 999 * 512)
        );
        for (share, exact) in [(0.0, 100), (0.5, 50_000), (0.99, 99_000), (1.0, 100_000)] {
            let found = sum.quantile_ns(share);
            assert!(
                found > exact && found <= exact * 5 / 4 + 1,
                "{share} {found}"
            );
        }
        assert_eq!(sum.since(&sum).requests(), 0);
        assert_eq!(Latency::default().quantile_ns(0.5), 0);
    }
}
