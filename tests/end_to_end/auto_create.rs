//! `opentsdb.auto_create_metrics` and its like: names that only `/api/uid/assign` makes.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tidemark_tests::{Client, Connection, Node, NodeOptions, RedisServer, wait_for};

const START_S: i64 = 1_767_225_600;

fn options(kinds: &[&str]) -> NodeOptions {
    kinds.iter().fold(NodeOptions::without_agent(), |options, kind| {
        options.variable(&format!("TIDEMARK_OPENTSDB__AUTO_CREATE_{kind}"), "false")
    })
}

fn point(metric: &str, key: &str, value: &str) -> Value {
    json!({"metric": metric, "timestamp": START_S, "value": 1, "tags": { key: value }})
}

fn assign(client: &Client, kind: &str, name: &str) {
    let answer = client.get(&format!("/api/uid/assign?{kind}={name}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The metric, key or value of each refused point, and why.
fn put(client: &Client, points: &[Value]) -> (Value, Vec<(String, String)>) {
    // A busy Redis may answer too late; sending points again is harmless.
    let answer = wait_for("an answer to a put", Duration::from_secs(30), || {
        let answer = client.post("/api/put?sync&details", &json!(points));
        (answer.status != 503).then(|| answer.json())
    });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = answer["errors"].as_array().unwrap().iter();
    let errors = errors.map(|error| (text(&error["datapoint"]["metric"]), text(&error["error"]))).collect();
    (answer["success"].clone(), errors)
}

fn errors(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, error)| ((*name).to_owned(), (*error).to_owned())).collect()
}

#[test]
fn points_with_unknown_metrics_are_refused_and_the_others_stored() {
    let redis = RedisServer::start();
    let broker = ["--broker", &redis.url()];
    for options in [options(&["METRICS"]), options(&["METRICS"]).arguments(&broker)] {
        let node = Node::start(&options);
        let client = node.client();
        let points = [point("a.known", "k", "v1"), point("a.new", "k", "v2"), point("a:bad", "k", "v3")];
        assign(&client, "metric", "a.known");
        let (stored, refused) = put(&client, &points);
        let illegal = "Invalid metric name (\"a:bad\"): illegal character: :";
        assert_eq!(stored, 1);
        assert_eq!(refused, errors(&[("a:bad", illegal), ("a.new", "Unknown metric")]));
        let plain = client.post("/api/put", &json!([points[1]]));
        assert_eq!(plain.status, 400, "{}", plain.text());
        let range = format!("start={START_S}&end={}", START_S + 100);
        let found = client.get(&format!("/api/query?{range}&m=sum:a.known"));
        assert_eq!(found.json()[0]["dps"][START_S.to_string()], 1, "{}", found.text());
        assert_eq!(client.get("/api/suggest?type=metrics&q=a.").json(), json!(["a.known"]));
        // Without the answer, or with a broker that says yes before anything is written, it is refused all the same.
        let queued = client.post("/api/put?summary", &json!([points[0], points[1]]));
        assert_eq!((queued.status, queued.json()), (400, json!({"success": 1, "failed": 1})));
        assign(&client, "metric", "a.new");
        assert_eq!(put(&client, &points[..2]), (json!(2), Vec::new()));
    }
}

#[test]
fn tag_keys_and_values_are_refused_likewise() {
    let node = Node::start(&options(&["TAGKS", "TAGVS"]));
    let client = node.client();
    let points = [point("b.one", "key", "value"), point("b.two", "key", "other"), point("b.three", "odd", "value")];
    let unknown_key = |key: &str| format!("No such name for 'tagk': '{key}'");
    let (stored, refused) = put(&client, &points);
    assert_eq!(stored, 0);
    assert_eq!(
        refused,
        errors(&[("b.one", &unknown_key("key")), ("b.two", &unknown_key("key")), ("b.three", &unknown_key("odd"))])
    );
    assign(&client, "tagk", "key");
    assign(&client, "tagv", "value");
    let (stored, refused) = put(&client, &points);
    assert_eq!(stored, 1);
    assert_eq!(refused, errors(&[("b.two", "No such name for 'tagv': 'other'"), ("b.three", &unknown_key("odd"))]));
}

#[test]
fn lines_rollups_and_histograms_are_refused_likewise() {
    let node = Node::start(&options(&["METRICS", "TAGKS"]));
    let client = node.client();
    assign(&client, "metric", "c.known");
    assign(&client, "tagk", "k");
    let mut telnet = Connection::open(node.address());
    telnet.send(format!(
        "put c.known {START_S} 1 k=v\nput c.new {START_S} 1 k=v\nput c.known {START_S} 1 odd=v\n\
         rollup 1h-SUM:MAX c.new {START_S} 1 k=v\nhistogram c.new {START_S} 0,1=5 k=v\n\
         rollup 1h-SUM:MAX c.known {START_S} 1 k=v\nhistogram c.known {START_S} 0,1=5 k=v\nversion\n"
    ));
    assert_eq!(telnet.line(), "put: unknown metric: No such name for 'metrics': 'c.new'");
    assert_eq!(telnet.line(), "put: unknown metric: No such name for 'tagk': 'odd'");
    assert_eq!(telnet.line(), "rollup: unknown metric: No such name for 'metrics': 'c.new'");
    assert_eq!(telnet.line(), "histogram: unknown metric: No such name for 'metrics': 'c.new'");
    assert!(telnet.line().starts_with("net.opentsdb.tools"));
    let histogram = |metric: &str| {
        let body = json!({"metric": metric, "timestamp": START_S, "tags": {"k": "v"}, "buckets": {"0,1": 5, "1,2": 6}});
        client.post("/api/histogram?details", &body).json()
    };
    assert_eq!(histogram("c.known"), json!({"success": 1, "failed": 0, "errors": []}));
    let refused = histogram("c.new");
    assert_eq!((&refused["success"], &refused["failed"]), (&json!(0), &json!(1)), "{refused}");
    assert_eq!(refused["errors"][0]["error"], "Unknown metric");
    assert_eq!(refused["errors"].as_array().unwrap().len(), 1);
    assert_eq!(client.get("/api/suggest?type=metrics&q=c.").json(), json!(["c.known"]));
}

#[test]
fn what_the_server_writes_itself_makes_the_names_it_needs() {
    let options = options(&["METRICS", "TAGKS", "TAGVS"]);
    let node = Node::start(&NodeOptions { arguments: vec!["serve".to_owned()], ..options });
    let client = node.client();
    for metric in ["tidemark.process.cpu_seconds", "os.cpu"] {
        wait_for(metric, Duration::from_secs(60), || {
            let found = client.get(&format!("/api/query/last?timeseries={metric}"));
            (found.status == 200 && found.json()[0].is_object()).then_some(())
        });
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    fs::write(&file, format!("d.imported {START_S} 1 some=tag\n")).unwrap();
    let job = node.ok(&["jobs", "run", "import", "--file", &file.display().to_string(), "--wait", "30s"]);
    let found = client.get("/api/query/last?timeseries=d.imported");
    assert_eq!(found.status, 200, "{job}: {}", found.text());
}
