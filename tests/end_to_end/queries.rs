//! Queries over the wire: what streams, what is cut, what several nodes' worth of data look like.

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions};

const START_S: i64 = 1_767_225_600;

/// An hour of 15-second points of several hosts: a counter and a gauge.
fn fill(client: &Client) {
    for host in 0..4 {
        let points: Vec<Value> = (0..240)
            .flat_map(|step| {
                let time = START_S + step * 15;
                let tags = json!({"host": format!("h{host}"), "dc": if host < 2 { "ams" } else { "fra" }});
                [
                    json!({"metric": "q.counter", "timestamp": time, "value": step * 30 * (host + 1), "tags": tags}),
                    json!({"metric": "q.gauge", "timestamp": time, "value": f64::from(host as i32) + 0.5, "tags": tags}),
                ]
            })
            .collect();
        assert_eq!(client.post("/api/put", &Value::Array(points)).status, 204);
    }
}

fn ask(client: &Client, query: &Value) -> Value {
    let answer =
        client.post("/api/query?arrays", &json!({"start": START_S, "end": START_S + 3599, "queries": [query]}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn rates_groups_and_downsampling_agree_before_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions::without_agent().data(&folder.path().join("data"));
    let mut node = Node::start(&options);
    fill(&node.client());
    check(&node.client());
    node.kill();
    let node = Node::start(&options);
    check(&node.client());
}

fn check(client: &Client) {
    let rate = json!({"aggregator": "sum", "metric": "q.counter", "rate": true, "downsample": "5m-avg",
        "filters": [{"type": "wildcard", "tagk": "dc", "filter": "*", "groupBy": true}]});
    let groups = ask(client, &rate);
    let of = |dc: &str| groups.as_array().unwrap().iter().find(|group| group["tags"]["dc"] == dc).unwrap().clone();
    // Counters of 2 × (host + 1) a second.
    for (dc, per_second) in [("ams", 6.0), ("fra", 14.0)] {
        let group = of(dc);
        let values: Vec<f64> =
            group["dps"].as_array().unwrap().iter().map(|point| point[1].as_f64().unwrap()).collect();
        assert_eq!(values, vec![per_second; 11], "{dc}");
        assert_eq!(group["aggregateTags"], json!(["host"]));
    }
    let gauge = json!({"aggregator": "avg", "metric": "q.gauge", "downsample": "0all-avg",
        "filters": [{"type": "literal_or", "tagk": "host", "filter": "h0|h3", "groupBy": false}]});
    assert_eq!(ask(client, &gauge)[0]["dps"], json!([[START_S, 2.0]]));
    let lookup = client.get("/api/search/lookup?m=q.gauge%7Bhost=*,dc=ams%7D&limit=10").json();
    assert_eq!(lookup["totalResults"], 2, "{lookup}");
    let last = client.get("/api/query/last?timeseries=q.gauge%7Bhost=h2%7D&resolve").json();
    assert_eq!(last[0]["value"], "2.5", "{last}");
}

#[test]
fn a_limit_on_series_names_itself() {
    let node = Node::start(&NodeOptions::without_agent().variable("TIDEMARK_LIMITS__QUERY_SERIES", "3"));
    fill(&node.client());
    let query = json!({"start": START_S, "queries": [{"aggregator": "sum", "metric": "q.gauge"}]});
    let answer = node.client().post("/api/query", &query);
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("limits.query_series"), "{}", answer.text());
    let path = format!("/api/expr?now={}", START_S + 3600);
    let answer = node.client().post_text(&path, r#"avg(q("sum:q.gauge{host=*}", "1h", ""))"#);
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("limits.query_series"), "{}", answer.text());
}

#[test]
fn weeks_of_the_calendar_start_on_the_day_that_is_set() {
    // A Sunday, a Monday and the Saturday after.
    let days = [1_357_430_400, 1_357_516_800, 1_357_948_800];
    let weeks = |options: NodeOptions| {
        let node = Node::start(&options);
        let points: Vec<Value> = days
            .iter()
            .map(|time| json!({"metric": "q.week", "timestamp": time, "value": 1, "tags": {"host": "a"}}))
            .collect();
        assert_eq!(node.client().post("/api/put", &Value::Array(points)).status, 204);
        let path = "/api/query?start=1356000000&end=1358000000&m=none:1wc-count:q.week";
        node.client().get(path).json()[0]["dps"].clone()
    };
    assert_eq!(weeks(NodeOptions::without_agent()), json!({"1357430400": 3.0}));
    let monday = NodeOptions::without_agent().variable("TIDEMARK_OPENTSDB__WEEK_START", "monday");
    assert_eq!(weeks(monday), json!({"1356912000": 1.0, "1357516800": 2.0}));
}
