//! Metadata in Bosun's format: an array of `{Metric, Name, Value}`, one entry for each thing known of a metric.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidemark_egress::{Method, Response};
use tidemark_model::{BoxFuture, DocumentError, MetadataStore, MetricMetadata, RateKind};

use super::{RemoteSink, answer::excerpt};

/// One thing about a metric.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireEntry {
    #[serde(default)]
    metric: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

impl MetadataStore for RemoteSink {
    fn put_metadata(&self, entries: Vec<MetricMetadata>) -> BoxFuture<'_, Result<(), DocumentError>> {
        Box::pin(self.put(entries))
    }

    fn metadata<'a>(&'a self, metric: &'a str) -> BoxFuture<'a, Result<Option<MetricMetadata>, DocumentError>> {
        Box::pin(self.get(metric))
    }
}

impl RemoteSink {
    async fn put(&self, entries: Vec<MetricMetadata>) -> Result<(), DocumentError> {
        let wire: Vec<WireEntry> = entries.iter().flat_map(to_wire).collect();
        let body = serde_json::to_vec(&wire).map_err(|error| DocumentError::Unavailable(error.to_string()))?;
        // Bosun does not take it compressed.
        let sent = self.post("api/metadata/put", Bytes::from(body), false).await;
        let response = sent.map_err(|error| DocumentError::Unavailable(error.to_string()))?;
        match response.status.as_u16() {
            200..=299 => Ok(()),
            404 | 405 => {
                tracing::info!("the server keeps no metadata of metrics");
                Ok(())
            }
            _ => Err(failed(&response)),
        }
    }

    async fn get(&self, metric: &str) -> Result<Option<MetricMetadata>, DocumentError> {
        let mut request = self.request(Method::GET, "api/metadata/get");
        request.url.query_pairs_mut().append_pair("metric", metric);
        let sent = self.client.send(request).await;
        let response = sent.map_err(|error| DocumentError::Unavailable(error.to_string()))?;
        match response.status.as_u16() {
            200..=299 => {
                let wire: Vec<WireEntry> = serde_json::from_slice(&response.body)
                    .map_err(|error| DocumentError::Unavailable(format!("the answer is no metadata: {error}")))?;
                Ok(from_wire(metric, wire))
            }
            404 => Ok(None),
            _ => Err(failed(&response)),
        }
    }
}

fn failed(response: &Response) -> DocumentError {
    DocumentError::Unavailable(format!("the server answered {}: {}", response.status, excerpt(response)))
}

fn to_wire(entry: &MetricMetadata) -> Vec<WireEntry> {
    [("unit", entry.unit.as_str()), ("rate", entry.rate.map_or("", RateKind::as_str)), ("desc", &entry.description)]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| WireEntry { metric: entry.metric.clone(), name: name.to_owned(), value: value.to_owned() })
        .collect()
}

fn from_wire(metric: &str, wire: Vec<WireEntry>) -> Option<MetricMetadata> {
    let mut entry = MetricMetadata { metric: metric.to_owned(), ..MetricMetadata::default() };
    for WireEntry { name, value, .. } in wire {
        match name.as_str() {
            "unit" => entry.unit = value,
            "rate" => entry.rate = RateKind::from_word(&value),
            "desc" => entry.description = value,
            _ => {}
        }
    }
    (entry.rate.is_some() || !entry.unit.is_empty() || !entry.description.is_empty()).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_survives_the_wire_and_what_is_not_is_not_sent() {
        let entry = MetricMetadata {
            metric: "m".into(),
            unit: "bytes".into(),
            rate: Some(RateKind::Counter),
            description: String::new(),
        };
        let json = serde_json::to_string(&to_wire(&entry)).unwrap();
        assert_eq!(
            json,
            r#"[{"Metric":"m","Name":"unit","Value":"bytes"},{"Metric":"m","Name":"rate","Value":"counter"}]"#
        );
        assert_eq!(from_wire("m", serde_json::from_str(&json).unwrap()), Some(entry));
        assert_eq!(from_wire("m", Vec::new()), None);
    }
}
