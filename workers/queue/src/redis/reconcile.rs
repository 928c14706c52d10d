//! Finds out which jobs Redis lost, and which it has again although they had ended: the journal against what is there.
//!
//! The order makes the lists right while others go on. First everybody's events of the time before the loss are written
//! down; then the journal is read, then what is in Redis, twice, since jobs move between its keys; and then the journal
//! again, for the jobs that ended meanwhile.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use redis::Value;
use tidemark_model::DocumentError;
use tokio_util::sync::CancellationToken;

use super::{RedisBroker, data_loss::Noticed, frame, sweep::frame_of};
use crate::{
    BrokerError, JobId, JobJournal, LossFound, QueueLoss, QueueName,
    job_journal::{Claim, Known, Seen, is_listed},
};

/// How often old pages of the journal are forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(3_600);
/// How often a process that ends tries to write down what it saw, when others write at the same time.
const NOTE_SEEN_TRIES: usize = 4;
/// Entries of a stream, or delayed jobs, of one look.
const LOOK: usize = 500;
/// In so many flushes of this process every other process has flushed.
const FLUSHES_OF_OTHERS: u32 = 2;

impl From<DocumentError> for BrokerError {
    fn from(error: DocumentError) -> Self {
        Self::Unavailable(format!("the job journal cannot be used: {error}"))
    }
}

impl RedisBroker {
    /// Keeps the journal of [`RedisBroker::with_journal`], and looks into losses, until told to stop; at once when there is
    /// no journal.
    pub async fn keep_journal(&self, stop: CancellationToken) {
        let Some(journal) = &self.shared.journal else { return };
        let (mut prune_at, mut was_well) = (self.shared.clock.monotonic() + PRUNE_EVERY, true);
        let mut written = Seen::new();
        while stop.run_until_cancelled(tokio::time::sleep(journal.flush_every())).await.is_some() {
            // Processes that hand out nothing would notice a loss with their next job only.
            if let Err(error) = self.shared.check_owner().await {
                tracing::debug!(%error, "the broker does not answer");
            }
            let kept = stop.run_until_cancelled(self.keep_once(journal, &mut prune_at, &mut written)).await;
            let is_well = match kept {
                Some(Err(error)) => {
                    if was_well {
                        tracing::warn!(%error, "keep the journal of jobs; trying again");
                    }
                    false
                }
                _ => true,
            };
            was_well = is_well;
        }
        if let Err(error) = self.end_journal(journal, &mut written).await {
            tracing::warn!(%error, "write down the end of the journal of jobs");
        }
    }

    /// Leaves to whoever comes next what this process knows.
    async fn end_journal(&self, journal: &JobJournal, written: &mut Seen) -> Result<(), BrokerError> {
        journal.flush().await?;
        for _ in 0..NOTE_SEEN_TRIES {
            if self.note_seen(journal, written).await? {
                break;
            }
        }
        Ok(())
    }

    /// Writes down what was seen of the queues if that is news; `false` when it has to be tried again.
    async fn note_seen(&self, journal: &JobJournal, written: &mut Seen) -> Result<bool, BrokerError> {
        let seen = self.shared.watch.lock().seen();
        let Some(seen) = seen.filter(|seen| seen != written) else { return Ok(true) };
        let is_written = journal.note_seen(&self.shared.shown_with_prefix(), &seen).await?;
        if is_written {
            *written = seen;
        }
        Ok(is_written)
    }

    async fn keep_once(
        &self,
        journal: &JobJournal,
        prune_at: &mut Duration,
        written: &mut Seen,
    ) -> Result<(), BrokerError> {
        journal.flush().await?;
        self.look_into_losses(journal).await?;
        // IMPORTANT: after the losses were looked into, or a process that dies in between would leave none to notice.
        self.note_seen(journal, written).await?;
        if self.shared.watch.lock().has_open_losses() {
            // Others look into those.
            let losses = journal.losses().await?;
            let mut watch = self.shared.watch.lock();
            losses.iter().rev().for_each(|loss| watch.settle(loss));
        }
        let now = self.shared.clock.monotonic();
        if now >= *prune_at {
            *prune_at = now + PRUNE_EVERY;
            journal.prune().await?;
        }
        Ok(())
    }

