//! Handing out, settling, extending, taking back.

use std::time::Duration;

use super::{Change, EXPIRED, Entry, JobTable, Now, millis};
use crate::{
    Delivery, FetchRequest, JobId, JobState, LeaseState, Outcome, QueueName, Receipt, Settled, WorkerId,
    delivery::Place, rescue_delay::rescue_delay, text::shorten,
};

/// The jobs of one fetch.
pub(super) struct Batch {
    /// Numbers that were handed out; some may have been settled.
    jobs: Vec<u64>,
    live: usize,
    /// When the earliest lease of the batch may run out.
    check_at: Duration,
}

impl JobTable {
    /// Hands out at most `max` ready jobs, of the first queues first.
    pub(crate) fn fetch(&mut self, now: Now, request: &FetchRequest) -> Vec<Delivery> {
        self.promote(now);
        let token = self.next_token;
        let mut deliveries = Vec::new();
        for queue in &request.queues {
            while deliveries.len() < request.max {
                let Some(sequence) = self.pick(now, queue) else { break };
                deliveries.extend(self.lease_out(now, sequence, token, request));
            }
        }
        if !deliveries.is_empty() {
            self.next_token += 1;
            self.remember_batch(now, token, &deliveries, &request.worker);
        }
        deliveries
    }

    /// The next job of a queue that is really ready.
    fn pick(&mut self, now: Now, queue: &QueueName) -> Option<u64> {
        loop {
            let sequence = self.queues.get_mut(queue).filter(|state| state.is_open(now.monotonic))?.pick()?;
            let Some(entry) = self.entries.get(&sequence) else { continue };
            if entry.state != JobState::Available {
                continue;
            }
            if entry.record.expires_ms.is_some_and(|expires_ms| expires_ms <= now.wall_ms) {
                self.finish(now, sequence, JobState::Discarded, None, Some(EXPIRED.to_owned()));
                continue;
            }
            return Some(sequence);
        }
    }

    fn lease_out(&mut self, now: Now, sequence: u64, token: u64, request: &FetchRequest) -> Option<Delivery> {
        let entry = self.entries.get_mut(&sequence)?;
        let queue = self.queues.get_mut(&entry.record.queue)?;
        queue.leave(entry);
        entry.state = JobState::Running;
        queue.enter(entry, sequence);
        queue.handed_out(now.monotonic);
        entry.token = token;
        entry.expires = now.monotonic + self.options.lease;
        entry.worker = Some(request.worker.clone());
        entry.started_ms = Some(now.wall_ms);
        Some(Delivery {
            receipt: Receipt {
                job: entry.record.id,
                queue: entry.record.queue.clone(),
                worker: request.worker.clone(),
                place: Place::Table { sequence, token },
            },
            job: entry.record.clone(),
            attempt: entry.attempts + 1,
            rescues: entry.rescues,
            available_ms: entry.run_at_ms,
        })
    }

    fn remember_batch(&mut self, now: Now, token: u64, deliveries: &[Delivery], worker: &WorkerId) {
        let sequence = |delivery: &Delivery| match delivery.receipt.place {
            Place::Table { sequence, .. } => sequence,
            Place::Frame { .. } => 0,
        };
        let jobs: Vec<u64> = deliveries.iter().map(sequence).collect();
        let with_attempts = deliveries.iter().map(|delivery| (sequence(delivery), delivery.attempt - 1));
        self.changes.push(Change::Lease {
            token,
            jobs: with_attempts.collect(),
            worker: worker.clone(),
            started_ms: now.wall_ms,
        });
        let check_at = now.monotonic + self.options.lease;
        self.batches.insert(token, Batch { live: jobs.len(), jobs, check_at });
    }

    /// Records what became of attempts.
    pub(crate) fn settle(&mut self, now: Now, settlements: Vec<(Receipt, Outcome)>) -> Vec<Settled> {
        settlements.into_iter().map(|(receipt, outcome)| self.settle_one(now, &receipt, outcome)).collect()
    }

