//! The buckets of one series.

use std::collections::BTreeMap;

use tidemark_model::{TimestampMs, Value};
use tidemark_query::{Buckets, Downsample, Fill};

use crate::{
    aggregate, calendar,
    case::{Case, Points},
    evaluate::{AROUND_MS, interpolates},
    rate::rates,
};

/// One double for each bucket, at its start. The window's own buckets are those that begin in it. Before and after them,
/// those of the next hour count where a rate or an interpolation looks at them, and one at least.
pub(crate) fn downsampled(case: &Case, points: &Points, downsample: Downsample) -> Points {
    let query = &case.query;
    let rate = case.sub_query().rate.filter(|rate| rate.pre_downsample);
    // The points of a range, or the rates of them.
    let between = |from: TimestampMs, until: TimestampMs| -> Points {
        let copied = |(time, value): (&TimestampMs, &Value)| (*time, *value);
        match rate {
            None => points.range(from..until).map(copied).collect(),
            Some(options) => {
                let rates = rates(&points.range(from - AROUND_MS..until).map(copied).collect(), options);
                rates.range(from..until).map(copied).collect()
            }
        }
    };
    let value = |values: &[f64]| Value::Float(aggregate::doubles(downsample.function, values));
    if downsample.buckets == Buckets::All {
        let inside: Vec<f64> = between(query.start, query.end).values().map(|value| value.as_f64()).collect();
        return if inside.is_empty() { Points::new() } else { Points::from([(query.start, value(&inside))]) };
    }
    let bucket_of = |time| bucket_of(case, downsample.buckets, time);
    let first = match bucket_of(query.start) {
        (start, _) if start == query.start => start,
        (_, next) => next,
    };
    if first > query.end {
        return Points::new();
    }
    let end = bucket_of(query.end).1;
    let (from, until) = around(case, downsample, first, end);
    let mut gathered: BTreeMap<TimestampMs, Vec<f64>> = BTreeMap::new();
    for (time, value) in between(from, until) {
        gathered.entry(bucket_of(time).0).or_default().push(value.as_f64());
    }
    let mut buckets: Points = gathered.iter().map(|(start, values)| (*start, value(values))).collect();
    // Every bucket is filled, unless the series has nothing at all here.
    if downsample.fill != Fill::None && !buckets.is_empty() {
        let empty = Value::Float(if downsample.fill == Fill::Zero { 0.0 } else { f64::NAN });
        let mut start = if filled_before(case, downsample, first) { from } else { first };
        while start < end {
            buckets.entry(start).or_insert(empty);
            start = bucket_of(start).1;
        }
    }
    buckets
}

/// From where to where points count.
fn around(case: &Case, downsample: Downsample, first: TimestampMs, end: TimestampMs) -> (TimestampMs, TimestampMs) {
    let sub_query = case.sub_query();
    let bucket_of = |time| bucket_of(case, downsample.buckets, time);
    let looks_around = interpolates(sub_query);
    let has_rate = sub_query.rate.is_some_and(|rate| !rate.pre_downsample);
    let from = match (has_rate || looks_around, downsample.fill) {
        (false, _) => first,
        // Before a filled bucket there is a filled one.
        (true, Fill::Nan | Fill::Null | Fill::Zero) => bucket_of(first - 1).0,
        (true, Fill::None) => bucket_of(first - AROUND_MS).0.min(bucket_of(first - 1).0),
    };
    (from, if looks_around { bucket_of(end + AROUND_MS - 1).1 } else { end })
}

/// Upstream begins to fill at the bucket of the hour in which the bucket of the start lies, that of a calendar taken for one
/// of fixed length: whether there is something before the first bucket of the window, for its rate, follows from that.
fn filled_before(case: &Case, downsample: Downsample, first: TimestampMs) -> bool {
    let length = downsample.buckets.interval().unwrap().millis();
    let bucket = case.query.start - case.query.start.rem_euclid(length);
    first > bucket - bucket.rem_euclid(AROUND_MS)
}

/// Start of the bucket of a moment, and of the next one.
fn bucket_of(case: &Case, buckets: Buckets, time: TimestampMs) -> (TimestampMs, TimestampMs) {
    match buckets {
        Buckets::Every(interval) if case.query.use_calendar => {
            calendar::bucket(interval, case.query.time_zone, case.query.week_start, time)
        }
        Buckets::Calendar(interval) => calendar::bucket(interval, case.query.time_zone, case.query.week_start, time),
        Buckets::Every(interval) => {
            let start = time.div_euclid(interval.millis()) * interval.millis();
            (start, start + interval.millis())
        }
        Buckets::All => panic!("the one bucket has no neighbours"),
    }
}
