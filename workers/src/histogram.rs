//! How long things took, for the metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Bounds of the buckets are powers of two of 64 us: 64 us, 128 us, ... about 9 minutes; the last bucket has the rest.
const FIRST_BOUND_US: u64 = 64;
const BUCKETS: usize = 25;

/// Counts durations by size. Recording costs a few nanoseconds and never waits.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Upper bound of each bucket and how many durations were at most that; the last has no bound.
    pub cumulative: Vec<(Option<Duration>, u64)>,
    /// Sum of all durations.
    pub sum: Duration,
}

impl DurationHistogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let doublings = micros.div_ceil(FIRST_BOUND_US).next_power_of_two().trailing_zeros() as usize;
        if let Some(bucket) = self.buckets.get(doublings.min(BUCKETS - 1)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut total = 0;
        let cumulative = self.buckets.iter().enumerate().map(|(doublings, bucket)| {
            total += bucket.load(Ordering::Relaxed);
            let bound = Duration::from_micros(FIRST_BOUND_US << doublings);
            ((doublings + 1 < BUCKETS).then_some(bound), total)
        });
        HistogramSnapshot {
            cumulative: cumulative.collect(),
            sum: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)),
        }
    }
}

impl HistogramSnapshot {
    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.cumulative.last().map_or(0, |(_, count)| *count)
    }

    /// A bound that `share` (0 to 1) of the durations do not exceed; `None` without any, or beyond the last bound.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0);
        self.cumulative.iter().find(|(_, count)| *count as f64 >= wanted).and_then(|(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_below_their_bound() {
        let histogram = DurationHistogram::default();
        for micros in [0, 64, 65, 128, 1_000, u64::MAX / 2] {
            histogram.record(Duration::from_micros(micros));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 6);
        assert_eq!(snapshot.cumulative[0], (Some(Duration::from_micros(64)), 2));
        assert_eq!(snapshot.cumulative[1], (Some(Duration::from_micros(128)), 4));
        assert_eq!(snapshot.cumulative[4], (Some(Duration::from_micros(1024)), 5));
        assert_eq!(snapshot.cumulative.last(), Some(&(None, 6)));
        assert_eq!(snapshot.quantile(0.5), Some(Duration::from_micros(128)));
        assert_eq!(snapshot.quantile(1.0), None);
    }
}
