//! How a reporter behaves and what its metrics are about.

use std::time::Duration;

use tidemark_collector::{DeliveryOptions, HostTags};

/// How a reporter behaves.
#[derive(Clone, Debug)]
pub struct ReporterOptions {
    /// Tags of every point.
    pub host_tags: HostTags,
    /// How often a snapshot is taken. Default 30 s, at least 1 ms.
    pub snapshot_every: Duration,
    /// Most series of one reporter. Default 10 000.
    pub series_max: usize,
    /// Most values of one [`crate::Events`] between two snapshots; further ones are dropped and counted.
    /// Default 10 000.
    pub events_max: usize,
    /// What happens to the points.
    pub delivery: DeliveryOptions,
}

impl ReporterOptions {
    /// The defaults, for points with these tags.
    #[must_use]
    pub fn new(host_tags: HostTags) -> Self {
        Self {
            host_tags,
            snapshot_every: Duration::from_secs(30),
            series_max: 10_000,
            events_max: 10_000,
            delivery: DeliveryOptions::default(),
        }
    }
}

/// What a metric counts, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// What its values count, such as `requests` or `seconds`.
    pub unit: String,
    /// One sentence.
    pub description: String,
}

impl About {
    /// A unit and a sentence.
    #[must_use]
    pub fn new(unit: impl Into<String>, description: impl Into<String>) -> Self {
        Self { unit: unit.into(), description: description.into() }
    }
}
