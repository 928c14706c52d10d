//! The state machine of jobs in memory: what the in-memory and the embedded broker have in common.
//!
//! A [`JobTable`] knows no disk, no thread and no clock: every call gets the time, and leaves in
//! [`JobTable::take_changes`] what a durable broker has to write before it answers. Ready jobs are numbers in one
//! deque per queue and priority; entries are found by number, and only `cancel`, `retry` and look-ups go by id. A
//! number that is stale in a deque (its job was cancelled) is skipped when it comes up, which costs nothing until then.
//!
//! Leases are kept per fetch, not per job: a *batch* holds the numbers of one fetch and is looked at when its earliest
//! lease may have run out. That is one small record per fetch on disk, too, so that a job which takes the whole process
//! down is counted as a rescue when the process comes back.

mod bulk;
mod changes;
mod clock_steps;
mod entries;
mod entry;
mod finish;
mod ids;
mod leases;
mod limits;
mod listing;
mod notes;
mod queue_state;
mod rate_window;
mod restore;
mod schedules;
mod shelf;
mod steering;
mod workflows;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use foldhash::{HashMap, HashMapExt};
use tidemark_model::TimestampMs;
use tokio::sync::oneshot;

pub(crate) use changes::{Change, Shelved};
pub(crate) use entry::{Entry, view_of};
pub(crate) use restore::{StoredJob, StoredLease};
pub(crate) use shelf::{Finished, ShelfKind};

use crate::{
    BrokerError, BrokerOptions, JobId, JobRecord, JobResult, JobState, NumberedCommand, Pushed, QueueName, Schedule,
    TickReport, UniqueMode, WorkerReport,
};
use entries::Entries;
use leases::Batch;
use limits::SharedRates;
pub(crate) use limits::full;
use queue_state::QueueState;
use shelf::Shelf;
use workflows::Workflows;

/// What time it is, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) wall_ms: TimestampMs,
    pub(crate) monotonic: Duration,
}

/// Who has a unique key.
#[derive(Clone, Copy, Debug)]
struct KeyHolder {
    job: JobId,
    /// Until when, by the monotonic clock, which nobody sets; `None` until the job is done.
    until: Option<Duration>,
}

/// A job to push: the record, and its bytes when the broker writes them.
pub(crate) struct PreparedJob {
    pub(crate) record: Arc<JobRecord>,
    pub(crate) body: Vec<u8>,
}

/// A worker that was heard of.
struct Worker {
    report: WorkerReport,
    seen: Duration,
    commands: Vec<NumberedCommand>,
}

struct Leader {
    owner: String,
    token: u64,
    until: Duration,
}

pub(crate) struct JobTable {
    options: BrokerOptions,
    next_sequence: u64,
    next_token: u64,
    entries: Entries,
    queues: BTreeMap<QueueName, QueueState>,
    /// Scheduled and retryable jobs by their time.
    due: BTreeSet<(TimestampMs, u64)>,
    /// Ready jobs that must start by a time.
    expiring: BTreeSet<(TimestampMs, u64)>,
    batches: BTreeMap<u64, Batch>,
    unique: HashMap<(QueueName, String), KeyHolder>,
    unique_ends: BTreeSet<(Duration, QueueName, String)>,
    history: Shelf,
    discarded: Shelf,
    results: HashMap<JobId, JobResult>,
    result_ends: BTreeSet<(TimestampMs, JobId)>,
    waiters: HashMap<JobId, Vec<oneshot::Sender<JobResult>>>,
    history_allowance: finish::Allowance,
    workers: BTreeMap<String, Worker>,
    next_command: u64,
    shared_rates: SharedRates,
    schedules: BTreeMap<String, Schedule>,
    leaders: BTreeMap<String, Leader>,
    changes: Vec<Change>,
    /// Batches that lost jobs otherwise than by their end.
    thinned: BTreeSet<u64>,
    /// Bytes of what handlers told about jobs that have not ended.
    told_bytes: u64,
    workflows: Workflows,
    became_ready: bool,
    announcements: Vec<(oneshot::Sender<JobResult>, JobResult)>,
    /// How far the wall clock was ahead of the monotonic one when it was set last, or at the beginning.
    wall_ahead_ms: Option<i64>,
}

