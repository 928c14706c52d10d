//! Queries that run: listed, cancelled, left alone by their clients, too many of one client.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, wait_for, write_long_series};

const START_S: i64 = 1_767_225_600;
const POINTS: i64 = 200_000;

/// A query that takes long and answers little: the same sums again and again.
fn long_query() -> String {
    let sub_query = json!({"aggregator": "sum", "metric": "long", "downsample": "0all-sum"});
    json!({"start": START_S, "end": START_S + POINTS, "queries": vec![sub_query; 100]}).to_string()
}

/// Formulas that take long: sums of sums, each over every point.
fn long_formulas() -> String {
    let formula = vec!["a"; 100].join(" + ");
    let expressions: Vec<Value> = (0..30).map(|id| json!({"id": format!("e{id}"), "expr": formula})).collect();
    let time = json!({"start": START_S, "end": START_S + POINTS, "aggregator": "sum"});
    json!({"time": time, "metrics": [{"id": "a", "metric": "long"}], "expressions": expressions}).to_string()
}

/// An expression of the language of rules that takes long: a hundred steps for each point.
fn long_expression() -> String {
    let mapped = format!("sum(map(q(\"sum:long\", \"60h\", \"\"), expr(v(){})))", " + 1".repeat(100));
    format!("{mapped} + {mapped}")
}

/// Sends a query and does not wait for the answer.
fn send(node: &Node, body: &str) -> TcpStream {
    send_to(node, "/api/query", "", body)
}

fn send_for(node: &Node, clients: &str, body: &str) -> TcpStream {
    send_to(node, "/api/query", &format!("X-Forwarded-For: {clients}\r\n"), body)
}

