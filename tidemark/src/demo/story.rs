//! What happens to the fleet, and when.

use std::ops::Range;

use tidemark_model::TimestampMs;

use super::{
    host_plan::{HostPlan, Role},
    rhythm::{DAY_MS, HOUR_MS, MINUTE_MS},
};

/// The host that is without power for a while.
pub(super) const OUTAGE_HOST: &str = "cache02";
/// The host whose application leaks memory.
pub(super) const LEAKING_HOST: &str = "web03";
/// The host whose data disk fills.
pub(super) const FILLING_HOST: &str = "db01";

/// A leak needs this long to use up the memory; then the application is restarted.
const LEAK_MS: i64 = 6 * DAY_MS;
/// Share of the filling disk that is in use at the end of the history, and what it gained in a week.
const DISK_USED_NOW: f64 = 0.962;
const DISK_GAINED: f64 = 0.385;
/// After the history the disk fills ever more slowly, so that its incident stays open and it never runs over.
const DISK_LEFT: f64 = 0.02;

/// The times of the events of one history, which ends at `now_ms`.
#[derive(Clone, Debug)]
pub(super) struct Story {
    now_ms: TimestampMs,
    /// From here on a new version of the web application is slow.
    pub(super) deployed_ms: TimestampMs,
    /// While [`OUTAGE_HOST`] is without power; the end is excluded. It starts from nothing afterwards.
    pub(super) outage: Range<TimestampMs>,
    /// When the leaking application of [`LEAKING_HOST`] was restarted.
    pub(super) restarted_ms: TimestampMs,
}

impl Story {
    pub(super) fn ending_at(now_ms: TimestampMs) -> Self {
        let minute = now_ms - now_ms.rem_euclid(MINUTE_MS);
        let outage_ms = minute - 2 * DAY_MS;
        Self {
            now_ms,
            deployed_ms: minute - 3 * DAY_MS + 10 * HOUR_MS,
            outage: outage_ms..outage_ms + 40 * MINUTE_MS,
            restarted_ms: minute - 36 * HOUR_MS,
        }
    }

    pub(super) fn is_down(&self, plan: &HostPlan, timestamp: TimestampMs) -> bool {
        plan.name == OUTAGE_HOST && self.outage.contains(&timestamp)
    }

    /// Whether the application of a host runs the slow version.
    pub(super) fn is_slow(&self, plan: &HostPlan, timestamp: TimestampMs) -> bool {
        plan.role == Role::Web && timestamp >= self.deployed_ms
    }

    /// How much of what can leak has leaked since the last restart, from 0 to 1.
    pub(super) fn leaked(&self, plan: &HostPlan, timestamp: TimestampMs) -> f64 {
        if plan.name != LEAKING_HOST {
            return 0.0;
        }
        (timestamp - self.restarted_ms).rem_euclid(LEAK_MS) as f64 / LEAK_MS as f64
    }

    /// Whether the application of a host was restarted after `before` and not after `timestamp`.
    pub(super) fn is_restarted(&self, plan: &HostPlan, before: TimestampMs, timestamp: TimestampMs) -> bool {
        let restarts = |until: TimestampMs| (until - self.restarted_ms).div_euclid(LEAK_MS);
        plan.name == LEAKING_HOST && restarts(before) < restarts(timestamp)
    }

    /// Share of the data disk of [`FILLING_HOST`] that is in use.
    pub(super) fn filling_disk(&self, timestamp: TimestampMs) -> f64 {
        let days = (timestamp - self.now_ms) as f64 / DAY_MS as f64;
        if days <= 0.0 {
            (DISK_USED_NOW + DISK_GAINED * days / 7.0).max(0.0)
        } else {
            DISK_USED_NOW + DISK_LEFT * (1.0 - (-days / 2.0).exp())
        }
    }
}