    /// Looks into the losses that this process noticed before any other; tries again later what fails.
    async fn look_into_losses(&self, journal: &JobJournal) -> Result<(), BrokerError> {
        let mut noticed = self.shared.watch.lock().take_noticed();
        let looked = self.look_into(journal, &mut noticed).await;
        if let Err(error) = &looked {
            let queues: Vec<&str> = noticed.iter().map(|noticed| noticed.loss.queue.as_str()).collect();
            tracing::warn!(%error, ?queues, "redis lost data, and which jobs cannot be told yet; trying again");
        }
        // Those that another process looks into are kept until it has.
        self.shared.watch.lock().put_back(noticed);
        looked
    }

    async fn look_into(&self, journal: &JobJournal, noticed: &mut Vec<Noticed>) -> Result<(), BrokerError> {
        for place in (0..noticed.len()).rev() {
            let Some(one) = noticed.get_mut(place).filter(|one| !one.is_claimed) else { continue };
            match journal.claim_loss(&one.loss).await? {
                Claim::Ours => one.is_claimed = true,
                Claim::Theirs => drop(noticed.remove(place)),
                Claim::Pending => {}
            }
        }
        let claimed = noticed.iter().filter(|noticed| noticed.is_claimed);
        let losses: Vec<QueueLoss> = claimed.map(|noticed| noticed.loss.clone()).collect();
        if losses.is_empty() {
            return Ok(());
        }
        let found = self.find_losses(journal, &losses).await?;
        for loss in &found {
            journal.record_loss(loss).await?;
            self.shared.watch.lock().settle(loss);
        }
        noticed.retain(|noticed| !noticed.is_claimed);
        tell(&found);
        Ok(())
    }

    async fn find_losses(&self, journal: &JobJournal, losses: &[QueueLoss]) -> Result<Vec<QueueLoss>, BrokerError> {
        let others_flush = journal.flush_every() * FLUSHES_OF_OTHERS;
        tokio::time::sleep(others_flush).await;
        let before = journal.read().await?;
        let mut present = Vec::with_capacity(losses.len());
        for loss in losses {
            present.push(match loss.is_listed() {
                true => [self.present(&loss.queue).await?, self.present(&loss.queue).await?].concat(),
                false => Vec::new(),
            });
        }
        tokio::time::sleep(others_flush).await;
        let after = journal.read().await?;
        let found = losses.iter().zip(present).map(|(loss, present)| {
            let found = if is_listed(&loss.queue) {
                compare(&loss.queue, &before, &present.into_iter().collect(), &after)
            } else {
                let lost_jobs = loss.jobs_before.saturating_sub(loss.jobs_after);
                LossFound { lost_jobs, is_counted: true, ..LossFound::default() }
            };
            QueueLoss { found: Some(found), ..loss.clone() }
        });
        Ok(found.collect())
    }

    /// Jobs that wait or run.
    async fn present(&self, queue: &QueueName) -> Result<Vec<JobId>, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let mut present = self.delayed_ids(&keys.delayed).await?;
        for stream in &keys.streams {
            let mut from = "-".to_owned();
            loop {
                let mut command = redis::cmd("XRANGE");
                command.arg(stream).arg(&from).arg("+").arg("COUNT").arg(LOOK);
                let entries: Vec<(String, Vec<Value>)> = self.shared.run(&command).await?;
                let is_last = entries.len() < LOOK;
                if let Some((entry, _)) = entries.last() {
                    from = format!("({entry}");
                }
                let frames = entries.into_iter().filter_map(|(_, fields)| frame_of(fields));
                let items = frames.filter_map(|frame| frame::split(&frame).ok()).flatten();
                present.extend(items.map(|item| item.id()));
                if is_last {
                    break;
                }
            }
        }
        // Those that a worker put off meanwhile.
        present.extend(self.delayed_ids(&keys.delayed).await?);
        Ok(present)
    }

    async fn delayed_ids(&self, key: &str) -> Result<Vec<JobId>, BrokerError> {
        let mut ids = Vec::new();
        let mut cursor = 0_u64;
        loop {
            let mut command = redis::cmd("ZSCAN");
            command.arg(key).arg(cursor).arg("COUNT").arg(LOOK);
            let (next, found): (u64, Vec<Vec<u8>>) = self.shared.run(&command).await?;
            // Members and their scores by turns.
            ids.extend(found.iter().step_by(2).filter_map(|id| JobId::from_slice(id)));
            if next == 0 {
                return Ok(ids);
            }
            cursor = next;
        }
    }

    pub(super) async fn known_losses(&self) -> Result<Vec<QueueLoss>, BrokerError> {
        match &self.shared.journal {
            Some(journal) => Ok(journal.losses().await?),
            None => Ok(Vec::new()),
        }
    }
}

