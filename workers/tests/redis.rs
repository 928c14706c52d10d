//! The pool over a real Redis that ends, is emptied, or is away.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "../queue/tests/support/mod.rs"]
mod brokers;
mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use brokers::RedisServer;
use support::{RunningPool, eventually, job, options, scripted};
use tidemark_model::{Clock, SystemClock};
use tidemark_queue::{Broker, BrokerError, BrokerOptions, JobKind, NewJob, RedisBroker, RedisOptions};
use tidemark_workers::JobOutput;

macro_rules! server {
    () => {
        server!(&[])
    };
    ($settings:expr) => {
        match RedisServer::start_with($settings).await {
            Some(server) => server,
            None => return,
        }
    };
}

fn short_lease() -> BrokerOptions {
    BrokerOptions { lease: Duration::from_secs(1), ..BrokerOptions::default() }
}

#[tokio::test]
async fn every_job_is_run_once_on_a_quiet_server() {
    let server = server!();
    let broker = Arc::new(server.broker(BrokerOptions::default()));
    let (handler, attempts) = scripted(|_| Box::pin(async { Ok(JobOutput::default()) }));
    let pool = RunningPool::start(options("w", 8), broker.clone(), handler);
    for hundred in 0..10 {
        let jobs = (0..100).map(|number| job(&format!("{hundred}-{number}"))).collect();
        broker.push(jobs).await.unwrap();
    }
    eventually("1000 completed", || async { broker.queues().await.unwrap()[0].totals.completed == 1_000 }).await;
    pool.stop().await;
    let distinct: BTreeSet<_> = attempts.lock().iter().map(|(text, _)| text.clone()).collect();
    assert_eq!((distinct.len(), attempts.lock().len()), (1_000, 1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_loses_no_acknowledged_job() {
    let mut server = server!();
    let broker = Arc::new(server.broker(short_lease()));
    let (handler, attempts) = scripted(|_| Box::pin(async { Ok(JobOutput::default()) }));
    let pool = RunningPool::start(options("w", 8), broker.clone(), handler);
    let mut acknowledged = BTreeSet::new();
    let mut refused = 0;
    for round in 0..60 {
        if round % 20 == 10 {
            server.kill();
        }
        if round % 20 == 14 {
            server.restart().await;
        }
        let texts: Vec<String> = (0..20).map(|number| format!("{round}-{number}")).collect();
        let framed = |text: &String| NewJob { kind: JobKind::Write, ..job(text) };
        match broker.push(texts.iter().map(framed).collect()).await {
            Ok(_) => acknowledged.extend(texts),
            Err(BrokerError::Unavailable(_) | BrokerError::Unknown(_)) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0, "the server was never away");
    eventually("all acknowledged jobs ran", || async {
        let ran: BTreeSet<_> = attempts.lock().iter().map(|(text, _)| text.clone()).collect();
        acknowledged.iter().all(|text| ran.contains(text))
    })
    .await;
    eventually("nothing is left", || async {
        broker.queues().await.is_ok_and(|queues| queues[0].ready + queues[0].running + queues[0].retryable == 0)
    })
    .await;
    pool.stop().await;
}

#[tokio::test]
async fn a_worker_goes_on_after_the_server_was_emptied() {
    let server = server!();
    let broker = Arc::new(server.broker(short_lease()));
    let (handler, attempts) = scripted(|_| Box::pin(async { Ok(JobOutput::default()) }));
    let pool = RunningPool::start(options("w", 2), broker.clone(), handler);
    broker.push(vec![job("before")]).await.unwrap();
    eventually("it ran", || async { attempts.lock().len() == 1 }).await;
    server.command(&["FLUSHALL"]);
    server.command(&["SCRIPT", "FLUSH"]);
    broker.push(vec![job("after")]).await.unwrap();
    eventually("it ran, too", || async { attempts.lock().len() == 2 }).await;
    pool.stop().await;
}

#[tokio::test]
async fn a_server_that_is_down_is_refused_quickly() {
    let mut server = server!();
    let broker = server.broker(BrokerOptions::default());
    broker.push(vec![job("x")]).await.unwrap();
    server.kill();
    let clock = SystemClock::new();
    for _ in 0..5 {
        let since = clock.monotonic();
        let error = broker.push(vec![job("y")]).await.unwrap_err();
        assert!(matches!(error, BrokerError::Unavailable(_) | BrokerError::Unknown(_)), "{error}");
        assert!(clock.monotonic() - since < Duration::from_secs(1), "{error}");
    }
    assert!(!broker.health().await.reachable);
    server.restart().await;
    eventually("it is back", || async { broker.push(vec![job("z")]).await.is_ok() }).await;
}

#[tokio::test]
async fn a_server_that_may_lose_jobs_is_reported() {
    let careless = server!(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]);
    let health = careless.broker(BrokerOptions::default()).health().await;
    assert!(health.reachable);
    assert!(health.warnings[0].starts_with("`appendonly` is `no`"), "{:?}", health.warnings);
    assert!(health.warnings[1].starts_with("`maxmemory-policy` is `allkeys-lru`"), "{:?}", health.warnings);
    let careful = server!();
    assert_eq!(careful.broker(BrokerOptions::default()).health().await.warnings, Vec::<String>::new());
}

#[tokio::test]
async fn the_queues_belong_to_the_store_that_came_first() {
    let mut server = server!();
    let broker = |store: Option<&str>| {
        let redis = RedisOptions { store: store.map(str::to_owned), ..RedisOptions::new(&server.url()) };
        RedisBroker::new(redis, BrokerOptions::default(), Arc::new(SystemClock::new())).unwrap()
    };
    let (first, again, second, without) = (broker(Some("a")), broker(Some("a")), broker(Some("b")), broker(None));
    first.push(vec![job("x")]).await.unwrap();
    again.push(vec![job("x")]).await.unwrap();
    without.push(vec![job("x")]).await.unwrap();
    let error = second.push(vec![job("y")]).await.unwrap_err();
    assert!(matches!(&error, BrokerError::OtherStore(text) if text.contains("`tidemark:store`")), "{error}");
    assert!(!second.health().await.reachable);
    // What stands behind a new connection is looked at again.
    server.command(&["SET", "tidemark:store", "b"]);
    server.kill();
    server.restart().await;
    eventually("the first store is refused", || async {
        matches!(first.push(vec![job("z")]).await, Err(BrokerError::OtherStore(_)))
    })
    .await;
    eventually("the second store is let in", || async { second.push(vec![job("y")]).await.is_ok() }).await;
}
