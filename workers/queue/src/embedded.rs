//! The embedded broker: a file in the data folder, owned by one thread, durable by group commit.
//!
//! All that waits for the thread is run on the [`JobTable`], what it changed is written in one SQLite transaction, and
//! only then everybody is answered. So the cost of the fsync is shared by all who wait for it, and the table in memory
//! is never behind the file. If the transaction fails, pushes and leases of the group are undone; everything else is
//! kept and written with the next group, since running a job twice is allowed and forgetting one is not.
//!
//! A group that only leases jobs or notes that they completed is written without an fsync: it survives the end of the
//! process, and after a power cut these jobs run again, which at-least-once allows. Pushes, failures, schedules and
//! everything that a person did are fsynced.
//!
//! We turned down a segmented log, which is cheaper still (the workers cost more than SQLite does) but would need its
//! own compaction and look-ups; and SQLite with an index per column, whose price grows with the backlog. Jobs that were
//! pushed together share a row, and rows have no secondary index: order and look-ups are the table's.
//! `docs/embedded-layout.md` describes the file.

mod job_rows;
mod owner;
mod store;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use tidemark_model::{BoxFuture, Clock};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    BrokerError, BrokerHealth, BrokerOptions, JobIdSource,
    table_broker::{Shared, TableAccess, TableBroker, TableRunner},
};
use owner::{Call, Finish, Owner};
use store::JobStore;

/// Calls that wait for the owner thread; beyond that callers wait to be let in. Twice what one group takes.
const CALLS_MAX: usize = 8_192;

/// The broker in a file of its own; see the module's text.
pub type EmbeddedBroker = TableBroker<EmbeddedRunner>;

/// Runs calls in the thread that owns the file.
pub struct EmbeddedRunner {
    calls: Mutex<Option<mpsc::Sender<Call>>>,
    ended: watch::Receiver<bool>,
    trouble: watch::Receiver<Option<String>>,
    path: PathBuf,
}

impl EmbeddedBroker {
    /// Opens the broker's file `queue.db` in `folder`, which is created if need be, and rescues the jobs that were
    /// running when the process before ended.
    ///
    /// Blocks until the backlog is read: about a microsecond a job.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] when another process has the file open or the disk fails;
    /// [`BrokerError::Corrupt`] when the file is not ours, of a newer release, or damaged.
    pub fn open(folder: &Path, options: BrokerOptions, clock: Arc<dyn Clock>) -> Result<Self, BrokerError> {
        Self::open_limited(folder, options, clock, None)
    }

    /// As [`EmbeddedBroker::open`], with a disk that is full after so many pages; for tests.
    fn open_limited(
        folder: &Path,
        options: BrokerOptions,
        clock: Arc<dyn Clock>,
        pages_max: Option<u32>,
    ) -> Result<Self, BrokerError> {
        let path = folder.join("queue.db");
        let shared = Shared::new(clock.clone());
        let (store, table) = JobStore::open(&path, options.clone(), shared.now(), pages_max)?;
        let (calls, waiting) = mpsc::channel(CALLS_MAX);
        let (ended_sender, ended) = watch::channel(false);
        let (trouble_sender, trouble) = watch::channel(None);
        let owner = Owner { store, table, shared: shared.clone(), trouble: trouble_sender };
        std::thread::Builder::new()
            .name("queue-owner".to_owned())
            .spawn(move || {
                owner.run(waiting);
                // Whoever listens may be gone already.
                ended_sender.send_replace(true);
            })
            .map_err(|error| BrokerError::Unavailable(format!("start the queue's thread: {error}")))?;
        let runner = EmbeddedRunner { calls: Mutex::new(Some(calls)), ended, trouble, path };
        Ok(Self::assemble(runner, shared, options, JobIdSource::random(clock)))
    }
}

impl TableRunner for EmbeddedRunner {
    const WRITES: bool = true;

    fn call<'a, T, F>(&'a self, call: F) -> BoxFuture<'a, Result<T, BrokerError>>
    where
        T: Send + 'static,
        F: FnOnce(&mut TableAccess<'_>) -> T + Send + 'static,
    {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let run: Call = Box::new(move |access: &mut TableAccess<'_>| -> Finish {
                let value = call(access);
                Box::new(move |written| {
                    // A caller that has gone does not hear the answer.
                    drop(answer.send(written.map(|()| value)));
                })
            });
            let calls = self.calls.lock().clone().ok_or(BrokerError::Closed)?;
            calls.send(run).await.map_err(|_| BrokerError::Closed)?;
            drop(calls);
            answered.await.map_err(|_| BrokerError::Closed)?
        })
    }

    fn health(&self) -> BoxFuture<'_, BrokerHealth> {
        Box::pin(async {
            let trouble = self.trouble.borrow().clone();
            BrokerHealth {
                description: format!("embedded, {}", self.path.display()),
                reachable: trouble.is_none() && !*self.ended.borrow(),
                warnings: trouble.into_iter().collect(),
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            drop(self.calls.lock().take());
            let mut ended = self.ended.clone();
            // An error means that the thread is gone, which is what we wait for.
            drop(ended.wait_for(|ended| *ended).await);
        })
    }
}

#[cfg(test)]
mod tests;
