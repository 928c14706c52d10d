//! The clock of a node is set, to and fro, while it works. libfaketime steps the wall clock of the one process; its
//! monotonic clock, and everybody else's clocks, go on.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, Receiver, RedisServer, wait_for};

use crate::cluster::say_skipped;

const HOUR_S: i64 = 3_600;
/// How long the clock stays as it was set.
const STAYS: Duration = Duration::from_secs(4);
const SCHEDULES: &str = "/api/tidemark/v1/schedules";

/// Two rules about the newest points: one is always bad, one never.
const RULES: &str = r#"
[[rule]]
name = "bad"
crit = 'max(q("sum:clock.bad{host=*}", "5m", "")) > 10'
every = "1s"
missing_metric = "no_data"
notify = ["ops"]
subject = "bad is {{ status }}"

[[rule]]
name = "good"
crit = 'max(q("sum:clock.good{host=*}", "5m", "")) > 10'
every = "1s"
missing_metric = "no_data"
notify = ["ops"]
subject = "good is {{ status }}"

[[notification]]
name = "ops"
url = "RECEIVER"
private_addresses = "allow"
body = '{{ subject }}'
"#;

/// A node whose clock can be set.
struct Stepped {
    node: Node,
    client: Client,
    /// Holds how far its clock is ahead, in seconds.
    file: PathBuf,
    ahead_s: i64,
    receiver: Receiver,
    _folder: tempfile::TempDir,
}

