//! Redis that is away, slow, silent or emptied: whoever calls gets an answer in time, and it goes on by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{sync::Arc, time::Duration};

use support::{
    Harness, Kind, RedisServer,
    fault_proxy::{Fault, FaultProxy},
    job, options, padded, request, text_of,
};
use tidemark_model::{Clock, ManualClock, SystemClock};
use tidemark_queue::{Broker, BrokerError, BrokerOptions, Pushed, RedisBroker, RedisOptions};

/// What a producer waits at most while the server is away.
const PATIENCE: Duration = Duration::from_secs(1);

fn broker(redis: RedisOptions) -> RedisBroker {
    RedisBroker::new(redis, BrokerOptions::default(), Arc::new(SystemClock::new())).unwrap()
}

/// A push, and how long it took.
async fn push(broker: &RedisBroker, text: &str) -> (Result<Vec<Pushed>, BrokerError>, Duration) {
    let clock = SystemClock::new();
    let since = clock.monotonic();
    let pushed = broker.push(vec![padded(job(text))]).await;
    (pushed, clock.monotonic() - since)
}

/// Pushes until it succeeds; how long that took.
async fn until_pushed(broker: &RedisBroker, text: &str, at_most: Duration) -> Duration {
    let clock = SystemClock::new();
    let since = clock.monotonic();
    loop {
        let (pushed, _) = push(broker, text).await;
        let took = clock.monotonic() - since;
        match pushed {
            Ok(_) => return took,
            Err(error) => assert!(took < at_most, "not back after {took:?}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn texts_in(broker: &RedisBroker) -> Vec<String> {
    let mut texts: Vec<String> =
        broker.fetch(request("w", 10_000, Duration::ZERO)).await.unwrap().iter().map(text_of).collect();
    texts.sort();
    texts
}

#[tokio::test]
async fn a_server_that_is_away_is_refused_within_a_second_and_dialled_once_a_second() {
    let Some(server) = RedisServer::start().await else { return };
    let proxy = FaultProxy::before(server.port).await;
    let broker = broker(proxy.options());
    broker.push(vec![job("before")]).await.unwrap();
    proxy.set(Fault::Away);
    let (clock, dials_before) = (SystemClock::new(), proxy.accepted());
    let since = clock.monotonic();
    while clock.monotonic() - since < Duration::from_secs(6) {
        let (pushed, took) = push(&broker, "meanwhile").await;
        assert!(matches!(pushed, Err(BrokerError::Unavailable(_) | BrokerError::Unknown(_))), "{pushed:?}");
        assert!(took < PATIENCE, "{took:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let dials = proxy.accepted() - dials_before;
    assert!((2..=7).contains(&dials), "{dials} dials in 6 s");
    proxy.set(Fault::None);
    let took = until_pushed(&broker, "after", Duration::from_secs(5)).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(texts_in(&broker).await, ["after", "before"]);
}

#[tokio::test]
async fn a_slow_server_is_waited_for_and_loses_nothing() {
    let Some(server) = RedisServer::start().await else { return };
    let proxy = FaultProxy::before(server.port).await;
    let slow = broker(proxy.options());
    slow.push(vec![job("before")]).await.unwrap();
    proxy.set(Fault::Slow(Duration::from_secs(2)));
    let (pushed, took) = push(&slow, "slowly").await;
    assert!(pushed.is_ok() && took >= Duration::from_secs(2), "{pushed:?} after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Whoever comes to a slow server for the first time does not hang, and is let in once the greetings are over.
    let newcomer = broker(proxy.options());
    let (pushed, took) = push(&newcomer, "too early").await;
    assert!(matches!(&pushed, Err(BrokerError::Unavailable(text)) if text.contains("so far")), "{pushed:?}");
    assert!(took < PATIENCE, "{took:?}");
    until_pushed(&newcomer, "newcomer", Duration::from_secs(30)).await;
    proxy.set(Fault::None);
    assert_eq!(texts_in(&server.broker(options())).await, ["before", "newcomer", "slowly"]);
}

#[tokio::test]
async fn a_half_open_connection_is_given_up_and_everybody_learns_of_it_at_once() {
    let Some(server) = RedisServer::start().await else { return };
    let proxy = FaultProxy::before(server.port).await;
    let response_timeout = Duration::from_secs(3);
    let broker = broker(RedisOptions { response_timeout, ..proxy.options() });
    broker.push(vec![job("before")]).await.unwrap();
    proxy.set(Fault::Silent);
    let later = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        push(&broker, "b").await
    };
    let ((first, first_took), (second, second_took)) = tokio::join!(push(&broker, "a"), later);
    assert!(matches!(first, Err(BrokerError::Unknown(_))), "{first:?}");
    assert!(matches!(second, Err(BrokerError::Unknown(_))), "{second:?}");
    assert!(first_took < response_timeout + PATIENCE, "{first_took:?}");
    assert!(second_took < Duration::from_secs(2), "{second_took:?}");
    let (third, third_took) = push(&broker, "c").await;
    assert!(matches!(third, Err(BrokerError::Unavailable(_))), "{third:?}");
    assert!(third_took < PATIENCE, "{third_took:?}");
    proxy.set(Fault::Away);
    proxy.set(Fault::None);
    until_pushed(&broker, "after", Duration::from_secs(5)).await;
    assert_eq!(texts_in(&broker).await, ["after", "before"]);
}

#[tokio::test]
async fn a_frozen_server_does_not_hold_anybody_for_long() {
    let Some(server) = RedisServer::start().await else { return };
    let broker = broker(RedisOptions { response_timeout: Duration::from_secs(2), ..server.options.clone() });
    broker.push(vec![job("before")]).await.unwrap();
    server.freeze();
    let (pushed, took) = push(&broker, "unknown").await;
    assert!(matches!(pushed, Err(BrokerError::Unknown(_))), "{pushed:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    let (pushed, took) = push(&broker, "refused").await;
    assert!(matches!(pushed, Err(BrokerError::Unavailable(_))), "{pushed:?}");
    assert!(took < PATIENCE, "{took:?}");
    server.thaw();
    until_pushed(&broker, "after", Duration::from_secs(5)).await;
    // Redis had the first of them in its buffer.
    assert_eq!(texts_in(&broker).await, ["after", "before", "unknown"]);
}

#[tokio::test]
async fn a_server_that_comes_back_empty_of_scripts_gets_them_again() {
    let Some(mut server) = RedisServer::start().await else { return };
    let broker = server.broker(options());
    broker.push(vec![job("a")]).await.unwrap();
    server.command(&["SCRIPT", "FLUSH"]);
    broker.push(vec![padded(job("b"))]).await.unwrap();
    server.kill();
    server.restart().await;
    until_pushed(&broker, "c", Duration::from_secs(5)).await;
    assert_eq!(texts_in(&broker).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_fetch_that_waits_ends_with_an_error_when_the_server_dies_and_waits_again_when_it_is_back() {
    let Some(mut server) = RedisServer::start().await else { return };
    let broker = server.broker(options());
    broker.push(vec![job("a")]).await.unwrap();
    assert_eq!(texts_in(&broker).await, ["a"]);
    let waiting = broker.fetch(request("w", 1, Duration::from_secs(30)));
    let dying = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.kill();
    };
    let (fetched, ()) = tokio::join!(waiting, dying);
    assert!(fetched.is_err(), "{fetched:?}");
    server.restart().await;
    until_pushed(&broker, "b", Duration::from_secs(5)).await;
    let fetched = broker.fetch(request("w", 1, Duration::from_secs(5))).await.unwrap();
    assert_eq!(fetched.iter().map(text_of).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn an_emptied_server_is_noticed_with_the_next_check_and_told_for_an_hour() {
    let Some(server) = RedisServer::start().await else { return };
    let clock = Arc::new(ManualClock::new(SystemClock::new().now_ms()));
    let redis = server.options.clone();
    let worker = RedisBroker::new(redis, options(), clock.clone()).unwrap();
    server.broker(options()).push(vec![job("before")]).await.unwrap();
    // A process that only works knows the queues by sweeping them.
    worker.tick().await.unwrap();
    clock.advance(Duration::from_secs(10));
    worker.tick().await.unwrap();
    assert_eq!(worker.health().await.warnings, Vec::<String>::new());
    server.command(&["FLUSHALL"]);
    clock.advance(Duration::from_secs(10));
    worker.tick().await.unwrap();
    let warnings = worker.health().await.warnings;
    assert_eq!(warnings, ["redis was emptied 0 min ago: jobs of notify may be lost"]);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(worker.health().await.warnings, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_goes_on_from_an_older_state_is_noticed() {
    let Some(mut server) = RedisServer::start_with(&["--appendonly", "no"]).await else { return };
    let clock = Arc::new(ManualClock::new(SystemClock::new().now_ms()));
    let broker = RedisBroker::new(server.options.clone(), options(), clock.clone()).unwrap();
    let check = async || {
        clock.advance(Duration::from_secs(10));
        broker.queues().await.is_ok()
    };
    broker.push(vec![job("before")]).await.unwrap();
    assert!(check().await);
    server.command(&["SAVE"]);
    assert!(check().await && check().await);
    server.kill();
    server.restart().await;
    // The clock is ours: each look is ten seconds after the last.
    for _ in 0..100 {
        if check().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let warnings = broker.health().await.warnings;
    assert!(warnings.iter().any(|warning| warning.starts_with("redis went back to an earlier state")), "{warnings:?}");
}

#[tokio::test]
async fn a_user_who_may_not_ask_is_told_what_is_not_known() {
    let Some(server) = RedisServer::start().await else { return };
    server.command(&["ACL", "SETUSER", "few", "on", ">hunter2", "~tidemark:*", "+@all", "-info", "-config", "-role"]);
    let redis = RedisOptions {
        username: Some("few".to_owned()),
        password: Some("hunter2".to_owned()),
        ..server.options.clone()
    };
    let broker = broker(redis);
    broker.push(vec![job("x")]).await.unwrap();
    let health = broker.health().await;
    assert!(health.reachable);
    assert!(health.warnings[0].contains("`ACL SETUSER NAME +info`"), "{health:?}");
    assert_eq!(health.warnings.len(), 1);
}

#[tokio::test]
async fn a_closed_broker_leaves_no_connection_behind() {
    let Some(harness) = Harness::start(Kind::Redis, options()).await else { return };
    let server = harness.server.as_ref().unwrap();
    harness.push(vec![job("x")]).await;
    harness.fetch(1).await;
    assert!(harness.broker.fetch(request("w", 1, Duration::from_millis(10))).await.unwrap().is_empty());
    let clients = || {
        server
            .ask(&["CLIENT", "LIST"])
            .lines()
            .filter(|line| {
                line.contains("lib-name=tidemark") || line.contains("cmd=evalsha") || line.contains("cmd=blpop")
            })
            .count()
    };
    assert!(clients() > 0);
    harness.broker.close().await;
    support::cluster::wait_for("no connection is left", || clients() == 0).await;
}
