//! Workers and a producer of one process whose Redis goes away, becomes slow, and stops answering: producers are told in
//! time, running jobs end and are reported later, once, and everything goes on by itself.
//!
//! `TIDEMARK_OUTAGE_SECONDS` says how long each outage takes (3).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "../queue/tests/support/mod.rs"]
mod brokers;
mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use brokers::{
    RedisServer,
    fault_proxy::{Fault, FaultProxy},
};
use support::{Attempts, RunningPool, job, options, scripted};
use tidemark_model::{
    Clock, PointBatch, PointBatchBuilder, PointSink, RefusalReason, SystemClock, Value, WriteOutcome,
};
use tidemark_queue::{Broker, BrokerError, BrokerOptions, RedisBroker, RedisOptions};
use tidemark_workers::{BrokerPointSink, JobOutput, WriteAnswer};
use tokio::sync::watch;

/// What a producer waits at most while it is known that the server is away.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// How long Redis may take to answer before its connection is given up.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// What a producer waits at most when nothing is answered: until the connection is given up.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);
/// What it waits at most when every answer is late: every ten seconds a push also looks at what Redis says about itself,
/// which are two questions after each other before its own.
const SLOWLY_ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How soon all is well again.
const STEADY_WITHIN: Duration = Duration::from_secs(5);
const RUNNING: usize = 8;

struct Setting {
    _server: RedisServer,
    proxy: FaultProxy,
    broker: Arc<RedisBroker>,
    pool: RunningPool,
    attempts: Attempts,
    /// Lets the jobs go on whose text begins with `wait`.
    go: watch::Sender<bool>,
    clock: SystemClock,
    acknowledged: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

impl Setting {
    async fn start() -> Option<Self> {
        let server = RedisServer::start().await?;
        let proxy = FaultProxy::before(server.port).await;
        let redis = RedisOptions { response_timeout: RESPONSE_TIMEOUT, ..proxy.options() };
        let leases = BrokerOptions { lease: Duration::from_secs(2), rescues_max: 1_000, ..BrokerOptions::default() };
        let broker = Arc::new(RedisBroker::new(redis, leases, Arc::new(SystemClock::new())).unwrap());
        let (go, wait) = watch::channel(false);
        let (handler, attempts) = scripted(move |job| {
            let mut wait = wait.clone();
            Box::pin(async move {
                if job.job.payload.starts_with(b"wait") {
                    wait.wait_for(|go| *go).await.unwrap();
                }
                Ok(JobOutput::default())
            })
        });
        let pool = RunningPool::start(options("w", RUNNING), broker.clone(), handler);
        let (clock, acknowledged, unknown) = (SystemClock::new(), BTreeSet::new(), BTreeSet::new());
        Some(Self { _server: server, proxy, broker, pool, attempts, go, clock, acknowledged, unknown })
    }

