//! Tells the log about refused points without flooding it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidemark_model::Clock;

/// At most one line in this time.
const EVERY: Duration = Duration::from_secs(10);

/// Warns at once about the first refused points, and about those that follow together, with their number.
pub(crate) struct RefusalLog {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Refused since the last line.
    points: u64,
    last_line: Option<Duration>,
}

impl RefusalLog {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Notes points that were refused, and the reason of the first of them.
    pub(crate) fn note(&self, points: u64, first_reason: &str) {
        if let Some(points) = self.due(points) {
            tracing::warn!(points, reason = first_reason, "points of queued writes were refused and are lost");
        }
    }

    /// How many points a line has to tell about, if one is due.
    fn due(&self, points: u64) -> Option<u64> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        state.points = state.points.saturating_add(points);
        if state.last_line.is_some_and(|last| now.saturating_sub(last) < EVERY) {
            return None;
        }
        state.last_line = Some(now);
        Some(std::mem::take(&mut state.points))
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::ManualClock;

    use super::*;

    #[test]
    fn a_flood_of_refusals_is_one_line_every_ten_seconds() {
        let clock = Arc::new(ManualClock::new(0));
        let log = RefusalLog::new(clock.clone());
        assert_eq!(log.due(3), Some(3));
        assert_eq!((log.due(2), log.due(5)), (None, None));
        clock.advance(EVERY);
        assert_eq!(log.due(1), Some(8));
    }
}
