//! The front page: what is wrong now, every host, what happened lately, how the store fares.

use serde::Serialize;

use super::{host::HostTable, incident::IncidentSummary};

/// The page `/`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OverviewPage {
    /// What is wrong now.
    pub attention: Attention,
    /// The hosts.
    pub hosts: HostTable,
    /// What happened lately.
    pub events: RecentEvents,
    /// How the store fares.
    pub ingest: IngestHealth,
}

/// The fragment `attention`: open incidents that nobody has acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attention {
    /// Worst first, then newest.
    pub incidents: Vec<IncidentSummary>,
    /// How many more there are than are listed.
    pub left_out: u32,
    /// How many open incidents are acknowledged.
    pub acknowledged_count: u32,
    /// How many open incidents are silenced.
    pub silenced_count: u32,
    /// How many rules are loaded; 0 explains the quiet.
    pub rule_count: u32,
    /// When the last incident closed, if one ever did.
    pub last_closed_ms: Option<i64>,
}

/// The fragment `events`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RecentEvents {
    /// Newest first, about ten.
    pub events: Vec<RecentEvent>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecentEvent {
    /// When.
    pub at_ms: i64,
    /// In a word: `incident`, `acknowledged`, `host`, `start`, …
    pub kind: String,
    /// One line.
    pub text: String,
    /// A path of ours to read on, such as `/incidents/3`; empty for none.
    pub href: String,
}

/// The fragment `ingest`: what the store does now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IngestHealth {
    /// Points accepted per second over the last minute.
    pub points_per_second: Option<f64>,
    /// The same over time, oldest first.
    pub recent_points_per_second: Vec<Option<f64>>,
    /// Points refused per second over the last minute.
    pub refused_per_second: Option<f64>,
    /// Series known.
    pub series: Option<u64>,
    /// Jobs that wait, over all queues.
    pub jobs_waiting: Option<u64>,
    /// Age of the oldest of them, in milliseconds.
    pub oldest_job_age_ms: Option<i64>,
    /// Jobs discarded and kept for a look.
    pub jobs_discarded: Option<u64>,
    /// 95th percentile of the time that queries took over the last minutes, in milliseconds.
    pub query_p95_ms: Option<f64>,
    /// Bytes that the store takes on disk.
    pub store_bytes: Option<u64>,
    /// Bytes free on that disk.
    pub disk_free_bytes: Option<u64>,
    /// Why writes are refused at the moment, as a sentence; empty when they are not.
    pub writes_refused_because: String,
}
