//! From series to answers: selected, grouped, each downsampled and made a rate, aggregated instant by instant.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_model::SeriesKey;
use tidemark_query::{Aggregator, Fill, SubQuery};

use crate::{
    case::{Case, Points},
    downsample::downsampled,
    filters,
    instants::value_at,
    rate::rates,
    store::tsuid,
};

/// How far around the window a point may be and still count, in milliseconds.
pub(crate) const AROUND_MS: i64 = 3_600_000;

/// What is expected of one group.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) aggregate_tags: BTreeSet<String>,
    pub(crate) tsuids: BTreeSet<String>,
    pub(crate) points: Points,
}

/// A series of a group.
pub(crate) struct Member<'a> {
    key: &'a SeriesKey,
    number: usize,
    /// After downsampling and rate, with those around the window.
    pub(crate) points: Points,
}

/// The groups in the order of the values of their group-by keys; without an aggregator, in that of the series.
pub(crate) fn answers(case: &Case) -> Vec<Answer> {
    let sub_query = case.sub_query();
    let grouping: BTreeSet<&str> =
        sub_query.filters().iter().filter(|filter| filter.group_by()).map(|filter| filter.key()).collect();
    let mut groups: BTreeMap<Vec<Option<&str>>, Vec<Member<'_>>> = BTreeMap::new();
    for (number, (key, points)) in case.series.iter().enumerate() {
        if filters::selects(sub_query, key, &tsuid(number)) {
            let group = match sub_query.aggregator {
                Aggregator::None => vec![Some(key.as_str())],
                _ => grouping.iter().map(|tag| key.tag(tag)).collect(),
            };
            groups.entry(group).or_default().push(Member { key, number, points: transformed(case, points) });
        }
    }
    groups.into_values().filter_map(|members| answer(case, members)).collect()
}

/// Downsampling first, the rate of that then, unless it is wanted the other way round.
fn transformed(case: &Case, points: &Points) -> Points {
    let sub_query = case.sub_query();
    let points = match sub_query.downsample {
        Some(downsample) => downsampled(case, points, downsample),
        None => {
            let looks_around = interpolates(sub_query);
            let looks_back = looks_around || sub_query.rate.is_some();
            let from = case.query.start - if looks_back { AROUND_MS } else { 0 };
            let until = case.query.end + if looks_around { AROUND_MS } else { 0 };
            points.range(from..=until).map(|(time, value)| (*time, *value)).collect()
        }
    };
    match sub_query.rate {
        Some(options) if sub_query.downsample.is_none() || !options.pre_downsample => rates(&points, options),
        _ => points,
    }
}

fn answer(case: &Case, mut members: Vec<Member<'_>>) -> Option<Answer> {
    let (query, sub_query) = (&case.query, case.sub_query());
    let window = query.start..=query.end;
    // A series that only begins after the window says that doubles come.
    let in_doubles = interpolates(sub_query)
        && members
            .iter()
            .filter_map(|member| member.points.iter().next())
            .any(|(first, value)| *first > query.end && !value.is_int());
    // A series takes part when it has a point in the window, or lies around it and has values there by interpolation.
    members.retain(|member| {
        let (Some(first), Some(last)) = (member.points.keys().next(), member.points.keys().last()) else {
            return false;
        };
        let is_around = *first <= query.end && *last >= query.start;
        member.points.range(window.clone()).next().is_some() || is_around && interpolates(sub_query)
    });
    let instants: BTreeSet<i64> =
        members.iter().flat_map(|member| member.points.range(window.clone())).map(|(time, _)| *time).collect();
    let mut points: Points = instants.iter().map(|at| (*at, value_at(*at, &members, in_doubles, sub_query))).collect();
    if !query.ms_resolution {
        // The last one of a second stands for it.
        points = points.iter().map(|(time, value)| (time.div_euclid(1000) * 1000, *value)).collect();
    }
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (key, value) in members.iter().flat_map(|member| member.key.tags()) {
        values.entry(key).or_default().insert(value);
    }
    let (same, different): (Vec<_>, Vec<_>) = values.iter().partition(|(_, values)| values.len() == 1);
    (!points.is_empty()).then(|| Answer {
        tags: same.iter().map(|(key, values)| (key.to_string(), values.first().unwrap().to_string())).collect(),
        aggregate_tags: different.iter().map(|(key, _)| key.to_string()).collect(),
        tsuids: members.iter().map(|member| tsuid(member.number).to_string()).collect(),
        points,
    })
}

/// Whether a series without a point in the window may still change what the group has there: not when nothing is
/// interpolated, and not when what it would contribute is nothing.
pub(crate) fn interpolates(sub_query: &SubQuery) -> bool {
    let contributes_nothing =
        sub_query.rate.is_none() && ["zimsum", "squareSum", "mimmin", "mimmax"].contains(&sub_query.aggregator.name());
    !is_filled(sub_query) && !is_aligned(sub_query) && !contributes_nothing && sub_query.aggregator != Aggregator::None
}

/// Whether nothing is between the buckets of a member.
pub(crate) fn is_aligned(sub_query: &SubQuery) -> bool {
    sub_query.align_first && sub_query.downsample.is_some() && !is_filled(sub_query)
}

fn is_filled(sub_query: &SubQuery) -> bool {
    sub_query.downsample.is_some_and(|downsample| downsample.fill != Fill::None)
}
