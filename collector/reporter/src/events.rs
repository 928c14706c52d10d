//! Values that each count.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use tidemark_model::{Clock, TimestampMs};

/// Every value becomes a point of its own. Cheap to clone; clones record together.
#[derive(Clone)]
pub struct Events {
    recorded: Arc<Mutex<Recorded>>,
    clock: Arc<dyn Clock>,
    most: usize,
}

#[derive(Default)]
struct Recorded {
    points: Vec<(TimestampMs, f64)>,
    latest: TimestampMs,
    dropped: u64,
}

impl Events {
    pub(crate) fn new(clock: Arc<dyn Clock>, most: usize) -> Self {
        Self { recorded: Arc::default(), clock, most }
    }

    /// Records a value now, or a millisecond after the one before: of two points at one moment only one is kept.
    /// When there are too many since the last snapshot, or the value is no finite number, it is dropped and counted.
    pub fn record(&self, value: f64) {
        let now = self.clock.now_ms();
        let mut recorded = self.recorded.lock();
        if recorded.points.len() >= self.most || !value.is_finite() {
            recorded.dropped += 1;
            return;
        }
        let at = now.max(recorded.latest.saturating_add(1));
        recorded.latest = at;
        recorded.points.push((at, value));
    }

    /// Values that were dropped since the start of the process.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.recorded.lock().dropped
    }

    pub(crate) fn take(&self) -> Vec<(TimestampMs, f64)> {
        std::mem::take(&mut self.recorded.lock().points)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Events").field("waiting", &self.recorded.lock().points.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::ManualClock;

    use super::*;

    #[test]
    fn events_of_one_moment_are_told_apart_and_excess_is_counted() {
        let clock = Arc::new(ManualClock::new(1_000));
        let events = Events::new(clock.clone(), 3);
        events.record(1.0);
        events.record(2.0);
        clock.set_now_ms(5_000);
        events.record(3.0);
        events.record(4.0);
        assert_eq!(events.take(), [(1_000, 1.0), (1_001, 2.0), (5_000, 3.0)]);
        events.record(f64::NAN);
        events.record(5.0);
        assert_eq!((events.take(), events.dropped()), (vec![(5_001, 5.0)], 2));
    }
}
