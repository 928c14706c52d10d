//! Points that came in, by protocol.

use std::sync::atomic::{AtomicU64, Ordering};

/// How points came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `POST /api/put`.
    Http,
    /// `put` lines.
    Telnet,
    /// Prometheus' remote write.
    Prometheus,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 3] = [Self::Http, Self::Telnet, Self::Prometheus];

    /// The word for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Telnet => "telnet",
            Self::Prometheus => "prometheus",
        }
    }
}

/// Why points were not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// The point itself is wrong.
    Invalid,
    /// A limit of the store, such as the number of series.
    Limit,
    /// The store or a queue did not take it, and sending it again is right.
    Unavailable,
    /// The disk is full.
    DiskFull,
    /// Whether it was stored is unknown.
    Unknown,
}

impl RejectReason {
    /// All reasons.
    pub const ALL: [Self; 5] = [Self::Invalid, Self::Limit, Self::Unavailable, Self::DiskFull, Self::Unknown];

    /// The word for metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Limit => "limit",
            Self::Unavailable => "unavailable",
            Self::DiskFull => "disk_full",
            Self::Unknown => "unknown",
        }
    }
}

impl From<tidemark_model::RefusalReason> for RejectReason {
    fn from(reason: tidemark_model::RefusalReason) -> Self {
        use tidemark_model::RefusalReason::{Busy, DiskFull, Limit, ShuttingDown, Unavailable};
        match reason {
            Busy | Unavailable | ShuttingDown => Self::Unavailable,
            DiskFull => Self::DiskFull,
            Limit => Self::Limit,
        }
    }
}

/// Counts points by protocol: accepted ones, and rejected ones by reason.
#[derive(Debug, Default)]
pub struct PointCounters {
    http: ProtocolCounters,
    telnet: ProtocolCounters,
    prometheus: ProtocolCounters,
}

#[derive(Debug, Default)]
struct ProtocolCounters {
    accepted: AtomicU64,
    invalid: AtomicU64,
    limit: AtomicU64,
    unavailable: AtomicU64,
    disk_full: AtomicU64,
    unknown: AtomicU64,
}

/// What was counted of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointCounts {
    /// The protocol.
    pub protocol: Protocol,
    /// Points that were acknowledged.
    pub accepted: u64,
    /// Points that were rejected, by reason.
    pub rejected: Vec<(RejectReason, u64)>,
}

impl PointCounters {
    pub(crate) fn accept(&self, protocol: Protocol, points: usize) {
        self.of(protocol).accepted.fetch_add(points as u64, Ordering::Relaxed);
    }

    pub(crate) fn reject(&self, protocol: Protocol, reason: RejectReason, points: usize) {
        self.of(protocol).rejected(reason).fetch_add(points as u64, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn snapshot(&self) -> Vec<PointCounts> {
        Protocol::ALL
            .into_iter()
            .map(|protocol| {
                let counters = self.of(protocol);
                let count = |reason| (reason, counters.rejected(reason).load(Ordering::Relaxed));
                PointCounts {
                    protocol,
                    accepted: counters.accepted.load(Ordering::Relaxed),
                    rejected: RejectReason::ALL.into_iter().map(count).collect(),
                }
            })
            .collect()
    }

    fn of(&self, protocol: Protocol) -> &ProtocolCounters {
        match protocol {
            Protocol::Http => &self.http,
            Protocol::Telnet => &self.telnet,
            Protocol::Prometheus => &self.prometheus,
        }
    }
}

impl ProtocolCounters {
    fn rejected(&self, reason: RejectReason) -> &AtomicU64 {
        match reason {
            RejectReason::Invalid => &self.invalid,
            RejectReason::Limit => &self.limit,
            RejectReason::Unavailable => &self.unavailable,
            RejectReason::DiskFull => &self.disk_full,
            RejectReason::Unknown => &self.unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_counted_by_protocol_and_reason() {
        let counters = PointCounters::default();
        counters.accept(Protocol::Http, 10);
        counters.reject(Protocol::Telnet, RejectReason::Limit, 2);
        let [http, telnet, prometheus] = counters.snapshot().try_into().unwrap();
        assert_eq!((http.accepted, telnet.accepted, prometheus.accepted), (10, 0, 0));
        assert!(telnet.rejected.contains(&(RejectReason::Limit, 2)));
    }
}
