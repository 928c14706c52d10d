//! What the server counts about itself, as plain data for `/metrics`, `/api/stats` and the pages.

mod point_counters;
mod rejected_lines;
mod request_counters;

pub use point_counters::{PointCounters, PointCounts, Protocol, RejectReason};
pub(crate) use rejected_lines::printable;
pub use rejected_lines::{RejectedLine, RejectedLines};
pub use request_counters::{RequestCount, RequestCounters, RequestLabel};

use std::sync::atomic::{AtomicU64, Ordering};

/// All counters of the server.
#[derive(Debug, Default)]
pub struct ApiCounters {
    /// Requests by endpoint and status.
    pub requests: RequestCounters,
    /// Points by protocol.
    pub points: PointCounters,
    /// The newest points that were rejected.
    pub rejected_lines: RejectedLines,
    /// Open connections.
    pub connections: Gauge,
    /// Queries under evaluation.
    pub queries: Gauge,
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more until the guard is dropped.
    pub(crate) fn enter(&self) -> GaugeGuard<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        GaugeGuard(self)
    }
}

/// Counts one less when dropped.
pub(crate) struct GaugeGuard<'a>(&'a Gauge);

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
