//! What a job that kills its workers, and others that nobody can do, cost everybody else.
//!
//! A worker process is this test program again, told by a variable to run `worker_process`. Somebody starts it again when
//! it dies, as systemd does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]
#![expect(clippy::disallowed_methods, reason = "the process is told by variables what to be")]

#[path = "../queue/tests/support/mod.rs"]
mod brokers;
#[path = "support/test_process.rs"]
mod test_process;

use std::{sync::Arc, time::Duration};

use brokers::RedisServer;
use test_process::{TestProcess, with_the_test};
use tidemark_model::{BoxFuture, Clock, SystemClock};
use tidemark_queue::{
    Broker, BrokerOptions, JobId, JobKind, JobState, NewJob, NotifyPayload, Priority, RedisBroker, RedisOptions,
    WorkerId,
};
use tidemark_workers::{
    Attempted, Handler, Handlers, JobContext, JobOutput, PoolOptions, QueueOptions, WorkFigures, WorkerPool,
};

/// Address of the broker, name of the worker.
const WORKER: &str = "TIDEMARK_POISON_WORKER";
const WORKERS: usize = 3;
const CONCURRENCY: usize = 8;
/// How long an ordinary job takes: what the workers get done does not depend on how busy the machine is.
const WORK: Duration = Duration::from_millis(50);
/// More than they can do while the test lasts.
const BACKLOG: usize = 40_000;
/// How long they work undisturbed.
const UNDISTURBED: Duration = Duration::from_secs(4);

fn broker(url: &str) -> RedisBroker {
    let options = BrokerOptions { lease: Duration::from_secs(2), ..BrokerOptions::default() };
    RedisBroker::new(RedisOptions::new(url), options, Arc::new(SystemClock::new())).unwrap()
}

struct Ordinary;

impl Handler for Ordinary {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Attempted> {
        Box::pin(async move {
            match &job.job.payload[..] {
                b"abort" => std::process::abort(),
                b"unreadable" => return job.payload::<NotifyPayload>().map(|_| JobOutput::default()),
                _ => tokio::time::sleep(WORK).await,
            }
            Ok(JobOutput::default())
        })
    }
}

/// A worker, until its standard input ends: then the test has ended, however it did.
#[test]
#[ignore = "the test runs it as a process of its own"]
fn worker_process() {
    let given = std::env::var(WORKER).unwrap();
    let (url, name) = given.split_once(' ').unwrap();
    // There is no handler for `relay`.
    let handlers = Handlers::new().with(JobKind::Notify, Arc::new(Ordinary));
    let queue = |kind: JobKind| QueueOptions::new(kind.default_queue(), CONCURRENCY);
    let options = PoolOptions {
        sweep_every: Duration::from_millis(100),
        ..PoolOptions::new(WorkerId::new(name)).with_queue(queue(JobKind::Notify)).with_queue(queue(JobKind::Relay))
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let pool = WorkerPool::new(options, Arc::new(broker(url)), clock, handlers, Arc::new(WorkFigures::new()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(pool.run(with_the_test()));
}

struct Setting {
    server: RedisServer,
    broker: RedisBroker,
    workers: Vec<TestProcess>,
    starts: usize,
    clock: SystemClock,
}

impl Setting {
    async fn start() -> Option<Self> {
        let server = RedisServer::start().await?;
        let broker = broker(&server.url());
        let mut setting = Self { server, broker, workers: Vec::new(), starts: 0, clock: SystemClock::new() };
        for jobs in (0..BACKLOG).collect::<Vec<_>>().chunks(1_000) {
            setting.broker.push(jobs.iter().map(|_| job("ordinary")).collect()).await.unwrap();
        }
        for _ in 0..WORKERS {
            let worker = setting.worker();
            setting.workers.push(worker);
        }
        Some(setting)
    }

    fn worker(&mut self) -> TestProcess {
        self.starts += 1;
        TestProcess::start("worker_process", WORKER, &format!("{} w{}", self.server.url(), self.starts))
    }

    /// Starts those again that died; how many there were.
    fn restart_the_dead(&mut self) -> usize {
        let dead: Vec<usize> = (0..WORKERS).filter(|place| self.workers[*place].has_ended()).collect();
        for place in &dead {
            self.workers[*place] = self.worker();
        }
        dead.len()
    }

    async fn completed(&self) -> u64 {
        let queues = self.broker.queues().await.unwrap();
        queues.iter().map(|queue| queue.totals.completed).sum()
    }

    /// What was completed in a second while `is_over` was not, and how many workers died.
    async fn rate_until(&mut self, mut is_over: impl AsyncFnMut(&Self, Duration) -> bool) -> (f64, usize) {
        let (since, before, mut deaths) = (self.clock.monotonic(), self.completed().await, 0);
        loop {
            deaths += self.restart_the_dead();
            let elapsed = self.clock.monotonic() - since;
            assert!(elapsed < Duration::from_secs(60), "it does not end; {deaths} workers died");
            if is_over(self, elapsed).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let completed = self.completed().await - before;
        (completed as f64 / (self.clock.monotonic() - since).as_secs_f64(), deaths)
    }

    async fn state_of(&self, job: JobId) -> JobState {
        self.broker.job(job).await.unwrap().unwrap().state
    }
}

fn job(text: &str) -> NewJob {
    NewJob::from_bytes(JobKind::Notify, text.as_bytes().to_vec().into())
}

fn urgent(job: NewJob) -> NewJob {
    NewJob { priority: Priority::High, ..job }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poison_job_and_others_that_nobody_can_do_leave_the_others_most_of_their_workers() {
    let Some(mut setting) = Setting::start().await else { return };
    setting.rate_until(async |setting, _| setting.completed().await > 500).await;
    let (undisturbed, _) = setting.rate_until(async |_, elapsed| elapsed >= UNDISTURBED).await;
    let largest = job(&"x".repeat(1024 * 1024));
    let unknown = NewJob::from_bytes(JobKind::Relay, "nobody does it".into());
    let jobs = vec![urgent(job("abort")), urgent(job("unreadable")), urgent(unknown), urgent(largest)];
    let pushed = setting.broker.push(jobs).await.unwrap();
    let [poison, unreadable, unknown, largest] = [0, 1, 2, 3].map(|place| pushed[place].id());
    let (disturbed, deaths) = setting
        .rate_until(async |setting, elapsed| {
            elapsed >= UNDISTURBED && setting.state_of(poison).await == JobState::Discarded
        })
        .await;
    let kept = disturbed / undisturbed;
    eprintln!("{undisturbed:.0} jobs/s undisturbed, {disturbed:.0} beside the poison: {:.0} %", kept * 100.0);
    assert_eq!(deaths, 3, "a worker for each rescue");
    let reason = setting.broker.job(poison).await.unwrap().unwrap().error.unwrap();
    assert!(reason.starts_with("poison: 3 workers were lost"), "{reason}");
    for job in [unreadable, unknown] {
        let view = setting.broker.job(job).await.unwrap().unwrap();
        assert!(view.state == JobState::Retryable || view.attempt > 1, "an ordinary failed attempt: {view:?}");
        assert!(view.rescues <= 3 && view.error.is_some(), "{view:?}");
    }
    assert_eq!(setting.state_of(largest).await, JobState::Completed);
    // The others go on at 80 % and more; a machine that is busy with something else starts workers slowly.
    assert!(kept > 0.5, "{disturbed:.0} jobs/s of {undisturbed:.0}");
}
