//! How long the intervals of rollups are.

use std::time::Duration;

use thiserror::Error;
use tidemark_model::TimestampMs;

use crate::bucket::DAY_MS;

const MINUTE_MS: i64 = 60_000;
/// Rows that one series has in a span, about; a block of so many is worth its directory entry.
const SPAN_ROWS: i64 = 240;

/// An interval of rollups: whole minutes that divide a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollupInterval {
    ms: u32,
}

/// Why a length is no interval of rollups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an interval of rollups must be whole minutes that divide a day, such as 5m, 1h or 1d, got {0:?}")]
pub struct RollupIntervalError(Duration);

impl RollupInterval {
    /// One hour.
    pub const HOUR: Self = Self { ms: 3_600_000 };

    /// An interval of this length.
    ///
    /// # Errors
    /// When it is not whole minutes or does not divide a day.
    pub fn new(length: Duration) -> Result<Self, RollupIntervalError> {
        let ms = u32::try_from(length.as_millis()).unwrap_or(0);
        let is_exact = Duration::from_millis(u64::from(ms)) == length;
        let divides = ms > 0 && i64::from(ms) % MINUTE_MS == 0 && DAY_MS % i64::from(ms) == 0;
        if is_exact && divides { Ok(Self { ms }) } else { Err(RollupIntervalError(length)) }
    }

    /// Its length.
    #[must_use]
    pub fn length(self) -> Duration {
        Duration::from_millis(u64::from(self.ms))
    }

    /// Its length in milliseconds.
    #[must_use]
    pub fn millis(self) -> i64 {
        i64::from(self.ms)
    }

    /// The interval of a key, which may be one that is no longer made; `None` when there is no such interval.
    pub(crate) fn of_key(ms: u32) -> Option<Self> {
        Self::new(Duration::from_millis(u64::from(ms))).ok()
    }

    /// Its length as keys have it.
    pub(crate) fn key(self) -> u32 {
        self.ms
    }

    /// Days whose rows are kept together.
    pub(crate) fn span_days(self) -> u32 {
        (SPAN_ROWS * self.millis() / DAY_MS).max(1) as u32
    }

    /// The span of a day.
    pub(crate) fn span_of(self, day: u32) -> u32 {
        day / self.span_days()
    }

    /// First timestamp of a span.
    pub(crate) fn span_start(self, span: u32) -> TimestampMs {
        i64::from(span) * i64::from(self.span_days()) * DAY_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_divide_a_day() {
        let minutes = |minutes: u64| RollupInterval::new(Duration::from_secs(60 * minutes));
        assert_eq!(minutes(60), Ok(RollupInterval::HOUR));
        for (length, days) in [(1, 1), (5, 1), (30, 5), (60, 10), (1440, 240)] {
            assert_eq!(minutes(length).unwrap().span_days(), days, "{length}");
        }
        for length in [0, 7, 2880] {
            assert!(minutes(length).is_err(), "{length}");
        }
        assert!(RollupInterval::new(Duration::from_millis(1500)).is_err());
        assert!(RollupInterval::new(Duration::from_micros(60_000_001)).is_err());
        assert!(RollupInterval::new(Duration::MAX).is_err());
        let span = RollupInterval::HOUR.span_of(20_717);
        assert!(RollupInterval::HOUR.span_start(span) <= 20_717 * DAY_MS);
        assert!(RollupInterval::HOUR.span_start(span + 1) > 20_717 * DAY_MS);
    }
}
