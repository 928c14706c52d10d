//! A wall clock that is set while jobs wait.
//!
//! A job that is not to start before a moment starts at that moment by the new time. One that waits for a while, for its
//! next attempt, after a rescue or because it was put off, waits as long as it was to: the step is added to its time.
//! Otherwise a clock that is set back by an hour would let a failed job wait for an hour, and one that is set forward
//! would wear down all its attempts against whatever is down for a minute. Results that are kept for a while are kept as
//! long, too. Leases, unique keys and rates go by the monotonic clock, which nobody sets.

use super::{JobTable, Now, millis};

/// A smaller difference of the clocks is no step: they are read one after the other.
const STEP_MIN_MS: i64 = 1_000;

impl JobTable {
    /// Notices that the wall clock was set since the last call. To be called with every new `Now`, before anything is
    /// done by it.
    pub(crate) fn follow_clock(&mut self, now: Now) {
        let ahead_ms = now.wall_ms.saturating_sub(millis(now.monotonic));
        let known_ms = *self.wall_ahead_ms.get_or_insert(ahead_ms);
        let step_ms = ahead_ms.saturating_sub(known_ms);
        if step_ms.unsigned_abs() < STEP_MIN_MS.unsigned_abs() {
            return;
        }
        self.wall_ahead_ms = Some(ahead_ms);
        tracing::warn!(step_ms, "the clock was set; jobs that wait for a while wait as long as they were to");
        self.shift_waits(step_ms);
        let result_ends = std::mem::take(&mut self.result_ends);
        self.result_ends = result_ends.into_iter().map(|(end_ms, id)| (end_ms.saturating_add(step_ms), id)).collect();
    }

    fn shift_waits(&mut self, step_ms: i64) {
        for (due_ms, sequence) in std::mem::take(&mut self.due) {
            let waits = self.entries.get_mut(&sequence);
            // One that waits for a moment waits for the one that its record names.
            let Some(entry) = waits.filter(|entry| entry.record.not_before_ms != Some(due_ms)) else {
                self.due.insert((due_ms, sequence));
                continue;
            };
            entry.run_at_ms = due_ms.saturating_add(step_ms);
            self.due.insert((entry.run_at_ms, sequence));
            let change = entry.update(sequence);
            self.changes.push(change);
        }
    }
}
