//! Reads any JSON of points, with OpenTSDB's rules, in OpenTSDB's order, with OpenTSDB's texts.
//!
//! Points are read one after the other: a body of a million tiny elements needs no more memory than its batch.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tidemark_model::{PointBatchBuilder, PointRules, Value, timestamp_ms};

use super::{
    header_tag::HeaderTag,
    parse::ParsedBody,
    refusal_text::refusal_text,
    rejected::{Datapoint, Rejection, Rejections},
};
use crate::{error::ApiError, number};

/// Reads a body of one point or an array of points.
///
/// # Errors
/// 400 when the body is no JSON, or has no point. Bad points are no error of the body.
pub(crate) fn parse(text: &str, rules: &PointRules, tag: Option<&HeaderTag>) -> Result<ParsedBody, ApiError> {
    let mut builder = PointBatchBuilder::with_rules(rules.clone());
    let mut rejections = Rejections::default();
    each_element(text, |raw| take(raw, tag, &mut builder, &mut rejections))?;
    if builder.is_empty() && rejections.count() == 0 {
        return Err(ApiError::bad_request("No datapoints found in content"));
    }
    Ok(ParsedBody { batch: builder.finish(), rejections })
}

/// Calls `each` with the element that a body is, or with each one of an array.
///
/// # Errors
/// 400 when the body is no JSON, or neither an object nor an array.
pub(super) fn each_element(text: &str, mut each: impl FnMut(&RawValue)) -> Result<(), ApiError> {
    let first = text.bytes().find(|byte| !byte.is_ascii_whitespace());
    let read = match first {
        None => return Err(ApiError::bad_request("Missing request content")),
        Some(b'{') => serde_json::from_str::<&RawValue>(text).map(each),
        Some(b'[') => {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            Elements(&mut each).deserialize(&mut deserializer).and_then(|()| deserializer.end())
        }
        Some(_) => return Err(ApiError::bad_request("The JSON must start as an object or an array")),
    };
    read.map_err(|error| ApiError::bad_request("Unable to parse the given JSON").details(error.to_string()))
}

struct Elements<'a, F>(&'a mut F);

impl<'de, F: FnMut(&RawValue)> DeserializeSeed<'de> for Elements<'_, F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&RawValue)> Visitor<'de> for Elements<'_, F> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array of points")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(raw) = elements.next_element::<&RawValue>()? {
            (self.0)(raw);
        }
        Ok(())
    }
}

fn take(raw: &RawValue, tag: Option<&HeaderTag>, builder: &mut PointBatchBuilder, rejections: &mut Rejections) {
    if raw.get() == "null" {
        let error = "Unexpected null datapoint encountered in set.".to_owned();
        return rejections.add(|| Rejection { datapoint: None, error });
    }
    let mut point = SentPoint::default();
    let shaped = serde_json::Deserializer::from_str(raw.get()).deserialize_map(&mut point);
    point.add_tag(tag);
    let pushed = match shaped {
        Ok(()) => point.push(builder),
        Err(error) => Err(format!("Unable to parse the datapoint: {error}")),
    };
    if let Err(error) = pushed {
        rejections.add(|| Rejection { datapoint: Some(point.into_datapoint()), error });
    }
}

/// A point as it was sent; of a key that comes twice the last value counts.
#[derive(Default)]
pub(super) struct SentPoint {
    metric: Option<String>,
    pub(super) timestamp: i64,
    pub(super) value: Option<String>,
    tags: Option<Vec<(String, Option<String>)>>,
    /// What is wrong with the shape of a field, noticed only when nothing that OpenTSDB checks first is.
    misshapen: Option<String>,
}

impl<'de> Visitor<'de> for &mut SentPoint {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a point")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(key) = fields.next_key::<String>()? {
            let raw: &RawValue = fields.next_value()?;
            self.take(&key, raw);
        }
        Ok(())
    }
}

/// A metric and its tags.
pub(super) type Head<'a> = (&'a str, Vec<(&'a str, &'a str)>);

impl SentPoint {
    /// Takes a field; one that no point has is ignored.
    pub(super) fn take(&mut self, key: &str, raw: &RawValue) {
        match key {
            "metric" => self.metric = self.scalar("metric", raw),
            "timestamp" => self.timestamp = timestamp(raw),
            "value" => self.value = self.scalar("value", raw),
            "tags" => self.tags = self.tags(raw),
            _ => {}
        }
    }

