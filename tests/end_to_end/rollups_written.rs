//! Rollups and pre-aggregates that others computed: written by both protocols, asked for as points are.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, RedisServer, wait_for};

/// An hour on the hour.
const START_S: i64 = 1_356_998_400;

fn options(data: &Path) -> NodeOptions {
    NodeOptions::without_agent().data(data).variable("TIDEMARK_OPENTSDB__ALLOW_DELETE", "true")
}

fn telnet(client: &Client, lines: &str) -> String {
    let mut stream = TcpStream::connect(client.address()).unwrap();
    stream.write_all(lines.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut replies = String::new();
    stream.read_to_string(&mut replies).unwrap();
    replies
}

fn query(client: &Client, of: &str) -> Value {
    let answer = client.get(&format!("/api/query?start={START_S}&end={}&m={of}", START_S + 7_200));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn times() -> [String; 3] {
    [START_S, START_S + 3_600, START_S + 7_200].map(|time| time.to_string())
}

fn live(options: &NodeOptions) {
    let mut node = Node::start(options);
    let client = node.client();
    // Points in the first hour alone; rollups of the first two hours, and of what three others made of the third.
    let point = json!({"metric": "e2e.roll", "timestamp": START_S, "value": 7, "tags": {"host": "a"}});
    assert_eq!(client.post("/api/put?sync", &point).status, 204);
    let rollup = |aggregator: &str, hour: i64, value: i64| {
        json!({"metric": "e2e.roll", "timestamp": START_S + hour * 3_600, "value": value, "interval": "1h",
               "aggregator": aggregator, "tags": {"host": "a"}})
    };
    let rollups = json!([rollup("SUM", 0, 1_000), rollup("SUM", 1, 600), rollup("COUNT", 1, 60), rollup("P99", 1, 60)]);
    let answer = client.post("/api/rollup?sync&details", &rollups).json();
    assert_eq!((&answer["success"], &answer["failed"]), (&json!(3), &json!(1)), "{answer}");
    assert_eq!(answer["errors"][0]["error"], "No ID found mapping to aggregator: P99");
    let lines = format!(
        "rollup 1h-SUM e2e.roll {} 50 host=a\nrollup 9h-SUM e2e.roll {START_S} 5 host=a\n\
         rollup SUM e2e.roll {START_S} 77 dc=x\n",
        START_S + 7_200
    );
    let reply = "rollup: No such rollup: No rollups configured for the interval: 9h\n";
    assert_eq!(telnet(&client, &lines), reply);
    let [first, second, third] = times();
    let sums = json!({&first: 7.0, &second: 600.0, &third: 50.0});
    wait_for("the lines are stored", Duration::from_secs(30), || {
        (query(&client, "sum:1h-sum:e2e.roll")[0]["dps"] == sums).then_some(())
    });
    node.kill();
    let node = Node::start(options);
    let client = node.client();
    assert_eq!(query(&client, "sum:1h-sum:e2e.roll")[0]["dps"], sums);
    assert_eq!(query(&client, "sum:1h-avg:e2e.roll")[0]["dps"], json!({&first: 7.0, &second: 10.0}));
    assert_eq!(query(&client, "sum:rollup_raw:1h-sum:e2e.roll")[0]["dps"], json!({&first: 7.0}));
    assert_eq!(query(&client, "sum:e2e.roll")[0]["dps"], json!({&first: 7}));
    let aggregate = query(&client, "sum:pre-agg:e2e.roll");
    assert_eq!(aggregate[0]["tags"], json!({"_aggregate": "SUM", "dc": "x"}));
    assert_eq!((&aggregate[0]["metric"], &aggregate[0]["dps"]), (&json!("e2e.roll"), &json!({&first: 77})));
    // What is deleted is not there as a rollup either.
    let path = format!("/api/query?start={START_S}&end={}&m=sum:1h-sum:e2e.roll", START_S + 3_600);
    assert_eq!(client.request("DELETE", &path, &[], b"").unwrap().status, 200);
    assert_eq!(query(&client, "sum:1h-sum:e2e.roll")[0]["dps"], json!({&third: 50.0}));
}

#[test]
fn what_others_aggregated_answers_where_there_are_no_points() {
    let data = tempfile::tempdir().unwrap();
    live(&options(data.path()));
}

#[test]
fn what_others_aggregated_goes_through_redis() {
    let redis = RedisServer::start();
    let data = tempfile::tempdir().unwrap();
    live(&options(data.path()).arguments(&["--broker", &redis.url()]));
}