fn send_to(node: &Node, path: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(node.address()).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: impatient/1\r\n{headers}", node.address());
    write!(stream, "{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    stream
}

fn running(client: &Client) -> Vec<Value> {
    client.get("/api/stats/query").json()["running"].as_array().unwrap().clone()
}

/// Waits until the running queries are in these phases, the oldest first.
fn wait_until(client: &Client, phases: &[&str]) -> Vec<Value> {
    wait_for(&format!("queries that {phases:?}"), Duration::from_secs(20), || {
        let running = running(client);
        let now: Vec<&str> = running.iter().map(|query| query["phase"].as_str().unwrap()).collect();
        (now == phases).then(|| running.clone())
    })
}

#[expect(clippy::disallowed_methods, reason = "an end-to-end test runs in real time")]
fn now() -> Instant {
    Instant::now()
}

fn node_with_one_slot() -> Node {
    let node = Node::start(&NodeOptions::without_agent().variable("TIDEMARK_LIMITS__QUERIES", "1"));
    write_long_series(&node.client(), START_S, POINTS);
    node
}

#[test]
fn a_client_that_goes_away_stops_its_query_within_a_second() {
    let node = node_with_one_slot();
    let client = node.client();
    let query = long_query();
    let evaluated = send(&node, &query);
    wait_until(&client, &["evaluates"]);
    let waiting = send(&node, &query);
    let shown = wait_until(&client, &["evaluates", "waits"]);
    assert_eq!(shown[0]["query"]["queries"][99]["metric"], "long");
    assert_eq!((&shown[0]["headers"]["User-Agent"], &shown[0]["remote"]), (&json!("impatient/1"), &json!("127.0.0.1")));
    let left = now();
    drop(waiting);
    wait_until(&client, &["evaluates"]);
    assert!(left.elapsed() < Duration::from_secs(1), "while it waits: {:?}", left.elapsed());
    let left = now();
    drop(evaluated);
    wait_until(&client, &[]);
    assert!(left.elapsed() < Duration::from_secs(1), "while it is evaluated: {:?}", left.elapsed());
    let ended = client.get("/api/stats/query").json()["completed"].clone();
    assert_eq!(ended[0]["exception"], "the client went away", "{ended}");
    assert_eq!(ended[0]["httpResponse"], Value::Null);
}

#[test]
fn a_client_that_goes_away_while_series_are_opened_stops_its_query_within_a_second() {
    const HOSTS: usize = 20_000;
    let node = Node::start(&NodeOptions::without_agent().variable("TIDEMARK_LIMITS__QUERY_SERIES", "10000000"));
    let client = node.client();
    for first in (0..HOSTS).step_by(5_000) {
        let points: Vec<Value> = (first..first + 5_000)
            .map(|host| json!({"metric": "wide", "timestamp": START_S, "value": 1, "tags": {"host": format!("h{host}")}}))
            .collect();
        assert_eq!(client.post("/api/put", &Value::Array(points)).status, 204);
    }
    let hosts = json!([{"type": "regexp", "tagk": "host", "filter": "h[0-9]+", "groupBy": false}]);
    let sub_query = json!({"aggregator": "sum", "metric": "wide", "filters": hosts});
    // 2,000,000 series in all, of which none is read.
    let body = json!({"start": START_S + 7_200, "end": START_S + 7_300, "queries": vec![sub_query; 100]}).to_string();
    let opens = send(&node, &body);
    wait_until(&client, &["opens"]);
    let left = now();
    drop(opens);
    wait_until(&client, &[]);
    assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
    let ended = client.get("/api/stats/query").json()["completed"].clone();
    assert_eq!(ended[0]["exception"], "the client went away", "{ended}");
    assert_eq!(ended[0]["stats"]["aggregationTime"], 0.0, "{ended}");
}

#[test]
fn a_cancelled_query_says_so_to_its_client() {
    let node = node_with_one_slot();
    let client = node.client();
    let mut stream = send(&node, &long_query());
    let shown = wait_until(&client, &["evaluates"]);
    let id = shown[0]["id"].to_string();
    let listed = node.ok(&["queries", "ls"]);
    assert!(listed.contains("evaluates") && listed.contains("long long"), "{listed}");
    node.ok(&["queries", "cancel", &id]);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 409 "), "{answer}");
    assert!(answer.contains(&format!("query {id} was cancelled by 127.0.0.1")), "{answer}");
    wait_until(&client, &[]);
    let listed = node.ok(&["queries", "ls", "--all"]);
    assert!(listed.contains("ended 409"), "{listed}");
    assert_eq!(client.post("/api/tidemark/v1/queries/1000/cancel", &json!({})).status, 404);
}

#[test]
fn expressions_end_as_soon_as_queries_do_and_free_their_slot() {
    let node = node_with_one_slot();
    let client = node.client();
    let of_rules = format!("/api/expr?now={}", START_S + POINTS);
    for (path, body) in [("/api/query/exp", long_formulas()), (&of_rules, long_expression())] {
        let mut cancelled = send_to(&node, path, "", &body);
        let id = wait_until(&client, &["evaluates"])[0]["id"].clone();
        let began = now();
        assert_eq!(client.post(&format!("/api/tidemark/v1/queries/{id}/cancel"), &json!({})).status, 202);
        let mut answer = String::new();
        cancelled.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 409 "), "{path}: {answer}");
        wait_until(&client, &[]);
        assert_eq!(client.post_text(&of_rules, "1 + 1").status, 200, "{path}");
        assert!(began.elapsed() < Duration::from_secs(1), "{path}, cancelled: {:?}", began.elapsed());
        let left_alone = send_to(&node, path, "", &body);
        wait_until(&client, &["evaluates"]);
        let began = now();
        drop(left_alone);
        wait_until(&client, &[]);
        assert!(began.elapsed() < Duration::from_secs(1), "{path}, left alone: {:?}", began.elapsed());
        let ended = client.get("/api/stats/query").json()["completed"].clone();
        assert_eq!(ended[0]["exception"], "the client went away", "{path}: {ended}");
    }
}

#[test]
fn a_query_is_explained_by_its_figures() {
    let node = node_with_one_slot();
    let client = node.client();
    let ask = |queries: Value, show: &str| {
        let answer = client
            .post("/api/query", &json!({"start": START_S, "end": START_S + POINTS, show: true, "queries": queries}));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let sum = json!([{"aggregator": "sum", "metric": "long", "downsample": "1d-sum"}]);
    let answer = ask(sum.clone(), "showStats");
    assert_eq!(answer[0]["stats"]["subQuery"]["dpsFromStorage"], POINTS, "{answer}");
    let summary = &answer[1]["statsSummary"];
    for (name, number) in [("seriesSelected", 1), ("seriesRead", 1), ("dpsPreFilter", POINTS), ("emittedDPs", 3)] {
        assert_eq!(summary[name], number, "{name} of {summary}");
    }
    for phase in ["waitTime", "queryScanTime", "aggregationTime", "serializationTime"] {
        assert!(summary[phase].as_f64().unwrap() <= summary["totalTime"].as_f64().unwrap(), "{phase} of {summary}");
    }
    assert!(summary["aggregationTime"].as_f64().unwrap() > 0.0, "{summary}");
    assert!(ask(sum, "showSummary")[1]["statsSummary"]["bytesFromStorage"].as_u64().unwrap() > 0);
    let ended = client.get("/api/stats/query").json()["completed"].clone();
    assert_eq!((&ended[0]["executed"], &ended[0]["httpResponse"]["code"]), (&json!(2), &json!(200)), "{ended}");
    assert_eq!((&ended[0]["exception"], &ended[0]["stats"]["emittedDPs"]), (&json!("null"), &json!(3)));
}

#[test]
fn one_client_cannot_have_any_number_of_queries() {
    let options = NodeOptions::without_agent()
        .variable("TIDEMARK_LIMITS__QUERIES", "1")
        .variable("TIDEMARK_LIMITS__QUERIES_PER_CLIENT", "2");
    let node = Node::start(&options);
    let client = node.client();
    write_long_series(&client, START_S, POINTS);
    let query = long_query();
    let held = [send(&node, &query), send(&node, &query)];
    wait_until(&client, &["evaluates", "waits"]);
    let refused = client.post_text("/api/query", &query);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.text());
    let text = "127.0.0.1 has 2 queries under way, at most 2 are allowed; see `limits.queries_per_client`";
    assert_eq!(refused.json()["error"]["message"], text);
    drop(held);
    wait_until(&client, &[]);
}

#[test]
fn the_clients_of_a_trusted_proxy_are_told_apart() {
    let with = |proxies: &str| {
        let options = NodeOptions::without_agent()
            .variable("TIDEMARK_LIMITS__QUERIES", "1")
            .variable("TIDEMARK_LIMITS__QUERIES_PER_CLIENT", "1")
            .variable("TIDEMARK_AUTH__TRUSTED_PROXIES", proxies);
        let node = Node::start(&options);
        write_long_series(&node.client(), START_S, POINTS);
        node
    };
    let ask = |node: &Node, client: &str| {
        let body = json!({"start": START_S, "queries": [{"aggregator": "sum", "metric": "none"}]}).to_string();
        node.client().request("POST", "/api/query", &[("X-Forwarded-For", client)], body.as_bytes()).unwrap()
    };
    let node = with("127.0.0.1,10.0.0.0/8");
    let held = send_for(&node, "192.0.2.1, 10.0.0.9", &long_query());
    let shown = wait_until(&node.client(), &["evaluates"]);
    assert_eq!(shown[0]["remote"], "192.0.2.1");
    let refused = ask(&node, "198.51.100.7, 192.0.2.1");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("192.0.2.1 has 1 queries under way"), "{}", refused.text());
    let id = shown[0]["id"].clone();
    let waiting = send_for(&node, "192.0.2.2", &long_query());
    wait_until(&node.client(), &["evaluates", "waits"]);
    drop(waiting);
    assert_eq!(node.client().post(&format!("/api/tidemark/v1/queries/{id}/cancel"), &json!({})).status, 202);
    drop(held);
    wait_until(&node.client(), &[]);
    // Whoever is not trusted says nothing that counts.
    let node = with("10.0.0.0/8");
    let held = send(&node, &long_query());
    wait_until(&node.client(), &["evaluates"]);
    let refused = ask(&node, "192.0.2.2");
    assert!(refused.text().contains("127.0.0.1 has 1 queries under way"), "{}", refused.text());
    drop(held);
    wait_until(&node.client(), &[]);
}

