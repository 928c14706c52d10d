//! What the index keeps in bounds and tells: limits on new series, cardinality, annotations, metadata of hosts.

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions};

const START_S: i64 = 1_767_225_600;

fn sessions(from: usize, to: usize) -> Value {
    let point = |session| json!({"metric": "i.requests", "timestamp": START_S, "value": 1, "tags": {"host": "a", "session": format!("s{session}")}});
    (from..to).map(point).collect()
}

fn refusal(client: &Client, points: &Value) -> (u64, String) {
    let answer = client.post("/api/put?details", points);
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = answer.json();
    (answer["success"].as_u64().unwrap(), answer["errors"][0]["error"].as_str().unwrap().to_owned())
}

#[test]
fn a_program_that_makes_up_tags_is_stopped_and_named_and_old_series_go_on() {
    let options = NodeOptions::without_agent()
        .variable("TIDEMARK_LIMITS__SERIES_PER_METRIC", "50")
        .variable("TIDEMARK_LIMITS__FUTURE", "24h");
    let node = Node::start(&options);
    let client = node.client();
    let (stored, message) = refusal(&client, &sessions(0, 80));
    assert_eq!(stored, 50);
    let expect = "series limit of metric `i.requests` reached (50); tag key `session` grows fastest, by 80 new values in \
                  10 minutes; see `limits.series_per_metric`";
    assert_eq!(message, expect);
    assert_eq!(client.post("/api/put", &sessions(0, 50)).status, 204);
    let future = json!([{"metric": "i.future", "timestamp": 4_000_000_000_u32, "value": 1, "tags": {"host": "a"}}]);
    let (stored, message) = refusal(&client, &future);
    assert!(stored == 0 && message.contains("`limits.future`"), "{message}");

    let report = client.get("/api/tidemark/v1/cardinality?top=3").json();
    let of = |list: &str, field: &str, name: &str| {
        report[list].as_array().unwrap().iter().find(|entry| entry[field] == name).cloned().unwrap()
    };
    let expect = json!({"metric": "i.requests", "series": 50, "new_series": 50, "fastest_tag_key": "session"});
    assert_eq!(of("metrics", "metric", "i.requests"), expect, "{report}");
    assert_eq!(of("tag_keys", "tag_key", "session")["values"], 50, "{report}");
    assert!(report["metrics"].as_array().unwrap().len() <= 3, "{report}");
    assert_eq!(client.get("/api/tidemark/v1/cardinality?top=10001").status, 400);
    let shown = |form: &str| {
        let url = format!("http://{}", node.address());
        let output = tidemark_tests::tidemark().args(["cardinality", "--url", &url, "-o", form]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(shown("table").contains("i.requests"), "{}", shown("table"));
    let parsed: Value = serde_json::from_str(&shown("json")).unwrap();
    assert!(parsed["series"].as_u64().unwrap() >= 50, "{parsed}");
}

#[test]
fn new_series_are_limited_a_minute() {
    let node = Node::start(&NodeOptions::without_agent().variable("TIDEMARK_LIMITS__NEW_SERIES_PER_MINUTE", "500"));
    let (stored, message) = refusal(&node.client(), &sessions(0, 1_000));
    assert!((1..=500).contains(&stored), "{stored}");
    assert!(message.contains("new series a minute") && message.contains("`session`"), "{message}");
    assert!(message.contains("`limits.new_series_per_minute`"), "{message}");
}

#[test]
fn annotations_and_metadata_of_hosts_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions::without_agent().data(&folder.path().join("data"));
    let mut node = Node::start(&options);
    let client = node.client();
    assert_eq!(client.post("/api/put", &sessions(0, 1)).status, 204);
    let lookup = client.get("/api/search/lookup?m=i.requests").json();
    let note = json!([
        {"startTime": START_S, "tsuid": lookup["results"][0]["tsuid"], "description": "deployed"},
        {"startTime": START_S + 1, "description": "moved"},
    ]);
    assert_eq!(client.post("/api/annotation/bulk", &note).status, 200);
    let said = json!([
        {"Tags": {"host": "a", "iface": "eth0"}, "Name": "speed", "Value": "1000"},
        {"Metric": "i.requests", "Name": "unit", "Value": "requests"},
    ]);
    assert_eq!(client.post("/api/metadata/put", &said).status, 204);
    node.kill();

    let node = Node::start(&options);
    let client = node.client();
    let query = json!({"start": START_S, "end": START_S + 60, "globalAnnotations": true,
        "queries": [{"aggregator": "sum", "metric": "i.requests"}]});
    let answer = client.post("/api/query", &query).json();
    assert_eq!(answer[0]["annotations"][0]["description"], "deployed", "{answer}");
    assert_eq!(answer[0]["globalAnnotations"][0]["description"], "moved", "{answer}");
    let of_host = client.get("/api/metadata/get?tagk=host&tagv=a").json();
    assert_eq!((&of_host[0]["Name"], &of_host[0]["Tags"]["iface"]), (&json!("speed"), &json!("eth0")), "{of_host}");
    let described = client.get("/api/metadata/metrics?metric=i.requests").json();
    assert_eq!((&described["Unit"], &described["TagKeys"]), (&json!("requests"), &json!(["host", "session"])));
}