/// `before` was read before it was looked what is `present`, and `after` after it.
fn compare(queue: &QueueName, before: &Known, present: &HashSet<JobId>, after: &Known) -> LossFound {
    let still_open = after.open(queue);
    let is_lost = |job: &JobId| !present.contains(job) && still_open.contains(job);
    let lost: BTreeSet<JobId> = before.open(queue).into_iter().filter(is_lost).collect();
    let still_closed = after.closed(queue);
    let is_back = |job: &JobId| present.contains(job) && still_closed.contains(job);
    let resurrected: BTreeSet<JobId> = before.closed(queue).into_iter().filter(is_back).collect();
    let (lost_jobs, resurrected_jobs) = (lost.len() as u64, resurrected.len() as u64);
    let listed = |jobs: BTreeSet<JobId>| jobs.into_iter().take(LossFound::LISTED_MAX).collect();
    LossFound {
        lost: listed(lost),
        lost_jobs,
        resurrected: listed(resurrected),
        resurrected_jobs,
        is_counted: false,
        is_incomplete: before.is_incomplete || after.is_incomplete,
    }
}

/// One line for all queues: it is one incident.
fn tell(losses: &[QueueLoss]) {
    let sum = |of: fn(&LossFound) -> u64| losses.iter().filter_map(|loss| loss.found.as_ref()).map(of).sum::<u64>();
    let (lost, resurrected) = (sum(|found| found.lost_jobs), sum(|found| found.resurrected_jobs));
    let queues: Vec<&str> = losses.iter().map(|loss| loss.queue.as_str()).collect();
    let what = losses.first().map_or("lost data", |loss| loss.kind.told());
    tracing::error!(lost, resurrected, ?queues, "redis {what}: `tidemark queues losses` lists the jobs");
}

#[cfg(test)]
mod tests {
    use tidemark_model::ManualClock;

    use super::*;
    use crate::{job_journal::EventKind, test_documents::Documents};

    #[tokio::test]
    async fn jobs_that_ended_or_came_while_it_was_looked_are_neither_lost_nor_resurrected() {
        let journal =
            JobJournal::new(std::sync::Arc::new(Documents::default()), std::sync::Arc::new(ManualClock::new(1_000)));
        let queue: QueueName = "notify".parse().unwrap();
        let id = |number: u8| JobId::from_bytes([number; 16]);
        let [lost, ends_later, stays, resurrected, comes_later] = [1, 2, 3, 4, 5].map(id);
        journal.note(&queue, EventKind::Pushed, [lost, ends_later, stays, resurrected]);
        journal.note(&queue, EventKind::Ended, [resurrected]);
        let before = journal.read().await.unwrap();
        journal.note(&queue, EventKind::Ended, [ends_later]);
        journal.note(&queue, EventKind::Pushed, [comes_later]);
        let after = journal.read().await.unwrap();
        let present = HashSet::from([stays, resurrected, comes_later]);
        let found = compare(&queue, &before, &present, &after);
        assert_eq!((found.lost, found.resurrected), (vec![lost], vec![resurrected]));
        assert_eq!((found.lost_jobs, found.resurrected_jobs, found.is_incomplete), (1, 1, false));
    }
}
