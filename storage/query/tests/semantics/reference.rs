//! The semantics once more, as slow and obvious as they can be written, for comparison.
//!
//! Every instant of every group looks through all points of all members. Nothing is shared with the crate but the types
//! of the query.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, Days, Months, NaiveDate, TimeZone, Timelike};
use tidemark_model::{SeriesKey, Value};
use tidemark_query::{
    Aggregator, Buckets, Downsample, Estimation, Fill, Filter, FilterKind, Interpolation, Query, RateOptions, Source,
    SubQuery, TimeUnit, Tz,
};

use crate::store::MemoryStore;

const HOUR_MS: i64 = 3_600_000;

type Points = Vec<(i64, Value)>;

/// One expected result.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) aggregate_tags: BTreeSet<String>,
    pub(crate) points: Points,
}

/// Evaluates the first sub-query.
pub(crate) fn evaluate(store: &MemoryStore, query: &Query) -> Vec<Expected> {
    let sub_query = &query.sub_queries[0];
    let Source::Metric { filters, explicit_tags, .. } = &sub_query.source else { panic!("only metrics") };
    let mut groups: BTreeMap<Vec<Option<&str>>, Vec<&SeriesKey>> = BTreeMap::new();
    for key in store.series().keys().filter(|key| is_selected(key, filters, *explicit_tags)) {
        let group = match sub_query.aggregator {
            Aggregator::None => vec![Some(key.as_str())],
            _ => sub_query.group_keys().iter().map(|tag| key.tag(tag)).collect(),
        };
        groups.entry(group).or_default().push(key);
    }
    groups.into_values().filter_map(|keys| evaluate_group(store, query, sub_query, &keys)).collect()
}

fn is_selected(key: &SeriesKey, filters: &[Filter], explicit_tags: bool) -> bool {
    let keys: BTreeSet<&str> = filters.iter().map(Filter::key).collect();
    let has_only_those = key.tags().all(|(tag, _)| keys.contains(tag));
    let matches = filters.iter().all(|filter| {
        let literals: Vec<&str> = filter.text().split('|').collect();
        match (filter.kind(), key.tag(filter.key())) {
            (FilterKind::NotKey, value) => value.is_none(),
            (_, None) => false,
            (FilterKind::LiteralOr, Some(value)) => literals.contains(&value),
            (FilterKind::NotLiteralOr, Some(value)) => !literals.contains(&value),
            (FilterKind::Wildcard, Some(_)) if filter.text() == "*" => true,
            (kind, _) => panic!("{kind} is not compared"),
        }
    });
    matches && (!explicit_tags || filters.is_empty() || has_only_those)
}

fn evaluate_group(store: &MemoryStore, query: &Query, sub_query: &SubQuery, keys: &[&SeriesKey]) -> Option<Expected> {
    let fill = sub_query.downsample.map_or(Fill::None, |downsample| downsample.fill);
    let is_alone = sub_query.aggregator == Aggregator::None;
    let mut members: Vec<(&SeriesKey, Points)> = Vec::new();
    for key in keys {
        let points: Points = store.series()[key.as_str()].iter().map(|(time, value)| (*time, *value)).collect();
        let points = match sub_query.downsample {
            Some(downsample) => downsampled(&points, downsample, query, sub_query),
            None => {
                let visible = query.start - HOUR_MS..=query.end + HOUR_MS;
                points.into_iter().filter(|(time, _)| visible.contains(time)).collect()
            }
        };
        let points = sub_query.rate.map_or(points.clone(), |options| rated(&points, options));
        let is_inside = |time: i64| query.start <= time && time <= query.end;
        let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
        let is_active = match is_alone || fill != Fill::None || !interpolates(sub_query) {
            true => points.iter().any(|(time, _)| is_inside(*time)),
            false => first.0 <= query.end && last.0 >= query.start,
        };
        if is_active {
            members.push((key, points));
        }
    }
    let instants: BTreeSet<i64> = members
        .iter()
        .flat_map(|(_, points)| points.iter().map(|(time, _)| *time))
        .filter(|time| query.start <= *time && *time <= query.end)
        .collect();
    let mut points: Points =
        instants.iter().map(|instant| (*instant, value_at(*instant, &members, sub_query))).collect();
    if !query.ms_resolution {
        let by_second: BTreeMap<i64, Value> =
            points.iter().map(|(time, value)| (time.div_euclid(1000), *value)).collect();
        points = by_second.into_iter().map(|(second, value)| (second * 1000, value)).collect();
    }
    let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, value) in members.iter().flat_map(|(key, _)| key.tags()) {
        values.entry(key.to_owned()).or_default().insert(value.to_owned());
    }
    let single = |(key, values): (&String, &BTreeSet<String>)| match values.len() {
        1 => values.first().map(|value| (key.clone(), value.clone())),
        _ => None,
    };
    let tags = values.iter().filter_map(single).collect();
    let aggregate_tags = values.iter().filter(|(_, values)| values.len() > 1).map(|(key, _)| key.clone()).collect();
    (!points.is_empty()).then_some(Expected { tags, aggregate_tags, points })
}

