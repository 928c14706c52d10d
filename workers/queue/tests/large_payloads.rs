//! Payloads that have keys of their own in Redis: that they come and go with their jobs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use redis::{Connection, FromRedisValue};
use support::{
    Harness, Kind, RedisServer,
    fault_proxy::{Fault, FaultProxy},
    job, options, padded,
    payload_check::payloads,
    request, text_of,
};
use tidemark_model::SystemClock;
use tidemark_queue::{
    Broker, BrokerError, BrokerOptions, Cancelled, FetchRequest, JobFilter, JobId, JobKind, JobState, NewJob,
    NodeState, Outcome, Page, Pushed, QueueSettings, RedisBroker, RedisOptions, Settled, Workflow, WorkflowState,
};

const BYTES: usize = 5_000;

/// Entries of a stream: ids, and names and values.
type Entries = Vec<(String, Vec<(Vec<u8>, Vec<u8>)>)>;

struct Setting {
    harness: Harness,
    connection: std::cell::RefCell<Connection>,
}

impl Setting {
    async fn start() -> Option<Self> {
        Self::with(options()).await
    }

    async fn with(options: BrokerOptions) -> Option<Self> {
        let harness = Harness::start(Kind::Redis, options).await?;
        let client = redis::Client::open(harness.server.as_ref()?.url()).unwrap();
        let connection = std::cell::RefCell::new(client.get_connection().unwrap());
        Some(Self { harness, connection })
    }

    fn ask<T: FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        command.query(&mut self.connection.borrow_mut()).unwrap()
    }

    /// How many payloads have keys of their own.
    fn payloads(&self) -> usize {
        payloads(&mut self.connection.borrow_mut(), "tidemark").len()
    }

    fn bytes(&self) -> i64 {
        self.ask::<Option<i64>>(&[b"HGET", b"tidemark:{notify}:n", b"bytes"]).unwrap_or(0)
    }

    async fn push(&self, job: NewJob) -> JobId {
        self.harness.push(vec![job]).await[0].id()
    }

    async fn settle(&self, outcome: Outcome) -> Settled {
        let delivery = self.harness.fetch_one().await;
        assert_eq!(delivery.job.payload, large("x").payload);
        self.harness.broker.settle(vec![(delivery.receipt, outcome)]).await.unwrap()[0]
    }

    /// What is known of a job whose payload is kept.
    async fn kept(&self, id: JobId, state: JobState) {
        let view = self.harness.broker.job(id).await.unwrap().unwrap();
        assert_eq!((view.state, view.payload_bytes), (state, BYTES), "{view:?}");
        assert_eq!(view.payload, large("x").payload);
    }
}

fn large(text: &str) -> NewJob {
    padded(job(text))
}

fn completed() -> Outcome {
    Outcome::Completed { result: None }
}

fn payload_key(id: JobId) -> String {
    format!("tidemark:{{notify}}:b:{id}")
}

#[tokio::test]
async fn a_large_payload_has_a_key_of_its_own_until_its_job_ends() {
    let Some(setting) = Setting::start().await else { return };
    for (bytes, keys) in [(4_095, 0), (4_096, 1)] {
        let payload = Bytes::from(vec![7; bytes]);
        let id = setting.push(NewJob::from_bytes(JobKind::Notify, payload.clone())).await;
        assert_eq!((setting.payloads(), setting.bytes()), (keys, i64::try_from(bytes).unwrap()));
        assert_eq!(setting.ask::<bool>(&[b"EXISTS", payload_key(id).as_bytes()]), keys == 1);
        let listed = setting.harness.broker.jobs(JobFilter::default(), Page::first(10)).await.unwrap().jobs;
        let waiting: Vec<_> = listed.iter().filter(|view| view.id == id).collect();
        assert_eq!((waiting[0].payload_bytes, waiting[0].payload.len()), (bytes, 0));
        assert_eq!(setting.harness.broker.job(id).await.unwrap().unwrap().payload, payload);
        let delivery = setting.harness.fetch_one().await;
        assert_eq!(delivery.job.payload, payload);
        assert_eq!(setting.harness.broker.job(id).await.unwrap().unwrap().payload, payload);
        setting.harness.broker.settle(vec![(delivery.receipt, completed())]).await.unwrap();
        assert_eq!((setting.payloads(), setting.bytes()), (0, 0));
        assert_eq!(setting.harness.broker.job(id).await.unwrap().unwrap().payload_bytes, bytes);
    }
}

