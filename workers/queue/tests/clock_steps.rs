//! A clock that is set while jobs run and wait, on all three brokers. On Redis it is the clock of the worker alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use support::{Kind, RedisServer, job, request};
use tidemark_model::{Clock, SystemClock};
use tidemark_queue::{Broker, BrokerOptions, EmbeddedBroker, JobState, MemoryBroker, Outcome, RedisBroker, Settled};

const HOUR_MS: i64 = 3_600_000;
/// Ahead, back, a day, and a little.
const STEPS_MS: [i64; 4] = [HOUR_MS, -HOUR_MS, 24 * HOUR_MS, -5_000];
/// How long a failed job waits for its next attempt.
const BACKOFF: Duration = Duration::from_secs(1);

/// The clock of the machine, which somebody sets.
struct SteppedClock {
    machine: SystemClock,
    step_ms: AtomicI64,
}

impl SteppedClock {
    fn new() -> Arc<Self> {
        Arc::new(Self { machine: SystemClock::new(), step_ms: AtomicI64::new(0) })
    }

    fn step(&self, by_ms: i64) {
        self.step_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for SteppedClock {
    fn now_ms(&self) -> i64 {
        self.machine.now_ms() + self.step_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }
}

struct Setting {
    broker: Arc<dyn Broker>,
    clock: Arc<SteppedClock>,
    folder: tempfile::TempDir,
    _server: Option<RedisServer>,
}

impl Setting {
    /// `None` when Redis is asked for and not installed.
    async fn start(kind: Kind) -> Option<Self> {
        let (clock, folder) = (SteppedClock::new(), tempfile::tempdir().unwrap());
        let server = match kind {
            Kind::Redis => Some(RedisServer::start().await?),
            Kind::Memory | Kind::Embedded => None,
        };
        let broker: Arc<dyn Broker> = match (&server, kind) {
            (Some(server), _) => Arc::new(RedisBroker::new(server.options.clone(), options(), clock.clone()).unwrap()),
            (None, Kind::Embedded) => embedded(&folder, &clock),
            (None, _) => Arc::new(MemoryBroker::new(options(), clock.clone(), 1)),
        };
        Some(Self { broker, clock, folder, _server: server })
    }

    async fn fetch(&self) -> Option<tidemark_queue::Delivery> {
        self.broker.tick().await.unwrap();
        self.broker.fetch(request("w", 1, Duration::ZERO)).await.unwrap().pop()
    }

    /// The next job, and how long after `since` it came.
    async fn fetched_after(&self, since: Duration) -> (tidemark_queue::Delivery, Duration) {
        for _ in 0..2_000 {
            if let Some(delivery) = self.fetch().await {
                return (delivery, self.clock.monotonic() - since);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no job came");
    }

    async fn settle(&self, delivery: tidemark_queue::Delivery, outcome: Outcome) -> Settled {
        self.broker.settle(vec![(delivery.receipt, outcome)]).await.unwrap()[0]
    }

    async fn fail(&self, delivery: tidemark_queue::Delivery) {
        let outcome = Outcome::Retry { reason: "no luck".to_owned(), delay: BACKOFF };
        assert_eq!(self.settle(delivery, outcome).await, Settled::Recorded(JobState::Retryable));
    }
}

fn options() -> BrokerOptions {
    BrokerOptions { lease: Duration::from_secs(600), ..BrokerOptions::default() }
}

fn embedded(folder: &tempfile::TempDir, clock: &Arc<SteppedClock>) -> Arc<dyn Broker> {
    Arc::new(EmbeddedBroker::open(folder.path(), options(), clock.clone()).unwrap())
}

/// Whether a wait was the backoff, but for the milliseconds that are cut off, and how busy the machine is.
fn is_backoff(took: Duration) -> bool {
    took + Duration::from_millis(10) >= BACKOFF && took < BACKOFF + Duration::from_secs(8)
}

async fn a_failed_job_waits_as_long_as_it_was_to(kind: Kind) {
    let Some(setting) = Setting::start(kind).await else { return };
    for step_ms in STEPS_MS {
        setting.broker.push(vec![job("x")]).await.unwrap();
        let (delivery, _) = setting.fetched_after(Duration::ZERO).await;
        // The clock is set while it waits, and is still set so when it fails for the second time.
        let since = setting.clock.monotonic();
        setting.fail(delivery).await;
        setting.clock.step(step_ms);
        let (delivery, took) = setting.fetched_after(since).await;
        assert!(is_backoff(took), "{kind:?}, set by {step_ms} ms: {took:?}");
        let since = setting.clock.monotonic();
        setting.fail(delivery).await;
        let (delivery, took) = setting.fetched_after(since).await;
        assert!(is_backoff(took), "{kind:?}, wrong by {step_ms} ms: {took:?}");
        setting.clock.step(-step_ms);
        setting.settle(delivery, Outcome::Completed { result: None }).await;
    }
}

async fn no_lease_runs_out(kind: Kind) {
    let Some(setting) = Setting::start(kind).await else { return };
    setting.broker.push(vec![job("x")]).await.unwrap();
    let (delivery, _) = setting.fetched_after(Duration::ZERO).await;
    for step_ms in STEPS_MS {
        setting.clock.step(step_ms);
        assert!(setting.fetch().await.is_none(), "{kind:?}: it was rescued");
        let report = setting.broker.tick().await.unwrap();
        assert_eq!((report.rescued, report.poisoned), (0, 0), "{kind:?}, set by {step_ms} ms");
    }
    let settled = setting.settle(delivery, Outcome::Completed { result: None }).await;
    assert_eq!(settled, Settled::Recorded(JobState::Completed), "{kind:?}");
}

macro_rules! on_each {
    ($($case:ident: $memory:ident, $embedded:ident, $redis:ident;)*) => {$(
        #[tokio::test] async fn $memory() { $case(Kind::Memory).await; }
        #[tokio::test] async fn $embedded() { $case(Kind::Embedded).await; }
        #[tokio::test] async fn $redis() { $case(Kind::Redis).await; }
    )*};
}

on_each! {
    a_failed_job_waits_as_long_as_it_was_to:
        a_failed_job_waits_as_long_in_memory, a_failed_job_waits_as_long_in_a_file, a_failed_job_waits_as_long_in_redis;
    no_lease_runs_out: no_lease_runs_out_in_memory, no_lease_runs_out_in_a_file, no_lease_runs_out_in_redis;
}

#[tokio::test]
async fn a_job_that_is_not_to_start_before_a_moment_starts_at_it_by_the_new_time() {
    let setting = Setting::start(Kind::Embedded).await.unwrap();
    let at_ms = setting.clock.now_ms() + HOUR_MS;
    setting.broker.push(vec![job("x").not_before(at_ms)]).await.unwrap();
    assert!(setting.fetch().await.is_none());
    setting.clock.step(-HOUR_MS);
    assert!(setting.fetch().await.is_none());
    setting.clock.step(2 * HOUR_MS);
    assert!(setting.fetch().await.is_some());
}

#[tokio::test]
async fn a_job_that_failed_before_the_clock_was_set_back_does_not_wait_longer_after_a_restart() {
    let setting = Setting::start(Kind::Embedded).await.unwrap();
    setting.broker.push(vec![job("x")]).await.unwrap();
    let (delivery, _) = setting.fetched_after(Duration::ZERO).await;
    setting.fail(delivery).await;
    setting.clock.step(-HOUR_MS);
    setting.broker.tick().await.unwrap();
    setting.broker.close().await;
    let since = setting.clock.monotonic();
    let again = Setting { broker: embedded(&setting.folder, &setting.clock), ..setting };
    let (_, took) = again.fetched_after(since).await;
    assert!(took < BACKOFF + Duration::from_secs(8), "{took:?}");
}
