//! Backups, checks and copies of a store in a real FoundationDB cluster, and between it and a file.

use std::{
    fs,
    path::Path,
    process::Output,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tidemark_tests::{Client, Ledger, Node, NodeOptions, Stopping, wait_for};

use crate::{cluster::Cluster, operations::odd_lines};

/// Points of each series before the backup begins.
const POINTS: i64 = 10_000;
/// The first step of what is written during the backup, behind everything that is asked about.
const LATER: i64 = 100_000;
const SERIES: u32 = 3;

/// Runs a command in a folder of its own, where it must leave nothing but what it is told to.
fn run(cluster: &Cluster, folder: &Path, arguments: &[&str]) -> Output {
    cluster.command().args(arguments).current_dir(folder).output().unwrap()
}

fn succeeds(cluster: &Cluster, folder: &Path, arguments: &[&str]) -> Output {
    let output = run(cluster, folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output
}

fn put(client: &Client, ledger: &Mutex<Ledger>, series: u32, step: i64) {
    let answer = client.post("/api/put?sync", &Ledger::body(series, step, 1000));
    assert_eq!(answer.status, 204, "{}", answer.text());
    ledger.lock().unwrap().acknowledge(series, step, 1000);
}

/// What different queries say about the time before the backup.
fn answers(client: &Client) -> Value {
    let metric = Ledger::METRIC;
    let of = |query: Value| {
        let (start, end) = (Ledger::START_S, Ledger::START_S + POINTS - 1);
        let answer = client.post("/api/query", &json!({"start": start, "end": end, "queries": [query]}));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    json!([
        of(json!({"aggregator": "sum", "metric": metric})),
        of(json!({"aggregator": "avg", "metric": metric, "downsample": "10m-max", "tags": {"series": "*"}})),
        of(json!({"aggregator": "sum", "metric": metric, "rate": true, "downsample": "1h-avg"})),
        client.get(&format!("/api/search/lookup?m={metric}")).json()["results"].clone(),
    ])
}

/// A server gives the answers that there were before the backup.
fn gives(node: &Node, expect: &Value) {
    let answers = answers(&node.client());
    for (number, (answer, expect)) in answers.as_array().unwrap().iter().zip(expect.as_array().unwrap()).enumerate() {
        let shown = |value: &Value| value.to_string().chars().take(2_000).collect::<String>();
        // Not by the macro for equality, which would print some ten thousand points.
        assert!(answer == expect, "answer {number} is {}\nand was {}", shown(answer), shown(expect));
    }
}

/// Nothing is wrong with the store that `place` names.
fn is_sound(cluster: &Cluster, folder: &Path, place: [&str; 2]) {
    let output = succeeds(cluster, folder, &["doctor", place[0], place[1], "-o", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["sound"], &report["findings"]), (&json!(true), &json!([])), "{report}");
}

/// A server on the store of `cluster` has all of the ledger and gives the same answers; afterwards the store is sound.
fn serves(cluster: &Cluster, folder: &Path, ledger: &Ledger, expect: &Value) {
    {
        let node = cluster.start("api");
        ledger.check(&node.client());
        gives(&node, expect);
        let _worker = cluster.start("worker");
        // Other series than those of the ledger: it takes new points.
        let point = json!({"metric": "after.restore", "timestamp": Ledger::START_S, "value": 1, "tags": {"a": "b"}});
        assert_eq!(node.client().post("/api/put?sync", &point).status, 204);
    }
    is_sound(cluster, folder, ["--store", cluster.store()]);
}

#[test]
fn a_store_in_a_cluster_is_backed_up_while_it_is_written_and_restored_anywhere() {
    let Some(cluster) = Cluster::new("backup") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ledger = Mutex::new(Ledger::default());
    let mut nodes = [cluster.start("api"), cluster.start("worker"), cluster.start("scheduler")];
    let client = nodes[0].client();
    for step in (0..POINTS).step_by(1000) {
        (0..SERIES).for_each(|series| put(&client, &ledger, series, step));
    }
    let path = format!(
        "/api/query?start={}&end={}&m=sum:{}%7Bseries=s1%7D",
        Ledger::START_S + 2_000,
        Ledger::START_S + 2_999,
        Ledger::METRIC
    );
    assert_eq!(client.request("DELETE", &path, &[], b"").unwrap().status, 200);
    ledger.lock().unwrap().delete(1, 2_000, 1_000);
    let before = ledger.lock().unwrap().clone();
    let expect = answers(&client);

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (client, stop, ledger) = (client.clone(), &stop, &ledger);
        scope.spawn(move || {
            let mut step = LATER;
            while !stop.load(Ordering::SeqCst) {
                put(&client, ledger, 0, step);
                step += 1000;
            }
        });
        let _stopping = Stopping(stop);
        wait_for("somebody writes", Duration::from_secs(30), || {
            (ledger.lock().unwrap().len() > before.len()).then_some(())
        });
        let url = format!("http://{}", nodes[0].address());
        succeeds(&cluster, folder, &["backup", "create", "--to", "first.tdm", "--url", &url]);
    });
    let verified = succeeds(&cluster, folder, &["backup", "verify", "first.tdm", "-o", "json"]);
    assert!(serde_json::from_slice::<Value>(&verified.stdout).unwrap()["complete"] == true, "{verified:?}");
    // What was written later may be there or not, and nothing else.
    let all = ledger.into_inner().unwrap();
    let mut expected = before.clone();
    expected.lose_track(0, LATER, i64::try_from(all.len() - before.len()).unwrap());

    let there = cluster.beside("restored");
    let restore = ["backup", "restore", "first.tdm", "--store", there.store()];
    succeeds(&cluster, folder, &restore);
    let again = run(&cluster, folder, &restore);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("not empty"), "{again:?}");
    is_sound(&cluster, folder, ["--store", there.store()]);
    serves(&there, folder, &expected, &expect);

    // Into a file, and from the file into the cluster.
    let data = folder.join("data");
    let place = ["--data", data.to_str().unwrap()];
    succeeds(&cluster, folder, &["backup", "restore", "first.tdm", place[0], place[1]]);
    is_sound(&cluster, folder, place);
    let mut node = Node::start(&NodeOptions::without_agent().data(&data));
    expected.check(&node.client());
    gives(&node, &expect);
    assert!(node.stop().success());
    is_sound(&cluster, folder, place);
    succeeds(&cluster, folder, &["backup", "create", "--to", "second.tdm", place[0], place[1]]);
    let back = cluster.beside("back");
    succeeds(&cluster, folder, &["backup", "restore", "second.tdm", "--store", back.store()]);
    serves(&back, folder, &expected, &expect);

    // Without a server, over a store that is full of something else.
    nodes.iter_mut().for_each(|node| assert!(node.stop().success()));
    is_sound(&cluster, folder, ["--store", cluster.store()]);
    succeeds(&cluster, folder, &["backup", "create", "--to", "third.tdm", "--store", cluster.store()]);
    succeeds(&cluster, folder, &["backup", "restore", "third.tdm", "--store", back.store(), "--overwrite"]);
    serves(&back, folder, &all, &expect);
    assert!(!folder.join("tidemark-data").exists());
}

