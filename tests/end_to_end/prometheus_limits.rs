//! Expressions that take long or ask for much: listed, ended, left alone by their clients, refused.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, wait_for, write_long_series};

const START_S: i64 = 1_767_225_600;
const POINTS: i64 = 100_000;

/// A query that takes minutes: a day of points is sorted at each of ten thousand steps.
fn long_query() -> String {
    let (start, end) = (START_S + POINTS, START_S + POINTS + 10_000);
    format!("query=quantile_over_time(0.5,long[1d])&start={start}&end={end}&step=1")
}

/// Sends a query and does not wait for the answer.
fn send(node: &Node, form: &str) -> TcpStream {
    let mut stream = TcpStream::connect(node.address()).unwrap();
    let head = format!(
        "POST /prometheus/api/v1/query_range HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n",
        node.address()
    );
    write!(stream, "{head}Content-Length: {}\r\n\r\n{form}", form.len()).unwrap();
    stream
}

/// The query under way, once it is evaluated.
fn evaluated(client: &Client) -> Value {
    wait_for("a query that is evaluated", Duration::from_secs(20), || {
        let running = client.get("/api/tidemark/v1/queries").json()["running"].clone();
        (running[0]["phase"] == "evaluates").then(|| running[0].clone())
    })
}

#[test]
fn a_long_expression_is_listed_with_its_cost_and_ended() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    write_long_series(&client, START_S, POINTS);
    let mut stream = send(&node, &long_query());
    let running = evaluated(&client);
    assert_eq!(running["endpoint"], "/prometheus/api/v1/query_range");
    assert_eq!(running["query"]["query"], "quantile_over_time(0.5,long[1d])");
    assert_eq!(running["stats"]["dpsFromStorage"], 100_000);
    assert!(node.ok(&["queries", "ls"]).contains("quantile_over_time(0.5,long[1d])"));
    node.ok(&["queries", "cancel", &running["id"].to_string()]);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""errorType":"canceled""#), "{answer}");
}

#[test]
fn an_expression_whose_client_goes_away_or_gave_it_no_time_ends() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    write_long_series(&client, START_S, POINTS);
    let stream = send(&node, &long_query());
    evaluated(&client);
    drop(stream);
    wait_for("the end of the query", Duration::from_secs(10), || {
        let queries = client.get("/api/tidemark/v1/queries").json();
        let is_left = queries["completed"][0]["exception"] == "the client went away";
        (queries["running"] == json!([]) && is_left).then_some(())
    });
    let answer = client.get(&format!("/prometheus/api/v1/query_range?{}&timeout=500ms", long_query()));
    let body = answer.json();
    assert_eq!((answer.status, body["errorType"].as_str()), (503, Some("timeout")), "{body}");
}

#[test]
fn what_asks_for_too_much_names_its_limit() {
    let node = Node::start(
        &NodeOptions::without_agent()
            .variable("TIDEMARK_LIMITS__QUERY_POINTS", "150000")
            .variable("TIDEMARK_LIMITS__QUERY_RESULT_POINTS", "1000")
            .variable("TIDEMARK_LIMITS__QUERY_GROUP_POINTS", "5000"),
    );
    let client = node.client();
    write_long_series(&client, START_S, POINTS);
    let refused = |query: &str, seconds: i64, limit: &str| {
        let range = format!("start={START_S}&end={}&step=1", START_S + seconds);
        let answer = client.get(&format!("/prometheus/api/v1/query_range?query={query}&{range}"));
        let body = answer.json();
        assert_eq!((answer.status, body["errorType"].as_str()), (422, Some("execution")), "{query}: {body}");
        assert!(body["error"].as_str().unwrap().contains(limit), "{query}: {body}");
    };
    refused("long%2Blong", 10, "`limits.query_points`");
    refused("long", 1_100, "`limits.query_result_points`");
    let many = vec!["x"; 101].join("%2B");
    let answer = client.get(&format!("/prometheus/api/v1/query?query={many}"));
    assert!(answer.status == 400 && answer.text().contains("`limits.query_parts`"), "{}", answer.text());
    let answer = client.get(&format!("/prometheus/api/v1/series?{}", "match[]=x&".repeat(101)));
    assert!(answer.status == 400 && answer.text().contains("`limits.query_parts`"), "{}", answer.text());
    refused("stddev(long)", 2_000, "`limits.query_group_points`");
    refused("max_over_time(vector(1)[1h:1ms])", 1, "`limits.query_group_points`");
}
