//! What a metric means: its unit, its kind and a sentence about it, as scollector sends them.

use crate::{BoxFuture, DocumentError};

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