    fn settle_one(&mut self, now: Now, receipt: &Receipt, outcome: Outcome) -> Settled {
        let Some((sequence, entry)) = self.held(receipt) else {
            self.queue_mut(&receipt.queue).totals.stale += 1;
            return Settled::Stale;
        };
        match outcome {
            Outcome::Completed { result } => {
                self.finish(now, sequence, JobState::Completed, result, None);
                Settled::Recorded(JobState::Completed)
            }
            Outcome::Discard { reason } => {
                self.finish(now, sequence, JobState::Discarded, None, Some(reason));
                Settled::Recorded(JobState::Discarded)
            }
            Outcome::Cancelled { reason } => {
                self.finish(now, sequence, JobState::Cancelled, None, Some(reason));
                Settled::Recorded(JobState::Cancelled)
            }
            Outcome::Snooze { .. } if entry.cancel_requested => {
                self.finish(now, sequence, JobState::Cancelled, None, Some("cancelled".to_owned()));
                Settled::Recorded(JobState::Cancelled)
            }
            Outcome::Snooze { delay } => {
                let run_at_ms = now.wall_ms.saturating_add(millis(delay));
                self.hand_back(now, sequence, |entry| entry.run_at_ms = run_at_ms);
                Settled::Recorded(JobState::Scheduled)
            }
            Outcome::Retry { reason, .. } if entry.cancel_requested => {
                self.finish(now, sequence, JobState::Cancelled, None, Some(reason));
                Settled::Recorded(JobState::Cancelled)
            }
            Outcome::Retry { reason, .. } if entry.attempts + 1 >= entry.record.attempts_max => {
                self.finish(now, sequence, JobState::Discarded, None, Some(reason));
                Settled::Recorded(JobState::Discarded)
            }
            Outcome::Retry { reason, delay } => {
                self.queue_mut(&receipt.queue).totals.retried += 1;
                let run_at_ms = now.wall_ms.saturating_add(millis(delay));
                self.hand_back(now, sequence, |entry| {
                    entry.end_attempt(now.wall_ms, Some(&reason));
                    entry.attempts += 1;
                    entry.run_at_ms = run_at_ms;
                    entry.error = Some(shorten(reason));
                });
                Settled::Recorded(JobState::Retryable)
            }
        }
    }

    /// Takes a job back from a worker and puts it where its changed entry belongs.
    fn hand_back(&mut self, now: Now, sequence: u64, change: impl FnOnce(&mut Entry)) {
        let Some(mut entry) = self.entries.remove(&sequence) else { return };
        self.thin_batch(entry.token);
        let queue = self.queue_mut(&entry.record.queue);
        queue.leave(&entry);
        let frees_slot = queue.settings.running_max.is_some();
        self.became_ready |= frees_slot;
        change(&mut entry);
        entry.token = 0;
        entry.worker = None;
        self.changes.push(entry.update(sequence));
        self.add_entry(now, sequence, entry);
    }

    /// Extends leases.
    pub(crate) fn extend(&mut self, now: Now, receipts: &[Receipt]) -> Vec<LeaseState> {
        let expires = now.monotonic + self.options.lease;
        let extend = |receipt| match self.held(receipt) {
            Some((_, entry)) => {
                entry.expires = expires;
                if entry.cancel_requested { LeaseState::CancelRequested } else { LeaseState::Held }
            }
            None => LeaseState::Lost,
        };
        receipts.iter().map(extend).collect()
    }

    /// Gives jobs back before all others of their level; their attempt does not count.
    pub(crate) fn release(&mut self, now: Now, receipts: &[Receipt]) {
        for receipt in receipts.iter().rev() {
            let Some((sequence, entry)) = self.held(receipt) else { continue };
            if entry.cancel_requested {
                self.finish(now, sequence, JobState::Cancelled, None, Some("cancelled".to_owned()));
                continue;
            }
            let token = entry.token;
            self.unlease_job(token, sequence);
            self.thin_batch(token);
        }
    }

    /// Undoes [`JobTable::lease_out`].
    fn unlease_job(&mut self, token: u64, sequence: u64) {
        let Some(entry) = self.entries.get_mut(&sequence).filter(|entry| entry.token == token) else { return };
        let queue = self.queues.entry(entry.record.queue.clone()).or_default();
        queue.leave(entry);
        entry.state = JobState::Available;
        entry.token = 0;
        entry.worker = None;
        queue.enter_first(entry, sequence);
        self.became_ready = true;
    }

    /// Undoes the fetch that made this token; for a broker that could not write it down.
    pub(crate) fn retract_lease(&mut self, token: u64) {
        let Some(batch) = self.batches.remove(&token) else { return };
        for sequence in batch.jobs.into_iter().rev() {
            self.unlease_job(token, sequence);
        }
    }

    /// Undoes the push that made this number, for a broker that could not write it down; which job it was.
    pub(crate) fn retract_push(&mut self, sequence: u64) -> Option<JobId> {
        let mut entry = self.entries.remove(&sequence)?;
        self.forget_told(&mut entry);
        self.due.remove(&(entry.run_at_ms, sequence));
        if let Some(expires_ms) = entry.record.expires_ms {
            self.expiring.remove(&(expires_ms, sequence));
        }
        let queue = self.queue_mut(&entry.record.queue);
        queue.leave(&entry);
        queue.totals.pushed = queue.totals.pushed.saturating_sub(1);
        if let Some(unique) = &entry.record.unique {
            let key = (entry.record.queue.clone(), unique.key.clone());
            if self.unique.get(&key).is_some_and(|holder| holder.job == entry.record.id) {
                self.unique.remove(&key);
            }
        }
        Some(entry.record.id)
    }

