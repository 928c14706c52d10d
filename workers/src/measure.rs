//! Measures a broker together with the worker pool, for `tidemark bench queue` and `cargo bench`.
//!
//! Three runs with jobs that do nothing: enqueue alone and then execute alone, which shows what a backlog costs; single
//! jobs on the idle system, from the push to the handler; and enqueue and execute at the same time, which is the figure
//! to compare.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidemark_model::{BoxFuture, Clock};
use tidemark_queue::{Broker, BrokerError, JobKind, NewJob, WorkerId};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Attempted, Handler, Handlers, JobContext, JobOutput, PoolOptions, QueueOptions, StopReport, WorkFigures, WorkerPool,
};

/// Most jobs of one push.
const PUSH_JOBS_MAX: usize = 1_000;
/// Most bytes of payload in one push, but one job at least: a producer does not collect tens of megabytes.
const PUSH_BYTES_MAX: usize = 1 << 20;
/// Producers that push at the same time.
const PRODUCERS: usize = 4;
/// Jobs one after the other whose latency is measured.
const LATENCY_JOBS: usize = 300;
/// Attempts that run at once.
const CONCURRENCY: usize = 512;

/// What to measure.
#[derive(Clone, Debug)]
pub struct QueueMeasure {
    /// Jobs of each run; rounded down to whole pushes of all producers, and at least one of each.
    pub jobs: usize,
    /// Bytes of a payload. Times the jobs, they must fit the limit of the queue.
    pub bytes: usize,
    /// Kind of job; its queue must have no other worker. Jobs of the kind `write` share frames in Redis.
    pub kind: JobKind,
    /// Gives each attempt a task of its own, as real jobs have.
    pub spawn: bool,
}

impl Default for QueueMeasure {
    fn default() -> Self {
        Self { jobs: 300_000, bytes: 32, kind: JobKind::Write, spawn: false }
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueRates {
    /// Jobs a second that were pushed, with nobody running any.
    pub enqueue: f64,
    /// Jobs a second that were run, with nobody pushing any.
    pub execute: f64,
    /// From the push of one job to its handler on the idle system: half of the jobs were faster.
    pub latency_p50: Duration,
    /// As [`QueueRates::latency_p50`], of 99 in 100.
    pub latency_p99: Duration,
    /// Jobs a second from producers to handlers, both at work.
    pub both: f64,
}

#[derive(Default)]
struct Counter {
    done: AtomicUsize,
    wanted: AtomicUsize,
    reached: Notify,
}

impl Counter {
    fn want(&self, jobs: usize) {
        self.done.store(0, Ordering::SeqCst);
        self.wanted.store(jobs, Ordering::SeqCst);
    }
}

struct Count(Arc<Counter>);

impl Handler for Count {
    fn run(&self, _job: JobContext) -> BoxFuture<'_, Attempted> {
        Box::pin(async {
            if self.0.done.fetch_add(1, Ordering::SeqCst) + 1 == self.0.wanted.load(Ordering::SeqCst) {
                self.0.reached.notify_one();
            }
            Ok(JobOutput::default())
        })
    }
}

struct Run {
    measure: QueueMeasure,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    counter: Arc<Counter>,
}

impl QueueMeasure {
    /// Runs all three. The queue of the kind must be empty; it is empty again afterwards, but after an error.
    ///
    /// # Errors
    /// The broker does not take the jobs, or not all of them before any is run.
    pub async fn run(self, broker: Arc<dyn Broker>, clock: Arc<dyn Clock>) -> Result<QueueRates, BrokerError> {
        let round = PRODUCERS * self.push_jobs();
        let jobs = (self.jobs / round).max(1) * round;
        let run = Arc::new(Run { measure: Self { jobs, ..self }, broker, clock, counter: Arc::default() });
        let (enqueue, execute) = run.one_after_the_other().await?;
        let (latency_p50, latency_p99) = run.latency().await?;
        let both = run.both().await?;
        Ok(QueueRates { enqueue, execute, latency_p50, latency_p99, both })
    }

    /// Jobs of one push.
    fn push_jobs(&self) -> usize {
        (PUSH_BYTES_MAX / self.bytes.max(1)).clamp(1, PUSH_JOBS_MAX)
    }
}

/// What to do about a queue that is full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    Wait,
    /// Nobody takes jobs out: it stays full.
    Fail,
}

impl Run {
    fn rate(&self, since: Duration) -> f64 {
        self.measure.jobs as f64 / (self.clock.monotonic() - since).as_secs_f64()
    }

    fn job(&self) -> NewJob {
        NewJob::from_bytes(self.measure.kind, vec![7; self.measure.bytes].into())
    }