    /// Pushes one job; how long that took, and whether it was acknowledged.
    async fn push(&mut self, text: String) -> (Duration, bool) {
        let since = self.clock.monotonic();
        let pushed = self.broker.push(vec![job(&text)]).await;
        let took = self.clock.monotonic() - since;
        let is_acknowledged = pushed.is_ok();
        match pushed {
            Ok(_) => drop(self.acknowledged.insert(text)),
            Err(BrokerError::Unknown(_)) => drop(self.unknown.insert(text)),
            Err(BrokerError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
        (took, is_acknowledged)
    }

    async fn completed(&self) -> u64 {
        let queues = self.broker.queues().await.unwrap_or_default();
        queues.iter().map(|queue| queue.totals.completed).sum()
    }

    /// Eight jobs that run until they are let go.
    async fn let_jobs_run(&mut self, name: &str) {
        self.go.send_replace(false);
        let before = self.attempts.lock().len();
        for number in 0..RUNNING {
            assert!(self.push(format!("wait-{name}-{number}")).await.1);
        }
        support::eventually("they run", || async { self.attempts.lock().len() >= before + RUNNING }).await;
    }

    /// Lets a fault go on for a while in which the running jobs end; how many dials there were.
    async fn suffer(&mut self, name: &str, fault: Fault, seconds: u64) -> usize {
        self.let_jobs_run(name).await;
        let dials = self.proxy.accepted();
        self.proxy.set(fault);
        let ends = self.clock.monotonic() + Duration::from_secs(seconds);
        let mut number = 0;
        while self.clock.monotonic() < ends {
            number += 1;
            if number == 2 {
                self.go.send_replace(true);
            }
            let (took, is_acknowledged) = self.push(format!("{name}-{number}")).await;
            let at_most = if matches!(fault, Fault::Slow(_)) { SLOWLY_ANSWERED_WITHIN } else { ANSWERED_WITHIN };
            assert!(took < at_most, "{name}: {took:?}");
            // The first may have been on its way when it became known.
            assert!(number < 3 || fault != Fault::Away || took < REFUSED_WITHIN, "{name}: refused after {took:?}");
            assert!(fault == Fault::None || !is_acknowledged || matches!(fault, Fault::Slow(_)), "{name}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.go.send_replace(true);
        self.proxy.accepted() - dials
    }

    /// Everything that was acknowledged is completed soon, each job once.
    async fn recover(&mut self, name: &str) {
        self.proxy.set(Fault::Away);
        self.proxy.set(Fault::None);
        let since = self.clock.monotonic();
        let mut number = 0;
        loop {
            number += 1;
            if self.push(format!("{name}-after-{number}")).await.1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = self.clock.monotonic() - since;
        assert!(took < STEADY_WITHIN, "{name}: not steady after {took:?}");
        support::eventually("all of it is completed", || async {
            let ran: BTreeSet<String> = self.attempts.lock().iter().map(|(text, _)| text.clone()).collect();
            let is_empty = |queue: &tidemark_queue::QueueStats| queue.ready + queue.running + queue.scheduled == 0;
            let queues = self.broker.queues().await.unwrap_or_default();
            self.acknowledged.is_subset(&ran) && !queues.is_empty() && queues.iter().all(is_empty)
        })
        .await;
        let ran: BTreeSet<String> = self.attempts.lock().iter().map(|(text, _)| text.clone()).collect();
        let known = |text: &&String| self.acknowledged.contains(*text) || self.unknown.contains(*text);
        let made_up: Vec<_> = ran.iter().filter(|text| !known(text)).collect();
        assert!(made_up.is_empty(), "{name}: run though refused: {made_up:?}");
        assert_eq!(self.completed().await, ran.len() as u64, "{name}: completed twice, or not at all");
        eprintln!("{name}: steady after {took:?}, {} jobs, {} unknown", ran.len(), self.unknown.len());
    }
}

fn outage_seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a nightly run says in the environment how long it may take")]
    let seconds = std::env::var("TIDEMARK_OUTAGE_SECONDS");
    seconds.map_or(3, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_away_refuses_producers_quickly_and_hears_of_every_end_once() {
    let Some(mut setting) = Setting::start().await else { return };
    let seconds = outage_seconds();
    let dials = setting.suffer("away", Fault::Away, seconds).await;
    // At most one a second, and one for each kind of connection that was lost.
    assert!(dials as u64 <= seconds + 2, "{dials} dials in {seconds} s");
    setting.recover("away").await;
    setting.pool.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_answers_two_seconds_late_loses_nothing_and_hangs_nobody() {
    let Some(mut setting) = Setting::start().await else { return };
    setting.suffer("slow", Fault::Slow(Duration::from_secs(2)), outage_seconds().max(5)).await;
    setting.recover("slow").await;
    assert_eq!(setting.pool.stop().await.abandoned, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_takes_everything_and_answers_nothing_is_given_up() {
    let Some(mut setting) = Setting::start().await else { return };
    setting.suffer("silent", Fault::Silent, outage_seconds().max(5)).await;
    setting.recover("silent").await;
    assert_eq!(setting.pool.stop().await.abandoned, 0);
}

fn points() -> PointBatch {
    let mut builder = PointBatchBuilder::default();
    builder.push("cpu", &mut [("host", "a")], 1_000, Value::Int(7)).unwrap();
    builder.finish()
}

/// Jobs that wait in the queue of writes.
async fn queued_writes(server: &RedisServer) -> u64 {
    let queues = server.broker(BrokerOptions::default()).queues().await.unwrap();
    queues.iter().filter(|queue| queue.queue.as_str() == "write").map(|queue| queue.ready).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_are_refused_within_a_second_by_a_redis_that_answers_late_and_do_not_fill_it_with_repetitions() {
    let Some(server) = RedisServer::start().await else { return };
    let proxy = FaultProxy::before(server.port).await;
    let clock = SystemClock::new();
    let broker = RedisBroker::new(proxy.options(), BrokerOptions::default(), Arc::new(SystemClock::new())).unwrap();
    let sink =
        BrokerPointSink::new(Arc::new(broker), WriteAnswer::WhenQueued).queued_within(Duration::from_millis(900));
    let write = async || {
        let since = clock.monotonic();
        let outcome = sink.write(points()).await;
        (outcome, clock.monotonic() - since)
    };
    support::eventually("the first is queued", || async { matches!(write().await.0, WriteOutcome::Done(_)) }).await;
    let before = queued_writes(&server).await;
    proxy.set(Fault::Slow(Duration::from_secs(2)));
    let (mut unknown, mut refused) = (0, 0);
    let ends = clock.monotonic() + Duration::from_secs(5);
    while clock.monotonic() < ends {
        let writes = futures_util::future::join_all((0..8).map(|_| write())).await;
        for (outcome, took) in writes {
            match outcome {
                WriteOutcome::Unknown(_) => unknown += 1,
                WriteOutcome::Refused(refusal) if refusal.reason == RefusalReason::Unavailable => refused += 1,
                outcome => panic!("{outcome:?} after {took:?}"),
            }
            // Nobody waited for Redis' answer.
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // All of the first round, and one of each round of 0.9 s that follows.
    assert!((8..=14).contains(&unknown), "{unknown} of unknown outcome, {refused} refused");
    proxy.set(Fault::None);
    support::eventually("writes go on", || async { matches!(write().await.0, WriteOutcome::Done(_)) }).await;
    let after = queued_writes(&server).await;
    assert!(after > before && after <= before + unknown + 1, "{before} and {after}, {unknown} of unknown outcome");
}
