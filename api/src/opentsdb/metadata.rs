//! What scollector and the agent say about their metrics and hosts: Bosun's `/api/metadata/…`.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidemark_model::{DescribedMetric, MetricMetadata, NameCharacters, RateKind, TagMetadata, TimestampMs};

use super::wire::{self, Text};
use crate::{error::ApiError, http::query_string::QueryString, state::AppState};

/// Longest description that is kept.
const DESCRIPTION_CHARACTERS_MAX: usize = 1_000;
/// Metrics that are read at once.
const METRICS_PER_PAGE: usize = 1_000;
/// Longest name of something that is known of what tags name.
const NAME_CHARACTERS_MAX: usize = 100;

/// One thing about a metric, or about the thing that tags name.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "PascalCase")]
struct MetadataEntry {
    metric: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    name: Option<String>,
    value: Option<Value>,
}

/// What is known of a metric.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricView<'a> {
    desc: &'a str,
    unit: &'a str,
    rate: &'a str,
    /// Seconds since the epoch.
    last_touched: i64,
    tag_keys: &'a [String],
}

impl<'a> From<&'a DescribedMetric> for MetricView<'a> {
    fn from(described: &'a DescribedMetric) -> Self {
        let DescribedMetric { metadata, touched_ms, tag_keys } = described;
        Self {
            desc: &metadata.description,
            unit: &metadata.unit,
            rate: metadata.rate.map_or("", RateKind::as_str),
            last_touched: touched_ms / 1000,
            tag_keys,
        }
    }
}

/// Merges entries. The answer is 204, on which scollector insists.
pub(crate) async fn put(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let entries: Vec<MetadataEntry> = wire::read_long_json(&request, payload, &state).await?;
    let (metrics, tags) = sort(entries, &state.options.opentsdb.point_rules.characters);
    if !metrics.is_empty() {
        state.seams.metadata.put_metadata(metrics).await?;
    }
    if !tags.is_empty() {
        state.seams.described.put_tag_metadata(tags).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}

/// What is said of metrics, merged, and what is said of the things that tags name. What makes no sense is left out, as
/// Bosun does: collectors send all of it again and again, and stop at an error.
fn sort(entries: Vec<MetadataEntry>, characters: &NameCharacters) -> (Vec<MetricMetadata>, Vec<TagMetadata>) {
    let mut metrics: BTreeMap<String, MetricMetadata> = BTreeMap::new();
    let mut tags = Vec::new();
    for MetadataEntry { metric, tags: of, name, value } in entries {
        let (Some(name), Some(value)) = (name, value) else { continue };
        let metric = metric.filter(|metric| !metric.is_empty());
        let (Some(metric), "unit" | "rate" | "desc") = (metric, name.as_str()) else {
            tags.extend(of_tags(of, name, value, characters));
            continue;
        };
        let Some(value) = serde_json::from_value::<Text>(value).ok().filter(|_| characters.check(&metric).is_ok())
        else {
            continue;
        };
        let text: String = value.0.chars().take(DESCRIPTION_CHARACTERS_MAX).collect();
        let metadata = metrics
            .entry(metric)
            .or_insert_with_key(|metric| MetricMetadata { metric: metric.clone(), ..MetricMetadata::default() });
        match name.as_str() {
            "unit" => metadata.unit = text,
            "rate" => metadata.rate = RateKind::from_word(&text).or(metadata.rate),
            _ => metadata.description = text,
        }
    }
    (metrics.into_values().collect(), tags)
}

fn of_tags(
    tags: Option<BTreeMap<String, String>>,
    name: String,
    value: Value,
    characters: &NameCharacters,
) -> Option<TagMetadata> {
    let tags: Vec<(String, String)> = tags?.into_iter().collect();
    let are_legal = tags.iter().flat_map(|(key, value)| [key, value]).all(|name| characters.check(name).is_ok());
    let is_legal = !name.is_empty() && name.chars().count() <= NAME_CHARACTERS_MAX && !name.contains(char::is_control);
    if tags.is_empty() || !are_legal || !is_legal {
        return None;
    }
    let value = match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let value = value.chars().take(DESCRIPTION_CHARACTERS_MAX).collect();
    Some(TagMetadata { tags, name, value, touched_ms: 0 })
}

/// What is known of a metric, one entry a field, or of what tags name.
pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    if query.get("metric").is_none_or(str::is_empty) && query.has("tagk") {
        return of_asked_tags(&query, &state).await;
    }
    let metric = query.required("metric")?;
    let Some(known) = state.seams.metadata.metadata(metric).await? else { return Err(not_found(metric)) };
    let fields = [
        ("desc", known.description.as_str()),
        ("unit", &known.unit),
        ("rate", known.rate.map_or("", RateKind::as_str)),
    ];
    let entries: Vec<_> = fields
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| json!({ "Metric": metric, "Name": name, "Value": value }))
        .collect();
    Ok(wire::json(&entries))
}