    /// Pushes the jobs of a run, each producer in a task of its own.
    async fn push_all(self: &Arc<Self>, when_full: WhenFull) -> Result<(), BrokerError> {
        let tracker = TaskTracker::new();
        let producers: Vec<_> = (0..PRODUCERS).map(|_| tracker.spawn(self.clone().produce(when_full))).collect();
        for producer in producers {
            // A producer that panicked has pushed less than it should: the run would wait for ever.
            producer.await.map_err(|error| BrokerError::Unavailable(format!("a producer ended: {error}")))??;
        }
        Ok(())
    }

    async fn produce(self: Arc<Self>, when_full: WhenFull) -> Result<(), BrokerError> {
        let jobs = self.measure.push_jobs();
        for _ in 0..self.measure.jobs / PRODUCERS / jobs {
            self.push(jobs, when_full).await?;
        }
        Ok(())
    }

    /// Pushes so many; a producer that is refused because the queue is full may come again.
    async fn push(&self, jobs: usize, when_full: WhenFull) -> Result<(), BrokerError> {
        let batch: Vec<NewJob> = (0..jobs).map(|_| self.job()).collect();
        loop {
            match self.broker.push(batch.clone()).await {
                Ok(_ids) => return Ok(()),
                Err(BrokerError::Full { .. }) if when_full == WhenFull::Wait => {
                    tokio::time::sleep(Duration::from_millis(5)).await
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn start_pool(&self) -> Pool {
        let queue = QueueOptions {
            concurrency: CONCURRENCY,
            prefetch: 8 * CONCURRENCY,
            parallel: self.measure.spawn,
            ..QueueOptions::new(self.measure.kind.default_queue(), CONCURRENCY)
        };
        let options = PoolOptions::new(WorkerId::new("bench")).with_queue(queue);
        let handlers = Handlers::new().with(self.measure.kind, Arc::new(Count(self.counter.clone())));
        let figures = Arc::new(WorkFigures::new());
        let pool = WorkerPool::new(options, self.broker.clone(), self.clock.clone(), handlers, figures);
        let stop = CancellationToken::new();
        let running = TaskTracker::new().spawn(pool.run(stop.clone()));
        Pool { stop, running }
    }

    async fn one_after_the_other(self: &Arc<Self>) -> Result<(f64, f64), BrokerError> {
        let since = self.clock.monotonic();
        self.push_all(WhenFull::Fail).await?;
        let enqueue = self.rate(since);
        self.counter.want(self.measure.jobs);
        let since = self.clock.monotonic();
        let pool = self.start_pool();
        self.counter.reached.notified().await;
        let execute = self.rate(since);
        pool.end().await;
        Ok((enqueue, execute))
    }

    async fn latency(&self) -> Result<(Duration, Duration), BrokerError> {
        let pool = self.start_pool();
        let mut took = Vec::with_capacity(LATENCY_JOBS);
        for _ in 0..LATENCY_JOBS {
            self.counter.want(1);
            tokio::time::sleep(Duration::from_millis(2)).await;
            let since = self.clock.monotonic();
            self.push(1, WhenFull::Wait).await?;
            self.counter.reached.notified().await;
            took.push(self.clock.monotonic() - since);
        }
        pool.end().await;
        took.sort_unstable();
        let percentile = |of_100: usize| took.get(took.len() * of_100 / 100).copied().unwrap_or_default();
        Ok((percentile(50), percentile(99)))
    }

    async fn both(self: &Arc<Self>) -> Result<f64, BrokerError> {
        self.counter.want(self.measure.jobs);
        let pool = self.start_pool();
        let since = self.clock.monotonic();
        self.push_all(WhenFull::Wait).await?;
        self.counter.reached.notified().await;
        let both = self.rate(since);
        pool.end().await;
        Ok(both)
    }
}

struct Pool {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<StopReport>,
}

impl Pool {
    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.running.await {
            tracing::error!(%error, "the pool did not end");
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::SystemClock;
    use tidemark_queue::{BrokerOptions, MemoryBroker};

    use super::*;

    #[tokio::test]
    async fn a_measurement_runs_all_its_jobs_and_leaves_none() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let broker = Arc::new(MemoryBroker::new(BrokerOptions::default(), clock.clone(), 1));
        let measure = QueueMeasure { jobs: 1, ..QueueMeasure::default() };
        let rates = measure.run(broker.clone(), clock).await.unwrap();
        assert!(rates.both > 0.0 && rates.latency_p50 <= rates.latency_p99, "{rates:?}");
        let queues = broker.queues().await.unwrap();
        let totals = queues[0].totals;
        let jobs = (2 * PRODUCERS * PUSH_JOBS_MAX + LATENCY_JOBS) as u64;
        assert_eq!((totals.pushed, totals.completed, queues[0].ready), (jobs, jobs, 0));
    }
}
