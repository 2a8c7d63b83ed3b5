//! Percentiles of operation times, without keeping every sample.

use std::time::Instant;

use hdrhistogram::Histogram;

use crate::result::Latency;

/// Longest time told apart, in nanoseconds (a minute); the maximum is exact beyond it.
const NS_MAX: u64 = 60_000_000_000;

/// Percentiles are good to 3 digits.
const DIGITS: u8 = 3;

/// Collects times of one kind of operation.
///
/// All memory (about 200 KiB) is taken by `new`; recording takes some nanoseconds and never
/// allocates. Mean and maximum are exact, percentiles good to one in a thousand.
///
/// ```
/// let mut recorder = compcache_bench::latency::Recorder::new();
/// (1..=1000).for_each(|ns| recorder.record(ns));
/// let latency = recorder.latency();
/// assert_eq!((latency.mean, latency.p50, latency.p999, latency.max), (500.5, 500, 999, 1000));
/// ```
#[derive(Clone, Debug)]
pub struct Recorder {
    /// `None` only if the bounds above were refused, which they are not.
    histogram: Option<Histogram<u64>>,
    count: u64,
    sum_ns: u64,
    max_ns: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// Nothing recorded.
    pub fn new() -> Self {
        Self {
            histogram: Histogram::new_with_bounds(1, NS_MAX, DIGITS).ok(),
            count: 0,
            sum_ns: 0,
            max_ns: 0,
        }
    }

    /// Adds one operation that took `ns`.
    pub fn record(&mut self, ns: u64) {
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(ns);
        }
        self.count += 1;
        self.sum_ns += ns;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds one operation that started at `start` and ends now.
    pub fn record_since(&mut self, start: Instant) {
        self.record(start.elapsed().as_nanos() as u64);
    }

    /// Adds all that `other` has.
    pub fn merge(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.histogram, &other.histogram) {
            // Both have the same bounds, so every value of the other fits.
            let _fits = histogram.add(other);
        }
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Forgets everything; the memory stays.
    pub fn reset(&mut self) {
        if let Some(histogram) = &mut self.histogram {
            histogram.reset();
        }
        (self.count, self.sum_ns, self.max_ns) = (0, 0, 0);
    }

    /// Operations recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean, percentiles and maximum; all 0 when nothing was recorded.
    pub fn latency(&self) -> Latency {
        if self.count == 0 {
            return Latency::default();
        }
        let percentile = |quantile: f64| {
            self.histogram
                .as_ref()
                .map_or(0, |histogram| histogram.value_at_quantile(quantile))
                .min(self.max_ns)
        };
        Latency {
            mean: self.sum_ns as f64 / self.count as f64,
            p50: percentile(0.5),
            p99: percentile(0.99),
            p999: percentile(0.999),
            max: self.max_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_is_as_if_recorded_in_one() {
        let (mut low, mut high, mut all) = (Recorder::new(), Recorder::new(), Recorder::new());
        for ns in 1..=10_000u64 {
            if ns % 3 == 0 { &mut low } else { &mut high }.record(ns * 17);
            all.record(ns * 17);
        }
        low.merge(&high);
        assert_eq!(low.latency(), all.latency());
        assert_eq!(low.count(), 10_000);
        low.reset();
        assert_eq!(low.latency(), Latency::default());
    }

    #[test]
    fn an_extreme_value_saturates_the_percentiles_only() {
        let mut recorder = Recorder::new();
        recorder.record(0);
        recorder.record(100 * NS_MAX);
        assert_eq!(recorder.latency().max, 100 * NS_MAX);
    }
}
