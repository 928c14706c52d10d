//! Which buckets of a query rows may answer.
//!
//! Decided for all selected series of a metric together: a day with anything but the generation that its rows were made
//! of is read as points, and so is every bucket that such a day has a part in. A bucket is never answered half by rows
//! and half by points.
//!
//! Of a day whose rows stand alone there are no points, or a few that came too late: its rows answer, exact or not, and
//! with them those of other days in the same bucket. Only where such a bucket also has a day that has to be read as points
//! do these answer it without the rows, as they would if nothing but points were kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidemark_model::{RollupFunction, RollupRequest, TimeRange, TimestampMs};

use super::{Magnitude, RollupCatalogue, RollupInterval};
use crate::{
    BlockCatalogue, Bucket, Generation, RangeSet, Tier, bucket::DAY_MS, codec::RollupField, tombstones::Tombstone,
};

/// The days of a metric in the range of a read.
#[derive(Clone, Debug, Default)]
pub(crate) struct DayUse {
    /// Days whose rows are made of all that there is.
    rows: BTreeSet<u32>,
    /// Days of which points are needed.
    points: BTreeSet<u32>,
    /// Days whose rows do not give the same values as their points.
    inexact: BTreeSet<u32>,
    /// Days whose rows stand alone, which are among `rows`, and what they were made of.
    alone: BTreeMap<u32, Generation>,
}

/// What rows answer. Nothing, by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    /// Whole buckets, ascending and apart.
    answered: Vec<TimeRange>,
    /// The parts of these whose rows count; of the others there are no points.
    pub(crate) rows: Arc<[TimeRange]>,
}

/// A request that rows of an interval can answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollupChoice<'a> {
    pub(crate) request: &'a RollupRequest,
    pub(crate) interval: RollupInterval,
}

impl<'a> RollupChoice<'a> {
    /// The interval of which the buckets of a request are made and that answers for most of the days of a metric whose
    /// points are gone; of equal ones the longest. What is made now may be other intervals than were made of these days.
    pub(crate) fn of(
        request: &'a RollupRequest,
        made: &[RollupInterval],
        rollups: &RollupCatalogue,
        metric: u32,
        range: TimeRange,
    ) -> Option<Self> {
        let made = made.iter().map(|&interval| (rollups.alone_between(interval, metric, range).len(), interval));
        let stored = rollups.intervals(metric);
        let alone = stored.map(|interval| (rollups.alone_between(interval, metric, range).len(), interval));
        let known = made.chain(alone.filter(|(days, _)| *days > 0));
        let fitting = known.filter(|(_, interval)| request.buckets.are_made_of(interval.millis()));
        fitting.max().map(|(_, interval)| Self { request, interval })
    }

    /// Whether rows give the value of a bucket bit by bit.
    pub(crate) fn is_exact(self, magnitude: Magnitude) -> bool {
        let adds = matches!(self.request.function, RollupFunction::Sum | RollupFunction::Average);
        let rows = self.request.buckets.longest_ms() / self.interval.millis();
        magnitude.adds_up(if adds { rows } else { 1 })
    }
}

/// What has to be decoded of a row.
pub(crate) fn fields_of(function: RollupFunction) -> &'static [RollupField] {
    match function {
        RollupFunction::Sum => &[RollupField::Sum],
        RollupFunction::Average => &[RollupField::Sum, RollupField::Count],
        RollupFunction::Smallest => &[RollupField::Minimum],
        RollupFunction::Largest => &[RollupField::Maximum],
        RollupFunction::Count => &[RollupField::Count],
        RollupFunction::First => &[RollupField::First],
        RollupFunction::Last => &[RollupField::Last],
    }
}

impl DayUse {
    /// What the blocks of a metric say.
    pub(crate) fn of_blocks(
        catalogue: &BlockCatalogue,
        metric: u32,
        interval: RollupInterval,
        range: TimeRange,
        tombstones: &[Arc<Tombstone>],
    ) -> Self {
        let alone = catalogue.rollups.alone_between(interval, metric, range);
        let mut days = Self { rows: alone.keys().copied().collect(), alone, ..Self::default() };
        for (bucket, generations) in catalogue.overlapping(metric, range) {
            let day = bucket.day().number;
            let origin = catalogue.rollups.origin(interval, metric, day).filter(|origin| origin.has_rows);
            match (bucket.tier, generations, origin) {
                (_, [], _) => {}
                (Tier::Day, [only], Some(origin))
                    if only.generation == origin.generation
                        && !tombstones.iter().any(|tombstone| tombstone.may_hide_of(bucket, only.generation)) =>
                {
                    days.rows.insert(day);
                }
                _ => days.needs_points(day),
            }
        }
        days
    }

