//! Hosts.

use serde::Serialize;

use super::{graph::Graph, incident::IncidentSummary, status::Status};
use crate::units::Unit;

/// The page `/hosts?q=…`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostsPage {
    /// The hosts.
    pub hosts: HostTable,
}

/// The fragment `hosts`, on the overview and on `/hosts`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostTable {
    /// Worst first, then by name.
    pub rows: Vec<HostRow>,
    /// How many hosts there are in all, listed or not.
    pub total: u32,
    /// How many more hosts have such a name than are listed.
    pub left_out: u32,
    /// What host names must contain to be listed; empty lists all.
    pub search: String,
    /// The address that agents send to, such as `http://127.0.0.1:4242`, for the command of an empty table.
    pub base_url: String,
}

/// One host as a row: its newest values and the last minutes of each, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostRow {
    /// Its name: the value of the tag `host`.
    pub host: String,
    /// The worst status of its open incidents; `Unknown` when nothing has come from it for three intervals.
    pub status: Status,
    /// How many incidents are open about it.
    pub problems: u32,
    /// Its newest point.
    pub last_point_ms: Option<i64>,
    /// CPU in use, percent of all cores.
    pub cpu_percent: Option<f64>,
    /// … over time.
    pub recent_cpu_percent: Vec<Option<f64>>,
    /// Memory in use.
    pub memory_used_bytes: Option<f64>,
    /// Memory in all.
    pub memory_total_bytes: Option<f64>,
    /// Percent of memory in use over time.
    pub recent_memory_percent: Vec<Option<f64>>,
    /// Bytes received per second over all interfaces.
    pub network_in: Option<f64>,
    /// Bytes sent per second over all interfaces.
    pub network_out: Option<f64>,
    /// Bytes in and out per second over time.
    pub recent_network: Vec<Option<f64>>,
    /// Load average over one minute.
    pub load_1: Option<f64>,
    /// Filesystems, the fullest first; the row shows the first four.
    pub disks: Vec<DiskUse>,
}

/// How full one filesystem is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiskUse {
    /// Where it is mounted.
    pub mount: String,
    /// Percent in use.
    pub used_percent: f64,
}

/// The page `/hosts/{host}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostPage {
    /// The host's name.
    pub host: String,
    /// What selects it behind `host=` in a query: its name, or a pattern where that has characters that mean something.
    pub host_filter: String,
    /// The range that is shown, as in a query: `1h-ago`.
    pub from: String,
    /// What is known of it.
    pub facts: HostFacts,
    /// Open incidents about it.
    pub incidents: HostIncidents,
    /// Its graphs: CPU by mode, memory, load, disks, network, …
    pub graphs: Vec<Graph>,
    /// Its filesystems and interfaces.
    pub volumes: HostVolumes,
    /// Every metric that it sends.
    pub metrics: Vec<MetricRow>,
    /// How many more metrics there are than are listed.
    pub metrics_left_out: u32,
}

/// The fragment `host-facts`: the head of the page.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostFacts {
    /// The values that the host table shows.
    pub row: HostRow,
    /// Name and text, such as `kernel` and `6.1.0-40-amd64`; only those that are known.
    pub facts: Vec<Fact>,
}

/// One thing known of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Such as `kernel`.
    pub name: String,
    /// Such as `6.1.0-40-amd64`.
    pub text: String,
}

/// The fragment `host-incidents`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostIncidents {
    /// Worst first.
    pub incidents: Vec<IncidentSummary>,
}

/// The fragment `host-volumes`: filesystems and network interfaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HostVolumes {
    /// By mount point.
    pub filesystems: Vec<Volume>,
    /// By name.
    pub interfaces: Vec<NetworkInterface>,
}

/// One filesystem.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Volume {
    /// Where it is mounted.
    pub mount: String,
    /// Bytes in use.
    pub used_bytes: Option<f64>,
    /// Bytes in all.
    pub total_bytes: Option<f64>,
    /// Percent of inodes in use.
    pub inodes_used_percent: Option<f64>,
}

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NetworkInterface {
    /// Such as `eth0`.
    pub name: String,
    /// Bytes received per second.
    pub bytes_in: Option<f64>,
    /// Bytes sent per second.
    pub bytes_out: Option<f64>,
    /// Errors and drops per second, both directions.
    pub errors: Option<f64>,
    /// Bytes in and out per second over time.
    pub recent: Vec<Option<f64>>,
}

/// One metric of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MetricRow {
    /// Its name.
    pub metric: String,
    /// How many series of it the host sends.
    pub series: u32,
    /// What its values count.
    pub unit: Unit,
    /// A sentence about it; empty when unknown.
    pub description: String,
    /// scollector's word for how it behaves (`gauge`, `counter`, `rate`); empty when unknown. A counter opens in
    /// Explore as a rate.
    pub rate_kind: String,
    /// Its newest value, where it has one series.
    pub last_value: Option<f64>,
    /// Its newest point.
    pub last_point_ms: Option<i64>,
}
