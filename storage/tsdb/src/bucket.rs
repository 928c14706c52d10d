//! Time is cut into buckets: of two hours for what was sealed lately, of a day for what was compacted since.
//!
//! A seal writes buckets of the lower tier, because most of what it has is not older than an epoch. A day of a metric is
//! compacted when it is over: an entry of the engine then holds more points, and the directory is twelve times smaller.

use std::ops::RangeInclusive;

use tidemark_model::{TimeRange, TimestampMs};

const HOUR_MS: i64 = 3_600_000;
/// Milliseconds of a day of UTC.
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// How long buckets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tier {
    /// Two hours.
    TwoHours,
    /// A day of UTC.
    Day,
}

/// One bucket of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Bucket {
    pub(crate) tier: Tier,
    /// Buckets of this length since the epoch.
    pub(crate) number: u32,
}

impl Tier {
    pub(crate) const ALL: [Self; 2] = [Self::TwoHours, Self::Day];

    /// Length of a bucket in milliseconds.
    pub(crate) const fn bucket_ms(self) -> i64 {
        match self {
            Self::TwoHours => 2 * HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// How the tier is written in keys.
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::TwoHours => 0,
            Self::Day => 1,
        }
    }

    pub(crate) fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.byte() == byte)
    }
}

impl Bucket {
    /// The bucket of a timestamp. Timestamps are positive and have at most 13 digits, so its number fits with room.
    pub(crate) fn of(tier: Tier, timestamp: TimestampMs) -> Self {
        Self { tier, number: u32::try_from(timestamp.max(0) / tier.bucket_ms()).unwrap_or(u32::MAX) }
    }

    /// First timestamp.
    pub(crate) fn start(self) -> TimestampMs {
        i64::from(self.number) * self.tier.bucket_ms()
    }

    /// Its timestamps.
    pub(crate) fn range(self) -> TimeRange {
        TimeRange::new(self.start(), self.end())
    }

    /// First timestamp after it.
    pub(crate) fn end(self) -> TimestampMs {
        self.start().saturating_add(self.tier.bucket_ms())
    }

    /// The day that it is in, or is.
    pub(crate) fn day(self) -> Self {
        Self::of(Tier::Day, self.start())
    }

    /// The buckets of a lower tier that make it up.
    pub(crate) fn parts(self, tier: Tier) -> RangeInclusive<Self> {
        Self::of(tier, self.start())..=Self::of(tier, self.end() - 1)
    }

    /// The buckets of a tier that have timestamps of a range, which is not empty; none for times before the epoch.
    pub(crate) fn overlapping(tier: Tier, range: TimeRange) -> Option<RangeInclusive<Self>> {
        let last = range.end.checked_sub(1).filter(|&last| last >= 0 && range.start <= last)?;
        Some(Self::of(tier, range.start)..=Self::of(tier, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_in_one_bucket_of_each_tier() {
        for tier in Tier::ALL {
            let number = |timestamp| Bucket::of(tier, timestamp).number;
            assert_eq!((number(tier.bucket_ms() - 1), number(tier.bucket_ms())), (0, 1));
            let bucket = Bucket::of(tier, 1_789_948_800_000);
            assert_eq!((bucket.start(), bucket.end()), (1_789_948_800_000, 1_789_948_800_000 + tier.bucket_ms()));
            assert_eq!(Tier::of_byte(tier.byte()), Some(tier));
        }
        assert_eq!(Tier::of_byte(2), None);
    }

    #[test]
    fn a_day_has_twelve_parts() {
        let day = Bucket::of(Tier::Day, 1_789_948_800_000);
        let parts = day.parts(Tier::TwoHours);
        assert_eq!((parts.start().start(), parts.end().end()), (day.start(), day.end()));
        assert_eq!(parts.end().number - parts.start().number, 11);
        assert_eq!((parts.start().day(), parts.end().day(), day.day()), (day, day, day));
    }

    #[test]
    fn a_range_overlaps_the_buckets_of_its_first_and_last_timestamp() {
        let numbers = |start, end| {
            let buckets = Bucket::overlapping(Tier::TwoHours, TimeRange::new(start, end))?;
            Some((buckets.start().number, buckets.end().number))
        };
        assert_eq!(numbers(0, 7_200_000), Some((0, 0)));
        assert_eq!(numbers(7_199_999, 7_200_001), Some((0, 1)));
        assert_eq!(numbers(-5, 1), Some((0, 0)));
        assert_eq!((numbers(-5, 0), numbers(5, 5), numbers(i64::MIN, i64::MIN)), (None, None, None));
    }
}
