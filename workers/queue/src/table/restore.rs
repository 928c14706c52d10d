//! Filling a table with what a durable broker had written.

use std::{sync::Arc, time::Duration};

use tidemark_model::TimestampMs;

use super::{Entry, Finished, JobTable, Leader, Now, ShelfKind};
use crate::{AttemptNote, JobId, JobRecord, QueueName, QueueSettings, Schedule, UniqueMode, WorkerId};

/// An unfinished job as it was written.
pub(crate) struct StoredJob {
    pub(crate) sequence: u64,
    pub(crate) record: JobRecord,
    pub(crate) attempts: u32,
    pub(crate) rescues: u32,
    pub(crate) run_at_ms: TimestampMs,
    pub(crate) error: Option<String>,
    pub(crate) attempts_made: Vec<AttemptNote>,
}

/// A lease as it was written.
pub(crate) struct StoredLease {
    pub(crate) token: u64,
    /// Number and earlier attempts of each of its jobs.
    pub(crate) jobs: Vec<(u64, u32)>,
    /// Who held it and since when, if that was written down.
    pub(crate) worker: Option<WorkerId>,
    pub(crate) started_ms: Option<TimestampMs>,
}

impl JobTable {
    /// Numbers below this one have been given; no other job gets them.
    pub(crate) fn restore_numbers(&mut self, next: u64) {
        self.next_sequence = self.next_sequence.max(next);
    }

    pub(crate) fn restore_job(&mut self, now: Now, stored: StoredJob) {
        let sequence = stored.sequence;
        self.restore_numbers(sequence.saturating_add(1));
        let record = Arc::new(stored.record);
        if let Some(unique) = record.unique.as_ref().filter(|unique| unique.mode == UniqueMode::UntilDone) {
            self.hold_key(record.queue.clone(), unique.key.clone(), record.id, None);
        }
        let mut entry = Box::new(Entry::new(record, stored.run_at_ms));
        entry.attempts = stored.attempts;
        entry.rescues = stored.rescues;
        entry.error = stored.error;
        entry.attempts_made = stored.attempts_made;
        self.add_entry(now, sequence, entry);
    }

    /// A lease that was held when the process ended: its jobs are rescued, but those whose attempt had been settled.
    pub(crate) fn restore_lease(&mut self, now: Now, lease: &StoredLease) {
        self.next_token = self.next_token.max(lease.token + 1);
        for &(sequence, attempts) in &lease.jobs {
            let Some(entry) = self.entries.get_mut(&sequence).filter(|entry| entry.attempts == attempts) else {
                continue;
            };
            // IMPORTANT: rescue() expects a running job, so that the counters stay true.
            let Some(queue) = self.queues.get_mut(&entry.record.queue) else { continue };
            queue.leave(entry);
            entry.state = crate::JobState::Running;
            entry.worker.clone_from(&lease.worker);
            entry.started_ms = lease.started_ms;
            queue.enter(entry, sequence);
            self.due.remove(&(entry.run_at_ms, sequence));
            self.rescue(now, sequence);
        }
    }

    pub(crate) fn restore_key(&mut self, now: Now, queue: QueueName, key: String, job: JobId, until_ms: TimestampMs) {
        let left = Duration::from_millis(u64::try_from(until_ms.saturating_sub(now.wall_ms)).unwrap_or(0));
        self.hold_key(queue, key, job, Some(now.monotonic.saturating_add(left)));
    }

    pub(crate) fn restore_finished(&mut self, shelf: ShelfKind, number: u64, finished: Finished) {
        let queue = finished.view.queue.clone();
        self.queue_mut(&queue);
        self.shelf_mut(shelf).restore(number, Arc::new(finished));
    }

    pub(crate) fn restore_settings(&mut self, queue: &QueueName, settings: QueueSettings) {
        self.queue_mut(queue).settings = settings;
    }

    pub(crate) fn restore_schedule(&mut self, schedule: Schedule) {
        self.schedules.insert(schedule.name.clone(), schedule);
    }

    /// The next leader gets a higher token.
    pub(crate) fn restore_leader(&mut self, name: String, token: u64) {
        self.leaders.insert(name, Leader { owner: String::new(), token, until: Duration::ZERO });
    }
}
