//! What time it is for what goes by its age.
//!
//! A clock that is set ahead by mistake would take points away that are still wanted, and setting it right brings none of
//! them back. So a step ahead counts only once it has lasted a day, by the clock that nobody sets; until then time goes on
//! from before. A step back counts at once: it only keeps points longer. A clock that is wrong when the process starts is
//! believed, since nothing tells it from a process that was away.

use std::time::Duration;

use parking_lot::Mutex;
use tidemark_model::{Clock, TimestampMs};

/// A clock that runs fast is put right in small steps, which count at once.
const SMALL_STEP: Duration = Duration::from_secs(60);
/// How long a step ahead has to last.
const BELIEVED_AFTER: Duration = Duration::from_secs(86_400);

pub(crate) struct ExpiryClock(Mutex<Anchor>);

/// How the clocks stood to each other when the wall clock could be believed last.
struct Anchor {
    /// How far the wall clock was ahead of the monotonic one, in ms.
    offset_ms: i64,
    /// Since when the wall clock is ahead.
    ahead_since: Option<Duration>,
}

impl ExpiryClock {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let offset_ms = clock.now_ms().saturating_sub(millis(clock.monotonic()));
        Self(Mutex::new(Anchor { offset_ms, ahead_since: None }))
    }

    /// The time of `clock`, but for steps ahead that have not lasted.
    pub(crate) fn now_ms(&self, clock: &dyn Clock) -> TimestampMs {
        let (wall_ms, monotonic) = (clock.now_ms(), clock.monotonic());
        let mut anchor = self.0.lock();
        let expected = anchor.offset_ms.saturating_add(millis(monotonic));
        let ahead = wall_ms.saturating_sub(expected);
        if ahead > millis(SMALL_STEP) {
            let is_new = anchor.ahead_since.is_none();
            let since = *anchor.ahead_since.get_or_insert(monotonic);
            let step = Duration::from_millis(ahead.unsigned_abs());
            if monotonic.saturating_sub(since) < BELIEVED_AFTER {
                if is_new {
                    tracing::warn!(?step, "the clock was set ahead; what is too old goes by the time before for a day");
                }
                return expected;
            }
            tracing::warn!(?step, "the clock was set ahead a day ago; what is too old goes by its time now");
        }
        *anchor = Anchor { offset_ms: wall_ms.saturating_sub(millis(monotonic)), ahead_since: None };
        wall_ms
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemark_model::ManualClock;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn hours(hours: u64) -> Duration {
        Duration::from_secs(hours * 3_600)
    }

    #[test]
    fn a_step_ahead_counts_after_a_day_and_one_back_at_once() {
        let clock = ManualClock::new(100 * HOUR);
        let expiry = ExpiryClock::new(&clock);
        clock.advance(hours(2));
        assert_eq!(expiry.now_ms(&clock), 102 * HOUR);
        clock.set_now_ms(1_102 * HOUR);
        assert_eq!(expiry.now_ms(&clock), 102 * HOUR);
        clock.advance(hours(23));
        assert_eq!(expiry.now_ms(&clock), 125 * HOUR);
        clock.advance(hours(1));
        assert_eq!(expiry.now_ms(&clock), 1_126 * HOUR);
        clock.set_now_ms(500 * HOUR);
        assert_eq!(expiry.now_ms(&clock), 500 * HOUR);
    }

    #[test]
    fn a_step_that_was_taken_back_is_forgotten() {
        let clock = ManualClock::new(100 * HOUR);
        let expiry = ExpiryClock::new(&clock);
        for _ in 0..3 {
            let before = clock.now_ms();
            clock.set_now_ms(before + 48 * HOUR);
            clock.advance(hours(20));
            assert_eq!(expiry.now_ms(&clock), before + 20 * HOUR);
            clock.set_now_ms(before + 20 * HOUR);
            assert_eq!(expiry.now_ms(&clock), before + 20 * HOUR);
        }
        // A clock that is put right bit by bit.
        for _ in 0..100 {
            clock.set_now_ms(clock.now_ms() + 50_000);
            assert_eq!(expiry.now_ms(&clock), clock.now_ms());
        }
    }

    proptest! {
        #[test]
        fn it_is_never_later_than_the_clock_and_no_step_makes_it_panic(steps in proptest::collection::vec((any::<i64>(), 0..200_000_000_u64), 0..30)) {
            let clock = ManualClock::new(0);
            let expiry = ExpiryClock::new(&clock);
            for (wall_ms, pause) in steps {
                // What the clock of the test can add to.
                clock.set_now_ms(wall_ms / 2);
                clock.advance(Duration::from_millis(pause));
                prop_assert!(expiry.now_ms(&clock) <= clock.now_ms());
            }
        }
    }
}
