//! Bodies of histograms and of values that were aggregated before they were sent, with OpenTSDB's order of checks.

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use tidemark_model::{Histogram, PointBatchBuilder, PointRules, timestamp_ms};
use tidemark_query::RollupIntervals;

use super::{
    header_tag::HeaderTag,
    parse::ParsedBody,
    refusal_text::refusal_text,
    rejected::{Rejection, Rejections},
    rollup_point::{Aggregation, AggregationError},
    simple_histogram,
    slow::{SentPoint, each_element, scalar},
};
use crate::{error::ApiError, number};

/// Reads a body of histograms.
///
/// # Errors
/// As that of points.
pub(crate) fn parse_histograms(
    text: &str,
    rules: &PointRules,
    tag: Option<&HeaderTag>,
) -> Result<ParsedBody, ApiError> {
    parse(text, rules, tag, |sent, builder| sent.push_histogram(builder))
}

/// Reads a body of rollups and pre-aggregates.
///
/// # Errors
/// As that of points.
pub(crate) fn parse_rollups(
    text: &str,
    rules: &PointRules,
    intervals: &RollupIntervals,
    tag: Option<&HeaderTag>,
) -> Result<ParsedBody, ApiError> {
    parse(text, rules, tag, |sent, builder| sent.push_rollup(builder, intervals))
}

fn parse(
    text: &str,
    rules: &PointRules,
    tag: Option<&HeaderTag>,
    push: impl Fn(&Sent, &mut PointBatchBuilder) -> Result<(), String>,
) -> Result<ParsedBody, ApiError> {
    let mut builder = PointBatchBuilder::with_rules(rules.clone());
    let mut rejections = Rejections::default();
    each_element(text, |raw| {
        if raw.get() == "null" {
            let error = "Unexpected null datapoint encountered in set.".to_owned();
            return rejections.add(|| Rejection { datapoint: None, error });
        }
        let mut sent = Sent::default();
        let shaped = serde_json::Deserializer::from_str(raw.get()).deserialize_map(&mut sent);
        sent.point.add_tag(tag);
        let pushed = match shaped {
            Ok(()) => push(&sent, &mut builder),
            Err(error) => Err(format!("Unable to parse the datapoint: {error}")),
        };
        if let Err(error) = pushed {
            rejections.add(|| Rejection { datapoint: Some(sent.point.into_datapoint()), error });
        }
    })?;
    if builder.is_empty() && rejections.count() == 0 {
        return Err(ApiError::bad_request("No datapoints found in content"));
    }
    Ok(ParsedBody { batch: builder.finish(), rejections })
}

/// A value as it was sent.
#[derive(Default)]
struct Sent {
    point: SentPoint,
    interval: Option<String>,
    aggregator: Option<String>,
    group_by: Option<String>,
    id: Option<String>,
    buckets: Vec<(String, Option<String>)>,
    underflow: Option<String>,
    overflow: Option<String>,
}

impl<'de> Visitor<'de> for &mut Sent {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a point")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(key) = fields.next_key::<String>()? {
            let raw: &RawValue = fields.next_value()?;
            match key.as_str() {
                "interval" => self.interval = self.point.scalar("interval", raw),
                "aggregator" => self.aggregator = self.point.scalar("aggregator", raw),
                "groupByAggregator" => self.group_by = self.point.scalar("groupByAggregator", raw),
                "id" => self.id = self.point.scalar("id", raw),
                "underflow" => self.underflow = self.point.scalar("underflow", raw),
                "overflow" => self.overflow = self.point.scalar("overflow", raw),
                "buckets" => self.take_buckets(raw),
                key => self.point.take(key, raw),
            }
        }
        Ok(())
    }
}

impl Sent {
    fn take_buckets(&mut self, raw: &RawValue) {
        let mut buckets = Vec::new();
        if raw.get() != "null" {
            let read = serde_json::Deserializer::from_str(raw.get()).deserialize_map(&mut Buckets(&mut buckets));
            if let Err(error) = read {
                self.point.misshape(format!("buckets must be an object of counts: {error}"));
            }
        }
        self.buckets = buckets;
    }

    fn push_histogram(&self, builder: &mut PointBatchBuilder) -> Result<(), String> {
        let (metric, tags) = self.point.head(false)?;
        let histogram = self.histogram()?;
        let timestamp = timestamp_ms(self.point.timestamp);
        builder.push_histogram(metric, &mut tags.clone(), timestamp, &histogram).map_err(|error| {
            let value = self.point.value.as_deref().unwrap_or("{}");
            refusal_text(&error, metric, self.point.timestamp, value, &tags)
        })
    }

    fn histogram(&self) -> Result<Histogram, String> {
        match self.point.value.as_deref().filter(|value| !value.is_empty()) {
            None if self.buckets.is_empty() => {
                Err("Histogram buckets cannot be null or empty if 'value' is empty.".to_owned())
            }
            None => simple_histogram::from_fields(&self.buckets, self.underflow.as_deref(), self.overflow.as_deref()),
            Some(value) => {
                let id = self.id.as_deref().map_or(Ok(0), str::parse::<i64>);
                if !matches!(id, Ok(0..=255)) {
                    return Err("Invalid type. Must be from 0 to 255.".to_owned());
                }
                simple_histogram::from_base64(value)
            }
        }
    }

