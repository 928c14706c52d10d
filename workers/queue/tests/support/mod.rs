//! The three brokers as the conformance suite and the tests of the workers see them.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test file uses a part of it")]

pub(crate) mod certificates;
pub(crate) mod cluster;
pub(crate) mod every_broker;
pub(crate) mod fault_proxy;
pub(crate) mod payload_check;
pub(crate) mod sentinel;
pub(crate) mod server;

use std::{sync::Arc, time::Duration};

use tidemark_model::{Clock, ManualClock, SystemClock};
use tidemark_queue::{
    Broker, BrokerOptions, Delivery, EmbeddedBroker, FetchRequest, JobKind, MemoryBroker, NewJob, QueueStats,
    RedisBroker, RedisOptions, WorkerId,
};

pub(crate) use server::RedisServer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Embedded,
    Redis,
}

/// A broker, and time for it.
pub(crate) struct Harness {
    pub(crate) broker: Arc<dyn Broker>,
    /// Of brokers that believe us about the time.
    clock: Option<Arc<ManualClock>>,
    _folder: Option<tempfile::TempDir>,
    /// Whether [`Harness::push`] makes payloads large.
    pub(crate) pads: bool,
    _check: Option<payload_check::PayloadCheck>,
    pub(crate) server: Option<RedisServer>,
}

pub(crate) const LEASE: Duration = Duration::from_millis(250);

pub(crate) fn options() -> BrokerOptions {
    BrokerOptions { lease: LEASE, ..BrokerOptions::default() }
}

impl Harness {
    /// `None` when Redis is asked for and not installed, which is said loudly.
    pub(crate) async fn start(kind: Kind, options: BrokerOptions) -> Option<Self> {
        let now_ms = SystemClock::new().now_ms();
        let manual = Arc::new(ManualClock::new(now_ms));
        let harness = match kind {
            Kind::Memory => Self {
                broker: Arc::new(MemoryBroker::new(options, manual.clone(), 1)),
                clock: Some(manual),
                _folder: None,
                pads: false,
                _check: None,
                server: None,
            },
            Kind::Embedded => {
                let folder = tempfile::tempdir().unwrap();
                let broker = EmbeddedBroker::open(folder.path(), options, manual.clone()).unwrap();
                Self {
                    broker: Arc::new(broker),
                    clock: Some(manual),
                    _folder: Some(folder),
                    pads: false,
                    _check: None,
                    server: None,
                }
            }
            Kind::Redis => {
                let server = RedisServer::start().await?;
                let broker = server.broker(options);
                Self {
                    broker: Arc::new(broker),
                    clock: None,
                    _folder: None,
                    pads: false,
                    _check: Some(payload_check::PayloadCheck { url: server.url() }),
                    server: Some(server),
                }
            }
        };
        Some(harness)
    }

    /// A broker of a server that is there.
    pub(crate) fn reaching(redis: RedisOptions, options: BrokerOptions) -> Self {
        let broker = RedisBroker::new(redis, options, Arc::new(SystemClock::new())).unwrap();
        Self { broker: Arc::new(broker), clock: None, _folder: None, pads: false, _check: None, server: None }
    }

    /// What time it is for the broker.
    pub(crate) fn now_ms(&self) -> i64 {
        match &self.clock {
            Some(clock) => clock.now_ms(),
            None => SystemClock::new().now_ms(),
        }
    }

    /// Waits for a condition for at most ten seconds, sweeping. Time passes, by the broker's clock.
    pub(crate) async fn eventually<F: Future<Output = bool>>(&self, what: &str, mut is_so: impl FnMut() -> F) {
        for _ in 0..2_000 {
            if is_so().await {
                return;
            }
            match &self.clock {
                Some(clock) => clock.advance(Duration::from_millis(5)),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
            self.broker.tick().await.unwrap();
        }
        panic!("waited in vain for: {what}");
    }

    pub(crate) async fn push(&self, jobs: Vec<NewJob>) -> Vec<tidemark_queue::Pushed> {
        let jobs = if self.pads { jobs.into_iter().map(padded).collect() } else { jobs };
        self.broker.push(jobs).await.unwrap()
    }

    /// What is there now.
    pub(crate) async fn fetch(&self, max: usize) -> Vec<Delivery> {
        self.fetch_as("w1", max).await
    }

    pub(crate) async fn fetch_as(&self, worker: &str, max: usize) -> Vec<Delivery> {
        self.broker.fetch(request(worker, max, Duration::ZERO)).await.unwrap()
    }

    /// The next job, once there is one.
    pub(crate) async fn fetch_one(&self) -> Delivery {
        let found = std::cell::RefCell::new(Vec::new());
        self.eventually("a job", || async {
            let fetched = self.fetch(1).await;
            found.borrow_mut().extend(fetched);
            !found.borrow().is_empty()
        })
        .await;
        found.into_inner().remove(0)
    }

    pub(crate) async fn stats(&self) -> QueueStats {
        let stats = self.broker.queues().await.unwrap();
        stats.into_iter().find(|stats| stats.queue.as_str() == "notify").unwrap()
    }
}

pub(crate) fn request(worker: &str, max: usize, wait: Duration) -> FetchRequest {
    let queues = vec![JobKind::Notify.default_queue()];
    FetchRequest { worker: WorkerId::new(worker), queues, max, wait }
}

pub(crate) fn job(text: &str) -> NewJob {
    NewJob::from_bytes(JobKind::Notify, text.as_bytes().to_vec().into())
}

/// The job with a payload that is large for Redis; its text is the same.
pub(crate) fn padded(job: NewJob) -> NewJob {
    let mut payload = job.payload.to_vec();
    payload.resize(payload.len().max(5_000), 0);
    NewJob { payload: payload.into(), ..job }
}

pub(crate) fn text_of(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.job.payload).trim_end_matches('\0').to_owned()
}