    /// The job of a receipt, if the lease is still held.
    pub(super) fn held(&mut self, receipt: &Receipt) -> Option<(u64, &mut Entry)> {
        let Place::Table { sequence, token } = receipt.place else { return None };
        let entry = self.entries.get_mut(&sequence)?;
        let held = entry.state == JobState::Running && entry.token == token;
        held.then_some((sequence, entry))
    }

    /// One job of a batch is settled.
    pub(super) fn leave_batch(&mut self, token: u64) {
        if token == 0 {
            return;
        }
        let Some(batch) = self.batches.get_mut(&token) else { return };
        batch.live = batch.live.saturating_sub(1);
        if batch.live == 0 {
            self.batches.remove(&token);
            self.changes.push(Change::Unlease { token });
        }
    }

    /// One job of a batch was given back or taken back. If the process ended now, it must not be taken for running.
    fn thin_batch(&mut self, token: u64) {
        self.leave_batch(token);
        if self.batches.contains_key(&token) {
            self.thinned.insert(token);
        }
    }

    /// The jobs that a batch still holds, each with its earlier attempts.
    pub(super) fn jobs_left(&self, token: u64) -> Option<Vec<(u64, u32)>> {
        let batch = self.batches.get(&token)?;
        let held = batch.jobs.iter().filter_map(|sequence| {
            let entry = self.entries.get(sequence)?;
            (entry.state == JobState::Running && entry.token == token).then_some((*sequence, entry.attempts))
        });
        Some(held.collect())
    }

    /// Takes back jobs whose lease ran out: how many were rescued, how many discarded as poison.
    pub(super) fn sweep_leases(&mut self, now: Now) -> (u64, u64) {
        let suspects = self.batches.iter().filter(|(_, batch)| batch.check_at <= now.monotonic);
        let suspects: Vec<u64> = suspects.map(|(token, _)| *token).collect();
        let (mut rescued, mut poisoned) = (0, 0);
        for token in suspects {
            for sequence in self.overdue(token, now) {
                if self.rescue(now, sequence) {
                    rescued += 1;
                } else {
                    poisoned += 1;
                }
            }
        }
        (rescued, poisoned)
    }

    /// The jobs of a batch whose lease ran out; notes when to look at the others.
    fn overdue(&mut self, token: u64, now: Now) -> Vec<u64> {
        let Some(batch) = self.batches.get_mut(&token) else { return Vec::new() };
        let mut overdue = Vec::new();
        let mut check_at = now.monotonic + self.options.lease;
        for sequence in &batch.jobs {
            match self.entries.get(sequence).filter(|entry| entry.token == token) {
                Some(entry) if entry.expires <= now.monotonic => overdue.push(*sequence),
                Some(entry) => check_at = check_at.min(entry.expires),
                None => {}
            }
        }
        batch.check_at = check_at;
        overdue
    }

    /// Takes a job back from a lost worker; `false` when it is poison now.
    pub(super) fn rescue(&mut self, now: Now, sequence: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&sequence) else { return true };
        entry.rescues += 1;
        let worker = entry.worker.as_ref().map_or_else(|| "a process that ended".to_owned(), ToString::to_string);
        let rescues = entry.rescues;
        let cancel_requested = entry.cancel_requested;
        let queue = entry.record.queue.clone();
        self.queue_mut(&queue).totals.rescued += 1;
        if cancel_requested {
            self.finish(now, sequence, JobState::Cancelled, None, Some("cancelled".to_owned()));
            return true;
        }
        if rescues >= self.options.rescues_max {
            let reason = format!("poison: {rescues} workers were lost while they held it, the last was {worker}");
            self.finish(now, sequence, JobState::Discarded, None, Some(reason));
            return false;
        }
        let lease = self.options.lease;
        self.hand_back(now, sequence, |entry| {
            let delay = rescue_delay(entry.record.id, rescues, lease);
            if !delay.is_zero() {
                entry.run_at_ms = now.wall_ms.saturating_add(millis(delay));
            }
            let reason = format!("lease of {worker} ran out");
            entry.end_attempt(now.wall_ms, Some(&reason));
            entry.error = Some(reason);
        });
        true
    }
}