impl JobTable {
    pub(crate) fn new(options: BrokerOptions) -> Self {
        let history = Shelf::new(options.history_jobs_max, options.queue_bytes_max / 4);
        let discarded = Shelf::new(options.discarded_jobs_max, options.queue_bytes_max / 4);
        Self {
            history_allowance: finish::Allowance::new(options.history_per_second_max),
            options,
            next_sequence: 1,
            next_token: 1,
            entries: Entries::new(),
            queues: BTreeMap::new(),
            due: BTreeSet::new(),
            expiring: BTreeSet::new(),
            batches: BTreeMap::new(),
            unique: HashMap::new(),
            unique_ends: BTreeSet::new(),
            history,
            discarded,
            results: HashMap::new(),
            result_ends: BTreeSet::new(),
            waiters: HashMap::new(),
            workers: BTreeMap::new(),
            next_command: 1,
            shared_rates: SharedRates::new(),
            schedules: BTreeMap::new(),
            leaders: BTreeMap::new(),
            changes: Vec::new(),
            thinned: BTreeSet::new(),
            told_bytes: 0,
            workflows: Workflows::default(),
            became_ready: false,
            announcements: Vec::new(),
            wall_ahead_ms: None,
        }
    }

    /// What a durable broker has to write, in order, since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        for token in std::mem::take(&mut self.thinned) {
            let left = self.jobs_left(token);
            self.changes.extend(left.map(|jobs| Change::LeaseLeft { token, jobs }));
        }
        std::mem::take(&mut self.changes)
    }

    /// How many changes wait to be taken.
    pub(crate) fn changes_len(&self) -> usize {
        self.changes.len()
    }

    /// Whether jobs became ready since the last call.
    pub(crate) fn take_became_ready(&mut self) -> bool {
        std::mem::take(&mut self.became_ready)
    }

    /// Results for those who wait, to be sent once the changes are written.
    pub(crate) fn take_announcements(&mut self) -> Vec<(oneshot::Sender<JobResult>, JobResult)> {
        std::mem::take(&mut self.announcements)
    }

    /// Queues jobs: all, or none when a limit is reached.
    pub(crate) fn push(&mut self, now: Now, jobs: Vec<PreparedJob>) -> Result<Vec<Pushed>, BrokerError> {
        self.check_room(&jobs)?;
        Ok(jobs.into_iter().map(|job| self.push_one(now, job, false)).collect())
    }

    /// Queues a job. One that `stands` follows from something that happened, and is not undone when it cannot be written.
    fn push_one(&mut self, now: Now, job: PreparedJob, stands: bool) -> Pushed {
        let record = job.record;
        if let Some(holder) = self.key_holder(now, &record) {
            self.queue_mut(&record.queue).totals.duplicates += 1;
            return Pushed::Duplicate(holder);
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let id = record.id;
        self.changes.push(Change::Insert { sequence, body: job.body, stands });
        self.claim_key(now, &record);
        let run_at_ms = record.due_ms();
        let queue = self.queue_mut(&record.queue);
        queue.totals.pushed += 1;
        queue.pushed.add(now.monotonic, 1);
        self.add_entry(now, sequence, Box::new(Entry::new(record, run_at_ms)));
        Pushed::Queued(id)
    }

    /// Puts an entry where its time says: among the ready ones or among those that wait for their time.
    fn add_entry(&mut self, now: Now, sequence: u64, mut entry: Box<Entry>) {
        if entry.run_at_ms > now.wall_ms {
            entry.state = if entry.attempts > 0 { JobState::Retryable } else { JobState::Scheduled };
            self.due.insert((entry.run_at_ms, sequence));
        } else {
            entry.state = JobState::Available;
            self.became_ready = true;
        }
        if let Some(expires_ms) = entry.record.expires_ms {
            self.expiring.insert((expires_ms, sequence));
        }
        self.queue_mut(&entry.record.queue).enter(&entry, sequence);
        self.entries.insert(sequence, entry);
    }

    fn key_holder(&self, now: Now, record: &JobRecord) -> Option<JobId> {
        let unique = record.unique.as_ref()?;
        let holder = self.unique.get(&(record.queue.clone(), unique.key.clone()))?;
        let held = holder.until.is_none_or(|until| until > now.monotonic);
        // A job that is retried by hand does not stand in its own way.
        (held && holder.job != record.id).then_some(holder.job)
    }

    fn claim_key(&mut self, now: Now, record: &JobRecord) {
        let Some(unique) = &record.unique else { return };
        let UniqueMode::For(period) = unique.mode else {
            return self.hold_key(record.queue.clone(), unique.key.clone(), record.id, None);
        };
        self.hold_key(record.queue.clone(), unique.key.clone(), record.id, Some(now.monotonic.saturating_add(period)));
        self.changes.push(Change::HoldKey {
            queue: record.queue.clone(),
            key: unique.key.clone(),
            job: record.id,
            until_ms: now.wall_ms.saturating_add(millis(period)),
        });
    }

    fn hold_key(&mut self, queue: QueueName, key: String, job: JobId, until: Option<Duration>) {
        if let Some(until) = until {
            self.unique_ends.insert((until, queue.clone(), key.clone()));
        }
        self.unique.insert((queue, key), KeyHolder { job, until });
    }

    fn free_key(&mut self, record: &JobRecord) {
        let Some(unique) = &record.unique else { return };
        let key = (record.queue.clone(), unique.key.clone());
        let is_own = |holder: &KeyHolder| holder.job == record.id && holder.until.is_none();
        if self.unique.get(&key).is_some_and(is_own) {
            self.unique.remove(&key);
        }
    }

    /// Makes jobs ready whose time has come, takes back those of lost leases, discards what expired, forgets what is
    /// old.
    pub(crate) fn tick(&mut self, now: Now) -> TickReport {
        let (rescued, poisoned) = self.sweep_leases(now);
        let report = TickReport { promoted: self.promote(now), rescued, poisoned, expired: self.expire(now) };
        self.forget_old_keys(now);
        self.forget_old_results(now);
        self.forget_old_history(now);
        self.forget_old_workflows(now);
        self.forget_silent_workers(now);
        self.forget_unused_rates(now);
        report
    }

    /// Makes jobs ready whose time has come.
    pub(crate) fn promote(&mut self, now: Now) -> u64 {
        let mut promoted = 0;
        while let Some(&(due_ms, sequence)) = self.due.first() {
            if due_ms > now.wall_ms {
                break;
            }
            self.due.pop_first();
            let Some(entry) = self.entries.get_mut(&sequence) else { continue };
            let queue = self.queues.entry(entry.record.queue.clone()).or_default();
            queue.leave(entry);
            entry.state = JobState::Available;
            queue.enter(entry, sequence);
            promoted += 1;
            self.became_ready = true;
        }
        promoted
    }

    fn expire(&mut self, now: Now) -> u64 {
        let mut expired = 0;
        while let Some(&(expires_ms, sequence)) = self.expiring.first() {
            if expires_ms > now.wall_ms {
                break;
            }
            self.expiring.pop_first();
            if self.entries.get(&sequence).is_some_and(|entry| entry.state != JobState::Running) {
                self.finish(now, sequence, JobState::Discarded, None, Some(EXPIRED.to_owned()));
                expired += 1;
            }
        }
        expired
    }

    fn forget_old_keys(&mut self, now: Now) {
        while self.unique_ends.first().is_some_and(|(until, ..)| *until <= now.monotonic) {
            let Some((until, queue, key)) = self.unique_ends.pop_first() else { break };
            let name = (queue, key);
            // The key may have been claimed again since.
            if self.unique.get(&name).is_some_and(|holder| holder.until == Some(until)) {
                self.unique.remove(&name);
                let (queue, key) = name;
                self.changes.push(Change::FreeKey { queue, key });
            }
        }
    }

    fn forget_silent_workers(&mut self, now: Now) {
        let silence_max = self.options.worker_silence_max;
        self.workers.retain(|_, worker| now.monotonic.saturating_sub(worker.seen) < silence_max);
    }

    fn queue_mut(&mut self, queue: &QueueName) -> &mut QueueState {
        if !self.queues.contains_key(queue) {
            self.queues.insert(queue.clone(), QueueState::default());
        }
        self.queues.entry(queue.clone()).or_default()
    }
}

const EXPIRED: &str = "expired before it could start";

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) use steering::Await;

#[cfg(test)]
mod tests;
