//! A broker in memory, for tests: it forgets everything when it is dropped, and fails when it is told to.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tidemark_model::{BoxFuture, Clock};

use crate::{
    BrokerError, BrokerHealth, BrokerOptions, JobIdSource,
    table::JobTable,
    table_broker::{Shared, TableAccess, TableBroker, TableRunner},
};

/// A broker in memory. Nothing survives its end.
pub type MemoryBroker = TableBroker<MemoryRunner>;

/// Runs calls under a lock.
pub struct MemoryRunner {
    table: Mutex<JobTable>,
    shared: Arc<Shared>,
    faults: Arc<BrokerFaults>,
}

/// Faults for a test to inject into a [`MemoryBroker`].
#[derive(Debug, Default)]
pub struct BrokerFaults {
    /// Calls still to be refused before they take effect.
    refuse: AtomicU64,
    /// Calls still to take effect and then report an error, as when the connection breaks before the answer.
    lose_answer: AtomicU64,
}

impl BrokerFaults {
    /// The next `calls` calls fail without effect.
    pub fn refuse_next(&self, calls: u64) {
        self.refuse.store(calls, Ordering::SeqCst);
    }

    /// The next `calls` calls take effect and fail all the same.
    pub fn lose_next_answers(&self, calls: u64) {
        self.lose_answer.store(calls, Ordering::SeqCst);
    }

    fn take(counter: &AtomicU64) -> bool {
        counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

impl MemoryBroker {
    /// An empty broker. Runs with the same seed make the same ids.
    #[must_use]
    pub fn new(options: BrokerOptions, clock: Arc<dyn Clock>, seed: u64) -> Self {
        let shared = Shared::new(clock.clone());
        let runner = MemoryRunner {
            table: Mutex::new(JobTable::new(options.clone())),
            shared: shared.clone(),
            faults: Arc::default(),
        };
        Self::assemble(runner, shared, options, JobIdSource::new(clock, seed))
    }

    /// To make calls fail.
    #[must_use]
    pub fn faults(&self) -> &BrokerFaults {
        &self.runner().faults
    }
}

impl TableRunner for MemoryRunner {
    const WRITES: bool = false;

    fn call<'a, T, F>(&'a self, call: F) -> BoxFuture<'a, Result<T, BrokerError>>
    where
        T: Send + 'static,
        F: FnOnce(&mut TableAccess<'_>) -> T + Send + 'static,
    {
        Box::pin(async move {
            if BrokerFaults::take(&self.faults.refuse) {
                return Err(BrokerError::Unavailable("a test said so".to_owned()));
            }
            let (answer, announcements, became_ready) = {
                let mut table = self.table.lock();
                let answer = call(&mut TableAccess::new(&mut table, self.shared.now()));
                drop(table.take_changes());
                (answer, table.take_announcements(), table.take_became_ready())
            };
            for (waiter, result) in announcements {
                // A producer that does not wait any more is none of our business.
                drop(waiter.send(result));
            }
            if became_ready {
                self.shared.ready.notify_waiters();
            }
            if BrokerFaults::take(&self.faults.lose_answer) {
                return Err(BrokerError::Unknown("a test said so".to_owned()));
            }
            Ok(answer)
        })
    }

    fn health(&self) -> BoxFuture<'_, BrokerHealth> {
        Box::pin(async {
            BrokerHealth {
                description: "memory".to_owned(),
                reachable: true,
                warnings: vec!["jobs are in memory alone and do not survive the process".to_owned()],
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
