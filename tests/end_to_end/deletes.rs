//! Deletions of points: hidden at once from whoever asks, later gone from the disk, and everything else untouched.

use std::{ops::Range, path::Path, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tidemark_tests::{Client, Ledger, Node, NodeOptions, Response, tidemark, wait_for};

/// Points of each series: a first half that is in blocks when points are deleted, and a second in the log.
const POINTS: i64 = 2_000;
/// A series of a metric, a tag key and a tag value that no other series has.
const ONLY: &str = "only.metric{rack=r9}";

fn options(data: &Path) -> NodeOptions {
    NodeOptions::without_agent().data(data).variable("TIDEMARK_OPENTSDB__ALLOW_DELETE", "true")
}

fn put(client: &Client, ledger: &mut Ledger, series: u32, steps: Range<i64>) {
    let points = steps.end - steps.start;
    let answer = client.post("/api/put?sync", &Ledger::body(series, steps.start, points));
    assert_eq!(answer.status, 204, "{}", answer.text());
    ledger.acknowledge(series, steps.start, points);
}

fn name(series: u32) -> String {
    format!("{}{{series=s{series}}}", Ledger::METRIC)
}

/// As the query string has it.
fn escaped(series: &str) -> String {
    series.replace('{', "%7B").replace('}', "%7D")
}

/// `DELETE` of the steps of a series, the last one not among them.
fn delete(client: &Client, series: &str, steps: &Range<i64>) -> Response {
    // A query has its end in it.
    let (start, end) = (Ledger::START_S + steps.start, Ledger::START_S + steps.end - 1);
    let path = format!("/api/query?start={start}&end={end}&arrays&m=none:{}", escaped(series));
    client.request("DELETE", &path, &[], b"").unwrap()
}

/// Deletes steps of a series of the ledger; the answer is what was there.
fn remove(client: &Client, ledger: &mut Ledger, series: u32, steps: Range<i64>) {
    let answer = delete(client, &name(series), &steps);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let removed = answer.json()[0]["dps"].as_array().map_or(0, Vec::len);
    assert_eq!(i64::try_from(removed).unwrap(), steps.end - steps.start, "{}", answer.text());
    ledger.delete(series, steps.start, steps.end - steps.start);
}

/// The same by a query with a body.
fn remove_by_body(client: &Client, ledger: &mut Ledger, series: u32, steps: Range<i64>) {
    let query = json!({
        "start": Ledger::START_S + steps.start,
        "end": Ledger::START_S + steps.end - 1,
        "delete": true,
        "queries": [{"aggregator": "sum", "metric": Ledger::METRIC, "tags": {"series": format!("s{series}")}}],
    });
    let answer = client.post("/api/query", &query);
    assert_eq!(answer.status, 200, "{}", answer.text());
    ledger.delete(series, steps.start, steps.end - steps.start);
}

/// The points of the ledger's series, their newest ones, and the names, as everybody must see them.
fn check(client: &Client, ledger: &Ledger, series: Range<u32>) {
    ledger.check(client);
    let mut known = Vec::new();
    for series in series {
        let path = format!("/api/query/last?resolve&timeseries={}", escaped(&name(series)));
        let answer = client.get(&path);
        let answer = if answer.status == 200 { answer.json() } else { json!([]) };
        let newest = answer[0]["timestamp"].as_i64().map(|timestamp| {
            let value: i64 = answer[0]["value"].as_str().unwrap().parse().unwrap();
            (timestamp / 1000 - Ledger::START_S, value)
        });
        assert_eq!(newest, ledger.newest(series), "{answer}");
        known.extend(newest.map(|_| format!("s{series}")));
    }
    assert_eq!(client.get("/api/suggest?type=tagv&q=s&max=100").json(), json!(known));
    let looked_up = client.get(&format!("/api/search/lookup?m={}", Ledger::METRIC)).json();
    let mut listed: Vec<&str> = looked_up["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["tags"]["series"].as_str().unwrap())
        .collect();
    listed.sort_unstable();
    assert_eq!((&listed.len(), looked_up["totalResults"].as_u64()), (&known.len(), Some(known.len() as u64)));
    assert_eq!(listed, known);
}

/// Whether anything of the lonely series can be found.
fn knows_the_only(client: &Client) -> bool {
    let suggested = [("metrics", "only"), ("tagk", "rack"), ("tagv", "r9")]
        .map(|(kind, text)| client.get(&format!("/api/suggest?type={kind}&q={text}")).json() != json!([]));
    let looked_up = client.get("/api/search/lookup?m=only.metric").json()["totalResults"].as_u64() > Some(0);
    let last = client.get(&format!("/api/query/last?timeseries={}", escaped(ONLY)));
    let has_last = last.status == 200 && last.json() != json!([]);
    assert!(suggested.iter().all(|&is| is == looked_up) && has_last == looked_up, "{suggested:?} {}", last.text());
    looked_up
}

fn only(timestamp_s: i64) -> Value {
    json!({"metric": "only.metric", "timestamp": timestamp_s, "value": 1, "tags": {"rack": "r9"}})
}

fn figure(client: &Client, name: &str) -> Option<f64> {
    let metrics = client.get("/metrics").text();
    metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Seals, and waits until nothing is left in the log.
fn seal(client: &Client) {
    let job = wait_for("the schedule of seals is written", Duration::from_secs(30), || {
        let answer = client.post("/api/tidemark/v1/schedules/seal/run", &json!({}));
        (answer.status == 202).then(|| answer.json()["job"].as_str().unwrap().to_owned())
    });
    wait_for("the seal is done", Duration::from_secs(60), || {
        let state = client.get(&format!("/api/tidemark/v1/jobs/{job}")).json()["state"].clone();
        assert!(state != "discarded" && state != "cancelled", "{state}");
        (state == "completed").then_some(())
    });
}

#[test]
fn deleted_points_and_names_stay_away_and_all_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut node = Node::start(&options(&data));
    let client = node.client();
    let mut ledger = Ledger::default();
    (0..4).for_each(|series| put(&client, &mut ledger, series, 0..POINTS / 2));
    assert_eq!(client.post("/api/put?sync", &only(Ledger::START_S)).status, 204);
    seal(&client);
    (0..5).for_each(|series| put(&client, &mut ledger, series, POINTS / 2..POINTS));
    assert!(knows_the_only(&client));
    check(&client, &ledger, 0..5);

    // A part in blocks and log, the newest, everything, some by a body; what is in the log alone.
    remove(&client, &mut ledger, 0, POINTS / 4..POINTS / 4 * 3);
    remove(&client, &mut ledger, 1, POINTS - 100..POINTS);
    remove(&client, &mut ledger, 2, 0..POINTS);
    remove_by_body(&client, &mut ledger, 3, 10..20);
    remove(&client, &mut ledger, 4, POINTS / 2..POINTS);
    assert_eq!(delete(&client, ONLY, &(0..1)).status, 200);
    check(&client, &ledger, 0..5);
    assert!(!knows_the_only(&client));
    assert_eq!(figure(&client, "tidemark_store_tombstones"), Some(6.0));
    // A deletion hides what was before it, and nothing that comes after it.
    put(&client, &mut ledger, 0, POINTS / 2..POINTS / 2 + 10);
    check(&client, &ledger, 0..5);

    node.kill();
    let mut node = Node::start(&options(&data));
    let client = node.client();
    check(&client, &ledger, 0..5);
    assert!(!knows_the_only(&client));

    seal(&client);
    wait_for("the deleted points are gone from the disk", Duration::from_secs(30), || {
        (figure(&client, "tidemark_store_tombstones")? == 0.0).then_some(())
    });
    let after = figure(&client, "tidemark_store_block_points").unwrap();
    // The process puts down a few figures of its own.
    assert!(after >= ledger.len() as f64 && after < ledger.len() as f64 + 1_000.0, "{after} points in blocks");
    check(&client, &ledger, 0..5);
    assert!(!knows_the_only(&client));

    node.kill();
    let mut node = Node::start(&options(&data));
    let client = node.client();
    check(&client, &ledger, 0..5);
    assert!(!knows_the_only(&client));

    // Who is written to again is back, with new points alone.
    put(&client, &mut ledger, 2, 100..110);
    assert_eq!(client.post("/api/put?sync", &only(Ledger::START_S + 1)).status, 204);
    check(&client, &ledger, 0..5);
    assert!(knows_the_only(&client));
    assert!(node.stop().success());
    let doctor = tidemark().args(["doctor", "--data", &data.display().to_string()]).output().unwrap();
    assert!(doctor.status.success(), "{doctor:?}");
}

#[test]
fn who_may_not_delete_is_refused_and_nothing_is_gone() {
    let mut ledger = Ledger::default();
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    put(&client, &mut ledger, 0, 0..10);
    let body = json!({"start": Ledger::START_S, "delete": true,
        "queries": [{"aggregator": "sum", "metric": Ledger::METRIC}]});
    for answer in [delete(&client, &name(0), &(0..10)), client.post("/api/query", &body)] {
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains("`opentsdb.allow_delete`"), "{}", answer.text());
    }
    ledger.check(&client);

    let node = Node::start(&options(&node.data().with_file_name("other")));
    let client = node.client();
    put(&client, &mut Ledger::default(), 0, 0..10);
    let with_body = client.request("DELETE", "/api/query", &[], body.to_string().as_bytes()).unwrap();
    assert_eq!(with_body.status, 400, "{}", with_body.text());
    assert!(with_body.text().contains("Missing parameter <code>start</code>"), "{}", with_body.text());
    let unknown = delete(&client, "nobody.knows", &(0..10));
    assert_eq!(unknown.status, 400, "{}", unknown.text());
    ledger.check(&client);
}

#[test]
fn a_token_needs_the_role_operate_to_delete() {
    let made = |name: &str, roles: &[&str]| {
        let mut command = tidemark();
        command.args(["token", "create", "--name", name]);
        roles.iter().for_each(|role| {
            command.args(["--role", role]);
        });
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let text = output.lines().find_map(|line| line.strip_prefix("token: ")).unwrap().to_owned();
        let entry = output.split_once("[[auth.tokens]]").unwrap().1;
        (format!("Basic {}", BASE64_STANDARD.encode(format!("any:{text}"))), format!("[[auth.tokens]]{entry}"))
    };
    let (reads, first) = made("wall", &["read", "write"]);
    let (operates, second) = made("ops", &["operate"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidemark.toml");
    std::fs::write(&file, format!("{first}\n{second}")).unwrap();
    let options = options(&folder.path().join("data")).arguments(&["--config", &file.display().to_string()]);
    let node = Node::start(&options);
    let ask = |method: &str, path: &str, token: &str, body: &Value| {
        let headers = [("Authorization", token), ("Content-Type", "application/json")];
        node.client().request(method, path, &headers, body.to_string().as_bytes()).unwrap()
    };
    assert_eq!(ask("POST", "/api/put?sync", &reads, &Ledger::body(0, 0, 10)).status, 204);
    let body = json!({"start": Ledger::START_S, "queries": [{"aggregator": "sum", "metric": Ledger::METRIC}]});
    let mut deleting = body.clone();
    deleting["delete"] = json!(true);
    let points =
        || ask("POST", "/api/query", &reads, &body).json()[0]["dps"].as_object().map_or(0, serde_json::Map::len);
    let path = format!("/api/query?start={}&m=sum:{}", Ledger::START_S, Ledger::METRIC);
    assert_eq!(ask("DELETE", &path, &reads, &json!(null)).status, 403);
    let refused = ask("POST", "/api/query", &reads, &deleting);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("operate"), "{}", refused.text());
    assert_eq!(points(), 10);
    assert_eq!(ask("DELETE", &path, &operates, &json!(null)).status, 200);
    assert_eq!(points(), 0);
}
