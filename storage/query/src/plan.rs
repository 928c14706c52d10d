//! From a sub-query to what has to be read for it.
//!
//! Results cover `[start, end]`, but they depend on points around it. A rate needs the point before, and a group
//! interpolates its members up to a neighbour on either side. OpenTSDB reads whole hours of rows, so that it depends on
//! the position of the window in the hour whether a neighbour is found; we look one hour beyond the window, always, and
//! one bucket at least. Where nothing is interpolated we read no more than the window.

use tidemark_model::{ReadLimits, ReadRequest, RollupBuckets, RollupFunction, RollupRequest, TimeRange, TimestampMs};

use crate::{
    Aggregator, Buckets, Downsample, Fill, Interval, Query, QueryError, RollupUsage, SubQuery, calendar, grid::Grid,
};

/// How far from the window a neighbour may be, in milliseconds; with buckets, at least one bucket.
pub(crate) const NEIGHBOUR_MS: i64 = 3_600_000;

/// Most calendar buckets of all queries that are planned together. Buckets of fixed length are not listed and need no such
/// limit.
const CALENDAR_BUCKETS_MAX: usize = 1_000_000;
/// From so many calendar buckets on, planning takes longer than a thread may be held up that serves connections: each takes
/// 0.1 to 0.2 µs.
const CALENDAR_BUCKETS_FEW: i64 = 2_000;

/// Bounds that keep sums of times within 64 bits; no point is beyond them.
const TIME_MAX: TimestampMs = 1 << 60;

/// A sub-query that knows what it reads. It owns everything, so that it can move to a blocking thread.
#[derive(Clone, Debug)]
pub struct SubQueryPlan {
    pub(crate) sub_query: SubQuery,
    pub(crate) ms_resolution: bool,
    /// What is handed out; with both ends.
    pub(crate) window: Window,
    pub(crate) grid: Option<Grid>,
    pub(crate) fill: Fill,
    /// Whether members are interpolated towards points outside the window.
    pub(crate) has_neighbours: bool,
    /// Whether members have nothing between the buckets in which they have points.
    pub(crate) is_aligned: bool,
    /// Whether the rate is taken of points and not of buckets.
    pub(crate) rates_points: bool,
    /// Whether the first bucket of the grid, which only a rate looks at, is filled when it is empty.
    pub(crate) fills_predecessor: bool,
    read: TimeRange,
    /// Which buckets may be read as rows in place of points.
    pub(crate) rollup: Option<RollupRequest>,
}

/// Moments from `start` to `end`, both inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: TimestampMs,
    pub(crate) end: TimestampMs,
}

/// Plans every sub-query of all these queries, in order.
///
/// # Errors
/// What [`Query::check`] refuses; [`QueryError::TooManyCalendarBuckets`] beyond a million of them in all.
pub fn plan_together(queries: &[Query]) -> Result<Vec<SubQueryPlan>, QueryError> {
    let mut buckets_left = CALENDAR_BUCKETS_MAX;
    let mut plans = Vec::with_capacity(queries.len());
    for query in queries {
        query.check()?;
        for sub_query in &query.sub_queries {
            let plan = SubQueryPlan::new(query, sub_query, buckets_left)?;
            if let Some(Grid::Listed(boundaries)) = &plan.grid {
                buckets_left = buckets_left.saturating_sub(boundaries.len());
            }
            plans.push(plan);
        }
    }
    Ok(plans)
}

/// Whether [`plan_together`] takes so long that it should not hold up others: they have many calendar buckets.
#[must_use]
pub fn are_long_to_plan(queries: &[Query]) -> bool {
    let buckets_of = |query: &Query| {
        let sub_queries = query.sub_queries.iter().map(|sub_query| query.planned_downsample(sub_query));
        let length = query.end.clamp(-TIME_MAX, TIME_MAX) - query.start.clamp(-TIME_MAX, TIME_MAX);
        let intervals = sub_queries.filter_map(|downsample| match downsample?.buckets {
            Buckets::Calendar(interval) => Some(interval.millis()),
            Buckets::All | Buckets::Every(_) => None,
        });
        intervals.fold(0_i64, |buckets, millis| buckets.saturating_add(length / millis.max(1)))
    };
    queries.iter().fold(0, |buckets: i64, query| buckets.saturating_add(buckets_of(query))) > CALENDAR_BUCKETS_FEW
}

impl Query {
    /// Plans every sub-query, in order.
    ///
    /// # Errors
    /// As [`plan_together`].
    pub fn plan(&self) -> Result<Vec<SubQueryPlan>, QueryError> {
        plan_together(std::slice::from_ref(self))
    }