async fn of_asked_tags(query: &QueryString, state: &AppState) -> Result<HttpResponse, ApiError> {
    let tags: Vec<(String, String)> =
        query.all("tagk").zip(query.all("tagv")).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    if tags.len() != query.all("tagk").count() {
        return Err(ApiError::bad_request("each `tagk` needs a `tagv`"));
    }
    let found = state.seams.described.tag_metadata(&tags, state.options.limits.results).await?;
    let entry = |entry: &TagMetadata| {
        let tags: Map<String, Value> =
            entry.tags.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
        json!({ "Tags": tags, "Name": entry.name, "Value": entry.value, "Time": rfc3339(entry.touched_ms) })
    };
    Ok(wire::json(&found.iter().map(entry).collect::<Vec<_>>()))
}

/// What is known of one metric, or of all.
pub(crate) async fn metrics(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let described = &state.seams.described;
    if let Some(metric) = query.get("metric").filter(|metric| !metric.is_empty()) {
        let known = described.described_metric(metric).await?.ok_or_else(|| not_found(metric))?;
        return Ok(wire::json(&MetricView::from(&known)));
    }
    let mut all: Vec<DescribedMetric> = Vec::new();
    let limit = state.options.limits.results;
    while all.len() < limit {
        let after = all.last().map(|last| last.metadata.metric.clone());
        let page = described.described_metrics(after.as_deref(), METRICS_PER_PAGE.min(limit - all.len())).await?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    let views: BTreeMap<&str, MetricView<'_>> =
        all.iter().map(|known| (known.metadata.metric.as_str(), MetricView::from(known))).collect();
    Ok(wire::json(&views))
}

/// Removes entries about what tags name. The answer is empty.
pub(crate) async fn delete(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let entries: Vec<MetadataEntry> = wire::read_long_json(&request, payload, &state).await?;
    // What was written when other characters were allowed can be removed, too.
    let of_entry = |entry: MetadataEntry| of_tags(entry.tags, entry.name?, Value::Null, &NameCharacters::STORABLE);
    let gone = entries.into_iter().filter_map(of_entry).collect();
    state.seams.described.delete_tag_metadata(gone).await?;
    Ok(HttpResponse::Ok().finish())
}

fn rfc3339(timestamp_ms: TimestampMs) -> Option<String> {
    Some(DateTime::from_timestamp_millis(timestamp_ms)?.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn not_found(metric: &str) -> ApiError {
    let shown: String = metric.chars().take(200).collect();
    ApiError::new(StatusCode::NOT_FOUND, format!("metadata for metric {shown} not found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_metric_are_merged_and_those_of_tags_are_kept_apart() {
        let entries = serde_json::from_str(
            r#"[{"Metric":"m","Name":"unit","Value":"bytes"},{"Metric":"m","Name":"rate","Value":"counter"},
                {"Tags":{"host":"a"},"Name":"version","Value":1},{"Metric":"a b","Name":"unit","Value":"x"},
                {"Metric":"m","Tags":{"iface":"e","host":"a"},"Name":"speed","Value":"10","Time":"2026-01-01T00:00:00Z"},
                {"Tags":{},"Name":"v","Value":"1"},{"Tags":{"host":"a b"},"Name":"v","Value":"1"},
                {"Tags":{"host":"a"},"Name":"","Value":"1"},{"Tags":{"host":"a"},"Name":"v\u0001","Value":"1"},
                {"Metric":"m","Tags":{"host":"a"},"Name":"desc","Value":"d","Time":"2026-01-01T00:00:00Z"}]"#,
        )
        .unwrap();
        let metric = MetricMetadata {
            metric: "m".into(),
            unit: "bytes".into(),
            rate: Some(RateKind::Counter),
            description: "d".into(),
        };
        let tag = |tags: &[(&str, &str)], name: &str, value: &str| TagMetadata {
            tags: tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            name: name.into(),
            value: value.into(),
            touched_ms: 0,
        };
        let tags = vec![tag(&[("host", "a")], "version", "1"), tag(&[("host", "a"), ("iface", "e")], "speed", "10")];
        assert_eq!(sort(entries, &NameCharacters::OPENTSDB), (vec![metric], tags));
    }
}
