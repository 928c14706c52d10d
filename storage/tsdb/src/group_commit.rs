//! How long a flush waits for company.
//!
//! A commit costs about as much for two batches as for one, and writers that wait for their answer before they send again
//! fall into step: while one's commit is on its way the other's batch waits, and each commit carries one. So a flush
//! waits for as many batches as there were writers around the last commit, at most as long as a commit takes. A lone
//! writer never waits, and a writer that goes away is waited for once. A fixed delay was turned down: it is too long for
//! an idle store and too short for a busy disk.

use std::time::Duration;

/// Longest wait.
const WAIT_MAX: Duration = Duration::from_millis(10);
/// Commits faster than this are not worth a wait; timers are no finer than a millisecond.
const COMMIT_MIN: Duration = Duration::from_micros(500);
/// Weight of the newest commit in the mean of their durations is one over this.
const MEAN_OF: u32 = 8;

/// Watches commits and says what the next one should wait for.
#[derive(Debug, Default)]
pub(crate) struct GroupCommit {
    commit: Duration,
    writers: usize,
}

impl GroupCommit {
    /// After a commit of `batches` that took so long, with `queued` batches behind it.
    pub(crate) fn note(&mut self, took: Duration, batches: usize, queued: usize) {
        self.commit = if self.commit.is_zero() { took } else { (self.commit * (MEAN_OF - 1) + took) / MEAN_OF };
        self.writers = batches + queued;
    }

    /// How many batches the next commit should have, and how long it waits for them; `None` when it should not wait.
    pub(crate) fn wanted(&self) -> Option<(usize, Duration)> {
        (self.writers > 1 && self.commit >= COMMIT_MIN).then(|| (self.writers, self.commit.min(WAIT_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_writer_never_waits_and_two_wait_for_each_other() {
        let mut group = GroupCommit::default();
        assert_eq!(group.wanted(), None);
        group.note(Duration::from_millis(4), 1, 0);
        assert_eq!(group.wanted(), None);
        group.note(Duration::from_millis(4), 1, 1);
        assert_eq!(group.wanted(), Some((2, Duration::from_millis(4))));
        group.note(Duration::from_millis(4), 2, 0);
        assert_eq!(group.wanted().map(|(writers, _)| writers), Some(2));
        group.note(Duration::from_millis(4), 1, 0);
        assert_eq!(group.wanted(), None, "the other went away");
    }

    #[test]
    fn fast_commits_are_not_waited_for_and_slow_ones_not_long() {
        let mut group = GroupCommit::default();
        group.note(Duration::from_micros(100), 1, 3);
        assert_eq!(group.wanted(), None);
        group.note(Duration::from_secs(4), 1, 3);
        assert_eq!(group.wanted(), Some((4, WAIT_MAX)));
    }
}