fn interpolates(sub_query: &SubQuery) -> bool {
    let fixed = ["none", "zimsum", "squareSum", "mimmin", "mimmax"];
    sub_query.rate.is_some() || !fixed.contains(&sub_query.aggregator.name())
}

// Downsampling

fn downsampled(points: &Points, downsample: Downsample, query: &Query, sub_query: &SubQuery) -> Points {
    let buckets = if query.use_calendar { downsample.on_calendar().buckets } else { downsample.buckets };
    if buckets == Buckets::All {
        let inside = points.iter().filter(|(time, _)| query.start <= *time && *time < query.end);
        let values: Vec<f64> = inside.map(|(_, value)| value.as_f64()).collect();
        let value = aggregate_doubles(downsample.function, &values);
        return if values.is_empty() { Vec::new() } else { vec![(query.start, Value::Float(value))] };
    }
    let bucket_of = |time: i64| bucket_of(time, buckets, query.time_zone);
    // The window's own buckets.
    let first = match bucket_of(query.start) {
        (start, _) if start == query.start => start,
        (_, next) => next,
    };
    if first > query.end {
        return Vec::new();
    }
    let end = bucket_of(query.end).1;
    let is_filled = downsample.fill != Fill::None;
    let looks_around = sub_query.aggregator != Aggregator::None && interpolates(sub_query) && !is_filled;
    // Whole buckets around them, of which a part lies within an hour, and one at least.
    let visible_from = match (is_filled, sub_query.rate.is_some() || looks_around) {
        (true, true) => bucket_of(first - 1).0,
        (false, true) => bucket_of((first - HOUR_MS).min(first - 1)).0,
        (_, false) => first,
    };
    let visible_end = if looks_around { bucket_of(end + HOUR_MS - 1).1 } else { end };
    let mut values: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for (time, value) in points {
        if visible_from <= *time && *time < visible_end {
            values.entry(bucket_of(*time).0).or_default().push(value.as_f64());
        }
    }
    let mut found: BTreeMap<i64, f64> =
        values.iter().map(|(start, values)| (*start, aggregate_doubles(downsample.function, values))).collect();
    if is_filled && !found.is_empty() {
        let empty = if downsample.fill == Fill::Zero { 0.0 } else { f64::NAN };
        let row_start = match buckets {
            Buckets::Every(_) => bucket_of(query.start).0,
            _ => query.start,
        };
        let mut bucket = visible_from;
        while bucket < end {
            if bucket >= first || bucket >= row_start - row_start.rem_euclid(HOUR_MS) {
                found.entry(bucket).or_insert(empty);
            }
            bucket = bucket_of(bucket).1;
        }
    }
    found.into_iter().map(|(start, value)| (start, Value::Float(value))).collect()
}