    /// Points of a day are needed, unless its rows stand alone.
    pub(crate) fn needs_points(&mut self, day: u32) {
        if !self.alone.contains_key(&day) {
            self.points.insert(day);
        }
    }

    /// Points of all days of a range are needed, of which both ends are inside.
    pub(crate) fn needs_points_between(&mut self, first: TimestampMs, last: TimestampMs) {
        let number = |timestamp| Bucket::of(Tier::Day, timestamp).number;
        let days = number(first)..=number(last);
        // Other days have no rows, so that a range of any length costs no more than the days that have some.
        let with_rows: Vec<u32> = self.rows.range(days).copied().collect();
        with_rows.into_iter().chain([number(first), number(last)]).for_each(|day| self.needs_points(day));
    }

    /// Points of a span are needed, because its rows do not give the same values; of days whose rows stand alone there are
    /// none.
    pub(crate) fn refuse_span(&mut self, interval: RollupInterval, span: u32) {
        let first = span.saturating_mul(interval.span_days());
        let days = first..first.saturating_add(interval.span_days());
        self.inexact.extend(self.rows.range(days).filter(|day| !self.alone.contains_key(day)));
    }

    /// Whether there are days whose rows stand alone.
    pub(crate) fn has_alone(&self) -> bool {
        !self.alone.is_empty()
    }

    /// The rows of days that stand alone, of one series, of which points were deleted, as times of whole intervals.
    pub(crate) fn deleted_rows(
        &self,
        tombstones: &[Arc<Tombstone>],
        number: u32,
        interval: RollupInterval,
    ) -> RangeSet {
        let mut deleted = RangeSet::default();
        for tombstone in tombstones.iter().filter(|tombstone| tombstone.deletion.series.contains(number)) {
            let Some(days) = Bucket::overlapping(Tier::Day, tombstone.deletion.range) else { continue };
            for (&day, made_of) in self.alone.range(days.start().number..=days.end().number) {
                let (day, range) = (Bucket { tier: Tier::Day, number: day }.range(), tombstone.deletion.range);
                if tombstone.hides_row(number, made_of.epoch(), day) {
                    let (start, end) = (range.start.max(day.start), range.end.min(day.end));
                    let millis = interval.millis();
                    deleted.add(TimeRange::new(start - start % millis, end + (millis - end % millis) % millis));
                }
            }
        }
        deleted
    }

    /// Spans with days whose rows may be used, ascending.
    pub(crate) fn spans(&self, interval: RollupInterval) -> Vec<u32> {
        let mut spans: Vec<u32> = self.usable().map(|day| interval.span_of(day)).collect();
        spans.dedup();
        spans
    }

    fn usable(&self) -> impl Iterator<Item = u32> + '_ {
        self.rows.iter().copied().filter(|day| !self.points.contains(day) && !self.inexact.contains(day))
    }

    /// The buckets that have a part in a day whose rows stand alone.
    fn buckets_alone(&self, request: &RollupRequest) -> RangeSet {
        let whole = |day: TimeRange| {
            let start = request.buckets.boundary_until(day.start).unwrap_or(day.start);
            TimeRange::new(start, request.buckets.boundary_from(day.end).unwrap_or(day.end))
        };
        self.alone.keys().map(|&number| whole(Bucket { tier: Tier::Day, number }.range())).collect()
    }

    /// The times of which rows do not answer, ascending.
    fn cuts(&self, request: &RollupRequest) -> Vec<TimeRange> {
        let buckets_alone = self.buckets_alone(request);
        let days: BTreeSet<u32> = self.points.union(&self.inexact).copied().collect();
        let cut = |number: u32| {
            let day = Bucket { tier: Tier::Day, number }.range();
            if self.points.contains(&number) { vec![day] } else { buckets_alone.outside(day) }
        };
        days.into_iter().flat_map(cut).collect()
    }

    /// The buckets inside `range` that rows answer.
    pub(crate) fn coverage(&self, request: &RollupRequest, range: TimeRange) -> Coverage {
        let mut answered = Vec::new();
        let mut from = range.start;
        for cut in self.cuts(request) {
            answered.extend(whole_buckets(request, from, cut.start.min(range.end)));
            from = from.max(cut.end);
        }
        answered.extend(whole_buckets(request, from, range.end));
        let mut rows: Vec<TimeRange> = Vec::new();
        for &day in self.rows.difference(&self.points) {
            let start = i64::from(day) * DAY_MS;
            match rows.last_mut() {
                Some(last) if last.end == start => last.end = start + DAY_MS,
                _ => rows.push(TimeRange::new(start, start + DAY_MS)),
            }
        }
        let rows = intersection(&answered, &rows);
        // Without rows there is nothing to gain, and points of days without points cost nothing.
        if rows.is_empty() { Coverage::default() } else { Coverage { answered, rows: rows.into() } }
    }
}

