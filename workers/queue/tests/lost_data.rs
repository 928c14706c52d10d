//! A Redis that loses its data under a running process: what is pushed afterwards is swept and shown all the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{sync::Arc, time::Duration};

use redis::Connection;
use support::{Harness, Kind, RedisServer, job, options, text_of};
use tidemark_model::{Clock, ManualClock, SystemClock};
use tidemark_queue::{
    Broker, NewJob, NodeState, Outcome, RedisBroker, RedisOptions, Settled, Workflow, WorkflowId, WorkflowState,
};

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

/// Names and values of an entry.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Puts a frame in the place of the only one of a stream, as if it had been damaged.
fn damage_frame(connection: &mut Connection) {
    let stream = "tidemark:{notify}:s1";
    let found = redis::cmd("XRANGE").arg(stream).arg("-").arg("+").query(connection);
    let (entry, fields) = Vec::<(String, Fields)>::into_iter(found.unwrap()).next().unwrap();
    let mut add = redis::cmd("XADD");
    add.arg(stream).arg("*");
    for (name, value) in fields {
        let value = if name == b"f" { b"no frame".to_vec() } else { value };
        add.arg(name).arg(value);
    }
    redis::cmd("XDEL").arg(stream).arg(entry).exec(connection).unwrap();
    add.exec(connection).unwrap();
}

#[tokio::test]
async fn a_node_whose_job_cannot_be_read_fails_and_its_workflow_ends() {
    let Some(harness) = Harness::start(Kind::Redis, options()).await else { return };
    let client = redis::Client::open(harness.server.as_ref().unwrap().url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let later = job("later").not_before(harness.now_ms() + 3_600_000);
    for first in [job("now"), later] {
        let is_delayed = first.not_before_ms.is_some();
        let id = harness.broker.start_workflow(Workflow::chain([first, job("next")])).await.unwrap();
        if is_delayed {
            let items = "tidemark:{notify}:zb";
            let ids: Vec<Vec<u8>> = redis::cmd("HKEYS").arg(items).query(&mut connection).unwrap();
            redis::cmd("HSET").arg(items).arg(&ids).arg("1sno item").exec(&mut connection).unwrap();
            redis::cmd("ZADD").arg("tidemark:{notify}:z").arg(0).arg(&ids).exec(&mut connection).unwrap();
        } else {
            damage_frame(&mut connection);
        }
        let failed = || async {
            assert!(harness.fetch(10).await.is_empty());
            harness.broker.workflow(id).await.unwrap().unwrap().state == WorkflowState::Failed
        };
        harness.eventually("the workflow fails", failed).await;
        let view = harness.broker.workflow(id).await.unwrap().unwrap();
        let error = view.nodes[0].error.as_deref().unwrap();
        assert!(error.contains("cannot be read") && error.contains(&view.nodes[0].job.to_string()), "{error}");
        assert_eq!(view.nodes[1].state, NodeState::Cancelled);
    }
    let left: u64 = redis::cmd("EXISTS").arg("tidemark:{notify}:w").query(&mut connection).unwrap();
    let aside: u64 = redis::cmd("LLEN").arg("tidemark:{notify}:bad").query(&mut connection).unwrap();
    assert_eq!((left, aside, harness.stats().await.totals.discarded), (0, 2, 2));
}

#[tokio::test]
async fn nodes_whose_jobs_are_nowhere_are_found_and_fail_and_no_others() {
    let Some(server) = RedisServer::start().await else { return };
    let clock = Arc::new(ManualClock::new(SystemClock::new().now_ms()));
    let broker = RedisBroker::new(RedisOptions::new(&server.url()), options(), clock.clone()).unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let on = |queue: &str| NewJob { queue: queue.parse().unwrap(), ..job("x") };
    let start = async |first: NewJob| broker.start_workflow(Workflow::chain([first, on("kept")])).await.unwrap();
    let (lost, sound) = (start(on("lost")).await, start(on("kept")).await);
    // As an earlier release left it, which listed no jobs of nodes.
    let earlier = start(on("lost")).await;
    let job = broker.workflow(earlier).await.unwrap().unwrap().nodes[0].job;
    redis::cmd("DEL").arg(format!("tidemark:{{wf:{earlier}}}:q")).exec(&mut connection).unwrap();
    redis::cmd("HDEL").arg("tidemark:{lost}:w").arg(job.as_bytes().as_slice()).exec(&mut connection).unwrap();
    let state = async |id: WorkflowId| broker.workflow(id).await.unwrap().unwrap().state;
    broker.tick().await.unwrap();
    assert_eq!(state(lost).await, WorkflowState::Running);

    let keys: Vec<String> = redis::cmd("KEYS").arg("tidemark:{lost}:*").query(&mut connection).unwrap();
    redis::cmd("DEL").arg(keys).exec(&mut connection).unwrap();
    clock.advance(Duration::from_secs(30));
    broker.tick().await.unwrap();
    assert_eq!(state(lost).await, WorkflowState::Running, "it is looked for once a minute");
    clock.advance(Duration::from_secs(31));
    broker.tick().await.unwrap();

    assert_eq!(
        (state(lost).await, state(sound).await, state(earlier).await),
        (WorkflowState::Failed, WorkflowState::Running, WorkflowState::Running)
    );
    let view = broker.workflow(lost).await.unwrap().unwrap();
    assert_eq!(view.nodes[0].error.as_deref(), Some("lost: its job is nowhere in the broker any more"));
}