#[tokio::test]
async fn every_move_of_a_job_leaves_its_payload_where_it_is() {
    let Some(setting) = Setting::start().await else { return };
    let id = setting.push(large("x")).await;
    let retry = |delay| Outcome::Retry { reason: "no".to_owned(), delay };
    let hour = Duration::from_secs(3_600);
    let check = |level: &str, length: &str| {
        let entry: redis::Value = setting.ask(&[b"XRANGE", level.as_bytes(), b"-", b"+"]);
        let bytes = format!("{entry:?}").len();
        assert!(bytes < 4_096, "{length}: {bytes}");
        assert_eq!((setting.payloads(), setting.bytes()), (1, 5_000), "{length}");
    };
    check("tidemark:{notify}:s1", "pushed");
    setting.settle(retry(Duration::ZERO)).await;
    setting.harness.broker.tick().await.unwrap();
    check("tidemark:{notify}:s1", "retried");
    setting.settle(Outcome::Snooze { delay: hour }).await;
    let item: Vec<u8> = setting.ask(&[b"HGET", b"tidemark:{notify}:zb", id.as_bytes()]);
    assert!(item.starts_with(b"1S") && item.len() < 1_000);
    setting.ask::<i64>(&[b"ZADD", b"tidemark:{notify}:z", b"0", id.as_bytes()]);
    setting.settle(retry(hour)).await;
    let item: Vec<u8> = setting.ask(&[b"HGET", b"tidemark:{notify}:zb", id.as_bytes()]);
    assert!(item.starts_with(b"1R") && item.len() < 1_000);
    setting.kept(id, JobState::Retryable).await;
    assert!(setting.harness.broker.retry(id).await.unwrap());
    check("tidemark:{notify}:s0", "retried by hand");
    let delivery = setting.harness.fetch_one().await;
    setting.harness.broker.release(vec![delivery.receipt]).await.unwrap();
    check("tidemark:{notify}:s0", "released");
    drop(setting.harness.fetch_one().await);
    let rescued = || async { setting.harness.stats().await.totals.rescued == 1 };
    setting.harness.eventually("it is rescued", rescued).await;
    check("tidemark:{notify}:s0", "rescued");
    setting.settle(completed()).await;
    assert_eq!((setting.payloads(), setting.bytes()), (0, 0));
}