impl Coverage {
    /// Whether some point between two moments, both inside, may be in a bucket that rows do not answer.
    pub(crate) fn needs_points(&self, first: TimestampMs, last: TimestampMs) -> bool {
        let after = self.answered.partition_point(|run| run.start <= first);
        let run = after.checked_sub(1).and_then(|position| self.answered.get(position));
        run.is_none_or(|run| run.end <= last)
    }

    /// Whether rows answer anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The buckets that lie in `[start, end)`.
fn whole_buckets(request: &RollupRequest, start: TimestampMs, end: TimestampMs) -> Option<TimeRange> {
    let run = TimeRange::new(request.buckets.boundary_from(start)?, request.buckets.boundary_until(end)?);
    (!run.is_empty()).then_some(run)
}

/// What is in both lists, each ascending and without overlaps.
fn intersection(left: &[TimeRange], right: &[TimeRange]) -> Vec<TimeRange> {
    let mut found = Vec::new();
    for run in left {
        let from = right.partition_point(|other| other.end <= run.start);
        let others = right.get(from..).unwrap_or_default();
        let overlapping = others.iter().take_while(|other| other.start < run.end);
        found.extend(overlapping.map(|other| TimeRange::new(run.start.max(other.start), run.end.min(other.end))));
    }
    found
}

#[cfg(test)]
mod tests {
    use tidemark_model::RollupBuckets;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn days(rows: &[u32], points: &[u32]) -> DayUse {
        let (rows, points) = (rows.iter().copied().collect(), points.iter().copied().collect());
        DayUse { rows, points, ..DayUse::default() }
    }

    /// With days among those with rows whose rows stand alone.
    fn with_alone(rows: &[u32], alone: &[u32], inexact: &[u32]) -> DayUse {
        let alone = alone.iter().map(|&day| (day, Generation::of_epoch(5))).collect();
        DayUse { alone, inexact: inexact.iter().copied().collect(), ..days(rows, &[]) }
    }

    fn every(hours: i64) -> RollupRequest {
        RollupRequest { function: RollupFunction::Sum, buckets: RollupBuckets::Every(hours * HOUR) }
    }

    fn day_range(first: i64, end: i64) -> TimeRange {
        TimeRange::new(first * DAY_MS, end * DAY_MS)
    }

    #[test]
    fn days_without_points_of_their_own_are_answered_by_rows() {
        let found = days(&[1, 2, 4], &[3]).coverage(&every(1), day_range(0, 6));
        assert_eq!(found.answered, [day_range(0, 3), day_range(4, 6)]);
        assert_eq!(found.rows[..], [day_range(1, 3), day_range(4, 5)]);
        assert!(found.needs_points(3 * DAY_MS, 3 * DAY_MS) && found.needs_points(2 * DAY_MS, 3 * DAY_MS));
        assert!(!found.needs_points(0, 3 * DAY_MS - 1) && !found.needs_points(4 * DAY_MS, 5 * DAY_MS));
        assert!(days(&[3], &[3]).coverage(&every(1), day_range(0, 6)).is_empty());
        assert!(Coverage::default().needs_points(0, 0));
    }

    #[test]
    fn a_bucket_with_a_part_in_a_day_of_points_is_read_as_points() {
        let found = days(&[0, 1, 2], &[1]).coverage(&every(5), day_range(0, 3));
        assert_eq!(found.answered, [TimeRange::new(0, 20 * HOUR), TimeRange::new(50 * HOUR, 70 * HOUR)]);
        let weeks = days(&[0, 1, 2, 3], &[2]).coverage(&every(48), day_range(0, 4));
        assert_eq!(weeks.answered, [day_range(0, 2)]);
        let window = TimeRange::new(90, 5 * HOUR + 90);
        let inside = days(&[0], &[]).coverage(&every(1), window);
        assert_eq!(inside.answered, [TimeRange::new(HOUR, 5 * HOUR)]);
    }

