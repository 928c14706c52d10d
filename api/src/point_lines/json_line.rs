//! Lines of JSON: the objects that `/api/put`, `/api/histogram` and `/api/rollup` take.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;
use tidemark_model::{Histogram, PointBatchBuilder};
use tidemark_query::RollupIntervals;

use crate::{
    number,
    opentsdb::query_answer::string,
    put::{
        rollup_point::{Aggregation, AggregationError},
        simple_histogram,
    },
};

/// A line. Numbers stay texts, because their type and their last bit matter.
#[derive(Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow)]
    metric: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: &'a RawValue,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tags: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow)]
    buckets: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(borrow)]
    underflow: Option<&'a RawValue>,
    #[serde(borrow)]
    overflow: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    interval: Option<Cow<'a, str>>,
    #[serde(borrow)]
    aggregator: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "groupByAggregator")]
    group_by: Option<Cow<'a, str>>,
}

type Tags<'a> = Vec<(&'a str, &'a str)>;

/// Adds what a line holds: a histogram when it has one of its fields, a value that was aggregated before it was written
/// when it says how, or else a point. Rollups may be of any interval when `rollups` does not say of which.
///
/// # Errors
/// What is wrong with the line; the batch is then unchanged.
pub(super) fn read(line: &str, batch: &mut PointBatchBuilder, rollups: Option<&RollupIntervals>) -> Result<(), String> {
    let line: JsonLine<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let timestamp = number::line_timestamp(unquoted(line.timestamp)).map_err(|error| error.to_string())?;
    let tags: Tags<'_> = line.tags.iter().map(|(key, value)| (&**key, &**value)).collect();
    if line.is_histogram() {
        let histogram = line.histogram()?;
        let pushed = batch.push_histogram(&line.metric, &mut tags.clone(), timestamp, &histogram);
        return pushed.map_err(|error| error.to_string());
    }
    let value = line.value.ok_or("`value` is missing or null")?;
    let value = number::value(unquoted(value)).map_err(|error| error.to_string())?;
    if line.is_aggregated() {
        let aggregation =
            Aggregation::of_fields(line.interval.as_deref(), line.aggregator.as_deref(), line.group_by.as_deref())?;
        let length = |interval: &str| match rollups {
            Some(rollups) => rollups.millis(interval),
            None => RollupIntervals::parse([interval]).ok()?.millis(interval),
        };
        let pushed = aggregation.push(batch, length, (&line.metric, &tags), timestamp, value);
        return pushed.map_err(|error| match error {
            AggregationError::NoSuchRollup(text) | AggregationError::Illegal(text) => text,
            AggregationError::Point(error) => error.to_string(),
        });
    }
    batch.push(&line.metric, &mut tags.clone(), timestamp, value).map_err(|error| error.to_string())
}

/// What an object has before its timestamp, and what it has behind its value.
pub(super) fn around<'a>(metric: &str, tags: impl Iterator<Item = (&'a str, &'a str)>) -> (Vec<u8>, Vec<u8>) {
    let (mut before, mut after) = (b"{\"metric\":".to_vec(), b",\"tags\":{".to_vec());
    string(&mut before, metric);
    before.extend_from_slice(b",\"timestamp\":");
    for (position, (name, value)) in tags.enumerate() {
        if position > 0 {
            after.push(b',');
        }
        string(&mut after, name);
        after.push(b':');
        string(&mut after, value);
    }
    after.extend_from_slice(b"}}\n");
    (before, after)
}

impl<'a> JsonLine<'a> {
    fn is_histogram(&self) -> bool {
        self.buckets.is_some() || self.underflow.is_some() || self.overflow.is_some() || self.id.is_some()
    }

    fn histogram(&self) -> Result<Histogram, String> {
        if let Some(value) = self.value {
            return simple_histogram::from_base64(unquoted(value));
        }
        let buckets = self.buckets.iter().flatten();
        let buckets: Vec<_> =
            buckets.map(|(bounds, count)| (bounds.to_string(), Some(unquoted(count).to_owned()))).collect();
        if buckets.is_empty() {
            return Err("a histogram without buckets needs its bytes as `value`".to_owned());
        }
        simple_histogram::from_fields(&buckets, self.underflow.map(unquoted), self.overflow.map(unquoted))
    }

    fn is_aggregated(&self) -> bool {
        self.interval.is_some() || self.aggregator.is_some() || self.group_by.is_some()
    }
}

fn unquoted(raw: &RawValue) -> &str {
    let text = raw.get();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(fields: &str) -> String {
        let line = format!(r#"{{"metric":"m","timestamp":1356998400,{fields},"tags":{{"a":"b"}}}}"#);
        let mut batch = PointBatchBuilder::default();
        let error = read(&line, &mut batch, Some(&RollupIntervals::default())).unwrap_err();
        assert!(batch.is_empty(), "{line}");
        error
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_as_it_is_for_a_body() {
        let check = |fields: &str, expect: &str| assert_eq!(error(fields), expect);
        check(r#""value":null"#, "`value` is missing or null");
        check(r#""value":1,"aggregator":"SUM""#, "Missing interval");
        check(r#""value":1,"interval":"1h","groupByAggregator":"""#, "Missing aggregator");
        check(r#""interval":"1h","aggregator":"SUM""#, "`value` is missing or null");
        check(r#""value":1,"interval":"9h","aggregator":"SUM""#, "No rollups configured for the interval: 9h");
        check(r#""buckets":{}"#, "a histogram without buckets needs its bytes as `value`");
        check(r#""underflow":1"#, "a histogram without buckets needs its bytes as `value`");
        check(r#""buckets":{"0":1}"#, "Unable to parse bucket bounds: 0");
        check(r#""id":0,"value":"AAAA""#, "Byte array shorter than 6 bytes detected: [0, 0, 0]");
    }

    #[test]
    fn whoever_has_no_intervals_of_its_own_takes_any_that_is_one() {
        let line = |interval: &str| {
            format!(
                r#"{{"metric":"m","timestamp":1356998400,"value":1,"interval":"{interval}","aggregator":"SUM","tags":{{"a":"b"}}}}"#
            )
        };
        let mut batch = PointBatchBuilder::default();
        assert_eq!(read(&line("9h"), &mut batch, None), Ok(()));
        let unknown = "No rollups configured for the interval: nine".to_owned();
        assert_eq!(read(&line("nine"), &mut batch, None), Err(unknown));
        assert_eq!(batch.len(), 1);
    }
}
