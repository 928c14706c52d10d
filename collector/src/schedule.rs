//! When a collector runs next.

use std::time::Duration;

use tidemark_model::TimestampMs;

/// Timers may fire a little before the wall clock says so; a run must not fall into the second before its own.
const MARGIN_MS: i64 = 20;

/// How late a run may be and still have the timestamp of the grid.
const PUNCTUAL_MS: i64 = 100;

/// Runs lie on the grid `phase + n * interval` of the wall clock, so that the timestamps of a series are evenly
/// spaced, which the store packs to nothing, also over restarts of the agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    interval_ms: i64,
    phase_ms: i64,
}

impl Schedule {
    /// Agents with other seeds have other phases, in whole seconds.
    pub(crate) fn new(interval: Duration, seed: u64) -> Self {
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX / 4).clamp(1, i64::MAX / 4);
        let seconds = (interval_ms / 1000).max(1);
        let phase_ms = i64::try_from(seed % seconds.unsigned_abs()).unwrap_or(0) * 1000;
        Self { interval_ms, phase_ms }
    }

    /// The first moment of the grid after `now`, and how long it is until then.
    pub(crate) fn next(self, now: TimestampMs) -> (TimestampMs, Duration) {
        let since = now.saturating_sub(self.phase_ms).rem_euclid(self.interval_ms);
        let wait = self.interval_ms - since;
        let margin = if self.interval_ms >= 1000 { MARGIN_MS } else { 0 };
        (now.saturating_add(wait), Duration::from_millis(wait.saturating_add(margin).unsigned_abs()))
    }

    /// The timestamp for points gathered at `now`: that of the grid when the run is punctual, and `now` itself when it
    /// is late or out of turn, since a rate over a wrong distance would be a wrong rate.
    pub(crate) fn timestamp(self, now: TimestampMs) -> TimestampMs {
        let late = now.saturating_sub(self.phase_ms).rem_euclid(self.interval_ms);
        if self.interval_ms >= 1000 && late <= PUNCTUAL_MS { now.saturating_sub(late) } else { now }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_lie_on_a_grid_of_the_wall_clock() {
        let schedule = Schedule::new(Duration::from_secs(10), 3);
        assert_eq!(schedule.next(1_000_000_000_000), (1_000_000_003_000, Duration::from_millis(3_020)));
        assert_eq!(schedule.next(1_000_000_003_020), (1_000_000_013_000, Duration::from_millis(10_000)));
        assert_eq!(schedule.timestamp(1_000_000_003_020), 1_000_000_003_000);
        assert_eq!(schedule.timestamp(1_000_000_003_900), 1_000_000_003_900);
        assert_eq!(Schedule::new(Duration::from_millis(50), 3).timestamp(1_234), 1_234);
    }

    proptest! {
        #[test]
        fn the_next_run_is_in_the_future_and_within_an_interval(
            now in any::<i64>(), interval_ms in 1_u64..100_000_000, seed in any::<u64>(),
        ) {
            let (next, wait) = Schedule::new(Duration::from_millis(interval_ms), seed).next(now);
            prop_assert!(next > now || next == i64::MAX);
            prop_assert!(wait > Duration::ZERO && wait <= Duration::from_millis(interval_ms + 20));
        }
    }
}