    fn push_rollup(&self, builder: &mut PointBatchBuilder, intervals: &RollupIntervals) -> Result<(), String> {
        let (metric, tags) = self.point.head(true)?;
        let aggregation =
            Aggregation::of_fields(self.interval.as_deref(), self.aggregator.as_deref(), self.group_by.as_deref())?;
        let text = self.point.value.as_deref().unwrap_or_default();
        let value = number::value(text).map_err(|_| "Unable to parse value to a number")?;
        let timestamp = timestamp_ms(self.point.timestamp);
        let length = |interval: &str| intervals.millis(interval);
        aggregation.push(builder, length, (metric, &tags), timestamp, value).map_err(|error| match error {
            AggregationError::NoSuchRollup(text) | AggregationError::Illegal(text) => text,
            AggregationError::Point(error) => refusal_text(&error, metric, self.point.timestamp, text, &tags),
        })
    }
}

/// Bounds and counts.
struct Buckets<'a>(&'a mut Vec<(String, Option<String>)>);

/// Fields of buckets beyond this are too many anyhow.
const BUCKETS_READ_MAX: usize = 2 * tidemark_model::HISTOGRAM_BUCKETS_MAX;

impl<'de> Visitor<'de> for &mut Buckets<'_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("buckets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(key) = fields.next_key::<String>()? {
            let raw: &RawValue = fields.next_value()?;
            let count = scalar(raw).map_err(serde::de::Error::custom)?;
            if self.0.len() >= BUCKETS_READ_MAX {
                return Err(serde::de::Error::custom("there are too many"));
            }
            self.0.push((key, count));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parsed: ParsedBody) -> (Vec<String>, Vec<String>) {
        let batch = &parsed.batch;
        let show = |point: tidemark_model::PointRef| {
            let key = batch.series_key(point.series).to_string().replace('\u{1}', "^");
            format!("{key} {} {}", point.timestamp, point.value)
        };
        let errors = parsed.rejections.described().iter().map(|rejection| rejection.error.clone()).collect();
        (batch.points().map(show).collect(), errors)
    }

    fn histogram(fields: &str) -> (Vec<String>, Vec<String>) {
        let body = format!(r#"{{"metric":"m","timestamp":1356998400,"tags":{{"a":"b"}},{fields}}}"#);
        of(parse_histograms(&body, &PointRules::default(), None).unwrap())
    }

    fn rollup(fields: &str) -> (Vec<String>, Vec<String>) {
        let body = format!(r#"[{{"metric":"m","timestamp":1356998400,"value":"1.5","tags":{{"a":"b"}},{fields}}}]"#);
        of(parse_rollups(&body, &PointRules::default(), &RollupIntervals::default(), None).unwrap())
    }

    #[test]
    fn both_forms_of_a_histogram_are_read() {
        let (points, errors) = histogram(r#""buckets":{"0,1.75":12,"1.75,3.5":"16"},"underflow":1,"overflow":2"#);
        assert_eq!((points.len(), errors.len()), (5, 0));
        assert_eq!(points.get(1).unwrap(), "^h/m{^part=^underflow,a=b} 1356998400000 1");
        assert!(points.get(4).unwrap().ends_with("_1.75_3.5,a=b} 1356998400000 16"), "{points:?}");
        let encoded = histogram(r#""id":42,"value":"AAIAAAAAP+AAAAw/4AAAQGAAABABAg==""#);
        assert_eq!(encoded, (points, errors));
    }

    #[test]
    fn a_wrong_histogram_is_refused_in_opentsdbs_words() {
        let check = |fields: &str, expect: &str| assert_eq!(histogram(fields), (vec![], vec![expect.to_owned()]));
        check(r#""x":1"#, "Histogram buckets cannot be null or empty if 'value' is empty.");
        check(r#""buckets":{}"#, "Histogram buckets cannot be null or empty if 'value' is empty.");
        check(r#""buckets":{"0":1}"#, "Unable to parse bucket bounds: 0");
        check(r#""id":256,"value":"AAAA""#, "Invalid type. Must be from 0 to 255.");
        check(r#""id":1,"value":"AAAA""#, "Byte array shorter than 6 bytes detected: [0, 0, 0]");
        let bare = |body: &str, expect: &str| {
            assert_eq!(
                of(parse_histograms(body, &PointRules::default(), None).unwrap()),
                (vec![], vec![expect.to_owned()])
            );
        };
        bare("{}", "Metric name was empty");
        bare(r#"{"metric":"m"}"#, "Invalid timestamp");
        bare(r#"{"metric":"m","timestamp":1}"#, "Missing tags");
        bare("[null]", "Unexpected null datapoint encountered in set.");
        bare(
            r#"{"metric":"m:","timestamp":1,"tags":{"a":"b"},"buckets":{"0,1":1}}"#,
            "Invalid metric name (\"m:\"): illegal character: :",
        );
        assert_eq!(
            parse_histograms("[]", &PointRules::default(), None).unwrap_err().message(),
            "No datapoints found in content"
        );
    }

    #[test]
    fn rollups_and_aggregates_are_read() {
        let (points, _) = rollup(r#""interval":"1h","aggregator":"SUM""#);
        assert_eq!(points, ["^r/1h/SUM/m{a=b} 1356998400000 1.5"]);
        let (points, _) = rollup(r#""groupByAggregator":"sum""#);
        assert_eq!(points, ["^a/m{_aggregate=SUM,a=b} 1356998400000 1.5"]);
        let check = |fields: &str, expect: &str| assert_eq!(rollup(fields), (vec![], vec![expect.to_owned()]));
        check(r#""aggregator":"SUM""#, "Missing interval");
        check(r#""interval":"1h""#, "Missing aggregator");
        check(r#""interval":"9h","aggregator":"SUM""#, "No rollups configured for the interval: 9h");
    }
}