#[tokio::test]
async fn a_push_that_is_refused_leaves_no_payload() {
    let Some(setting) = Setting::with(BrokerOptions { queue_bytes_max: 20_000, ..options() }).await else { return };
    let notify = JobKind::Notify.default_queue();
    let refused = async || setting.harness.broker.push(vec![large("x"), large("y")]).await.unwrap_err();
    let set = async |settings: QueueSettings| setting.harness.broker.set_queue(&notify, settings).await.unwrap();
    set(QueueSettings { draining: true, ..QueueSettings::default() }).await;
    assert!(matches!(refused().await, BrokerError::Draining { .. }));
    set(QueueSettings { jobs_max: Some(1), ..QueueSettings::default() }).await;
    assert!(matches!(refused().await, BrokerError::Full { unit: "jobs", .. }));
    set(QueueSettings::default()).await;
    setting.push(large("x")).await;
    setting.harness.push(vec![large("x"), large("x")]).await;
    assert!(matches!(refused().await, BrokerError::Full { unit: "payload bytes", .. }));
    assert_eq!((setting.payloads(), setting.bytes()), (3, 15_000));
    let server = setting.harness.server.as_ref().unwrap();
    for (settings, undo, expect) in [
        (["CONFIG SET maxmemory 1"], "CONFIG SET maxmemory 0", "maxmemory"),
        (["CONFIG SET min-replicas-to-write 1"], "CONFIG SET min-replicas-to-write 0", "min-replicas-to-write"),
        (["REPLICAOF 127.0.0.1 1"], "REPLICAOF NO ONE", "replica"),
    ] {
        server.command(&settings);
        let error = setting.harness.broker.push(vec![large("x")]).await.unwrap_err();
        assert!(matches!(error, BrokerError::Unavailable(_)) && error.to_string().contains(expect), "{error:?}");
        server.command(&[undo]);
        assert_eq!((setting.payloads(), setting.bytes()), (3, 15_000), "{expect}");
    }
    // A server that does not know the script makes no keys, and gets the script.
    server.command(&["SCRIPT", "FLUSH"]);
    let again = async || setting.harness.broker.push(vec![large("x")]).await.is_ok();
    let pushed = async || {
        // After a master that became a replica the broker dials again.
        for _ in 0..300 {
            if again().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no push succeeds");
    };
    pushed().await;
    assert_eq!((setting.payloads(), setting.bytes()), (4, 20_000));
    for _ in 0..4 {
        setting.settle(completed()).await;
    }
    assert_eq!((setting.payloads(), setting.bytes()), (0, 0));
}

#[tokio::test]
async fn jobs_of_one_push_keep_their_own_payloads_also_beside_duplicates() {
    let Some(setting) = Setting::start().await else { return };
    let until_done = |text: &str, key: &str| large(text).unique_until_done(key);
    setting.push(until_done("first", "a")).await;
    let later = setting.harness.now_ms() + 3_600_000;
    let pushed = setting
        .harness
        .push(vec![
            large("second"),
            until_done("duplicate", "a"),
            job("small"),
            until_done("third", "b"),
            until_done("another duplicate", "b").not_before(later),
            large("later").not_before(later),
            large("fourth"),
        ])
        .await;
    let duplicates = pushed.iter().filter(|pushed| matches!(pushed, Pushed::Duplicate(_))).count();
    assert_eq!((duplicates, setting.payloads()), (2, 5));
    let fetched = setting.harness.fetch(10).await;
    assert_eq!(fetched.iter().map(text_of).collect::<Vec<_>>(), ["first", "second", "small", "third", "fourth"]);
    let view = setting.harness.broker.job(pushed[5].id()).await.unwrap().unwrap();
    assert_eq!((view.state, view.payload), (JobState::Scheduled, large("later").payload));
    let settlements = fetched.into_iter().map(|delivery| (delivery.receipt, completed())).collect();
    setting.harness.broker.settle(settlements).await.unwrap();
    assert_eq!(setting.payloads(), 1);
}

#[tokio::test]
async fn jobs_that_share_a_frame_have_payloads_that_are_read_in_bounded_parts() {
    let Some(setting) = Setting::start().await else { return };
    let payload = |number: usize| Bytes::from([number.to_le_bytes().to_vec(), vec![7; 20_000]].concat());
    let jobs = |numbers: std::ops::Range<usize>| -> Vec<NewJob> {
        numbers.map(|number| NewJob::from_bytes(JobKind::Write, payload(number))).collect()
    };
    setting.harness.push(jobs(0..10)).await;
    // As many in a frame as if it had the payloads itself.
    assert_eq!(setting.ask::<u64>(&[b"XLEN", b"tidemark:{write}:s1"]), 3);
    setting.harness.push(jobs(10..300)).await;
    let queues = vec![JobKind::Write.default_queue()];
    let request = FetchRequest { queues, ..request("w", 1_000, Duration::ZERO) };
    let fetched = setting.harness.broker.fetch(request).await.unwrap();
    assert_eq!(fetched.len(), 300);
    assert!(fetched.iter().enumerate().all(|(number, delivery)| delivery.job.payload == payload(number)));
    let outcome = |number: usize| match number % 3 {
        0 => completed(),
        1 => Outcome::Discard { reason: "no".to_owned() },
        _ => Outcome::Retry { reason: "no".to_owned(), delay: Duration::from_secs(3_600) },
    };
    let settlements = fetched.into_iter().enumerate().map(|(number, one)| (one.receipt, outcome(number))).collect();
    setting.harness.broker.settle(settlements).await.unwrap();
    assert_eq!(setting.payloads(), 100);
}

#[tokio::test]
async fn a_job_that_ends_without_a_worker_is_kept_with_its_payload() {
    let Some(setting) = Setting::with(BrokerOptions { rescues_max: 1, ..options() }).await else { return };
    let later = setting.harness.now_ms() + 3_600_000;
    for job in [large("x"), large("x").not_before(later)] {
        let id = setting.push(job).await;
        assert_eq!(setting.harness.broker.cancel(id).await.unwrap(), Cancelled::Now);
        setting.kept(id, JobState::Cancelled).await;
        assert_eq!(setting.payloads(), 0);
    }
    let expired = setting.push(large("x").expires(1)).await;
    assert!(setting.harness.fetch(1).await.is_empty());
    setting.kept(expired, JobState::Discarded).await;
    // One that waits in a frame of several is called off by whoever fetches it.
    let write = |text: &str| NewJob { kind: JobKind::Write, ..large(text) };
    let shared = setting.harness.push(vec![write("x"), write("y")]).await[0].id();
    assert_eq!(setting.harness.broker.cancel(shared).await.unwrap(), Cancelled::Now);
    let fetched = setting.harness.fetch(2).await;
    assert_eq!(fetched.iter().map(text_of).collect::<Vec<_>>(), ["y"]);
    setting.harness.broker.settle(vec![(fetched[0].receipt.clone(), completed())]).await.unwrap();
    setting.kept(shared, JobState::Cancelled).await;
    let poison = setting.push(large("x")).await;
    drop(setting.harness.fetch_one().await);
    let is_poison = || async { setting.harness.stats().await.discarded == 2 };
    setting.harness.eventually("it is poison", is_poison).await;
    setting.kept(poison, JobState::Discarded).await;
    assert_eq!((setting.payloads(), setting.bytes()), (0, 0));
}

#[tokio::test]
async fn dead_letters_have_their_payloads_and_get_keys_for_them_again() {
    let Some(setting) = Setting::start().await else { return };
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(setting.push(large("x")).await);
        setting.settle(Outcome::Discard { reason: "no".to_owned() }).await;
    }
    assert_eq!(setting.payloads(), 0);
    setting.kept(ids[0], JobState::Discarded).await;
    assert!(setting.harness.broker.retry(ids[0]).await.unwrap());
    assert_eq!((setting.payloads(), setting.bytes()), (1, 5_000));
    assert_eq!(setting.harness.broker.retry_all(JobFilter::default(), 2).await.unwrap(), 2);
    assert_eq!((setting.payloads(), setting.bytes()), (3, 15_000));
    for _ in 0..3 {
        assert_eq!(setting.settle(completed()).await, Settled::Recorded(JobState::Completed));
    }
    assert_eq!(setting.harness.broker.purge(JobFilter::default(), 10).await.unwrap(), 1);
    assert_eq!((setting.payloads(), setting.bytes()), (0, 0));
}

