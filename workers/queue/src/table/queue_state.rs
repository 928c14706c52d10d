//! One queue: who is ready in which order, and how many are where.

use std::{collections::VecDeque, time::Duration};

use tidemark_model::TimestampMs;

use super::{Entry, rate_window::RateWindow};
use crate::{JobState, Priority, QueueSettings, QueueTotals, rate::Turn};

#[derive(Debug, Default)]
pub(crate) struct QueueState {
    levels: [VecDeque<u64>; 3],
    picks: u64,
    pub(crate) settings: QueueSettings,
    /// When the next job is due by the queue's rate.
    turn: Turn,
    pub(crate) ready: u64,
    pub(crate) scheduled: u64,
    pub(crate) retryable: u64,
    pub(crate) running: u64,
    /// Bytes of payload of the jobs that wait.
    bytes: u64,
    pub(crate) totals: QueueTotals,
    pub(crate) pushed: RateWindow,
    pub(crate) ended: RateWindow,
}

impl QueueState {
    /// Jobs and payload bytes that wait, ready or not.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        (self.ready + self.scheduled + self.retryable, self.bytes)
    }

    /// Counts an entry in the state that it has, and lines it up when it is ready.
    pub(crate) fn enter(&mut self, entry: &Entry, sequence: u64) {
        if entry.state == JobState::Available
            && let Some(level) = self.levels.get_mut(entry.record.priority.level())
        {
            level.push_back(sequence);
        }
        self.count(entry, 1);
    }

    /// As [`QueueState::enter`], but before all others of its level: a job that was handed out and came back.
    pub(crate) fn enter_first(&mut self, entry: &Entry, sequence: u64) {
        if let Some(level) = self.levels.get_mut(entry.record.priority.level()) {
            level.push_front(sequence);
        }
        self.count(entry, 1);
    }

    /// Uncounts an entry in the state that it has.
    pub(crate) fn leave(&mut self, entry: &Entry) {
        self.count(entry, -1);
    }

    fn count(&mut self, entry: &Entry, by: i64) {
        let counter = match entry.state {
            JobState::Scheduled => &mut self.scheduled,
            JobState::Available => &mut self.ready,
            JobState::Retryable => &mut self.retryable,
            JobState::Running => &mut self.running,
            JobState::Completed | JobState::Cancelled | JobState::Discarded => return,
        };
        *counter = counter.saturating_add_signed(by);
        if entry.state != JobState::Running {
            let bytes = i64::try_from(entry.record.data_bytes()).unwrap_or(i64::MAX);
            self.bytes = self.bytes.saturating_add_signed(bytes * by);
        }
    }

    /// Whether workers get nothing, however long they wait.
    pub(crate) fn is_stopped(&self) -> bool {
        let is_busy = |most: u32| self.running >= u64::from(most);
        self.settings.paused || self.settings.running_max.is_some_and(is_busy)
    }

    /// How long the queue's rate holds the next job back.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        self.settings.rate.map_or(Duration::ZERO, |rate| self.turn.wait(now, rate))
    }

    /// Whether a worker may get a job.
    pub(crate) fn is_open(&self, now: Duration) -> bool {
        !self.is_stopped() && self.wait(now).is_zero()
    }

    /// Notes that a worker got a job.
    pub(crate) fn handed_out(&mut self, now: Duration) {
        if let Some(rate) = self.settings.rate {
            self.turn.take(now, rate);
        }
    }

    /// The next number in line; it may be stale. One pick in sixteen looks at the low level first and one in four at
    /// the normal one, so that a flood of urgent jobs does not starve the others.
    pub(crate) fn pick(&mut self) -> Option<u64> {
        self.picks = self.picks.wrapping_add(1);
        let order = match self.picks {
            picks if picks % 16 == 0 => [Priority::Low, Priority::High, Priority::Normal],
            picks if picks % 4 == 0 => [Priority::Normal, Priority::High, Priority::Low],
            _ => Priority::ALL,
        };
        order.into_iter().find_map(|priority| self.levels.get_mut(priority.level())?.pop_front())
    }

    /// The numbers at the head of each level, for the age of the oldest.
    pub(crate) fn heads(&self) -> impl Iterator<Item = u64> + '_ {
        self.levels.iter().filter_map(|level| level.front().copied())
    }

    pub(crate) fn oldest_ms(&self, run_at: impl Fn(u64) -> Option<TimestampMs>) -> Option<TimestampMs> {
        self.heads().filter_map(run_at).min()
    }
}
