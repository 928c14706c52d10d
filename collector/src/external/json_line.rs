//! scollector's JSON lines: a point, or one thing that is known of a metric.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;
use tidemark_model::{MetricMetadata, NameKind, PointError, RateKind};

use super::line::{LineError, parse_timestamp, parse_value};
use crate::gathering::Gathering;

/// Both kinds at once: a point has a timestamp, metadata have a name. Numbers are kept as they are written.
#[derive(Deserialize)]
struct JsonLine<'a> {
    #[serde(alias = "Metric", default)]
    metric: String,
    #[serde(alias = "Timestamp", borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(alias = "Value", borrow)]
    value: Option<&'a RawValue>,
    #[serde(alias = "Tags", default)]
    tags: Option<BTreeMap<String, String>>,
    #[serde(alias = "Name", default)]
    name: String,
}

pub(super) fn take(line: &str, out: &mut Gathering<'_>) -> Result<(), LineError> {
    let line: JsonLine<'_> = serde_json::from_str(line).map_err(|error| LineError::Json(error.to_string()))?;
    match (line.timestamp, line.value) {
        (Some(timestamp), Some(value)) => take_point(&line, timestamp, value, out),
        (None, Some(value)) if !line.name.is_empty() => take_metadata(&line, &text_of(value), out),
        _ => Err(LineError::Json("neither a point nor metadata of a metric".to_owned())),
    }
}

/// What a text says, or a number or word as it is written.
fn text_of(json: &RawValue) -> Cow<'_, str> {
    serde_json::from_str(json.get()).map_or(Cow::Borrowed(json.get()), Cow::Owned)
}

/// A tag `host` with an empty value keeps the agent's own away.
fn take_point(
    line: &JsonLine<'_>,
    timestamp: &RawValue,
    value: &RawValue,
    out: &mut Gathering<'_>,
) -> Result<(), LineError> {
    let (timestamp, value) = (text_of(timestamp), text_of(value));
    let at = parse_timestamp(&timestamp).ok_or_else(|| LineError::Timestamp(timestamp.into_owned()))?;
    let value = parse_value(&value).ok_or_else(|| LineError::Value(value.into_owned()))?;
    let tags = line.tags.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    Ok(out.push(&line.metric, tags, at, value)?)
}

fn take_metadata(line: &JsonLine<'_>, value: &str, out: &mut Gathering<'_>) -> Result<(), LineError> {
    let metric = &line.metric;
    let checked = out.characters().check(metric);
    checked.map_err(|reason| PointError::Name { kind: NameKind::Metric, name: metric.clone(), reason })?;
    let mut entry = MetricMetadata { metric: metric.clone(), ..MetricMetadata::default() };
    match line.name.as_str() {
        "unit" => entry.unit = value.to_owned(),
        "desc" => entry.description = value.to_owned(),
        "rate" => {
            entry.rate =
                Some(RateKind::from_word(value).ok_or_else(|| LineError::Json(format!("rate `{value}` is unknown")))?)
        }
        name => return Err(LineError::Json(format!("metadata `{name}` is none of `unit`, `rate`, `desc`"))),
    }
    out.add_metadata(entry);
    Ok(())
}

#[cfg(test)]
mod tests {
    use tidemark_model::Value;

    use super::*;
    use crate::builtin::fixture::{Fixture, value};

    fn take_all(lines: &[&str]) -> crate::gathering::Gathered {
        Fixture::default().gather(|out| {
            for line in lines {
                assert_eq!(take(line, out), Ok(()), "{line}");
            }
        })
    }

    #[test]
    fn points_may_have_numbers_or_texts() {
        let gathered = take_all(&[
            r#"{"metric":"a","timestamp":1795343205,"value":1,"tags":{"x":"y"}}"#,
            r#"{"metric":"b","timestamp":"1795343205123","value":"2.5","tags":null}"#,
            r#"{"metric":"c","timestamp":1795343205,"value":true,"tags":{"host":"","x":"y"}}"#,
        ]);
        assert_eq!(value(&gathered, "a{host=h,x=y}"), Some(Value::Int(1)));
        assert_eq!(value(&gathered, "b{host=h}"), Some(Value::Float(2.5)));
        assert_eq!(value(&gathered, "c{x=y}"), Some(Value::Int(1)));
        let times: Vec<i64> = gathered.batch.points().map(|point| point.timestamp).collect();
        assert_eq!(times, [1_795_343_205_000, 1_795_343_205_123, 1_795_343_205_000]);
    }

    #[test]
    fn metadata_of_a_metric_come_together() {
        let gathered = take_all(&[
            r#"{"metric":"a","name":"unit","value":"bytes"}"#,
            r#"{"Metric":"a","Name":"rate","Value":"counter"}"#,
            r#"{"metric":"a","tags":{"host":"x"},"name":"desc","value":"Bytes of a."}"#,
        ]);
        let expect = MetricMetadata {
            metric: "a".into(),
            unit: "bytes".into(),
            rate: Some(RateKind::Counter),
            description: "Bytes of a.".into(),
        };
        assert_eq!(gathered.metadata, [expect]);
    }

    #[test]
    fn what_is_neither_is_refused() {
        Fixture::default().gather(|out| {
            for line in [
                "{",
                "{}",
                r#"{"metric":"a","value":1}"#,
                r#"{"metric":"a","timestamp":1795343205}"#,
                r#"{"metric":"a","timestamp":true,"value":1}"#,
                r#"{"metric":"a!","timestamp":1795343205,"value":1}"#,
                r#"{"metric":"a","timestamp":1795343205,"value":"x"}"#,
                r#"{"metric":"a","name":"owner","value":"me"}"#,
                r#"{"metric":"a","timestamp":1795343205,"value":[1]}"#,
                r#"{"metric":"a","name":"rate","value":"often"}"#,
                r#"{"tags":{"host":"x"},"name":"model","value":"R720"}"#,
            ] {
                assert!(take(line, out).is_err(), "{line}");
            }
        });
    }
}
