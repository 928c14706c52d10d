//! Requests by endpoint and status.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;

/// What requests are counted by. The endpoint is the pattern of a route, so their number is bounded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestLabel {
    /// The pattern of the route, such as `/api/put`.
    pub endpoint: String,
    /// The status of the answer.
    pub status: u16,
}

/// What was counted of one endpoint and status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCount {
    /// Requests.
    pub requests: u64,
    /// The time until their answers began, added up.
    pub time: Duration,
}

/// Counts requests by endpoint and status.
#[derive(Debug, Default)]
pub struct RequestCounters(Mutex<HashMap<RequestLabel, RequestCount>>);

impl RequestCounters {
    pub(crate) fn add(&self, endpoint: String, status: u16, time: Duration) {
        let mut counts = self.0.lock();
        let count = counts.entry(RequestLabel { endpoint, status }).or_default();
        count.requests += 1;
        count.time = count.time.saturating_add(time);
    }

    /// What was counted so far, sorted by endpoint and status.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(RequestLabel, RequestCount)> {
        let mut counts: Vec<_> = self.0.lock().iter().map(|(label, &count)| (label.clone(), count)).collect();
        counts.sort_by(|left, right| left.0.cmp(&right.0));
        counts
    }
}
