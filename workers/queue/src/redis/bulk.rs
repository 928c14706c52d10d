//! What people do to many dead letters at once: page by page, so that no script holds the server up.

use super::{
    RedisBroker,
    frame::Item,
    transition::{Source, Transition},
};
use crate::{BULK_MAX, BrokerError, JobFilter, JobId, JobState, QueueName, finished_codec, table::Finished};

/// Dead letters of one look.
const PAGE: usize = 256;

/// What is done to dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Retry,
    Purge,
}

impl RedisBroker {
    pub(super) async fn retry_matching(&self, filter: JobFilter, limit: usize) -> Result<u64, BrokerError> {
        self.for_discarded(&filter, limit, Act::Retry).await
    }

    pub(super) async fn purge_matching(&self, filter: JobFilter, limit: usize) -> Result<u64, BrokerError> {
        self.for_discarded(&filter, limit, Act::Purge).await
    }

    pub(super) async fn forget_job(&self, job: JobId) -> Result<bool, BrokerError> {
        for queue in self.shared.queue_names().await? {
            let key = self.shared.keys.queue(&queue).discarded_items;
            let is_there: bool = self.shared.run(redis::cmd("HEXISTS").arg(key).arg(job.as_bytes().as_slice())).await?;
            if is_there {
                let mut transition = Transition::new(self, &queue);
                transition.take(&Source::Discarded { id: job });
                return Ok(transition.commit().await?.first() == Some(&true));
            }
        }
        Ok(false)
    }

    async fn for_discarded(&self, filter: &JobFilter, limit: usize, act: Act) -> Result<u64, BrokerError> {
        if filter.state.is_some_and(|state| state != JobState::Discarded) {
            return Ok(0);
        }
        let queues = self.shared.queue_or_all(filter.queue.as_ref()).await?;
        let mut left = limit.min(BULK_MAX);
        let before = left;
        for queue in &queues {
            let mut passed = 0;
            while left > 0 {
                let page = self.discarded_page(queue, passed).await?;
                if page.is_empty() {
                    break;
                }
                let count = page.len();
                let matching: Vec<Finished> =
                    page.into_iter().flatten().filter(|finished| filter.matches(&finished.view)).take(left).collect();
                let done = self.act_on(queue, matching, act).await?;
                left -= done.min(left);
                passed += count - done.min(count);
            }
        }
        Ok((before - left) as u64)
    }

    /// Dead letters of a queue, the oldest first, without the first so many; `None` for one that cannot be read.
    async fn discarded_page(&self, queue: &QueueName, passed: usize) -> Result<Vec<Option<Finished>>, BrokerError> {
        let keys = self.shared.keys.queue(queue);
        let mut command = redis::cmd("ZRANGE");
        command.arg(&keys.discarded).arg(passed).arg(passed + PAGE - 1);
        let ids: Vec<Vec<u8>> = self.shared.run(&command).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let bodies: Vec<Option<Vec<u8>>> =
            self.shared.run(redis::cmd("HMGET").arg(&keys.discarded_items).arg(&ids)).await?;
        Ok(bodies.into_iter().map(|body| finished_codec::decode(&body?).ok()).collect())
    }

    /// How many left the dead letters.
    async fn act_on(&self, queue: &QueueName, jobs: Vec<Finished>, act: Act) -> Result<usize, BrokerError> {
        let mut transition = Transition::new(self, queue);
        let now_ms = self.shared.clock.now_ms();
        let mut keys = std::collections::HashSet::new();
        let mut moves = 0;
        for finished in jobs {
            let id = finished.view.id;
            match act {
                Act::Purge => transition.take(&Source::Discarded { id }),
                Act::Retry => {
                    if finished.has_lost_payload() {
                        continue;
                    }
                    let unique = finished.record.unique.as_ref().map(|unique| unique.key.clone());
                    // Of two with one key only the first comes back.
                    if unique.is_some_and(|key| !keys.insert(key)) || self.is_key_taken(&finished.record).await? {
                        continue;
                    }
                    self.add_retry(&mut transition, finished, now_ms);
                }
            }
            moves += 1;
        }
        if moves == 0 {
            return Ok(0);
        }
        Ok(transition.commit().await?.into_iter().filter(|made| *made).count())
    }

    /// Adds the move of a dead letter back into its queue, with a fresh set of attempts.
    pub(super) fn add_retry(&self, transition: &mut Transition<'_>, finished: Finished, now_ms: i64) {
        let mut record = (*finished.record).clone();
        record.expires_ms = None;
        record.not_before_ms = None;
        record.created_ms = now_ms;
        transition.take(&Source::Discarded { id: record.id });
        transition.claim_key(&record);
        let mut item = Item { attempts_made: finished.view.attempts, ..Item::new(record) };
        transition.keep_payload_apart(&mut item);
        transition.requeue(&item);
        transition.count("pushed", 1);
    }
}
