//! What time it is on the server.
//!
//! Delayed jobs become ready by the server's clock, and a worker says until when a failed one is delayed. By its own clock,
//! an hour's difference would be an hour's wait, or none. So it goes by the time that the server told last, with every
//! fetch and every look at the data, and by how long ago that was.

use std::time::Duration;

use parking_lot::Mutex;
use tidemark_model::Clock;

use crate::record_codec::millis;

/// The time that the server told last, and when it did by our monotonic clock.
#[derive(Default)]
pub(super) struct ServerTime(Mutex<Option<(i64, Duration)>>);

impl ServerTime {
    /// Takes down what the server just told.
    pub(super) fn note(&self, server_ms: i64, clock: &dyn Clock) {
        *self.0.lock() = Some((server_ms, clock.monotonic()));
    }

    /// The server's time; ours while it told none.
    pub(super) fn now_ms(&self, clock: &dyn Clock) -> i64 {
        match *self.0.lock() {
            Some((server_ms, at)) => {
                let since = millis(clock.monotonic().saturating_sub(at));
                server_ms.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
            }
            None => clock.now_ms(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::ManualClock;

    use super::*;

    #[test]
    fn the_time_that_the_server_told_goes_on_whatever_our_clock_is_set_to() {
        let (clock, time) = (ManualClock::new(5_000), ServerTime::default());
        assert_eq!(time.now_ms(&clock), 5_000);
        time.note(9_000, &clock);
        clock.advance(Duration::from_millis(250));
        clock.set_now_ms(1);
        assert_eq!(time.now_ms(&clock), 9_250);
    }
}
