//! What the tests of the pool share.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidemark_model::{BoxFuture, Clock, SystemClock};
use tidemark_queue::{Broker, BrokerOptions, JobKind, MemoryBroker, NewJob, WorkerId};
use tidemark_workers::{
    Attempted, Handler, Handlers, JobContext, PoolHandle, PoolOptions, QueueOptions, StopReport, WorkFigures,
    WorkerPool,
};
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A handler made of a function, which notes every attempt: payload and number.
pub(crate) struct Scripted<F> {
    pub(crate) script: F,
    pub(crate) attempts: Arc<Mutex<Vec<(String, u32)>>>,
}

impl<F> Handler for Scripted<F>
where
    F: Fn(JobContext) -> BoxFuture<'static, Attempted> + Send + Sync,
{
    fn run(&self, job: JobContext) -> BoxFuture<'_, Attempted> {
        let text = String::from_utf8_lossy(&job.job.payload).into_owned();
        self.attempts.lock().push((text, job.attempt));
        (self.script)(job)
    }
}

pub(crate) type Attempts = Arc<Mutex<Vec<(String, u32)>>>;

pub(crate) fn scripted(
    script: impl Fn(JobContext) -> BoxFuture<'static, Attempted> + Send + Sync + 'static,
) -> (Arc<dyn Handler>, Attempts) {
    let attempts: Attempts = Arc::default();
    (Arc::new(Scripted { script, attempts: attempts.clone() }), attempts)
}

pub(crate) fn job(text: &str) -> NewJob {
    NewJob::from_bytes(JobKind::Notify, text.as_bytes().to_vec().into())
}

pub(crate) fn broker(lease: Duration) -> Arc<MemoryBroker> {
    let options = BrokerOptions { lease, ..BrokerOptions::default() };
    Arc::new(MemoryBroker::new(options, Arc::new(SystemClock::new()), 1))
}

pub(crate) fn options(name: &str, concurrency: usize) -> PoolOptions {
    let queue = QueueOptions::new(JobKind::Notify.default_queue(), concurrency);
    PoolOptions {
        sweep_every: Duration::from_millis(20),
        cancel_grace: Duration::from_millis(50),
        ..PoolOptions::new(WorkerId::new(name)).with_queue(queue)
    }
}

/// A pool that runs until it is stopped.
pub(crate) struct RunningPool {
    pub(crate) handle: PoolHandle,
    stop: CancellationToken,
    running: JoinHandle<StopReport>,
}

impl RunningPool {
    pub(crate) fn start(options: PoolOptions, broker: Arc<dyn Broker>, handler: Arc<dyn Handler>) -> Self {
        let handlers = Handlers::new().with(JobKind::Notify, handler.clone()).with(JobKind::Write, handler);
        Self::start_with(options, broker, handlers)
    }

    pub(crate) fn start_with(options: PoolOptions, broker: Arc<dyn Broker>, handlers: Handlers) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let pool = WorkerPool::new(options, broker, clock, handlers, Arc::new(WorkFigures::new()));
        let stop = CancellationToken::new();
        let handle = pool.handle();
        let running = TaskTracker::new().spawn(pool.run(stop.clone()));
        Self { handle, stop, running }
    }

    pub(crate) async fn stop(self) -> StopReport {
        self.stop.cancel();
        self.running.await.unwrap()
    }
}

/// Waits for a condition for at most ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain for: {what}");
}