/// Start of the bucket of a moment, and of the next one.
fn bucket_of(time: i64, buckets: Buckets, zone: Tz) -> (i64, i64) {
    match buckets {
        Buckets::Every(interval) => {
            let start = time.div_euclid(interval.millis()) * interval.millis();
            (start, start + interval.millis())
        }
        Buckets::Calendar(interval) => {
            let local = zone.timestamp_millis_opt(time).unwrap();
            let date = local.date_naive();
            let utc = |date: NaiveDate| {
                zone.from_local_datetime(&date.and_hms_opt(0, 0, 0).unwrap()).earliest().unwrap().timestamp_millis()
            };
            let january = NaiveDate::from_ymd_opt(date.year(), 1, 1).unwrap();
            match (interval.count(), interval.unit()) {
                (1, TimeUnit::Hour) => {
                    let start = time - i64::from(local.minute() * 60 + local.second()) * 1000 - time.rem_euclid(1000);
                    (start, start + HOUR_MS)
                }
                (1, TimeUnit::Day) => (utc(date), utc(date + Days::new(1))),
                (1, TimeUnit::Week) => {
                    let sunday = date - Days::new(u64::from(date.weekday().num_days_from_sunday()));
                    (utc(sunday), utc(sunday + Days::new(7)))
                }
                (count @ (1 | 3), TimeUnit::Month) => {
                    let months = date.month0() - date.month0() % count as u32;
                    (utc(january + Months::new(months)), utc(january + Months::new(months + count as u32)))
                }
                _ => panic!("{interval} is not compared"),
            }
        }
        Buckets::All => panic!("one bucket has no neighbours"),
    }
}

// Rates

fn rated(points: &Points, options: RateOptions) -> Points {
    let mut rates = Points::new();
    for pair in points.windows(2) {
        let ((time_before, before), (time, value)) = (pair[0], pair[1]);
        let seconds = (time - time_before) as f64 / 1000.0;
        let (mut change, max) = match (before, value) {
            (Value::Int(before), Value::Int(value)) => {
                let change = i128::from(value) - i128::from(before);
                (change as f64, (change + i128::from(options.counter_max)) as f64)
            }
            _ => {
                let (before, value) = (before.as_f64(), value.as_f64());
                (value - before, options.counter_max as f64 - before + value)
            }
        };
        if options.counter && change < 0.0 {
            if options.drop_resets {
                continue;
            }
            change = max;
            if options.reset_value > 0 && change / seconds > options.reset_value as f64 {
                change = 0.0;
            }
        }
        rates.push((time, Value::Float(change / seconds)));
    }
    rates
}

// Aggregation

fn value_at(instant: i64, members: &[(&SeriesKey, Points)], sub_query: &SubQuery) -> Value {
    let method = match sub_query.rate {
        Some(_) => Interpolation::Previous,
        None => sub_query.aggregator.interpolation(),
    };
    let mut involved: Vec<Involved> = Vec::new();
    for (_, points) in members {
        let before = points.iter().rev().find(|(time, _)| *time < instant);
        let after = points.iter().find(|(time, _)| *time > instant);
        match (points.iter().find(|(time, _)| *time == instant), before, after) {
            (Some((_, value)), _, _) => involved.push(Involved::Exactly(*value)),
            (None, Some(before), Some(after)) => involved.push(Involved::Between(*before, *after)),
            _ => {}
        }
    }
    let is_integer = involved.iter().all(|one| match one {
        Involved::Exactly(value) => value.is_int(),
        Involved::Between((_, before), (_, after)) => before.is_int() && after.is_int(),
    });
    if is_integer {
        let values: Vec<i128> = involved.iter().map(|one| one.integer(instant, method)).collect();
        return aggregate_integers(sub_query.aggregator, &values);
    }
    let values: Vec<f64> = involved.iter().map(|one| one.double(instant, method)).collect();
    Value::Float(aggregate_doubles(sub_query.aggregator, &values))
}

enum Involved {
    Exactly(Value),
    Between((i64, Value), (i64, Value)),
}

