//! How a job ends.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Change, Finished, JobTable, Now, ShelfKind, Shelved, entry::Entry, millis};
use crate::{JobId, JobNote, JobResult, JobState, RESULT_BYTES_MAX, text::shorten};

impl JobTable {
    /// Ends a job: it leaves the table, and is kept on a shelf if it is worth it.
    pub(super) fn finish(
        &mut self,
        now: Now,
        sequence: u64,
        state: JobState,
        result: Option<Bytes>,
        error: Option<String>,
    ) {
        let Some(mut entry) = self.entries.remove(&sequence) else { return };
        let told = self.forget_told(&mut entry);
        self.leave_batch(entry.token);
        if matches!(entry.state, JobState::Scheduled | JobState::Retryable) {
            self.due.remove(&(entry.run_at_ms, sequence));
        }
        if let Some(expires_ms) = entry.record.expires_ms {
            self.expiring.remove(&(expires_ms, sequence));
        }
        self.free_key(&entry.record);
        self.changes.push(Change::Delete { sequence });
        let queue = self.queue_mut(&entry.record.queue);
        queue.leave(&entry);
        queue.ended.add(now.monotonic, 1);
        match state {
            JobState::Completed => queue.totals.completed += 1,
            JobState::Cancelled => queue.totals.cancelled += 1,
            _ => queue.totals.discarded += 1,
        }
        let frees_slot = entry.state == JobState::Running && queue.settings.running_max.is_some();
        self.became_ready |= frees_slot;
        let error = error.map(shorten);
        let node = entry.record.workflow;
        let handed_on = node.map(|node| (node, JobResult { state, result: result.clone(), error: error.clone() }));
        let result = result.filter(|result| result.len() <= RESULT_BYTES_MAX && entry.record.result_ttl.is_some());
        self.announce(now, &entry, JobResult { state, result: result.clone(), error: error.clone() });
        self.shelve(now, *entry, told, JobResult { state, result, error });
        if let Some((node, end)) = handed_on {
            self.advance(now, node, &end);
        }
    }

    fn announce(&mut self, now: Now, entry: &Entry, result: JobResult) {
        let id = entry.record.id;
        if !self.waiters.is_empty() {
            for waiter in self.waiters.remove(&id).unwrap_or_default() {
                self.announcements.push((waiter, result.clone()));
            }
        }
        if let Some(ttl) = entry.record.result_ttl {
            self.results.insert(id, result);
            self.result_ends.insert((now.wall_ms.saturating_add(millis(ttl)), id));
        }
    }

    fn shelve(&mut self, now: Now, mut entry: Entry, told: JobNote, end: JobResult) {
        let JobResult { state, result, error } = end;
        let asked_for = entry.record.result_ttl.is_some() || state != JobState::Completed || entry.attempts > 0;
        if !asked_for && !self.history_allowance.take(now.monotonic) {
            return;
        }
        let attempt = entry.attempts_begun();
        entry.end_attempt(now.wall_ms, error.as_deref());
        entry.state = state;
        let mut view = entry.view();
        view.attempt = attempt;
        view.progress = told.progress;
        view.finished_ms = Some(now.wall_ms);
        view.error = error.or(view.error);
        view.result = result;
        let record = match state {
            JobState::Completed => Arc::new(entry.record.without_data()),
            _ => entry.record.clone(),
        };
        let kind = if state == JobState::Discarded { ShelfKind::Discarded } else { ShelfKind::History };
        let finished = Arc::new(Finished { view, record, log: told.lines.into() });
        let number = self.shelf_mut(kind).add(finished.clone());
        self.changes.push(Change::Shelve(Shelved { shelf: kind, number, finished }));
        while let Some((number, dropped)) = self.shelf_mut(kind).pop_excess() {
            self.changes.push(Change::Unshelve { shelf: kind, number });
            if kind == ShelfKind::Discarded {
                self.queue_mut(&dropped.view.queue).totals.discarded_dropped += 1;
            }
        }
    }

    pub(super) fn shelf_mut(&mut self, kind: ShelfKind) -> &mut super::Shelf {
        match kind {
            ShelfKind::History => &mut self.history,
            ShelfKind::Discarded => &mut self.discarded,
        }
    }

    pub(super) fn forget_old_history(&mut self, now: Now) {
        let oldest_kept_ms = now.wall_ms.saturating_sub(millis(self.options.history_age_max));
        let is_old = |finished: &Finished| finished.view.finished_ms.is_some_and(|at| at < oldest_kept_ms);
        while self.history.oldest().is_some_and(is_old) {
            let Some((number, _)) = self.history.pop_oldest() else { break };
            self.changes.push(Change::Unshelve { shelf: ShelfKind::History, number });
        }
    }

    pub(super) fn forget_old_results(&mut self, now: Now) {
        while let Some(&(ends_ms, id)) = self.result_ends.first() {
            if ends_ms > now.wall_ms {
                break;
            }
            self.result_ends.pop_first();
            self.results.remove(&id);
        }
    }

    /// What a job ended with, when that is known.
    pub(crate) fn result_of(&self, job: JobId) -> Option<JobResult> {
        let shelved = || self.history.get(job).or_else(|| self.discarded.get(job));
        let of_view = |finished: &Arc<Finished>| JobResult {
            state: finished.view.state,
            result: finished.view.result.clone(),
            error: finished.view.error.clone(),
        };
        self.results.get(&job).cloned().or_else(|| shelved().map(of_view))
    }
}

/// Lets so many a second through.
pub(super) struct Allowance {
    per_second: u32,
    second: u64,
    left: u32,
}

impl Allowance {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second, second: 0, left: per_second }
    }

    fn take(&mut self, now: Duration) -> bool {
        if now.as_secs() != self.second {
            (self.second, self.left) = (now.as_secs(), self.per_second);
        }
        let some_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some_left
    }
}
