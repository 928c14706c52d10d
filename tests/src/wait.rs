//! Waiting on a condition, never on time alone.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Asks until the answer is something, at most for `timeout`.
///
/// # Panics
/// Names `what` when the time is over.
#[expect(clippy::disallowed_methods, reason = "an end-to-end test runs in real time")]
pub fn wait_for<T>(what: &str, timeout: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: still not so after {timeout:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