#[tokio::test]
async fn a_job_whose_payload_is_lost_is_discarded_and_says_so() {
    let Some(setting) = Setting::start().await else { return };
    let (gone, other) = (setting.push(large("x")).await, setting.push(large("x")).await);
    let key = payload_key(gone);
    assert_eq!(setting.ask::<u64>(&[b"DEL", key.as_bytes()]), 1);
    // One of another length is not the payload of this job.
    setting.ask::<()>(&[b"SET", payload_key(other).as_bytes(), b"half"]);
    assert!(setting.harness.fetch(10).await.is_empty());
    let view = setting.harness.broker.job(gone).await.unwrap().unwrap();
    assert_eq!((view.state, view.payload_bytes, view.payload.len()), (JobState::Discarded, BYTES, 0));
    let told = format!("its payload of 5000 bytes is lost: redis has none at `{key}`");
    assert_eq!(view.error.as_deref(), Some(&told[..]));
    assert_eq!(setting.harness.broker.job(other).await.unwrap().unwrap().state, JobState::Discarded);
    assert_eq!((setting.payloads(), setting.bytes()), (0, 0));
    // Nobody can run it.
    assert!(!setting.harness.broker.retry(gone).await.unwrap());
    assert_eq!(setting.harness.broker.retry_all(JobFilter::default(), 10).await.unwrap(), 0);
    // One that waits can still be called off.
    let waits = setting.push(large("x")).await;
    setting.ask::<()>(&[b"DEL", payload_key(waits).as_bytes()]);
    assert_eq!(setting.harness.broker.cancel(waits).await.unwrap(), Cancelled::Now);
    assert_eq!(setting.bytes(), 0);
}