    /// Adds the tag of a header.
    pub(super) fn add_tag(&mut self, tag: Option<&HeaderTag>) {
        if let Some(HeaderTag { key, value }) = tag {
            let tags = self.tags.get_or_insert_default();
            tags.retain(|(sent, _)| sent != key);
            tags.push((key.clone(), Some(value.clone())));
        }
    }

    /// Remembers that a field has not the shape that it must have.
    pub(super) fn misshape(&mut self, problem: String) {
        self.misshapen.get_or_insert(problem);
    }

    /// The text of a string, number or boolean; `None` for null.
    pub(super) fn scalar(&mut self, field: &str, raw: &RawValue) -> Option<String> {
        match scalar(raw) {
            Ok(text) => text,
            Err(shape) => {
                self.misshapen.get_or_insert_with(|| format!("{field} must be a string or a number, not {shape}"));
                Some(String::new())
            }
        }
    }

    fn tags(&mut self, raw: &RawValue) -> Option<Vec<(String, Option<String>)>> {
        if raw.get() == "null" {
            return None;
        }
        let mut tags = TagList::default();
        if let Err(error) = serde_json::Deserializer::from_str(raw.get()).deserialize_map(&mut tags) {
            self.misshapen.get_or_insert_with(|| format!("tags must be an object of strings: {error}"));
        }
        Some(tags.0)
    }

    /// Metric and tags, after the checks that OpenTSDB makes of everything, in its order.
    pub(super) fn head(&self, needs_value: bool) -> Result<Head<'_>, String> {
        if let Some(misshapen) = &self.misshapen {
            return Err(misshapen.clone());
        }
        let metric = self.metric.as_deref().filter(|metric| !metric.is_empty()).ok_or("Metric name was empty")?;
        if self.timestamp <= 0 {
            return Err("Invalid timestamp".to_owned());
        }
        if needs_value && self.value.as_deref().is_none_or(str::is_empty) {
            return Err("Empty value".to_owned());
        }
        let tags = self.tags.as_ref().filter(|tags| !tags.is_empty()).ok_or("Missing tags")?;
        let mut named = Vec::with_capacity(tags.len());
        for (key, value) in tags {
            let value = value.as_deref().ok_or_else(|| format!("Invalid tag value with key [{key}]: null"))?;
            named.push((key.as_str(), value));
        }
        Ok((metric, named))
    }

    /// Checks in OpenTSDB's order.
    fn push(&self, builder: &mut PointBatchBuilder) -> Result<(), String> {
        // A value that is no number is said before a tag that is null, as OpenTSDB does.
        let text = self.value.as_deref().unwrap_or_default();
        let value = number::value(text).map_err(|_| "Unable to parse value to a number".to_owned());
        let (metric, named) = match (self.head(true), &value) {
            (Err(error), Err(no_number)) if error.ends_with("]: null") => return Err(no_number.clone()),
            (head, _) => head?,
        };
        let value: Value = value?;
        // The builder sorts its tags; the texts show them as they were sent.
        builder.push(metric, &mut named.clone(), timestamp_ms(self.timestamp), value).map_err(|error| {
            let text = text.trim_start_matches('+');
            refusal_text(&error, metric, self.timestamp, text, &named)
        })
    }

    pub(super) fn into_datapoint(self) -> Datapoint {
        Datapoint { metric: self.metric, timestamp: self.timestamp, value: self.value, tags: self.tags }
    }
}

/// Tags in the order in which they came; of a key that comes twice the last value counts.
#[derive(Default)]
struct TagList(Vec<(String, Option<String>)>);

/// Tags above this number are found by the limit on tags anyhow; looking for repeated keys among them is not worth it.
const TAGS_SCANNED_MAX: usize = 256;

impl<'de> Visitor<'de> for &mut TagList {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("tags")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(key) = fields.next_key::<String>()? {
            let raw: &RawValue = fields.next_value()?;
            let value = scalar(raw).map_err(serde::de::Error::custom)?;
            let known = self.0.iter_mut().take(TAGS_SCANNED_MAX).find(|(known, _)| *known == key);
            match known {
                Some((_, before)) => *before = value,
                None => self.0.push((key, value)),
            }
        }
        Ok(())
    }
}

/// The text of a scalar; `None` for null.
pub(super) fn scalar(raw: &RawValue) -> Result<Option<String>, &'static str> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map(Some).map_err(|_| "a string with a broken escape"),
        Some(b'{') => Err("an object"),
        Some(b'[') => Err("an array"),
        _ if text == "null" => Ok(None),
        _ => Ok(Some(text.to_owned())),
    }
}

