//! What scollector and the agent say about their metrics: Bosun's `/api/metadata/put` and `/api/metadata/get`.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde::Deserialize;
use serde_json::json;
use tidemark_model::{MetricMetadata, RateKind, check_name};

use super::wire::{self, Text};
use crate::{error::ApiError, http::query_string::QueryString, state::AppState};

/// Longest description that is kept.
const DESCRIPTION_CHARACTERS_MAX: usize = 1_000;

/// One thing about a metric, or about the thing that tags name, which we do not keep.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetadataEntry {
    metric: Option<String>,
    name: Option<String>,
    value: Option<serde_json::Value>,
}

/// Merges entries. The answer is 204, on which scollector insists.
pub(crate) async fn put(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let entries: Vec<MetadataEntry> = wire::read_long_json(&request, payload, &state).await?;
    let known = merge(entries);
    if !known.is_empty() {
        state.seams.metadata.put_metadata(known).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}

fn merge(entries: Vec<MetadataEntry>) -> Vec<MetricMetadata> {
    let mut metrics: BTreeMap<String, MetricMetadata> = BTreeMap::new();
    for entry in entries {
        let Some(metric) = entry.metric.filter(|metric| check_name(metric).is_ok()) else { continue };
        let Some(value) = entry.value.and_then(|value| serde_json::from_value::<Text>(value).ok()) else { continue };
        let metadata = metrics
            .entry(metric)
            .or_insert_with_key(|metric| MetricMetadata { metric: metric.clone(), ..MetricMetadata::default() });
        let text: String = value.0.chars().take(DESCRIPTION_CHARACTERS_MAX).collect();
        match entry.name.as_deref() {
            Some("unit") => metadata.unit = text,
            Some("rate") => metadata.rate = RateKind::from_word(&text).or(metadata.rate),
            Some("desc") => metadata.description = text,
            _ => {}
        }
    }
    metrics.into_values().collect()
}

/// What is known of a metric, one entry a field.
pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let query = QueryString::parse(request.query_string())?;
    let metric = query.required("metric")?;
    let Some(known) = state.seams.metadata.metadata(metric).await? else {
        let shown: String = metric.chars().take(200).collect();
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("metadata for metric {shown} not found")));
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_metric_are_merged_and_those_of_tags_are_left_out() {
        let entries = serde_json::from_str(
            r#"[{"Metric":"m","Name":"unit","Value":"bytes"},{"Metric":"m","Name":"rate","Value":"counter"},
                {"Tags":{"host":"a"},"Name":"version","Value":"1"},{"Metric":"a b","Name":"unit","Value":"x"},
                {"Metric":"m","Name":"desc","Value":"d","Time":"2026-01-01T00:00:00Z"}]"#,
        )
        .unwrap();
        let expected = MetricMetadata {
            metric: "m".into(),
            unit: "bytes".into(),
            rate: Some(RateKind::Counter),
            description: "d".into(),
        };
        assert_eq!(merge(entries), [expected]);
    }
}
