//! Bad input gets a clear error, loses nothing else, and costs little.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, wait_for};

/// Memory that the process holds, in bytes.
fn memory(node: &Node) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn message(answer: &tidemark_tests::Response) -> String {
    let body: Value = answer.json();
    format!("{} {}", body["error"]["message"].as_str().unwrap_or_default(), body["error"]["details"])
}

fn good(client: &Client) {
    let point = json!({"metric": "bad.good", "timestamp": 1_767_225_600, "value": 1, "tags": {"host": "a"}});
    assert_eq!(client.post("/api/put", &point).status, 204);
}

#[test]
fn every_refusal_names_the_reason_and_good_points_beside_bad_ones_are_stored() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    let check = |body: &str, status: u16, expect: &str| {
        let answer = client.post_text("/api/put?details", body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        assert!(answer.text().contains(expect), "{body}: {}", answer.text());
    };
    check("{", 400, "Unable to parse the given JSON");
    check("nonsense", 400, "The JSON must start as an object or an array");
    check("[]", 400, "No datapoints found in content");
    check("", 400, "Missing request content");
    check(
        "{\"metric\":\"a\",\"timestamp\":1,\"value\":\"NaN\",\"tags\":{\"h\":\"a\"}}",
        400,
        "Unable to parse value to a number",
    );
    check("{\"metric\":\"a\",\"timestamp\":1,\"value\":1e400,\"tags\":{\"h\":\"a\"}}", 400, "value is NaN or Infinite");
    check("{\"metric\":\"a:b\",\"timestamp\":1,\"value\":1,\"tags\":{\"h\":\"a\"}}", 400, "illegal character: :");
    check("{\"metric\":\"a\",\"timestamp\":1,\"value\":1,\"tags\":{}}", 400, "Missing tags");
    let depth = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    check(&depth, 400, "error");
    let mixed = json!([
        {"metric": "bad.mixed", "timestamp": 1_767_225_600, "value": 1, "tags": {"host": "a"}},
        {"metric": "", "timestamp": 1_767_225_600, "value": 1, "tags": {"host": "a"}},
        {"metric": "bad.mixed", "timestamp": 1_767_225_601, "value": 2, "tags": {"host": "a"}},
    ]);
    let answer = client.post("/api/put?summary", &mixed);
    assert_eq!((answer.status, answer.json()), (400, json!({"success": 2, "failed": 1})));
    let query = json!({"start": 1_767_225_000, "end": 1_767_226_000, "queries": [{"aggregator": "sum", "metric": "bad.mixed"}]});
    assert_eq!(client.post("/api/query", &query).json()[0]["dps"], json!({"1767225600": 1, "1767225601": 2}));
    let invalid = client.request("POST", "/api/put", &[], b"{\"metric\":\"a\xff\xfe\"}").unwrap();
    assert_eq!(invalid.status, 400, "{}", invalid.text());
}

#[test]
fn a_bad_query_is_answered_with_the_field() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    good(&client);
    let check = |path: &str, expect: &str| {
        let answer = client.get(path);
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert!(message(&answer).contains(expect), "{path}: {}", answer.text());
    };
    check("/api/query?start=1h-ago&m=sum:no.such.metric", "No such name for 'metrics': 'no.such.metric'");
    check("/api/query?m=sum:bad.good", "Missing parameter");
    check("/api/query?start=yesterdayish&m=sum:bad.good", "yesterdayish");
    check("/api/query?start=1h-ago&m=zum:bad.good", "zum");
    check("/api/query?start=1h-ago&m=sum:5x-avg:bad.good", "5x");
    check("/api/query?start=1h-ago&m=sum:bad.good%7Bhost=regexp(%5B)%7D", "host");
    assert_eq!(client.get("/api/nosuchendpoint").status, 404);
    assert_eq!(client.request("PATCH", "/api/put", &[], b"").unwrap().status, 405);
}

#[test]
fn a_decompression_bomb_is_refused_in_bounded_memory() {
    let node = Node::start(&NodeOptions::without_agent().variable("TIDEMARK_LIMITS__BODY_BYTES", "8MiB"));
    let client = node.client();
    good(&client);
    let before = memory(&node);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 200 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    for _ in 0..5 {
        let answer = client.request("POST", "/api/put", &[("Content-Encoding", "gzip")], &bomb).unwrap();
        assert_eq!(answer.status, 413, "{}", answer.text());
        assert!(answer.text().contains("limits.body_bytes"), "{}", answer.text());
    }
    let grown = memory(&node).saturating_sub(before);
    assert!(grown < 64 << 20, "the process grew by {grown} bytes");
    let other = client.request("POST", "/api/put", &[("Content-Encoding", "br")], b"x").unwrap();
    assert_eq!(other.status, 415, "{}", other.text());
    good(&client);
}

#[test]
fn an_oversized_body_is_refused_and_the_next_is_taken() {
    let node = Node::start(&NodeOptions::without_agent().variable("TIDEMARK_LIMITS__BODY_BYTES", "1MiB"));
    let client = node.client();
    let answer = client.post_text("/api/put", &" ".repeat((1 << 20) + 1));
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.text().contains("limits.body_bytes"), "{}", answer.text());
    good(&client);
}

#[test]
fn a_half_sent_request_is_closed_and_stores_nothing() {
    let node = Node::start(&NodeOptions::without_agent().variable("TIDEMARK_LIMITS__BODY_TIMEOUT", "500ms"));
    good(&node.client());
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream
        .write_all(b"POST /api/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n[{\"metric\":")
        .unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    good(&node.client());
}

#[test]
fn a_thousand_idle_connections_do_not_keep_others_out() {
    let node = Node::start(&NodeOptions::without_agent());
    let idle: Vec<_> = (0..1000).map(|_| TcpStream::connect(node.address()).unwrap()).collect();
    good(&node.client());
    drop(idle);
    wait_for("the node answers", Duration::from_secs(5), || {
        (node.client().get("/-/healthy").status == 200).then_some(())
    });
}

#[test]
fn a_telnet_line_that_is_too_long_closes_only_its_connection() {
    let node = Node::start(&NodeOptions::without_agent());
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(format!("put {}", "x".repeat(5000)).as_bytes()).unwrap();
    let mut reply = Vec::new();
    // Closing while bytes are unread may reset the connection: both are an end.
    let ended = stream.read_to_end(&mut reply);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    good(&node.client());
}