impl Stepped {
    fn start(test: &str, arguments: &[&str]) -> Option<Self> {
        let Some(library) = library() else {
            say_skipped(test, "libfaketime is not installed; `cargo xtask test` installs it (package faketime)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // The first message is refused: its second attempt is put off while the clock is set.
        let receiver = Receiver::start(&[503]);
        let rules = folder.path().join("rules");
        fs::create_dir(&rules).unwrap();
        fs::write(rules.join("clock.toml"), RULES.replace("RECEIVER", &receiver.url())).unwrap();
        let file = folder.path().join("ahead");
        fs::write(&file, "+0").unwrap();
        let text = |path: &std::path::Path| path.display().to_string();
        let options = NodeOptions::without_agent()
            .arguments(arguments)
            .variable("TIDEMARK_ALERT__RULES", &text(&rules))
            .variable("LD_PRELOAD", &text(&library))
            .variable("FAKETIME_TIMESTAMP_FILE", &text(&file))
            .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .variable("FAKETIME_NO_CACHE", "1");
        let node = Node::start(&options);
        let client = node.client();
        Some(Self { node, client, file, ahead_s: 0, receiver, _folder: folder })
    }

    fn set(&mut self, ahead_s: i64) {
        // A file that is half written would set it to something else.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{ahead_s:+}")).unwrap();
        fs::rename(new, &self.file).unwrap();
        self.ahead_s = ahead_s;
    }

    /// What time it is for the node.
    fn now_ms(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "an end-to-end test runs in real time")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        i64::try_from(now).unwrap() + self.ahead_s * 1_000
    }

    /// Sends what agents send: the newest values.
    fn put(&self) {
        let point = |metric: &str, value: i64| json!({"metric": metric, "timestamp": self.now_ms(), "value": value, "tags": {"host": "a"}});
        let answer = self.client.post("/api/put?sync", &json!([point("clock.bad", 100), point("clock.good", 1)]));
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// Waits while points come in.
    fn wait_for(&self, what: &str, at_most: Duration, mut is_so: impl FnMut() -> bool) {
        wait_for(what, at_most, || {
            self.put();
            is_so().then_some(())
        });
    }

    fn incidents(&self) -> Vec<Value> {
        self.client.get("/api/tidemark/v1/incidents?state=open").json()["incidents"].as_array().unwrap().clone()
    }

    /// Last slot of the schedule of the test, if there was one.
    fn last_slot_ms(&self) -> Option<i64> {
        self.client.get(&format!("{SCHEDULES}/tick")).json()["last_due_ms"].as_i64()
    }

    /// Jobs that were taken from a worker that was believed dead.
    fn rescued(&self) -> u64 {
        let queues = self.client.get("/api/tidemark/v1/queues").json();
        queues["queues"].as_array().unwrap().iter().map(|queue| queue["totals"]["rescued"].as_u64().unwrap()).sum()
    }
}

/// libfaketime for programs with threads, where Debian and others put it.
fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    let of_machines = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let places = folders.into_iter().chain(of_machines).map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    places.into_iter().find(|place| place.is_file())
}

#[test]
fn a_node_whose_clock_is_set_goes_on() {
    if let Some(node) = Stepped::start("a_node_whose_clock_is_set_goes_on", &[]) {
        set_to_and_fro(node);
    }
}

#[test]
fn a_node_on_redis_whose_clock_is_set_goes_on() {
    let redis = RedisServer::start();
    if let Some(node) = Stepped::start("a_node_on_redis_whose_clock_is_set_goes_on", &["--broker", &redis.url()]) {
        set_to_and_fro(node);
    }
}

fn set_to_and_fro(mut node: Stepped) {
    let often = json!({"when": {"every": "2s"}, "job": {"kind": "rollup", "step": "compact"}});
    let made = node.client.request(
        "PUT",
        &format!("{SCHEDULES}/tick"),
        &[("Content-Type", "application/json")],
        often.to_string().as_bytes(),
    );
    assert!(made.as_ref().is_ok_and(|made| made.status < 300), "{made:?}");
    node.wait_for("the first message is refused", Duration::from_secs(30), || !node.receiver.bodies().is_empty());
    // Its job waits two seconds or so, and not an hour and two seconds.
    node.set(-HOUR_S);
    node.wait_for("it is delivered", Duration::from_secs(30), || node.receiver.bodies().len() >= 2);
    for ahead_s in [0, HOUR_S, 0, 24 * HOUR_S, 0, -5] {
        node.set(ahead_s);
        #[expect(clippy::disallowed_methods, reason = "an end-to-end test runs in real time")]
        let since = Instant::now();
        let stays = |node: &Stepped| {
            let bad: Vec<Value> = node.incidents();
            assert!(bad.iter().all(|incident| incident["rule"] == "bad"), "set to {ahead_s} s: {bad:?}");
            since.elapsed() > STAYS
        };
        node.wait_for("some time passes", Duration::from_secs(60), || stays(&node));
        assert_eq!(node.rescued(), 0, "set to {ahead_s} s");
        // The schedule has come to the new time, and goes on from there.
        let (now_ms, before) = (node.now_ms(), node.last_slot_ms());
        node.wait_for("the schedule goes on", Duration::from_secs(30), || {
            node.last_slot_ms().is_some_and(|slot_ms| (slot_ms - now_ms).abs() < 40_000 && Some(slot_ms) != before)
        });
    }
    let told = r#""bad is critical""#;
    assert_eq!(node.receiver.bodies(), [told, told], "the refused message and its repetition");
    node.wait_for(
        "the incident is as it was",
        Duration::from_secs(20),
        || matches!(&node.incidents()[..], [incident] if incident["status"] == "critical"),
    );
    // No slot was left out without a word, and none ran twice.
    let log = node.node.log();
    assert!(log.contains("the clock was set back: the schedule begins anew"), "{log}");
    assert!(log.contains("slots passed"), "{log}");
    let jobs = node.client.get("/api/tidemark/v1/jobs?kind=rollup&limit=1000").json();
    let mut slots: Vec<String> = jobs["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|job| job["unique_key"].as_str().map(str::to_owned))
        .filter(|key| key.starts_with("tick@"))
        .collect();
    let all = slots.len();
    assert!(all >= 6, "{slots:?}");
    slots.sort();
    slots.dedup();
    assert_eq!(slots.len(), all, "a slot ran twice");
}
