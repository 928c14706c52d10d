//! A Redis that loses its data under a running process: what is pushed afterwards is swept and shown all the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{sync::Arc, time::Duration};

use support::{Harness, Kind, RedisServer, job, options, text_of};
use tidemark_model::{Clock, ManualClock, SystemClock};
use tidemark_queue::{Broker, Outcome, RedisBroker, RedisOptions, Settled};

#[tokio::test]
async fn after_a_flush_delayed_jobs_are_promoted_and_lost_workers_rescued() {
    let Some(harness) = Harness::start(Kind::Redis, options()).await else { return };
    harness.push(vec![job("before")]).await;
    harness.server.as_ref().unwrap().command(&["FLUSHALL"]);

    harness.push(vec![job("after").not_before(harness.now_ms() + 100)]).await;
    let abandoned = harness.fetch_one().await;
    assert_eq!(text_of(&abandoned), "after");
    assert_eq!(harness.stats().await.running, 1);

    let rescued = harness.fetch_one().await;
    assert_eq!((text_of(&rescued), rescued.rescues), ("after".to_owned(), 1));
    let settled = harness.broker.settle(vec![(rescued.receipt, Outcome::Completed { result: None })]).await.unwrap();
    assert!(matches!(settled[..], [Settled::Recorded(_)]), "{settled:?}");
}

#[tokio::test]
async fn after_a_restart_without_data_queues_are_listed_with_the_first_push() {
    let Some(mut harness) = Harness::start(Kind::Redis, options()).await else { return };
    harness.push(vec![job("before")]).await;
    let server = harness.server.as_mut().unwrap();
    server.command(&["FLUSHALL"]);
    server.kill();
    server.restart().await;

    let pushed = || async { harness.broker.push(vec![job("after")]).await.is_ok() };
    for _ in 0..1_000 {
        if pushed().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(harness.stats().await.ready, 1);
}

#[tokio::test]
async fn a_process_that_only_pushes_lists_its_queues_again_and_claims_the_keys() {
    let Some(server) = RedisServer::start().await else { return };
    let clock = Arc::new(ManualClock::new(SystemClock::new().now_ms()));
    let redis = RedisOptions { store: Some("ours".to_owned()), ..RedisOptions::new(&server.url()) };
    let producer = RedisBroker::new(redis.clone(), options(), clock.clone()).unwrap();
    producer.push(vec![job("before")]).await.unwrap();
    server.command(&["FLUSHALL"]);

    clock.advance(Duration::from_secs(10));
    producer.push(vec![job("after")]).await.unwrap();

    let queues = server.broker(options()).queues().await.unwrap();
    assert_eq!(queues.iter().map(|stats| (stats.queue.as_str(), stats.ready)).collect::<Vec<_>>(), [("notify", 1)]);
    let other = RedisOptions { store: Some("another".to_owned()), ..redis };
    let other = RedisBroker::new(other, options(), Arc::new(SystemClock::new())).unwrap();
    assert!(matches!(other.push(vec![job("x")]).await, Err(tidemark_queue::BrokerError::OtherStore(_))));
}

#[tokio::test]
async fn jobs_of_a_frame_that_cannot_be_read_are_counted_and_leave_no_trace_in_the_counters() {
    let Some(harness) = Harness::start(Kind::Redis, options()).await else { return };
    harness.push(vec![job("sound")]).await;
    let client = redis::Client::open(harness.server.as_ref().unwrap().url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut pipeline = redis::pipe();
    pipeline.cmd("XADD").arg("tidemark:{notify}:s1").arg("*").arg("n").arg(3).arg("f").arg("no frame at all");
    pipeline.cmd("HINCRBY").arg("tidemark:{notify}:n").arg("live").arg(3);
    pipeline.cmd("HINCRBY").arg("tidemark:{notify}:n").arg("bytes").arg(77);
    pipeline.exec(&mut connection).unwrap();
    assert_eq!(harness.stats().await.ready, 4);
    let sound = harness.fetch(10).await;
    assert_eq!(sound.iter().map(text_of).collect::<Vec<_>>(), ["sound"]);
    let stats = harness.stats().await;
    assert_eq!((stats.ready, stats.running, stats.totals.discarded), (0, 1, 3));
    let settlement = vec![(sound[0].receipt.clone(), Outcome::Completed { result: None })];
    harness.broker.settle(settlement).await.unwrap();
    harness.broker.tick().await.unwrap();
    let bytes: i64 = redis::cmd("HGET").arg("tidemark:{notify}:n").arg("bytes").query(&mut connection).unwrap();
    assert_eq!(bytes, 0);
}
