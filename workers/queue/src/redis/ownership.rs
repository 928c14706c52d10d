//! Whose keys these are, and that they still are there: looked at with each new connection and every ten seconds.

use std::{sync::atomic::Ordering, time::Duration};

use super::{LAYOUT_BEFORE, LAYOUT_VERSION, Shared, read};
use crate::{BrokerError, QueueName, record_codec::millis};

/// How long to believe that the server still has what we wrote down about ourselves. It may lose it under an open
/// connection: a flush, or a proxy that fails over.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// How long nothing is written that only this layout has, once data of the layout before have become ours: processes of
/// the release before look at the layout every [`CHECK_EVERY`], and would throw away what they cannot read.
const OTHERS_NOTICE: Duration = Duration::from_secs(15);

/// No connection was checked so far.
pub(super) const NEVER: u64 = u64::MAX;

impl Shared {
    /// Refuses to work on keys of another layout or another store; writes ours down when there is none, and our queues;
    /// and notices when data are gone.
    pub(super) async fn check_owner(&self) -> Result<(), BrokerError> {
        self.servers.connect().await?;
        let now = self.clock.monotonic();
        let generation = self.servers.generation();
        if self.checked.load(Ordering::Relaxed) == generation {
            let due_ms = self.check_again_ms.load(Ordering::Relaxed);
            let next_ms = millis(now + CHECK_EVERY);
            // Of those who come when it is time one looks.
            let exchange = |due_ms| {
                self.check_again_ms.compare_exchange(due_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            };
            if millis(now) < due_ms || !exchange(due_ms) {
                return Ok(());
            }
        }
        let outcome = self.look().await;
        if outcome.is_err() {
            // Until it is known that all is well, everybody looks.
            self.checked.store(NEVER, Ordering::Relaxed);
            return outcome;
        }
        self.check_again_ms.store(millis(now + CHECK_EVERY), Ordering::Relaxed);
        self.checked.store(generation, Ordering::Relaxed);
        Ok(())
    }

    async fn look(&self) -> Result<(), BrokerError> {
        self.servers.check_place().await;
        tokio::try_join!(self.check_layout(), self.check_store())?;
        tokio::try_join!(self.list_own_queues(), self.look_for_losses()).map(drop)
    }

    async fn check_layout(&self) -> Result<(), BrokerError> {
        let mut found = self.claim(&self.keys.layout(), LAYOUT_VERSION).await?;
        if found == LAYOUT_BEFORE {
            found = self.raise_layout().await?;
        }
        if found == LAYOUT_VERSION {
            let is_new: bool = read(self.servers.run(&redis::cmd("EXISTS").arg(self.keys.layout_is_new())).await?)?;
            self.layout_is_new.store(is_new, Ordering::Relaxed);
            return Ok(());
        }
        Err(BrokerError::Corrupt(format!(
            "the keys of `{}` have layout {found}, this release reads {LAYOUT_BEFORE} and {LAYOUT_VERSION}",
            self.redis.prefix
        )))
    }

    /// Makes data of the layout before ours; what layout they have then.
    async fn raise_layout(&self) -> Result<String, BrokerError> {
        let mut mark = redis::cmd("SET");
        mark.arg(self.keys.layout_is_new()).arg(1).arg("PX").arg(millis(OTHERS_NOTICE));
        // IMPORTANT: first, so that whoever finds our layout finds the mark.
        let _set: redis::Value = self.servers.run(&&mark).await?;
        let mut call = self.scripts.raise_layout.prepare_invoke();
        call.key(self.keys.layout()).arg(LAYOUT_BEFORE).arg(LAYOUT_VERSION);
        let found: String = read(self.servers.run(&&call).await?)?;
        tracing::info!(prefix = self.redis.prefix, found, "the broker's data had layout {LAYOUT_BEFORE}");
        Ok(found)
    }

    async fn check_store(&self) -> Result<(), BrokerError> {
        let Some(ours) = &self.redis.store else { return Ok(()) };
        let key = self.keys.store();
        let found = self.claim(&key, ours).await?;
        if found == *ours {
            return Ok(());
        }
        Err(BrokerError::OtherStore(format!(
            "the queues at {} belong to store {found}, and this process has store {ours}: points would be split over \
             both. Give each embedded store a Redis database of its own, such as redis://HOST:PORT/1, or a \
             `redis.prefix` of its own; if the other store is gone for good, delete the key `{key}`",
            self.address
        )))
    }

    /// Puts the queues of this process into the set of queues again: it is empty once the server has lost its data, and
    /// what is not in it is neither swept nor shown.
    async fn list_own_queues(&self) -> Result<(), BrokerError> {
        let own = self.own_queues();
        if own.is_empty() {
            return Ok(());
        }
        let added: usize = read(self.servers.run(&&self.listing_of(&own)).await?)?;
        if added > 0 {
            tracing::warn!(queues = added, "the broker had lost queues; they are listed again, their jobs may be gone");
        }
        Ok(())
    }

    fn own_queues(&self) -> Vec<QueueName> {
        self.state.lock().queues.iter().cloned().collect()
    }

    fn listing_of(&self, queues: &[QueueName]) -> redis::Cmd {
        let mut command = redis::cmd("SADD");
        command.arg(self.keys.queues());
        queues.iter().for_each(|queue| {
            command.arg(queue.as_str());
        });
        command
    }

    /// All queues to sweep. When one of ours is not listed, the next command checks everything.
    pub(super) async fn queues_to_sweep(&self) -> Result<Vec<QueueName>, BrokerError> {
        // Ours first: a queue that is noted meanwhile is not missed.
        let own = self.own_queues();
        let mut queues: std::collections::BTreeSet<QueueName> = self.queue_names().await?.into_iter().collect();
        let listed = queues.len();
        queues.extend(own);
        if queues.len() > listed {
            self.check_again_ms.store(0, Ordering::Relaxed);
        }
        self.watch.lock().watch(&queues);
        Ok(queues.into_iter().collect())
    }

    /// Sets a key unless it is there; what it holds then.
    async fn claim(&self, key: &str, value: &str) -> Result<String, BrokerError> {
        let mut pipeline = redis::pipe();
        pipeline.atomic().cmd("SET").arg(key).arg(value).arg("NX").ignore().cmd("GET").arg(key);
        let (found,): (String,) = read(self.servers.run(&&pipeline).await?)?;
        Ok(found)
    }

    /// All queues that ever had a job.
    pub(super) async fn queue_names(&self) -> Result<Vec<QueueName>, BrokerError> {
        let names: Vec<String> = self.run(redis::cmd("SMEMBERS").arg(self.keys.queues())).await?;
        let mut names: Vec<QueueName> = names.iter().filter_map(|name| name.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The queue that somebody asks for, or all.
    pub(super) async fn queue_or_all(&self, queue: Option<&QueueName>) -> Result<Vec<QueueName>, BrokerError> {
        match queue {
            Some(queue) => Ok(vec![queue.clone()]),
            None => self.queue_names().await,
        }
    }

    /// Makes sure that queues are in the set of queues.
    pub(super) async fn note_queues(&self, queues: impl Iterator<Item = &QueueName>) -> Result<(), BrokerError> {
        let unknown: Vec<QueueName> = {
            let state = self.state.lock();
            queues.filter(|queue| !state.queues.contains(*queue)).cloned().collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let _added: i64 = self.run(&self.listing_of(&unknown)).await?;
        self.watch.lock().watch(&unknown);
        self.state.lock().queues.extend(unknown);
        Ok(())
    }
}