/// The answer to the fetch comes after somebody else has taken the job over and done it.
#[tokio::test]
async fn a_payload_that_is_gone_because_the_lease_was_lost_discards_nothing() {
    let Some(setting) = Setting::start().await else { return };
    let proxy = FaultProxy::before(setting.harness.server.as_ref().unwrap().port).await;
    let redis = RedisOptions { response_timeout: Duration::from_secs(60), ..proxy.options() };
    let slow = RedisBroker::new(redis, options(), Arc::new(SystemClock::new())).unwrap();
    assert!(slow.fetch(request("slow", 1, Duration::ZERO)).await.unwrap().is_empty());
    let id = setting.push(large("x")).await;
    proxy.set(Fault::Held);
    let fetching = slow.fetch(request("slow", 1, Duration::ZERO));
    let others = async {
        let is_fetched = || async { setting.harness.stats().await.running == 1 };
        setting.harness.eventually("the slow one has it", is_fetched).await;
        let rescued = || async { setting.harness.stats().await.totals.rescued == 1 };
        setting.harness.eventually("its lease runs out", rescued).await;
        setting.settle(completed()).await;
        proxy.set(Fault::None);
    };
    let (fetched, ()) = tokio::join!(fetching, others);
    assert!(fetched.unwrap().is_empty());
    let stats = setting.harness.stats().await;
    assert_eq!((stats.discarded, stats.totals.discarded, stats.totals.completed), (0, 0, 1));
    assert_eq!(setting.harness.broker.job(id).await.unwrap().unwrap().state, JobState::Completed);
}

#[tokio::test]
async fn payloads_of_a_frame_that_cannot_be_read_expire_after_days() {
    let Some(setting) = Setting::start().await else { return };
    let (ready, delayed) = (setting.push(large("x")).await, setting.push(large("x").not_before(i64::MAX)).await);
    let found: Entries = setting.ask(&[b"XRANGE", b"tidemark:{notify}:s1", b"-", b"+"]);
    let (entry, fields) = &found[0];
    setting.ask::<i64>(&[b"XDEL", b"tidemark:{notify}:s1", entry.as_bytes()]);
    let mut words: Vec<&[u8]> = vec![b"XADD", b"tidemark:{notify}:s1", b"*"];
    for (name, value) in fields {
        words.extend([&name[..], if name == b"f" { b"no frame" } else { &value[..] }]);
    }
    setting.ask::<String>(&words);
    setting.ask::<i64>(&[b"HSET", b"tidemark:{notify}:zb", delayed.as_bytes(), b"1Sno item"]);
    setting.ask::<i64>(&[b"ZADD", b"tidemark:{notify}:z", b"0", delayed.as_bytes()]);
    setting.harness.broker.tick().await.unwrap();
    assert!(setting.harness.fetch(10).await.is_empty());
    for id in [ready, delayed] {
        let left_ms: i64 = setting.ask(&[b"PTTL", payload_key(id).as_bytes()]);
        let day_ms = 24 * 3_600_000;
        assert!((6 * day_ms..=7 * day_ms).contains(&left_ms), "{left_ms}");
    }
    assert_eq!(setting.ask::<u64>(&[b"LLEN", b"tidemark:{notify}:bad"]), 2);
}

