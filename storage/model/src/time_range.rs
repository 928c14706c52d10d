//! Half-open ranges of time.

use crate::TimestampMs;

/// The timestamps `start <= t < end`, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First timestamp inside.
    pub start: TimestampMs,
    /// First timestamp after the range.
    pub end: TimestampMs,
}

impl TimeRange {
    /// Every timestamp.
    pub const ALL: Self = Self { start: i64::MIN, end: i64::MAX };

    /// The range `start <= t < end`; empty when `end <= start`.
    #[must_use]
    pub fn new(start: TimestampMs, end: TimestampMs) -> Self {
        Self { start, end }
    }

    /// The range with both ends inside, as OpenTSDB's `start` and `end` mean it.
    #[must_use]
    pub fn inclusive(start: TimestampMs, last: TimestampMs) -> Self {
        Self { start, end: last.saturating_add(1) }
    }

    /// Whether no timestamp is inside.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether `timestamp` is inside.
    #[must_use]
    pub fn contains(self, timestamp: TimestampMs) -> bool {
        self.start <= timestamp && timestamp < self.end
    }

    /// Whether some timestamp is in both ranges.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end && !self.is_empty() && !other.is_empty()
    }
}
