//! What the workers of this process have done, as plain data for `/metrics` and the pages.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidemark_queue::{JobKind, QueueName};

use crate::{DurationHistogram, HistogramSnapshot};

/// How an attempt ended, for the counters and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The job is done.
    Completed,
    /// The attempt failed and another follows if one is left.
    Retried,
    /// The attempt was put off and does not count.
    Snoozed,
    /// The job was given up.
    Discarded,
    /// The job was called off, or given back at the end of the process.
    Cancelled,
}

impl AttemptEnd {
    const ALL: [Self; 5] = [Self::Completed, Self::Retried, Self::Snoozed, Self::Discarded, Self::Cancelled];

    /// As it is logged and labelled.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Retried => "retried",
            Self::Snoozed => "snoozed",
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Counters of all kinds; they only grow, but for the number of running attempts.
#[derive(Debug, Default)]
pub struct WorkFigures {
    kinds: [KindCounters; JobKind::ALL.len()],
    queues: Mutex<BTreeMap<QueueName, Arc<QueueTimes>>>,
    stale: AtomicU64,
    settle_failures: AtomicU64,
    fetch_failures: AtomicU64,
    points_refused: AtomicU64,
}

#[derive(Debug, Default)]
struct KindCounters {
    started: AtomicU64,
    ends: [AtomicU64; AttemptEnd::ALL.len()],
    panics: AtomicU64,
    timeouts: AtomicU64,
    put_off: AtomicU64,
    wait: DurationHistogram,
    run: DurationHistogram,
}

/// How long the jobs of one queue waited and ran in this process.
#[derive(Debug, Default)]
pub(crate) struct QueueTimes {
    wait: DurationHistogram,
    run: DurationHistogram,
}

impl QueueTimes {
    pub(crate) fn started(&self, wait: Duration) {
        self.wait.record(wait);
    }

    pub(crate) fn ended(&self, run: Duration) {
        self.run.record(run);
    }
}

/// Figures at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkSnapshot {
    /// One for each kind of which there was an attempt.
    pub kinds: Vec<KindFigures>,
    /// One for each queue that this process works on, by name.
    pub queues: Vec<QueueFigures>,
    /// Settlements that the broker refused because the lease was lost.
    pub stale: u64,
    /// Calls to the broker that failed and were made again.
    pub broker_failures: u64,
    /// Points of `write` jobs that the store refused for good, such as those of new series over a limit.
    pub points_refused: u64,
}

/// Times of one queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueFigures {
    /// The queue.
    pub queue: QueueName,
    /// From the moment a job could have started to its start.
    pub wait: HistogramSnapshot,
    /// From start to end.
    pub run: HistogramSnapshot,
}

/// Figures of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct KindFigures {
    /// The kind.
    pub kind: JobKind,
    /// Attempts that run now.
    pub running: u64,
    /// Attempts by how they ended.
    pub ends: Vec<(AttemptEnd, u64)>,
    /// Attempts that panicked; also counted as retried.
    pub panics: u64,
    /// Attempts that exceeded their time limit; also counted as retried.
    pub timeouts: u64,
    /// Jobs that were put off before they began, because of a rate that all workers share.
    pub put_off: u64,
    /// From the moment a job could have started to its start.
    pub wait: HistogramSnapshot,
    /// From start to end.
    pub run: HistogramSnapshot,
}

impl KindFigures {
    /// How many attempts ended this way.
    #[must_use]
    pub fn count(&self, end: AttemptEnd) -> u64 {
        self.ends.iter().find(|(candidate, _)| *candidate == end).map_or(0, |(_, count)| *count)
    }
}

impl WorkFigures {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The times of a queue.
    pub(crate) fn of_queue(&self, queue: &QueueName) -> Arc<QueueTimes> {
        self.queues.lock().entry(queue.clone()).or_default().clone()
    }

    pub(crate) fn started(&self, kind: JobKind, wait: Duration) {
        self.with(kind, |counters| {
            counters.started.fetch_add(1, Ordering::Relaxed);
            counters.wait.record(wait);
        });
    }

    pub(crate) fn ended(&self, kind: JobKind, end: AttemptEnd, run: Duration) {
        self.with(kind, |counters| {
            counters.run.record(run);
            if let Some(count) = counters.ends.get(end as usize) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    pub(crate) fn panicked(&self, kind: JobKind) {
        self.with(kind, |counters| {
            counters.panics.fetch_add(1, Ordering::Relaxed);
        });
    }

    pub(crate) fn timed_out(&self, kind: JobKind) {
        self.with(kind, |counters| {
            counters.timeouts.fetch_add(1, Ordering::Relaxed);
        });
    }

    pub(crate) fn put_off(&self, kind: JobKind) {
        self.with(kind, |counters| {
            counters.put_off.fetch_add(1, Ordering::Relaxed);
        });
    }

    pub(crate) fn stale(&self, count: u64) {
        self.stale.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn settle_failed(&self) {
        self.settle_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fetch_failed(&self) {
        self.fetch_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn points_refused(&self, count: u64) {
        self.points_refused.fetch_add(count, Ordering::Relaxed);
    }

    /// Attempts begun, of all kinds.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.kinds.iter().map(|counters| counters.started.load(Ordering::Relaxed)).sum()
    }

    /// The figures now.
    #[must_use]
    pub fn snapshot(&self) -> WorkSnapshot {
        let kinds = JobKind::ALL.into_iter().zip(&self.kinds);
        let seen = kinds.filter(|(_, counters)| {
            counters.started.load(Ordering::Relaxed) + counters.put_off.load(Ordering::Relaxed) > 0
        });
        let times = |(queue, times): (&QueueName, &Arc<QueueTimes>)| QueueFigures {
            queue: queue.clone(),
            wait: times.wait.snapshot(),
            run: times.run.snapshot(),
        };
        WorkSnapshot {
            queues: self.queues.lock().iter().map(times).collect(),
            kinds: seen.map(|(kind, counters)| counters.snapshot(kind)).collect(),
            stale: self.stale.load(Ordering::Relaxed),
            points_refused: self.points_refused.load(Ordering::Relaxed),
            broker_failures: self.settle_failures.load(Ordering::Relaxed) + self.fetch_failures.load(Ordering::Relaxed),
        }
    }

    fn with(&self, kind: JobKind, count: impl FnOnce(&KindCounters)) {
        if let Some(counters) = self.kinds.get(kind as usize) {
            count(counters);
        }
    }
}

impl KindCounters {
    fn snapshot(&self, kind: JobKind) -> KindFigures {
        let ends = AttemptEnd::ALL.into_iter().zip(&self.ends);
        let ends: Vec<_> = ends.map(|(end, count)| (end, count.load(Ordering::Relaxed))).collect();
        let ended: u64 = ends.iter().map(|(_, count)| count).sum();
        KindFigures {
            kind,
            running: self.started.load(Ordering::Relaxed).saturating_sub(ended),
            ends,
            panics: self.panics.load(Ordering::Relaxed),
            timeouts: self.timeouts.load(Ordering::Relaxed),
            put_off: self.put_off.load(Ordering::Relaxed),
            wait: self.wait.snapshot(),
            run: self.run.snapshot(),
        }
    }
}