    /// One of the sub-queries as it is planned: its buckets are those of the calendar when the query asks for that.
    #[must_use]
    pub fn as_planned(&self, sub_query: &SubQuery) -> SubQuery {
        SubQuery { downsample: self.planned_downsample(sub_query), ..sub_query.clone() }
    }

    fn planned_downsample(&self, sub_query: &SubQuery) -> Option<Downsample> {
        let downsample = sub_query.downsample?;
        Some(if self.use_calendar { downsample.on_calendar() } else { downsample })
    }
}

impl SubQueryPlan {
    fn new(query: &Query, sub_query: &SubQuery, calendar_buckets_max: usize) -> Result<Self, QueryError> {
        let window =
            Window { start: query.start.clamp(-TIME_MAX, TIME_MAX), end: query.end.clamp(-TIME_MAX, TIME_MAX) };
        let sub_query = query.as_planned(sub_query);
        let downsample = sub_query.downsample;
        // Histograms are added up where they are, and are neither filled nor interpolated.
        let is_plain = sub_query.histogram.is_none();
        let rate = sub_query.rate.filter(|_| is_plain);
        let fill = downsample.filter(|_| is_plain).map_or(Fill::None, |downsample| downsample.fill);
        let is_aligned = downsample.is_some() && fill == Fill::None && sub_query.align_first;
        let interpolates = is_plain && !is_aligned && (rate.is_some() || sub_query.aggregator.needs_neighbours());
        let has_neighbours = sub_query.aggregator != Aggregator::None && fill == Fill::None && interpolates;
        let rates_points = rate.is_some_and(|rate| downsample.is_none() || rate.pre_downsample);
        let has_rate = rate.is_some() && (downsample.is_none() || !rates_points);
        let margins = Margins { has_rate, has_neighbours, is_filled: fill != Fill::None };
        let grid = match downsample.map(|downsample| downsample.buckets) {
            None => None,
            Some(Buckets::All) if window.start < window.end => Some(Grid::Listed(vec![window.start, window.end])),
            Some(Buckets::All) => Some(Grid::Listed(Vec::new())),
            Some(Buckets::Every(interval)) => Some(regular_grid(window, interval, margins)),
            Some(Buckets::Calendar(interval)) => {
                Some(calendar_grid(window, interval, query, margins, calendar_buckets_max)?)
            }
        };
        let read = match &grid {
            Some(grid) if rates_points && grid.count() > 0 => {
                TimeRange::new(grid.range().start - NEIGHBOUR_MS, grid.range().end)
            }
            Some(grid) => grid.range(),
            None => TimeRange::new(
                window.start - if margins.looks_back() { NEIGHBOUR_MS } else { 0 },
                window.end + 1 + if has_neighbours { NEIGHBOUR_MS } else { 0 },
            ),
        };
        let rollup = match (downsample, &grid, sub_query.rollup_usage) {
            (_, _, RollupUsage::Raw) => None,
            _ if rates_points || !is_plain => None,
            (Some(downsample), Some(grid), _) => rollup_request(downsample, grid),
            (_, _, _) => None,
        };
        // With a rate, bucket 0 is the one before the window.
        let first = grid.as_ref().filter(|grid| grid.count() > 1).map_or(TimestampMs::MIN, |grid| grid.start(1));
        let interval = downsample.map(|found| found.buckets).and_then(Buckets::interval);
        Ok(Self {
            sub_query,
            ms_resolution: query.ms_resolution,
            window,
            fill,
            has_neighbours,
            is_aligned,
            rates_points,
            fills_predecessor: first > scan_start(window.start, interval),
            grid,
            read,
            rollup,
        })
    }

    /// What to read for this sub-query.
    #[must_use]
    pub fn read_request(&self, limits: ReadLimits) -> ReadRequest {
        ReadRequest { selector: self.sub_query.selector(), range: self.read, limits, rollup: self.rollup.clone() }
    }

    /// The sub-query; its buckets are those of the calendar when the query asked for that.
    #[must_use]
    pub fn sub_query(&self) -> &SubQuery {
        &self.sub_query
    }
}

/// What rows may answer: the functions that rows have, over any buckets. Rows of the reader that do not fit are not used.
fn rollup_request(downsample: Downsample, grid: &Grid) -> Option<RollupRequest> {
    let function = match downsample.function {
        Aggregator::Sum | Aggregator::Zimsum | Aggregator::Pfsum => RollupFunction::Sum,
        Aggregator::Avg => RollupFunction::Average,
        Aggregator::Min | Aggregator::Mimmin => RollupFunction::Smallest,
        Aggregator::Max | Aggregator::Mimmax => RollupFunction::Largest,
        Aggregator::Count => RollupFunction::Count,
        Aggregator::First => RollupFunction::First,
        Aggregator::Last => RollupFunction::Last,
        _ => return None,
    };
    let buckets = match grid {
        Grid::Regular { interval_ms, .. } => RollupBuckets::Every(*interval_ms),
        Grid::Listed(boundaries) => RollupBuckets::Between(boundaries.as_slice().into()),
    };
    Some(RollupRequest { function, buckets })
}

