//! The moments of the week before now.

use tidemark_model::{PointBatch, PointError, TimestampMs};

use super::{
    Progress,
    fleet::Fleet,
    rhythm::{DAY_MS, MINUTE_MS},
};

/// Most points of a batch.
pub(super) const BATCH_POINTS_MAX: usize = 10_000;

/// The timestamps of a history, oldest first: one a minute, as nobody looks at last week second by second and every
/// point takes time to write, and at the agent's interval for as long as the small lines of the host table reach.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    next_ms: TimestampMs,
    /// From here on one every [`Moments::INTERVAL_MS`].
    recent_ms: TimestampMs,
    end_ms: TimestampMs,
}

impl Moments {
    /// The interval of the agent.
    pub(super) const INTERVAL_MS: i64 = 10_000;

    /// Seven days until `now_ms`.
    pub(super) fn until(now_ms: TimestampMs) -> Self {
        let align = |timestamp: TimestampMs, to: i64| timestamp - timestamp.rem_euclid(to);
        Self {
            next_ms: align(now_ms - 7 * DAY_MS, MINUTE_MS),
            recent_ms: now_ms - 15 * MINUTE_MS,
            end_ms: align(now_ms, Self::INTERVAL_MS),
        }
    }

    pub(super) fn begin_ms(&self) -> TimestampMs {
        self.next_ms
    }
}

impl Iterator for Moments {
    type Item = TimestampMs;

    fn next(&mut self) -> Option<TimestampMs> {
        let moment = self.next_ms;
        if moment > self.end_ms {
            return None;
        }
        let interval = if moment < self.recent_ms { MINUTE_MS } else { Self::INTERVAL_MS };
        self.next_ms = moment + interval;
        Some(moment)
    }
}

/// The history of a fleet in batches that follow each other in time. Within a batch the points of one series are side
/// by side, so that its dictionary names each series once.
pub(crate) struct History<'a> {
    pub(super) fleet: &'a mut Fleet,
    pub(super) moments: Moments,
    pub(super) progress: Progress,
}

impl History<'_> {
    /// Where it is: nothing is done before the first batch.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }
}

impl Iterator for History<'_> {
    /// A batch of at most 10 000 points, and how much of the history it completes.
    type Item = Result<(PointBatch, Progress), PointError>;

    fn next(&mut self) -> Option<Self::Item> {
        let moments_max = (BATCH_POINTS_MAX / self.fleet.series_count().max(1)).max(1);
        let moments: Vec<TimestampMs> = self.moments.by_ref().take(moments_max).collect();
        if moments.is_empty() {
            return None;
        }
        let batch = self.fleet.live_through(&moments);
        Some(batch.map(|batch| {
            self.progress.done += batch.len() as u64;
            (batch, self.progress)
        }))
    }
}