#[test]
fn a_query_that_reads_or_gives_too_much_is_told_the_numbers() {
    let check = |limit: &str, value: &str, query: Value, texts: &[&str]| {
        let node = Node::start(&NodeOptions::without_agent().variable(&format!("TIDEMARK_LIMITS__{limit}"), value));
        for host in ["a", "b", "c"] {
            let point =
                |second: i64| json!({"metric": "m", "timestamp": START_S + second, "value": 1, "tags": {"h": host}});
            let points: Vec<Value> = (0..100).map(point).collect();
            assert_eq!(node.client().post("/api/put", &Value::Array(points)).status, 204);
        }
        let answer =
            node.client().post("/api/query", &json!({"start": START_S, "end": START_S + 99, "queries": [query]}));
        assert_eq!(answer.status, 413, "{limit}: {}", answer.text());
        let name = format!("limits.{}", limit.to_lowercase());
        assert!(answer.text().contains(&name), "{limit}: {}", answer.text());
        texts.iter().for_each(|text| assert!(answer.text().contains(text), "{limit}: {}", answer.text()));
    };
    let sum = json!({"aggregator": "sum", "metric": "m"});
    check("QUERY_SERIES", "2", sum.clone(), &["selects 3 series, at most 2 "]);
    check("QUERY_POINTS", "250", sum.clone(), &["reads 300 points, at most 250 "]);
    check("QUERY_BYTES", "100B", sum.clone(), &["at most 100 "]);
    check("QUERY_RESULT_POINTS", "50", sum.clone(), &["50"]);
    check("QUERY_GROUP_POINTS", "250", sum, &["250"]);
}
