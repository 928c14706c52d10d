//! The buckets of one downsampling over one window.

use std::ops::Range;

use tidemark_model::{TimeRange, TimestampMs};

/// Adjacent buckets, numbered from 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Grid {
    /// Buckets of one length.
    Regular {
        /// Start of bucket 0.
        first: TimestampMs,
        /// Length of each, at least 1.
        interval_ms: i64,
        /// How many.
        count: u64,
    },
    /// Buckets between consecutive boundaries, ascending; one more than there are buckets, or none.
    Listed(Vec<TimestampMs>),
}

impl Grid {
    /// Number of buckets.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Regular { count, .. } => *count,
            Self::Listed(boundaries) => boundaries.len().saturating_sub(1) as u64,
        }
    }

    /// Start of a bucket.
    pub(crate) fn start(&self, bucket: usize) -> TimestampMs {
        match self {
            Self::Regular { first, interval_ms, .. } => first + bucket as i64 * interval_ms,
            Self::Listed(boundaries) => boundaries.get(bucket).copied().unwrap_or(TimestampMs::MAX),
        }
    }

    /// From the start of the first bucket to the end of the last.
    pub(crate) fn range(&self) -> TimeRange {
        match self {
            Self::Regular { first, interval_ms, count } => TimeRange::new(*first, first + *count as i64 * interval_ms),
            Self::Listed(boundaries) => match (boundaries.first(), boundaries.last()) {
                (Some(&first), Some(&last)) => TimeRange::new(first, last),
                _ => TimeRange::new(0, 0),
            },
        }
    }

    /// The bucket in which a moment of [`Self::range`] lies, and the end of that bucket.
    pub(crate) fn locate(&self, moment: TimestampMs) -> (usize, TimestampMs) {
        match self {
            Self::Regular { first, interval_ms, .. } => {
                let bucket = (moment - first) / interval_ms;
                (usize::try_from(bucket).unwrap_or(0), first + (bucket + 1) * interval_ms)
            }
            Self::Listed(boundaries) => {
                let next = boundaries.partition_point(|&boundary| boundary <= moment);
                (next.saturating_sub(1), boundaries.get(next).copied().unwrap_or(TimestampMs::MAX))
            }
        }
    }

    /// Calls `each` with every bucket that has points, in order, and the positions of its points.
    ///
    /// `timestamps` are ascending and lie in [`Self::range`].
    pub(crate) fn for_each_bucket(&self, timestamps: &[TimestampMs], mut each: impl FnMut(usize, Range<usize>)) {
        let (mut from, mut points) = (0, 0);
        while let Some(&first) = timestamps.get(from) {
            let (bucket, end) = self.locate(first);
            let until = run_end(timestamps, from, end, points);
            each(bucket, from..until);
            points = until - from;
            from = until;
        }
    }
}

/// Position after the last timestamp before `end`, of those from `from` on; the one at `from` is before `end`.
///
/// A series with a steady interval has as many points in each bucket as in the last one, which is looked at first.
fn run_end(timestamps: &[TimestampMs], from: usize, end: TimestampMs, guess: usize) -> usize {
    let candidate = from + guess;
    let is_before = |position: usize| timestamps.get(position).is_some_and(|&timestamp| timestamp < end);
    if guess > 0 && is_before(candidate - 1) && !is_before(candidate) {
        return candidate;
    }
    let (mut last_before, mut step) = (from, 1);
    while is_before(last_before + step) {
        last_before += step;
        step *= 2;
    }
    let rest = timestamps.get(last_before..timestamps.len().min(last_before + step)).unwrap_or_default();
    // Even a bucket that ends where it begins takes its point, so that the caller gets on.
    (last_before + rest.partition_point(|&timestamp| timestamp < end)).max(from + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(grid: &Grid, timestamps: &[TimestampMs]) -> Vec<(usize, Range<usize>)> {
        let mut found = Vec::new();
        grid.for_each_bucket(timestamps, |bucket, points| found.push((bucket, points)));
        found
    }

    #[test]
    fn points_are_split_at_the_boundaries() {
        let regular = Grid::Regular { first: -10, interval_ms: 10, count: 5 };
        assert_eq!(buckets(&regular, &[-10, -1, 0, 5, 9, 30, 31, 32, 33]), [(0, 0..2), (1, 2..5), (4, 5..9)]);
        assert_eq!(regular.range(), TimeRange::new(-10, 40));
        let listed = Grid::Listed(vec![0, 5, 100, 101]);
        assert_eq!(buckets(&listed, &[0, 4, 5, 99, 100]), [(0, 0..2), (1, 2..4), (2, 4..5)]);
        assert_eq!((listed.count(), listed.start(1)), (3, 5));
    }

    #[test]
    fn the_end_of_a_run_does_not_depend_on_the_guess() {
        let timestamps: Vec<i64> = (0..100).map(|step| step * 3).collect();
        for from in 0..100 {
            for end in [3 * from as i64 + 1, 3 * from as i64 + 20, 299, 1000] {
                let expect = timestamps.partition_point(|&timestamp| timestamp < end).max(from + 1);
                for guess in [0, 1, 6, 7, 8, 50, 200] {
                    assert_eq!(run_end(&timestamps, from, end, guess), expect, "{from} {end} {guess}");
                }
            }
        }
    }
}