/// What is read beyond the window.
#[derive(Clone, Copy)]
struct Margins {
    has_rate: bool,
    has_neighbours: bool,
    is_filled: bool,
}

impl Margins {
    fn looks_back(self) -> bool {
        self.has_rate || self.has_neighbours
    }
}

/// Where OpenTSDB begins to read: at the hour in which the bucket of `start` begins, that of the calendar taken for one of
/// fixed length. It fills from the bucket in which this moment lies.
fn scan_start(start: TimestampMs, interval: Option<Interval>) -> TimestampMs {
    align_down(interval.map_or(start, |interval| align_down(start, length(interval))), NEIGHBOUR_MS)
}

fn regular_grid(window: Window, interval: Interval, margins: Margins) -> Grid {
    let interval_ms = length(interval);
    let (first, last) = (align_up(window.start, interval_ms), align_down(window.end, interval_ms));
    if first > last {
        return Grid::Listed(Vec::new());
    }
    let (back, ahead) = match margins {
        Margins { is_filled: true, has_rate, .. } => (i64::from(has_rate) * interval_ms, 0),
        _ => {
            (if margins.looks_back() { NEIGHBOUR_MS } else { 0 }, if margins.has_neighbours { NEIGHBOUR_MS } else { 0 })
        }
    };
    let first = align_down(first - back, interval_ms);
    let end = align_up(last + interval_ms + ahead, interval_ms);
    Grid::Regular { first, interval_ms, count: ((end - first) / interval_ms).unsigned_abs() }
}

fn calendar_grid(
    window: Window,
    interval: Interval,
    query: &Query,
    margins: Margins,
    buckets_max: usize,
) -> Result<Grid, QueryError> {
    // A month has up to 31 days and a year 366, and a day on which clocks change has 25 hours.
    let margin = NEIGHBOUR_MS + length(interval) + length(interval) / 10;
    let from = window.start - if margins.looks_back() { margin } else { 0 };
    let until = window.end + if margins.has_neighbours { margin } else { 0 };
    let limit = CALENDAR_BUCKETS_MAX as u64;
    let mut boundaries = calendar::boundaries(interval, query.time_zone, query.week_start, from, until, buckets_max)
        .ok_or(QueryError::TooManyCalendarBuckets { limit })?;
    let first = boundaries.partition_point(|&boundary| boundary < window.start);
    let after_last = boundaries.partition_point(|&boundary| boundary <= window.end);
    if first >= after_last {
        return Ok(Grid::Listed(Vec::new()));
    }
    if margins.has_neighbours {
        let last_end = boundaries.get(after_last).copied().unwrap_or(TIME_MAX);
        let bounding = boundaries.partition_point(|&boundary| boundary < last_end + NEIGHBOUR_MS);
        boundaries.truncate(bounding + 1);
    }
    let visible = match margins {
        _ if !margins.looks_back() => first,
        Margins { is_filled: true, .. } => first.saturating_sub(1),
        _ => {
            let first_start = boundaries.get(first).copied().unwrap_or(TIME_MAX);
            let after = boundaries.partition_point(|&boundary| boundary <= first_start - NEIGHBOUR_MS);
            after.saturating_sub(1)
        }
    };
    boundaries.drain(..visible);
    Ok(Grid::Listed(boundaries))
}

fn length(interval: Interval) -> i64 {
    interval.millis().min(TIME_MAX)
}

fn align_down(moment: TimestampMs, step: i64) -> TimestampMs {
    moment - moment.rem_euclid(step)
}