#[test]
fn lines_go_from_a_cluster_to_a_file_and_back_bit_by_bit() {
    let Some(cluster) = Cluster::new("lines") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("scan.txt"), odd_lines()).unwrap();
    let export = |format: &str, place: [&str; 2]| {
        let name = format!("dump.{format}");
        succeeds(&cluster, folder, &["export", "--format", format, "--to-file", &name, place[0], place[1]]);
        let lines = fs::read_to_string(folder.join(name)).unwrap();
        // A server's figures about itself may be there, too.
        lines.lines().filter(|line| line.starts_with("odd.")).map(|line| format!("{line}\n")).collect::<String>()
    };
    let here = ["--store", cluster.store()];
    succeeds(&cluster, folder, &["import", "scan.txt", here[0], here[1]]);
    let expected = export("opentsdb", here);
    assert_eq!(expected.lines().count(), odd_lines().lines().count());
    {
        let node = cluster.start("api");
        assert_eq!(export("opentsdb", ["--url", &format!("http://{}", node.address())]), expected);
    }
    export("json", here);
    let file = ["--data", "data"];
    succeeds(&cluster, folder, &["import", "dump.json", file[0], file[1]]);
    assert_eq!(export("opentsdb", file), expected);
    export("csv", file);
    let there = cluster.beside("copy");
    let there = ["--store", there.store()];
    // Twice: nothing changes.
    for _ in 0..2 {
        succeeds(&cluster, folder, &["import", "dump.csv", there[0], there[1]]);
    }
    assert_eq!(export("opentsdb", there), expected);
    [here, file, there].into_iter().for_each(|place| is_sound(&cluster, folder, place));
    assert!(!folder.join("tidemark-data").exists());
}