    #[test]
    fn rows_that_stand_alone_answer_whatever_else_there_is() {
        let mut found = with_alone(&[0, 1, 2], &[1], &[0]);
        found.needs_points(1);
        found.needs_points_between(DAY_MS, DAY_MS + 1);
        found.refuse_span(RollupInterval::HOUR, 0);
        assert_eq!(found.inexact, BTreeSet::from([0, 2]));
        assert_eq!(found.coverage(&every(1), day_range(0, 3)).rows[..], [day_range(1, 2)]);
        // Of the days around it, the buckets that it has a part in.
        let five = found.coverage(&every(5), day_range(0, 3));
        assert_eq!(five.answered, [TimeRange::new(20 * HOUR, 50 * HOUR)]);
        assert_eq!(five.rows[..], [TimeRange::new(20 * HOUR, 50 * HOUR)]);
        // A bucket that also has a day of points is left to these.
        found.needs_points(0);
        assert_eq!(found.coverage(&every(5), day_range(0, 3)).answered, [TimeRange::new(25 * HOUR, 50 * HOUR)]);
    }

    #[test]
    fn a_deletion_hides_whole_rows_of_its_series_that_were_there_before_it() {
        let days = with_alone(&[1, 2], &[1, 2], &[]);
        let deleted = |epoch, range, number| {
            let deletion = crate::codec::Deletion { metric: 1, series: [4].into_iter().collect(), range };
            let identity = crate::codec::LogIdentity { writer: 1, sequence: 1 };
            let tombstone = Arc::new(Tombstone { epoch, identity, deletion });
            days.deleted_rows(&[tombstone], number, RollupInterval::HOUR)
        };
        let part = TimeRange::new(DAY_MS + HOUR + 1, DAY_MS + 2 * HOUR + 1);
        let rows = TimeRange::new(DAY_MS + HOUR, DAY_MS + 3 * HOUR);
        assert_eq!(deleted(6, part, 4), [rows].into_iter().collect());
        assert!(deleted(6, part, 5).is_empty() && deleted(5, part, 4).is_empty());
        assert_eq!(deleted(6, TimeRange::ALL, 4), [day_range(1, 3)].into_iter().collect());
    }

    #[test]
    fn a_span_whose_rows_do_not_add_up_is_refused() {
        let mut days = days(&[9, 10, 11, 20], &[]);
        assert_eq!(days.spans(RollupInterval::HOUR), [0, 1, 2]);
        days.refuse_span(RollupInterval::HOUR, 1);
        assert_eq!(days.spans(RollupInterval::HOUR), [0, 2]);
        days.needs_points_between(i64::MIN, i64::MAX);
        assert!(days.spans(RollupInterval::HOUR).is_empty());
    }

    #[test]
    fn the_longest_interval_that_makes_up_the_buckets_is_chosen() {
        let minutes = |minutes: u64| RollupInterval::new(std::time::Duration::from_secs(60 * minutes)).unwrap();
        let intervals = [minutes(5), RollupInterval::HOUR];
        let catalogue = RollupCatalogue::default();
        fn of<'a>(
            request: &'a RollupRequest,
            made: &[RollupInterval],
            catalogue: &RollupCatalogue,
        ) -> Option<RollupChoice<'a>> {
            RollupChoice::of(request, made, catalogue, 1, TimeRange::ALL)
        }
        let chosen = |request| of(&request, &intervals, &catalogue).map(|choice| choice.interval);
        assert_eq!(chosen(every(2)), Some(RollupInterval::HOUR));
        let half = RollupRequest { buckets: RollupBuckets::Every(HOUR / 2), ..every(1) };
        assert_eq!(chosen(half), Some(minutes(5)));
        assert_eq!(chosen(RollupRequest { buckets: RollupBuckets::Every(HOUR / 7), ..every(1) }), None);
        let request = every(24);
        let choice = of(&request, &intervals, &catalogue).unwrap();
        assert!(choice.is_exact(Magnitude::Whole(48)) && !choice.is_exact(Magnitude::Whole(49)));
        let largest = RollupRequest { function: RollupFunction::Largest, ..every(24) };
        let choice = of(&largest, &intervals, &catalogue).unwrap();
        assert!(choice.is_exact(Magnitude::Rounded) && !choice.is_exact(Magnitude::Unusable));
    }
}
