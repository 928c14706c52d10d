//! All counters of the server.

use super::{Count, Gauge, PointCounters, RejectedLines, RequestCounters};

/// All counters of the server.
#[derive(Debug, Default)]
pub struct ApiCounters {
    /// Requests by endpoint and status.
    pub requests: RequestCounters,
    /// Points by protocol.
    pub points: PointCounters,
    /// Samples of Prometheus that are no number or infinite, which the store does not keep.
    pub not_finite: Count,
    /// The newest points that were rejected.
    pub rejected_lines: RejectedLines,
    /// Open connections.
    pub connections: Gauge,
    /// Queries under evaluation.
    pub queries: Gauge,
}
