//! What people and awaiting producers do to jobs and queues.

use tokio::sync::oneshot;

use super::{Change, JobTable, Now, PreparedJob, ShelfKind, Worker};
use crate::{
    AttemptNote, Cancelled, Completion, JobId, JobResult, JobState, NumberedCommand, WORKER_COMMANDS_MAX,
    WorkerCommand, WorkerReport, record_codec,
};

/// What a producer that awaits a job gets.
pub(crate) enum Await {
    Known(Completion),
    Coming(oneshot::Receiver<JobResult>),
}

impl JobTable {
    pub(crate) fn cancel(&mut self, now: Now, job: JobId) -> Cancelled {
        let Some(sequence) = self.entries.find(job) else {
            return match self.result_of(job) {
                Some(ended) => Cancelled::TooLate(ended.state),
                None => Cancelled::Unknown,
            };
        };
        if let Some(entry) = self.entries.get_mut(&sequence)
            && entry.state == JobState::Running
        {
            entry.cancel_requested = true;
            return Cancelled::Requested;
        }
        self.finish(now, sequence, JobState::Cancelled, None, Some("cancelled".to_owned()));
        Cancelled::Now
    }

    /// Gives a job a fresh set of attempts at once.
    pub(crate) fn retry(&mut self, now: Now, job: JobId) -> bool {
        if let Some(sequence) = self.entries.find(job) {
            return self.retry_waiting(now, sequence);
        }
        for kind in [ShelfKind::Discarded, ShelfKind::History] {
            let Some(finished) = self.shelf_mut(kind).get(job).cloned() else { continue };
            if !finished.can_be_retried() || self.key_holder(now, &finished.record).is_some() {
                continue;
            }
            let Some((number, _)) = self.shelf_mut(kind).take(job) else { continue };
            self.changes.push(Change::Unshelve { shelf: kind, number });
            self.results.remove(&job);
            let mut record = (*finished.record).clone();
            record.expires_ms = None;
            record.not_before_ms = None;
            record.created_ms = now.wall_ms;
            let body = record_codec::encode(&record);
            self.push_one(now, PreparedJob { record: record.into(), body }, true);
            self.keep_attempts(job, finished.view.attempts.clone());
            return true;
        }
        false
    }

    /// Keeps what is remembered of the attempts at a job before it was retried.
    fn keep_attempts(&mut self, job: JobId, attempts_made: Vec<AttemptNote>) {
        let Some(sequence) = self.entries.find(job) else { return };
        let Some(entry) = self.entries.get_mut(&sequence) else { return };
        entry.attempts_made = attempts_made;
        self.changes.push(entry.update(sequence));
    }

    fn retry_waiting(&mut self, now: Now, sequence: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&sequence) else { return false };
        if entry.state != JobState::Retryable {
            return false;
        }
        self.due.remove(&(entry.run_at_ms, sequence));
        let Some(queue) = self.queues.get_mut(&entry.record.queue) else { return false };
        queue.leave(entry);
        entry.state = JobState::Available;
        entry.attempts = 0;
        entry.run_at_ms = now.wall_ms;
        queue.enter(entry, sequence);
        self.became_ready = true;
        let change = entry.update(sequence);
        self.changes.push(change);
        true
    }

    pub(crate) fn completion(&mut self, job: JobId) -> Await {
        if let Some(result) = self.result_of(job) {
            return Await::Known(Completion::Ended(result));
        }
        if self.entries.find(job).is_none() {
            return Await::Known(Completion::Unknown);
        }
        self.await_end(job)
    }

    pub(super) fn await_end(&mut self, job: JobId) -> Await {
        let (sender, receiver) = oneshot::channel();
        let waiters = self.waiters.entry(job).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(sender);
        Await::Coming(receiver)
    }

    /// Forgets producers that do not wait any more.
    pub(crate) fn forget_waiter(&mut self, job: JobId) {
        if let Some(waiters) = self.waiters.get_mut(&job) {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                self.waiters.remove(&job);
            }
        }
    }

    /// Records that a worker lives; the commands that it does not have yet.
    pub(crate) fn heartbeat(&mut self, now: Now, report: WorkerReport) -> Vec<NumberedCommand> {
        let (name, last_command) = (report.worker.clone(), report.last_command);
        let mut commands = self.workers.remove(&name).map(|worker| worker.commands).unwrap_or_default();
        commands.retain(|command| command.number > last_command);
        let told = commands.clone();
        self.workers.insert(name, Worker { report, seen: now.monotonic, commands });
        told
    }

    /// Leaves a command for a worker; `None` when too many wait for it.
    pub(crate) fn command_worker(&mut self, worker: &str, command: WorkerCommand) -> Option<bool> {
        let Some(worker) = self.workers.get_mut(worker) else { return Some(false) };
        if worker.commands.len() >= WORKER_COMMANDS_MAX {
            return None;
        }
        worker.commands.push(NumberedCommand { number: self.next_command, command });
        self.next_command += 1;
        Some(true)
    }

    pub(crate) fn farewell(&mut self, worker: &str) {
        self.workers.remove(worker);
    }
}