impl Involved {
    fn integer(&self, instant: i64, method: Interpolation) -> i128 {
        let int = |value: &Value| match value {
            Value::Int(int) => i128::from(*int),
            Value::Float(float) => panic!("{float} among integers"),
        };
        match self {
            Self::Exactly(value) => int(value),
            Self::Between((x0, y0), (x1, y1)) => match method {
                Interpolation::Linear => int(y0) + i128::from(instant - x0) * (int(y1) - int(y0)) / i128::from(x1 - x0),
                Interpolation::Zero => 0,
                Interpolation::Largest => i128::from(i64::MAX),
                Interpolation::Smallest => i128::from(i64::MIN),
                Interpolation::Previous => int(y0),
            },
        }
    }

    fn double(&self, instant: i64, method: Interpolation) -> f64 {
        match self {
            Self::Exactly(value) => value.as_f64(),
            Self::Between((x0, y0), (x1, y1)) => match method {
                Interpolation::Linear => {
                    y0.as_f64() + (instant - x0) as f64 * (y1.as_f64() - y0.as_f64()) / (x1 - x0) as f64
                }
                Interpolation::Zero => 0.0,
                Interpolation::Largest => f64::MAX,
                Interpolation::Smallest => f64::MIN,
                Interpolation::Previous => y0.as_f64(),
            },
        }
    }
}

fn aggregate_integers(aggregator: Aggregator, values: &[i128]) -> Value {
    let count = values.len() as i128;
    let doubles: Vec<f64> = values.iter().map(|value| *value as f64).collect();
    let exact = match aggregator.name() {
        "sum" | "zimsum" | "pfsum" => values.iter().sum(),
        "min" | "mimmin" => *values.iter().min().unwrap(),
        "max" | "mimmax" => *values.iter().max().unwrap(),
        "avg" => values.iter().sum::<i128>() / count,
        "count" => count,
        "first" | "none" => values[0],
        "last" => values[values.len() - 1],
        "diff" => values[values.len() - 1] - values[0],
        "mult" => match values.iter().try_fold(1_i128, |product, value| product.checked_mul(*value)) {
            Some(product) => product,
            None => return Value::Float(aggregate_doubles(aggregator, &doubles)),
        },
        "squareSum" => values.iter().map(|value| value * value).sum(),
        _ => aggregate_doubles(aggregator, &doubles).trunc() as i128,
    };
    i64::try_from(exact).map_or(Value::Float(exact as f64), Value::Int)
}

fn aggregate_doubles(aggregator: Aggregator, values: &[f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let mut numbers: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    numbers.sort_by(f64::total_cmp);
    let count = numbers.len() as f64;
    match aggregator.name() {
        "first" | "none" => return values[0],
        "last" => return values[values.len() - 1],
        "diff" => return values[values.len() - 1] - values[0],
        "mult" => return values.iter().product(),
        "count" => return count,
        _ if numbers.is_empty() => return f64::NAN,
        _ => {}
    }
    // In the order of the members, as the sums of doubles depend on it.
    let in_order = || values.iter().copied().filter(|value| !value.is_nan());
    match aggregator {
        Aggregator::Sum | Aggregator::Zimsum | Aggregator::Pfsum => in_order().sum(),
        Aggregator::Min | Aggregator::Mimmin => numbers[0],
        Aggregator::Max | Aggregator::Mimmax => numbers[numbers.len() - 1],
        Aggregator::Avg => in_order().sum::<f64>() / count,
        Aggregator::Median => numbers[numbers.len() / 2],
        Aggregator::SquareSum => in_order().map(|value| value * value).sum(),
        Aggregator::Dev => {
            let mean = in_order().sum::<f64>() / count;
            (in_order().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
        }
        Aggregator::Percentile(percentile) => {
            let share = f64::from(percentile.per_mille) / 1000.0;
            let position = match percentile.estimation {
                Estimation::Legacy => share * (count + 1.0),
                Estimation::R3 => (share * count).round_ties_even(),
                Estimation::R7 => 1.0 + share * (count - 1.0),
            };
            let position = position.clamp(1.0, count);
            let (below, above) = (numbers[position.floor() as usize - 1], numbers[position.ceil() as usize - 1]);
            below + position.fract() * (above - below)
        }
        other => panic!("{other} is done"),
    }
}
