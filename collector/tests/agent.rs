//! The agent on this host, into a store in memory.

mod support;

use std::{collections::BTreeSet, time::Duration};

use support::{MemoryStore, Running, clock, options};
use tidemark_collector::{Activity, Agent, AgentError, AgentOptions, SpoolOptions, list, preview, run_once};
use tidemark_model::{RateKind, WriteOutcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_hosts_metrics_arrive_with_tags_and_meaning_again_and_again() {
    let store = MemoryStore::new();
    let running = Running::start(options(), &store);
    store
        .until("three runs of every collector", |contents| {
            ["os.cpu", "os.mem.used", "linux.loadavg_1_min", "os.system.uptime", "tidemark.agent.points_sent"]
                .iter()
                .all(|metric| contents.of(metric).count() >= 3)
                && contents.metadata.contains_key("os.cpu")
        })
        .await;
    let handle = running.stop().await;
    store.look(|contents| {
        assert!(
            contents.points.keys().all(|(key, _)| key.tag("host") == Some("web07") && key.tag("dc") == Some("ams"))
        );
        let cpu = &contents.metadata["os.cpu"];
        assert_eq!((cpu.rate, cpu.unit.as_str()), (Some(RateKind::Counter), "percent"));
        assert_eq!(handle.counts().sent, handle.counts().gathered);
        assert_eq!((handle.counts().dropped, handle.counts().refused), (0, 0));
    });
    let names: BTreeSet<String> = handle.collectors().into_iter().map(|status| status.name).collect();
    assert!(["agent", "cpu", "disks", "network"].iter().all(|name| names.contains(*name)), "{names:?}");
}

#[tokio::test]
async fn what_a_store_that_is_away_does_not_take_arrives_when_it_is_back() {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    store.refuse(true);
    let options = AgentOptions { spool: Some(SpoolOptions::in_folder(folder.path())), ..options() };
    let running = Running::start(options.clone(), &store);
    store.until("two refusals", |contents| contents.refusals >= 2).await;
    let first = running.stop().await.counts();
    assert_eq!((first.sent, first.dropped, first.spooled), (0, 0, first.gathered));

    store.refuse(false);
    let running = Running::start(options, &store);
    let written = first.gathered as usize;
    store.until("the points of before", |contents| contents.points.len() > written).await;
    let second = running.stop().await.counts();
    assert_eq!(second.sent, first.gathered + second.gathered);
    assert_eq!((second.dropped, second.spool_frames_damaged), (0, 0));
}

#[tokio::test]
async fn a_collector_runs_before_its_time_when_asked() {
    let store = MemoryStore::new();
    let options = AgentOptions { interval: Duration::from_secs(3600), ..options() };
    let running = Running::start(options, &store);
    store.until("the first run", |contents| contents.has("linux.loadavg_1_min")).await;
    running
        .until("it waits", |statuses| {
            statuses.iter().any(|status| status.name == "load" && status.activity == Activity::Waiting)
        })
        .await;
    let first = store.look(|contents| contents.writes);
    assert!(running.handle.run_now("load"));
    assert!(!running.handle.run_now("nobody"));
    store.until("another run", |contents| contents.writes > first).await;
    running.stop().await;
}

#[tokio::test]
async fn a_preview_shows_points_with_their_meaning_and_sends_nothing() {
    let preview = preview(&options(), &clock(), "memory").await.unwrap();
    assert_eq!(preview.errors, Vec::<String>::new());
    let total = preview.points.iter().find(|point| point.series.metric() == "os.mem.total").unwrap();
    assert_eq!(total.series.to_string(), "os.mem.total{dc=ams,host=web07}");
    assert_eq!(total.metadata.as_ref().unwrap().unit, "bytes");
    assert!(total.value.as_f64() > 1e6);
}

#[tokio::test]
async fn a_collector_can_be_run_once_into_a_sink() {
    let store = MemoryStore::new();
    let (preview, outcome) = run_once(&options(), &clock(), "load", &*store).await.unwrap();
    assert!(matches!(outcome, WriteOutcome::Done(receipt) if receipt.stored == preview.points.len()));
    assert!(store.look(|contents| contents.has("linux.loadavg_5_min")));
}

#[test]
fn options_that_cannot_work_are_refused_with_the_reason() {
    let refused = |options: AgentOptions| {
        let store = MemoryStore::new();
        Agent::new(options, clock(), store.clone(), store).unwrap_err().to_string()
    };
    let none = refused(AgentOptions { disabled: vec!["cup".into()], ..options() });
    assert!(none.starts_with("find collector `cup`: the collectors are cpu, load, "), "{none}");
    assert!(refused(AgentOptions { interval: Duration::ZERO, ..options() }).contains("at least 10ms, got 0ns"));
    assert!(refused(AgentOptions { batch_points_max: 0, ..options() }).contains("at least one point"));
}

#[tokio::test]
async fn an_unknown_collector_has_no_preview() {
    assert!(matches!(preview(&options(), &clock(), "nobody").await, Err(AgentError::UnknownCollector { .. })));
}

#[test]
fn the_list_names_every_collector_with_its_interval() {
    let listing = list(&AgentOptions { disabled: vec!["disks".into()], ..options() }).unwrap();
    let interval = |name: &str| listing.collectors.iter().find(|one| one.name == name).map(|one| one.interval);
    assert_eq!(interval("cpu"), Some(Some(Duration::from_millis(20))));
    assert_eq!(interval("vmstat"), Some(Some(Duration::from_millis(120))));
    assert_eq!(interval("disks"), None);
    assert!(listing.collectors.iter().any(|one| one.name == "agent"));
}
