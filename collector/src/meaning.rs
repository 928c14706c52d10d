//! What a built-in metric means.

use tidemark_model::{MetricMetadata, RateKind};

/// Unit, kind and description of a metric, as its collector states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    rate: RateKind,
    unit: &'static str,
    description: &'static str,
}

impl Meaning {
    /// A level that goes up and down.
    pub(crate) const fn gauge(unit: &'static str, description: &'static str) -> Self {
        Self { rate: RateKind::Gauge, unit, description }
    }

    /// A total that only grows, but for restarts.
    pub(crate) const fn counter(unit: &'static str, description: &'static str) -> Self {
        Self { rate: RateKind::Counter, unit, description }
    }

    /// A rate already.
    pub(crate) const fn rate(unit: &'static str, description: &'static str) -> Self {
        Self { rate: RateKind::Rate, unit, description }
    }

    pub(crate) fn of(self, metric: &str) -> MetricMetadata {
        MetricMetadata {
            metric: metric.to_owned(),
            unit: self.unit.to_owned(),
            rate: Some(self.rate),
            description: self.description.to_owned(),
        }
    }
}