/// A timestamp; 0, which is refused, for what is none.
fn timestamp(raw: &RawValue) -> i64 {
    let Ok(Some(text)) = scalar(raw) else { return 0 };
    match text.parse::<i64>() {
        Ok(timestamp) => timestamp,
        // Fractions are cut off, and what is too large stays too large.
        Err(_) => text.parse::<f64>().ok().filter(|float| float.is_finite()).map_or(0, |float| float as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(point: &str, expect: &str) {
        let parsed = parse(point, &PointRules::default(), None).unwrap();
        let errors: Vec<_> = parsed.rejections.described().iter().map(|rejection| rejection.error.as_str()).collect();
        assert_eq!(errors, [expect], "{point}");
        assert!(parsed.batch.is_empty());
    }

    #[test]
    fn the_first_broken_rule_is_named_in_opentsdbs_words() {
        check("[null]", "Unexpected null datapoint encountered in set.");
        check("{}", "Metric name was empty");
        check(r#"{"metric":"","timestamp":-1}"#, "Metric name was empty");
        check(r#"{"metric":"m"}"#, "Invalid timestamp");
        check(r#"{"metric":"m","timestamp":"x"}"#, "Invalid timestamp");
        check(r#"{"metric":"m","timestamp":1}"#, "Empty value");
        check(r#"{"metric":"m","timestamp":1,"value":""}"#, "Empty value");
        check(r#"{"metric":"m","timestamp":1,"value":"x"}"#, "Missing tags");
        let tagged = |value: &str| format!(r#"{{"metric":"m","timestamp":1,"value":{value},"tags":{{"a":"b"}}}}"#);
        for value in ["\"x\"", "\"NaN\"", "9223372036854775808", "true", "\" 1\"", "\"0x10\""] {
            check(&tagged(value), "Unable to parse value to a number");
        }
        check(&tagged("1e400"), "value is NaN or Infinite: Infinity for metric=m timestamp=1");
        check(
            r#"{"metric":"m","timestamp":10000000000000,"value":1,"tags":{"a":"b"}}"#,
            "bad timestamp=10000000000000 when trying to add value=1 to metric=m, tags={a=b}",
        );
        check(r#"{"metric":"m","timestamp":1,"value":1,"tags":{"a":null}}"#, "Invalid tag value with key [a]: null");
        check(
            r#"{"metric":["m"],"timestamp":1,"value":1,"tags":{"a":"b"}}"#,
            "metric must be a string or a number, not an array",
        );
    }

    #[test]
    fn whole_bodies_that_are_wrong_are_refused() {
        let check = |body: &str, expect: &str| {
            assert_eq!(parse(body, &PointRules::default(), None).unwrap_err().message(), expect, "{body}")
        };
        check("", "Missing request content");
        check(" \n ", "Missing request content");
        check("[]", "No datapoints found in content");
        check("put x", "The JSON must start as an object or an array");
        check("\"x\"", "The JSON must start as an object or an array");
        check("[{]", "Unable to parse the given JSON");
        check("[{}", "Unable to parse the given JSON");
        check("[{}] x", "Unable to parse the given JSON");
        check("{} {}", "Unable to parse the given JSON");
        check(&"[".repeat(100_000), "Unable to parse the given JSON");
    }

    #[test]
    fn good_points_beside_bad_ones_are_kept_and_odd_spellings_are_read() {
        let parsed = parse(
            r#"[{"metric":"\u006d","timestamp":"1356998400","value":"4.5","tags":{"a":1,"a":"b"},"x":[{}]},
                {"metric":"m","timestamp":1356998400.9,"value":"+7","tags":{"a":true}}, null]"#,
            &PointRules::default(),
            None,
        )
        .unwrap();
        assert_eq!(parsed.rejections.count(), 1);
        let points: Vec<_> = parsed.batch.points().map(|point| (point.timestamp, point.value)).collect();
        assert_eq!(points, [(1_356_998_400_000, Value::Float(4.5)), (1_356_998_400_000, Value::Int(7))]);
        assert_eq!(parsed.batch.series_key(0).to_string(), "m{a=b}");
        assert_eq!(parsed.batch.series_key(1).to_string(), "m{a=true}");
    }

    #[test]
    fn a_body_of_mistakes_is_counted_in_full_and_described_in_part() {
        let body = format!("[{}]", vec!["0"; 50_000].join(","));
        let parsed = parse(&body, &PointRules::default(), None).unwrap();
        assert_eq!(parsed.rejections.count(), 50_000);
        assert_eq!(parsed.rejections.described().len(), super::super::rejected::DESCRIBED_MAX);
    }
}
