//! Masters that die, slots that move: what was acknowledged is there, and producers go on by themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use support::{
    RedisServer,
    certificates::Certificates,
    cluster::{RedisCluster, wait_for},
    job, options, padded, request,
    sentinel::RedisWithSentinels,
    server::ask,
    text_of,
};
use tidemark_model::{Clock, SystemClock};
use tidemark_queue::{
    Broker, BrokerError, JobFilter, JobKind, JobState, NewJob, Page, QueueName, RedisBroker, RedisOptions,
};

fn broker(redis: RedisOptions) -> RedisBroker {
    RedisBroker::new(redis, options(), Arc::new(SystemClock::new())).unwrap()
}

/// Pushes jobs one after the other, a millisecond apart, until `enough` says so of how many were acknowledged; which
/// those were.
async fn push_until(broker: &RedisBroker, name: &str, mut enough: impl AsyncFnMut(usize) -> bool) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    let mut number = 0;
    while !enough(acknowledged.len()).await {
        let text = format!("{name}-{number}");
        number += 1;
        // Every other one is large.
        let job = if number % 2 == 0 { padded(job(&text)) } else { job(&text) };
        match broker.push(vec![job]).await {
            Ok(_) => drop(acknowledged.insert(text)),
            Err(BrokerError::Unavailable(_) | BrokerError::Unknown(_)) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    acknowledged
}

async fn everything_in(broker: &RedisBroker) -> BTreeSet<String> {
    let fetched = broker.fetch(request("w", 100_000, Duration::ZERO)).await.unwrap();
    fetched.iter().map(text_of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_under_load_is_replaced_and_what_its_replica_confirmed_is_there() {
    let Some(mut redis) = RedisWithSentinels::start().await else { return };
    let broker = broker(RedisOptions { wait_replicas: 1, ..redis.options() });
    let clock = SystemClock::new();
    let mut stage = Stage::Healthy;
    let (mut following, mut steady_after) = ((0, Duration::ZERO), None);
    let acknowledged = push_until(&broker, "job", async |count| {
        let info = |server: &RedisServer| server.ask(&["INFO", "replication"]);
        match stage {
            Stage::Healthy if count >= 200 => {
                redis.servers[0].kill();
                stage = Stage::Killed;
            }
            // It comes back as the replica that pushes wait for.
            Stage::Killed if info(&redis.servers[1]).contains("role:master") => {
                redis.servers[0].respawn();
                stage = Stage::FailedOver;
            }
            // On a busy machine they may change places once more.
            Stage::FailedOver if redis.servers.iter().any(|server| info(server).contains("link_status:up")) => {
                following = (count, clock.monotonic());
                stage = Stage::Following;
            }
            Stage::Following if count > following.0 && steady_after.is_none() => {
                steady_after = Some(clock.monotonic() - following.1);
            }
            _ => {}
        }
        count >= following.0 + 200 && stage == Stage::Following
    })
    .await;
    let steady_after = steady_after.unwrap();
    eprintln!("pushes were acknowledged {steady_after:?} after the new master had a replica");
    assert!(steady_after < Duration::from_secs(5), "{steady_after:?}");
    let present = everything_in(&broker).await;
    let lost: Vec<&String> = acknowledged.difference(&present).collect();
    assert!(lost.is_empty(), "{} lost: {lost:?}", lost.len());
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Healthy,
    Killed,
    FailedOver,
    Following,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_waiting_for_replicas_producers_go_on_within_seconds_of_a_failover() {
    let Some(mut redis) = RedisWithSentinels::start().await else { return };
    let broker = broker(redis.options());
    push_until(&broker, "before", async |count| count >= 50).await;
    redis.servers[0].kill();
    redis.failed_over().await;
    let clock = SystemClock::new();
    let since = clock.monotonic();
    let after = push_until(&broker, "after", async |count| count >= 50).await;
    let took = clock.monotonic() - since;
    eprintln!("50 pushes were done {took:?} after the failover");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(everything_in(&broker).await.is_superset(&after));
    // The old master comes back as a replica and nobody writes to it.
    redis.servers[0].respawn();
    let follows = || redis.servers[0].ask(&["INFO", "replication"]).contains("role:slave");
    wait_for("the old master follows", follows).await;
    push_until(&broker, "later", async |count| count >= 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_producers_follow_the_master_that_sentinels_name_next() {
    let Some(certificates) = Certificates::make() else { return };
    let Some(mut redis) = RedisWithSentinels::start_tls(&certificates).await else { return };
    let broker = broker(RedisOptions { wait_replicas: 1, ..redis.options() });
    push_until(&broker, "before", async |count| count >= 20).await;
    redis.servers[0].kill();
    redis.failed_over().await;
    redis.servers[0].respawn();
    let after = push_until(&broker, "after", async |count| count >= 20).await;
    assert!(everything_in(&broker).await.is_superset(&after));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_replica_takes_the_place_of_its_master_in_a_cluster() {
    let Some(certificates) = Certificates::make() else { return };
    let Some(mut cluster) = RedisCluster::start_tls(1, &certificates).await else { return };
    let broker = broker(cluster.options());
    let first_node = (0..).map(|number| format!("q{number}")).find(|name| slot_of(name) <= 5_460).unwrap();
    let on_first = |text: &str| NewJob { queue: first_node.parse().unwrap(), ..job(text) };
    broker.push(vec![on_first("a")]).await.unwrap();
    cluster.masters[0].kill();
    let replica = cluster.replicas[0].port;
    wait_for("the replica is the master", || ask(replica, &["INFO", "replication"]).contains("role:master")).await;
    let pushed = async || broker.push(vec![on_first("b")]).await.is_ok();
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !pushed().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "nobody took the job");
}

#[tokio::test]
async fn a_replica_that_is_missing_leaves_a_push_unknown_and_health_says_so() {
    let Some(server) = RedisServer::start().await else { return };
    let broker = broker(RedisOptions { wait_replicas: 1, ..server.options.clone() });
    let error = broker.push(vec![job("x")]).await.unwrap_err();
    assert!(matches!(&error, BrokerError::Unknown(text) if text.contains("0 of the 1 replicas")), "{error}");
    let workflow = tidemark_queue::Workflow::chain([job("a"), job("b")]);
    let error = broker.start_workflow(workflow).await.unwrap_err();
    assert!(matches!(&error, BrokerError::Unknown(text) if text.contains("0 of the 1 replicas")), "{error}");
    let warnings = broker.health().await.warnings;
    assert!(warnings[0].contains("`redis.wait_replicas` asks for 1"), "{warnings:?}");
}

#[tokio::test]
async fn what_sentinels_do_not_know_is_said() {
    let Some(redis) = RedisWithSentinels::start().await else { return };
    let check = async |redis: RedisOptions, expect: &str| {
        let warnings = broker(redis).health().await.warnings;
        assert!(warnings[0].contains(expect), "{warnings:?}");
        assert!(!warnings[0].contains("hunter"), "{warnings:?}");
    };
    let known = redis.options();
    check(RedisOptions { url: known.url.replace("/main", "/other"), ..known.clone() }, "knows no master `other`").await;
    check(RedisOptions { sentinel_password: None, ..known }, "`redis.sentinel_password_file`").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_a_cluster_that_is_killed_is_replaced_by_its_replica() {
    let Some(mut cluster) = RedisCluster::start(1).await else { return };
    let broker = broker(RedisOptions { wait_replicas: 0, ..cluster.options() });
    // A queue on the master that dies, and one on another.
    let queue_on = |last: u16| -> QueueName {
        let names = (0..).map(|number| format!("q{number}"));
        names.into_iter().find(|name| slot_of(name) <= last && slot_of(name) + 5_460 >= last).unwrap().parse().unwrap()
    };
    let (dying, living) = (queue_on(5_460), queue_on(16_383));
    let on = |queue: &QueueName, text: &str| NewJob { queue: queue.clone(), ..job(text) };
    broker.push(vec![on(&dying, "a"), on(&living, "a")]).await.unwrap();
    let has_all = || {
        let offsets = cluster.replicas[0].ask(&["INFO", "replication"]);
        let master = cluster.masters[0].ask(&["INFO", "replication"]);
        let field = |info: &str, name: &str| {
            info.lines().find_map(|line| line.trim_end().strip_prefix(name).map(str::to_owned)).unwrap_or_default()
        };
        field(&offsets, "slave_repl_offset:") == field(&master, "master_repl_offset:")
    };
    wait_for("the replica has it all", has_all).await;
    cluster.masters[0].kill();
    // The other master is not concerned.
    broker.push(vec![on(&living, "b")]).await.unwrap();
    let replica = cluster.replicas[0].port;
    wait_for("the replica is the master", || ask(replica, &["INFO", "replication"]).contains("role:master")).await;
    let clock = SystemClock::new();
    let since = clock.monotonic();
    loop {
        match broker.push(vec![on(&dying, "b")]).await {
            Ok(_) => break,
            Err(error) => assert!(clock.monotonic() - since < Duration::from_secs(5), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("the first push was done {:?} after the failover", clock.monotonic() - since);
    for queue in [&dying, &living] {
        let mut texts = BTreeSet::new();
        for _ in 0..500 {
            let asked =
                tidemark_queue::FetchRequest { queues: vec![queue.clone()], ..request("w", 10, Duration::ZERO) };
            // Nodes may need a moment to agree.
            let fetched = broker.fetch(asked).await.unwrap_or_default();
            texts.extend(fetched.iter().map(text_of));
            if texts.len() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(texts.into_iter().collect::<Vec<_>>(), ["a", "b"], "{queue:?}");
    }
    assert!(broker.health().await.reachable);
    // What runs is on two nodes.
    let jobs = broker.jobs(JobFilter::default(), Page::first(100)).await.unwrap().jobs;
    assert_eq!(jobs.iter().filter(|view| view.state == JobState::Running).count(), 4, "{jobs:?}");
}

#[tokio::test]
async fn a_queue_whose_slot_moves_to_another_node_is_followed() {
    let Some(cluster) = RedisCluster::start(0).await else { return };
    let broker = broker(cluster.options());
    let queue = JobKind::Notify.default_queue();
    let slot = slot_of(queue.as_str());
    let from = cluster.masters.iter().position(|node| owns(node, slot)).unwrap();
    let (source, target) = (&cluster.masters[from], &cluster.masters[(from + 1) % 3]);
    broker.push(vec![padded(job("a"))]).await.unwrap();
    let (source_id, target_id) = (source.ask(&["CLUSTER", "MYID"]), target.ask(&["CLUSTER", "MYID"]));
    let number = slot.to_string();
    target.command(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &source_id]);
    source.command(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &target_id]);
    // Its keys are on two nodes for a while: calls are refused without an effect, and nothing is lost.
    move_keys(source, target, &number, 2);
    for keys in [2, 1_000] {
        move_keys(source, target, &number, keys);
        for refused in [job("refused"), padded(job("refused"))] {
            let error = broker.push(vec![refused]).await.unwrap_err();
            assert!(matches!(error, BrokerError::Unavailable(_)), "{error}");
        }
    }
    for node in [target, source] {
        node.command(&["CLUSTER", "SETSLOT", &number, "NODE", &target_id]);
    }
    assert_eq!(target.ask_list(&["KEYS", "tidemark:{notify}:b:*"]).len(), 1, "a refused push leaves no payload");
    broker.push(vec![padded(job("c"))]).await.unwrap();
    assert_eq!(everything_in(&broker).await.into_iter().collect::<Vec<_>>(), ["a", "c"]);
    // Somebody who waits on several queues, which are on several nodes, hears of a job in any of them.
    let queues = vec![JobKind::Write.default_queue(), JobKind::Rollup.default_queue(), queue];
    let waiting = broker.fetch(tidemark_queue::FetchRequest { queues, ..request("w", 1, Duration::from_secs(20)) });
    let pushing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        broker.push(vec![NewJob { kind: JobKind::Write, queue: JobKind::Write.default_queue(), ..job("d") }]).await
    };
    let clock = SystemClock::new();
    let since = clock.monotonic();
    let (fetched, pushed) = tokio::join!(waiting, pushing);
    pushed.unwrap();
    assert_eq!(text_of(&fetched.unwrap()[0]), "d");
    assert!(clock.monotonic() - since < Duration::from_secs(10));
}

#[tokio::test]
async fn keys_on_their_way_to_another_node_are_found_there() {
    let Some(cluster) = RedisCluster::start(0).await else { return };
    broker(cluster.options()).push(vec![job("a")]).await.unwrap();
    for key in ["tidemark:layout", "tidemark:queues"] {
        let slot = slot_of(key);
        let from = cluster.masters.iter().position(|node| owns(node, slot)).unwrap();
        let (source, target) = (&cluster.masters[from], &cluster.masters[(from + 1) % 3]);
        let (source_id, target_id) = (source.ask(&["CLUSTER", "MYID"]), target.ask(&["CLUSTER", "MYID"]));
        target.command(&["CLUSTER", "SETSLOT", &slot.to_string(), "IMPORTING", &source_id]);
        source.command(&["CLUSTER", "SETSLOT", &slot.to_string(), "MIGRATING", &target_id]);
        move_keys(source, target, &slot.to_string(), 1_000);
        assert_eq!(source.ask(&["EXISTS", key]).split(' ').next(), Some("ASK"));
    }
    // A newcomer looks at the layout, and both list the queue.
    let newcomer = broker(cluster.options());
    newcomer.push(vec![job("b")]).await.unwrap();
    assert_eq!(newcomer.queues().await.unwrap()[0].ready, 2);
}

#[tokio::test]
async fn a_wrong_kind_of_address_is_told_with_the_right_one() {
    let Some(cluster) = RedisCluster::start(0).await else { return };
    let node = |place: usize| format!("redis://127.0.0.1:{}", cluster.masters[place].port);
    let mut told = String::new();
    for place in 0..3 {
        // At least one of them does not have the keys.
        if let Err(error) = broker(RedisOptions::new(&node(place))).push(vec![job("x")]).await {
            told = error.to_string();
        }
    }
    assert!(told.contains("redis+cluster://"), "{told}");
    let Some(single) = RedisServer::start().await else { return };
    let url = single.url().replace("redis:", "redis+cluster:");
    let error = broker(RedisOptions::new(&url)).push(vec![job("x")]).await.unwrap_err();
    assert!(error.to_string().contains("`redis://`"), "{error}");
}

/// The slot of a queue's keys, computed by any node.
fn slot_of(queue: &str) -> u16 {
    let crc = queue.bytes().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % 16_384
}

fn owns(node: &RedisServer, slot: u16) -> bool {
    let nodes = node.ask(&["CLUSTER", "NODES"]);
    let own = nodes.lines().find(|line| line.contains("myself")).unwrap();
    own.split_ascii_whitespace().skip(8).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().is_ok_and(|first: u16| first <= slot) && last.parse().is_ok_and(|last: u16| slot <= last)
    })
}

/// Moves some keys of a slot.
fn move_keys(source: &RedisServer, target: &RedisServer, slot: &str, count: usize) {
    for _ in 0..count {
        let keys = source.ask_list(&["CLUSTER", "GETKEYSINSLOT", slot, "1"]);
        let Some(key) = keys.first() else { return };
        source.command(&["MIGRATE", "127.0.0.1", &target.port.to_string(), key, "0", "5000"]);
    }
}
