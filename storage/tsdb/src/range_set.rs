//! Times as a union of ranges.

use tidemark_model::{PointColumns, TimeRange, TimestampMs};

/// Timestamps that are in any of some ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeSet {
    /// Not empty, in order, and apart.
    ranges: Vec<TimeRange>,
}

impl RangeSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Adds the timestamps of a range.
    pub(crate) fn add(&mut self, range: TimeRange) {
        if range.is_empty() {
            return;
        }
        // Those that overlap or touch the new one become part of it.
        let first = self.ranges.partition_point(|before| before.end < range.start);
        let after = self.ranges.partition_point(|before| before.start <= range.end);
        let joined = self.ranges.get(first..after).unwrap_or_default();
        let start = joined.first().map_or(range.start, |joined| joined.start.min(range.start));
        let end = joined.last().map_or(range.end, |joined| joined.end.max(range.end));
        self.ranges.splice(first..after.max(first), [TimeRange { start, end }]);
    }

    pub(crate) fn contains(&self, timestamp: TimestampMs) -> bool {
        let next = self.ranges.partition_point(|range| range.end <= timestamp);
        self.ranges.get(next).is_some_and(|range| range.contains(timestamp))
    }

    /// Whether every timestamp from `first` to `last` is inside.
    pub(crate) fn covers(&self, first: TimestampMs, last: TimestampMs) -> bool {
        let next = self.ranges.partition_point(|range| range.end <= first);
        self.ranges.get(next).is_some_and(|range| range.contains(first) && range.contains(last))
    }

    /// The parts of a range that are not inside, ascending.
    pub(crate) fn outside(&self, range: TimeRange) -> Vec<TimeRange> {
        let (mut parts, mut from) = (Vec::new(), range.start);
        let first = self.ranges.partition_point(|inside| inside.end <= range.start);
        let overlapping = self.ranges.get(first..).unwrap_or_default();
        for inside in overlapping.iter().take_while(|inside| inside.start < range.end) {
            parts.push(TimeRange::new(from, inside.start.max(from)));
            from = inside.end;
        }
        parts.push(TimeRange::new(from, range.end.max(from)));
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// Appends the points of `from` that are not inside to `to`.
    pub(crate) fn copy_outside(&self, from: &PointColumns, to: &mut PointColumns) {
        from.iter()
            .filter(|point| !self.contains(point.timestamp))
            .for_each(|point| to.push(point.timestamp, point.value));
    }
}

impl FromIterator<TimeRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = TimeRange>>(ranges: I) -> Self {
        let mut set = Self::default();
        ranges.into_iter().for_each(|range| set.add(range));
        set
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemark_model::Value;

    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let set: RangeSet =
            [(5, 10), (20, 30), (10, 20), (40, 41), (7, 7)].map(|(a, b)| TimeRange::new(a, b)).into_iter().collect();
        assert_eq!(set.ranges, [TimeRange::new(5, 30), TimeRange::new(40, 41)]);
        assert!(set.covers(5, 29) && !set.covers(5, 30) && !set.covers(29, 40));
        let mut set = set;
        set.add(TimeRange::ALL);
        assert_eq!(set.ranges, [TimeRange::ALL]);
    }

    proptest! {
        #[test]
        fn a_set_has_what_its_ranges_have(ranges in prop::collection::vec((-20_i64..60, -3_i64..15), 0..12)) {
            let ranges: Vec<_> = ranges.into_iter().map(|(start, length)| TimeRange::new(start, start + length)).collect();
            let set: RangeSet = ranges.iter().copied().collect();
            let all: PointColumns = (-30..90).map(|at| (at, Value::Int(at))).collect();
            let mut outside = PointColumns::default();
            set.copy_outside(&all, &mut outside);
            let whole = TimeRange::new(-10, 40);
            let parts = set.outside(whole);
            for at in -30..90 {
                let is_part = parts.iter().any(|part| part.contains(at));
                prop_assert_eq!(is_part, whole.contains(at) && !set.contains(at));
                let inside = ranges.iter().any(|range| range.contains(at));
                prop_assert_eq!(set.contains(at), inside);
                prop_assert_eq!(outside.timestamps.contains(&at), !inside);
                let covered = (at..at + 4).all(|at| set.contains(at));
                prop_assert_eq!(set.covers(at, at + 3), covered);
            }
            prop_assert!(set.ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
