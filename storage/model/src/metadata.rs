//! What a metric means: its unit, its kind and a sentence about it, as scollector sends them.

use crate::{BoxFuture, DocumentError, TimestampMs};

/// What is known of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricMetadata {
    /// The metric.
    pub metric: String,
    /// What its values count, such as `bytes` or `percent`; empty when unknown.
    pub unit: String,
    /// How its values behave.
    pub rate: Option<RateKind>,
    /// One sentence for people.
    pub description: String,
}

/// How the values of a metric behave (scollector's "rate").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateKind {
    /// A level that goes up and down.
    Gauge,
    /// A total that only grows, but for restarts.
    Counter,
    /// A rate already.
    Rate,
}

impl RateKind {
    /// scollector's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Rate => "rate",
        }
    }

    /// The kind that scollector's word means; other words mean nothing to us.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "gauge" => Some(Self::Gauge),
            "counter" => Some(Self::Counter),
            "rate" => Some(Self::Rate),
            _ => None,
        }
    }
}

/// Keeps what is known of metrics.
pub trait MetadataStore: Send + Sync {
    /// Merges what is known: fields that are empty here stay as they were.
    fn put_metadata(&self, entries: Vec<MetricMetadata>) -> BoxFuture<'_, Result<(), DocumentError>>;

    /// What is known of a metric.
    fn metadata<'a>(&'a self, metric: &'a str) -> BoxFuture<'a, Result<Option<MetricMetadata>, DocumentError>>;
}

/// Something that is known of the thing that tags name, such as the model of a host or the speed of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagMetadata {
    /// The tags, sorted by key.
    pub tags: Vec<(String, String)>,
    /// What is known, such as `model`.
    pub name: String,
    /// The value of that.
    pub value: String,
    /// When somebody said so last, in milliseconds since the epoch; when it is put, the store's clock counts.
    pub touched_ms: TimestampMs,
}

/// What is known of a metric, and which tags it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribedMetric {
    /// What its senders said.
    pub metadata: MetricMetadata,
    /// When somebody said so last, in milliseconds since the epoch, to the hour; 0 when that is unknown.
    pub touched_ms: TimestampMs,
    /// Tag keys of its series, in order of their ids.
    pub tag_keys: Vec<String>,
}

/// Lists what is known of metrics, and keeps what is known of the things that tags name.
pub trait MetadataCatalog: Send + Sync {
    /// At most `limit` metrics of which something is known, in byte order, those after `after` when given.
    fn described_metrics<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<DescribedMetric>, DocumentError>>;

    /// What is known of one metric, and which tags it has.
    fn described_metric<'a>(&'a self, metric: &'a str)
    -> BoxFuture<'a, Result<Option<DescribedMetric>, DocumentError>>;

    /// Writes what is known of things; what was said before under the same tags and name is replaced.
    fn put_tag_metadata(&self, entries: Vec<TagMetadata>) -> BoxFuture<'_, Result<(), DocumentError>>;

    /// At most `limit` entries whose tags have any of these.
    fn tag_metadata<'a>(
        &'a self,
        tags: &'a [(String, String)],
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<TagMetadata>, DocumentError>>;

    /// Removes the entries with the tags and names of these; removing what is not there is no error.
    fn delete_tag_metadata(&self, entries: Vec<TagMetadata>) -> BoxFuture<'_, Result<(), DocumentError>>;
}