fn align_up(moment: TimestampMs, step: i64) -> TimestampMs {
    align_down(moment + step - 1, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 3_600_000;

    fn check(text: &str, start: i64, end: i64, expect: (i64, i64)) {
        let query = Query::new(start, end, vec![SubQuery::parse(text).unwrap()]);
        let range = query.plan().unwrap()[0].read_request(ReadLimits::default()).range;
        assert_eq!((range.start, range.end), expect, "{text}");
    }

    #[test]
    fn only_what_depends_on_neighbours_reads_beyond_the_window() {
        let (start, end) = (10 * HOUR + 30_000, 12 * HOUR + 30_000);
        check("none:m", start, end, (start, end + 1));
        check("zimsum:m", start, end, (start, end + 1));
        check("sum:m", start, end, (start - HOUR, end + 1 + HOUR));
        check("none:rate:m", start, end, (start - HOUR, end + 1));
        check("zimsum:rate:m", start, end, (start - HOUR, end + 1 + HOUR));
    }

    #[test]
    fn buckets_are_read_whole() {
        let (start, end) = (10 * HOUR + 30_000, 12 * HOUR + 30_000);
        check("none:1m-avg:m", start, end, (10 * HOUR + MINUTE, 12 * HOUR + MINUTE));
        check("sum:1m-avg-nan:m", start, end, (10 * HOUR + MINUTE, 12 * HOUR + MINUTE));
        check("sum:1m-avg-nan:rate:m", start, end, (10 * HOUR, 12 * HOUR + MINUTE));
        check("sum:1m-avg:m", start, end, (9 * HOUR + MINUTE, 13 * HOUR + MINUTE));
        check("sum:7m-avg:m", start, end, (539 * MINUTE, 784 * MINUTE));
        check("none:0all-avg:m", start, end, (start, end));
        check("sum:1dc-avg-zero:m", 1, 48 * HOUR, (24 * HOUR, 72 * HOUR));
        check("sum:1dc-avg-zero:rate:m", 1, 48 * HOUR, (0, 72 * HOUR));
        check("sum:1hc-avg:m", start, end, (10 * HOUR, 14 * HOUR));
        check("sum:1dc-avg:m", 1, 24 * HOUR, (0, 72 * HOUR));
        check("none:1dc-avg:rate:m", 1, 24 * HOUR, (0, 48 * HOUR));
        // No bucket begins inside.
        check("sum:1h-avg:m", start, start + 1, (0, 0));
    }

    #[test]
    fn rows_may_answer_functions_that_they_have() {
        let rollup = |text: &str, usage| {
            let sub_query = SubQuery { rollup_usage: usage, ..SubQuery::parse(text).unwrap() };
            let query = Query::new(HOUR, 49 * HOUR, vec![sub_query]);
            query.plan().unwrap()[0].read_request(ReadLimits::default()).rollup
        };
        let every =
            |function, hours: i64| Some(RollupRequest { function, buckets: RollupBuckets::Every(hours * HOUR) });
        let default = RollupUsage::default();
        assert_eq!(rollup("sum:1h-avg:m", default), every(RollupFunction::Average, 1));
        assert_eq!(rollup("avg:6h-mimmax:rate:m", default), every(RollupFunction::Largest, 6));
        assert_eq!(rollup("sum:1h-avg:m", RollupUsage::Raw), None);
        assert_eq!(rollup("sum:1h-p99:m", default), None);
        assert_eq!(rollup("sum:m", default), None);
        let days = RollupBuckets::Between([24 * HOUR, 48 * HOUR, 72 * HOUR].into());
        let expect = RollupRequest { function: RollupFunction::Count, buckets: days };
        assert_eq!(rollup("none:1dc-count:m", default), Some(expect));
    }

    #[test]
    fn a_window_beyond_all_time_is_planned_without_overflow() {
        for text in ["sum:m", "sum:292277022y-avg:m", "sum:1ms-avg-nan:rate:m", "sum:0all-sum:m", "sum:1000yc-sum:m"] {
            let query = Query::new(i64::MIN, i64::MAX, vec![SubQuery::parse(text).unwrap()]);
            assert!(query.plan().is_ok(), "{text}");
        }
        let minutes = SubQuery::parse("sum:1mc-sum:m").unwrap();
        let query = |count| Query::new(0, 600_000 * MINUTE, vec![minutes.clone(); count]);
        assert!(query(1).plan().is_ok());
        let too_many = QueryError::TooManyCalendarBuckets { limit: 1_000_000 };
        // No setting changes this limit.
        assert!(!too_many.to_string().contains("limits."), "{too_many}");
        assert_eq!(query(2).plan().unwrap_err(), too_many);
        // The limit is one for all that is planned together.
        assert_eq!(plan_together(&[query(1), query(1)]).unwrap_err(), too_many);
        assert!(
            are_long_to_plan(&[query(1)]) && are_long_to_plan(&[Query::new(i64::MIN, i64::MAX, vec![minutes.clone()])])
        );
        let short = |text: &str| Query::new(0, 600_000 * MINUTE, vec![SubQuery::parse(text).unwrap()]);
        assert!(!are_long_to_plan(&[short("sum:1ms-avg:m"), short("sum:1dc-avg:m"), short("sum:m")]));
        assert!(are_long_to_plan(&[Query { use_calendar: true, ..short("sum:1m-avg:m") }]));
        let query = Query::new(0, i64::MAX, vec![SubQuery::parse("sum:1sc-sum:m").unwrap()]);
        assert_eq!(query.plan().unwrap_err(), too_many);
    }
}
