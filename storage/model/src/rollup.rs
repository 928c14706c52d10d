//! Values that were computed ahead of a query.

use std::sync::Arc;

use crate::TimestampMs;

/// Which buckets a reader may answer with rows that it computed ahead, in place of points.
///
/// It does so for whole buckets only, and only when the rows give the very value that the points would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupRequest {
    /// What is to be made of the values of a bucket.
    pub function: RollupFunction,
    /// The buckets.
    pub buckets: RollupBuckets,
}

/// What is made of the values of a bucket, as doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RollupFunction {
    /// Their sum, added up in order of time.
    Sum,
    /// That sum divided by their number.
    Average,
    /// The smallest; of equal ones the first.
    Smallest,
    /// The largest; of equal ones the first.
    Largest,
    /// Their number.
    Count,
    /// The first.
    First,
    /// The last.
    Last,
}

/// Adjacent buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollupBuckets {
    /// `[k * n, (k + 1) * n)` milliseconds since the epoch, `n` at least 1.
    Every(i64),
    /// Between each of these timestamps, which ascend, and the next.
    Between(Arc<[TimestampMs]>),
}

/// Rows of one series. Each is made of all points of an interval that lies in one bucket of the request; a bucket that
/// has a row has rows for all of its points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RollupRows {
    /// Starts of the intervals, ascending.
    pub starts: Vec<TimestampMs>,
    /// As many values; of [`RollupFunction::Average`] the sums.
    pub values: Vec<f64>,
    /// Of [`RollupFunction::Average`] as many numbers of points, else nothing.
    pub counts: Vec<f64>,
}

impl RollupRows {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.values.clear();
        self.counts.clear();
    }
}

impl RollupBuckets {
    /// Whether every boundary is a multiple of `interval_ms`, which is at least 1.
    #[must_use]
    pub fn are_made_of(&self, interval_ms: i64) -> bool {
        match self {
            Self::Every(length) => *length > 0 && length % interval_ms == 0,
            Self::Between(boundaries) => boundaries.iter().all(|boundary| boundary % interval_ms == 0),
        }
    }

    /// Length of the longest bucket.
    #[must_use]
    pub fn longest_ms(&self) -> i64 {
        match self {
            Self::Every(length) => *length,
            Self::Between(boundaries) => {
                let lengths =
                    boundaries.iter().zip(boundaries.iter().skip(1)).map(|(start, end)| end.saturating_sub(*start));
                lengths.max().unwrap_or(0)
            }
        }
    }

    /// The first boundary that is not before a moment.
    #[must_use]
    pub fn boundary_from(&self, moment: TimestampMs) -> Option<TimestampMs> {
        match self {
            Self::Every(length) => {
                let wide = i128::from(moment);
                let length = i128::from((*length).max(1));
                i64::try_from(wide + (-wide).rem_euclid(length)).ok()
            }
            Self::Between(boundaries) => {
                boundaries.get(boundaries.partition_point(|&boundary| boundary < moment)).copied()
            }
        }
    }

    /// The last boundary that is not after a moment.
    #[must_use]
    pub fn boundary_until(&self, moment: TimestampMs) -> Option<TimestampMs> {
        match self {
            Self::Every(length) => {
                let wide = i128::from(moment);
                i64::try_from(wide - wide.rem_euclid(i128::from((*length).max(1)))).ok()
            }
            Self::Between(boundaries) => {
                let until = boundaries.partition_point(|&boundary| boundary <= moment);
                boundaries.get(until.checked_sub(1)?).copied()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_around_a_moment_are_found() {
        let listed = RollupBuckets::Between(Arc::from([-10, 0, 10, 40]));
        for buckets in [RollupBuckets::Every(10), listed.clone()] {
            assert_eq!((buckets.boundary_from(-9), buckets.boundary_until(-9)), (Some(0), Some(-10)));
            assert_eq!((buckets.boundary_from(10), buckets.boundary_until(10)), (Some(10), Some(10)));
        }
        assert_eq!((listed.boundary_from(41), listed.boundary_until(-11)), (None, None));
        let every = RollupBuckets::Every(9);
        assert_eq!(every.boundary_from(i64::MAX), None);
        assert!(every.boundary_from(i64::MIN).is_some() && every.boundary_until(i64::MIN).is_none());
        assert_eq!((every.longest_ms(), listed.longest_ms()), (9, 30));
        assert!(listed.are_made_of(5) && !listed.are_made_of(20));
        assert!(RollupBuckets::Every(20).are_made_of(5) && !every.are_made_of(5));
    }
}