#[tokio::test]
async fn the_jobs_of_a_workflow_leave_no_payloads_also_when_they_are_pushed_twice() {
    let Some(setting) = Setting::start().await else { return };
    let id = setting.harness.broker.start_workflow(Workflow::chain([large("x"), large("x")])).await.unwrap();
    assert_eq!(setting.payloads(), 1);
    // As if nobody had noted that the first job was pushed.
    let key = |name: &str| format!("tidemark:{{wf:{id}}}:{name}");
    for is_done in [false, true] {
        if is_done {
            setting.settle(completed()).await;
        }
        assert_eq!(setting.ask::<u64>(&[b"DEL", key("p").as_bytes()]), 1);
        setting.ask::<u64>(&[b"RPUSH", b"tidemark:{wf:all}:o", id.as_bytes()]);
        let other = setting.harness.server.as_ref().unwrap().broker(options());
        other.tick().await.unwrap();
        let ready = setting.harness.stats().await.ready;
        assert_eq!((setting.payloads(), ready), (1, 1));
    }
    setting.settle(completed()).await;
    let view = setting.harness.broker.workflow(id).await.unwrap().unwrap();
    assert_eq!(view.state, WorkflowState::Completed);
    assert!(view.nodes.iter().all(|node| node.state == NodeState::Completed));
    // One that is called off.
    let id = setting.harness.broker.start_workflow(Workflow::chain([large("x"), large("x")])).await.unwrap();
    assert_eq!(setting.harness.broker.cancel_workflow(id).await.unwrap(), Cancelled::Now);
    assert_eq!((setting.payloads(), setting.bytes()), (0, 0));
}

#[tokio::test]
async fn data_of_the_layout_before_are_read_and_others_have_time_to_notice() {
    let Some(server) = RedisServer::start().await else { return };
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let layout =
        |connection: &mut Connection| -> String { redis::cmd("GET").arg("tidemark:layout").query(connection).unwrap() };
    redis::cmd("SET").arg("tidemark:layout").arg("2").exec(&mut connection).unwrap();
    let before = server.broker(options());
    before.push(vec![large("before"), large("later").not_before(i64::MAX)]).await.unwrap();
    assert_eq!(layout(&mut connection), "3");
    // Whoever knows only the layout before can read these.
    assert_eq!(payloads(&mut connection, "tidemark").len(), 0);
    let left_ms: i64 = redis::cmd("PTTL").arg("tidemark:layout:new").query(&mut connection).unwrap();
    assert!((1..=15_000).contains(&left_ms), "{left_ms}");
    redis::cmd("DEL").arg("tidemark:layout:new").exec(&mut connection).unwrap();
    let after = server.broker(options());
    after.push(vec![large("after")]).await.unwrap();
    assert_eq!(payloads(&mut connection, "tidemark").len(), 1);
    let fetched = after.fetch(request("w", 10, Duration::ZERO)).await.unwrap();
    assert_eq!(fetched.iter().map(text_of).collect::<Vec<_>>(), ["before", "after"]);
    let settlements = fetched.into_iter().map(|delivery| (delivery.receipt, completed())).collect();
    after.settle(settlements).await.unwrap();
    assert_eq!(payloads(&mut connection, "tidemark").len(), 0);
    redis::cmd("SET").arg("tidemark:layout").arg("4").exec(&mut connection).unwrap();
    let error = server.broker(options()).push(vec![job("x")]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "stored job data is damaged: the keys of `tidemark` have layout 4, this release reads 2 and 3"
    );
}

#[tokio::test]
async fn a_push_that_waits_for_replicas_has_its_payloads_on_them() {
    let Some(server) = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]).await else { return };
    let Some(replica) = RedisServer::start().await else { return };
    replica.command(&["REPLICAOF", "127.0.0.1", &server.port.to_string()]);
    let redis = RedisOptions { wait_replicas: 1, ..server.options.clone() };
    let broker = RedisBroker::new(redis, options(), Arc::new(SystemClock::new())).unwrap();
    // A replica that has just come may need a moment before it confirms anything.
    for _ in 0..30 {
        match broker.push(vec![large("x")]).await {
            Ok(pushed) => {
                assert_eq!(replica.ask(&["STRLEN", &payload_key(pushed[0].id())]), "5000");
                return;
            }
            Err(error) => assert!(matches!(error, BrokerError::Unknown(_)), "{error}"),
        }
    }
    panic!("no push was confirmed");
}
