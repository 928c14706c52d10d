//! Where an answer differs from what is expected.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_model::Value;
use tidemark_query::{Aggregator, GroupResult, SubQuery};

use crate::evaluate::Answer;

pub(crate) fn compare(found: &[GroupResult], expected: &[Answer], sub_query: &SubQuery) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} groups in place of {}\nfound {found:?}", found.len(), expected.len()));
    }
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        compare_group(found, expected, sub_query)
            .map_err(|difference| format!("group {number}: {difference}\nfound    {found:?}\nexpected {expected:?}"))?;
    }
    Ok(())
}

fn compare_group(found: &GroupResult, expected: &Answer, sub_query: &SubQuery) -> Result<(), String> {
    let tags: BTreeMap<String, String> = found.tags.iter().cloned().collect();
    let tsuids: BTreeSet<String> = found.tsuids.iter().map(ToString::to_string).collect();
    if tags != expected.tags || !found.aggregate_tags.iter().eq(&expected.aggregate_tags) {
        return Err("tags".to_owned());
    }
    if tsuids != expected.tsuids {
        return Err("series ids".to_owned());
    }
    if !found.timestamps.iter().eq(expected.points.keys()) {
        return Err("timestamps".to_owned());
    }
    let scale = expected.points.values().map(|value| value.as_f64().abs()).filter(|value| value.is_finite());
    let scale = scale.fold(1.0, f64::max);
    for (value, (time, expect)) in found.values.iter().zip(&expected.points) {
        if !is_same(value, *expect, sub_query, scale) {
            return Err(format!("at {time}: {value:?} in place of {expect:?}"));
        }
    }
    Ok(())
}

/// Equal but for rounding. `scale` is the largest value of the group.
fn is_same(found: Value, expect: Value, sub_query: &SubQuery, scale: f64) -> bool {
    let function = sub_query.downsample.map(|downsample| downsample.function);
    let deviates = [Some(sub_query.aggregator), function].contains(&Some(Aggregator::Dev));
    let is_estimate = matches!(sub_query.aggregator, Aggregator::Percentile(_));
    if let (Value::Int(found), Value::Int(expect), false) = (found, expect, deviates || is_estimate) {
        return found == expect;
    }
    if found.is_int() != expect.is_int() {
        return false;
    }
    let (found, expect) = (found.as_f64(), expect.as_f64());
    // Two ways to a deviation differ by what they cancel, and may truncate to different sides of an integer.
    let slack = if deviates { 1e-7 * scale + 1.0 } else { 0.0 };
    deviates && !found.is_finite() && !expect.is_finite()
        || found == expect
        || found.is_nan() && expect.is_nan()
        || (found - expect).abs() <= 1e-9 * found.abs().max(expect.abs()).max(1e-3) + slack
}
