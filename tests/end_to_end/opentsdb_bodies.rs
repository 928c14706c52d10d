//! HTTP as clients of OpenTSDB speak it: bodies of any size in every wrapping, pipelines, `Expect`, connections that are
//! used again after errors, and HTTP/1.0. Byte by byte over one connection, since libraries would hide what is sent.

use std::io::Write;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use serde_json::json;
use tidemark_tests::{Connection, Node, NodeOptions, Response};

const START_S: i64 = 1_767_225_600;
const BODY_BYTES: usize = 1 << 20;

fn node() -> Node {
    Node::start(&NodeOptions::without_agent().variable("TIDEMARK_LIMITS__BODY_BYTES", "1MiB"))
}

/// So many points of one series, a second apart, as a body.
fn points(metric: &str, count: u32) -> String {
    let point = |number: u32| {
        let time = START_S + i64::from(number);
        format!("{{\"metric\":\"{metric}\",\"timestamp\":{time},\"value\":{number},\"tags\":{{\"host\":\"web01\"}}}}")
    };
    format!("[{}]", (0..count).map(point).collect::<Vec<_>>().join(",\n"))
}

/// A request with a body whose length it tells.
fn request(line: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A request whose body comes in chunks of so many bytes, with what a sender may add to chunks.
fn chunked(line: &str, headers: &str, body: &[u8], chunk_bytes: usize) -> Vec<u8> {
    let mut bytes =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(chunk_bytes) {
        write!(bytes, "{:X};part=1\r\n", chunk.len()).unwrap();
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// How many points of a metric are stored.
fn stored(connection: &mut Connection, metric: &str) -> f64 {
    let path = format!("/api/query?start={START_S}&end={}&arrays&m=sum:0all-count:{metric}", START_S + 1_000_000);
    connection.send(request(&format!("GET {path}"), "", ""));
    connection.answer().json()[0]["dps"][0][1].as_f64().unwrap()
}

fn closes(answer: &Response) -> bool {
    answer.header("connection") == Some("close")
}

#[test]
fn a_body_of_any_size_is_taken_however_it_is_wrapped() {
    let node = Node::start(&NodeOptions::without_agent());
    let mut connection = Connection::open(node.address());
    // From a few bytes to 17 MB, through the 4 and 8 KiB at which OpenTSDB begins to refuse.
    for (number, count) in [1_u32, 40, 90, 1_000, 200_000].into_iter().enumerate() {
        let metric = |wrapping: &str| format!("bodies.{wrapping}.{number}");
        let mut check = |metric: String, bytes: Vec<u8>| {
            connection.send(bytes);
            let answer = connection.answer();
            assert_eq!((answer.status, closes(&answer)), (204, false), "{metric}: {}", answer.text());
            assert_eq!(stored(&mut connection, &metric), f64::from(count), "{metric}");
        };
        let body = |wrapping: &str| points(&metric(wrapping), count).into_bytes();
        check(metric("plain"), request("POST /api/put?sync", "", body("plain")));
        check(metric("chunked"), chunked("POST /api/put?sync", "", &body("chunked"), 4099));
        let header = "Content-Encoding: gzip\r\n";
        check(metric("gzip"), request("POST /api/put?sync", header, gzip(&body("gzip"))));
        check(metric("both"), chunked("POST /api/put?sync", header, &gzip(&body("both")), 1021));
        let header = "Content-Encoding: deflate\r\n";
        check(metric("deflate"), request("POST /api/put?sync", header, zlib(&body("deflate"))));
    }
}

#[test]
fn a_body_is_taken_up_to_the_limit_and_refused_with_413_from_one_byte_above() {
    let node = node();
    let mut body = points("bodies.limit", 3).into_bytes();
    body.resize(BODY_BYTES, b' ');
    let line = "POST /api/put";
    let mut connection = Connection::open(node.address());
    for bytes in [request(line, "", &body), chunked(line, "", &body, 65_536)] {
        connection.send(bytes);
        assert_eq!(connection.answer().status, 204);
    }
    assert_eq!(stored(&mut connection, "bodies.limit"), 3.0);
    body.push(b' ');
    for bytes in [request(line, "", &body), chunked(line, "", &body, 65_536)] {
        let mut connection = Connection::open(node.address());
        // The server need not have read all of it.
        let _sent = connection.try_send(bytes);
        let answer = connection.answer();
        assert_eq!((answer.status, closes(&answer)), (413, true), "{}", answer.text());
        let message = answer.json()["error"]["message"].clone();
        assert_eq!(message, "the body has more than 1048576 bytes; see `limits.body_bytes`");
    }
}

#[test]
fn a_client_that_sends_far_too_much_still_reads_why_it_was_refused() {
    let node = node();
    for _ in 0..20 {
        let mut connection = Connection::open(node.address());
        let body = vec![b' '; 16 << 20];
        let _sent = connection.try_send(request("POST /api/put", "", &body));
        assert_eq!(connection.answer().status, 413);
    }
}

#[test]
fn requests_that_are_sent_without_waiting_are_answered_in_their_order() {
    let node = node();
    let mut connection = Connection::open(node.address());
    let query = format!("GET /api/query?start={START_S}&end={}&arrays&m=sum:bodies.pipe", START_S + 9);
    let mut bytes = request("POST /api/put?sync", "", points("bodies.pipe", 2));
    bytes.extend(request(&query, "", ""));
    bytes.extend(request("POST /api/put?summary", "", "["));
    bytes.extend(chunked("POST /api/put?summary&sync", "", points("bodies.pipe", 3).as_bytes(), 7));
    bytes.extend(request("POST /api/nosuch", "", "{\"not\":\"read\"}"));
    bytes.extend(request("PATCH /api/put", "", "x"));
    bytes.extend(request(&query, "Connection: close\r\n", ""));
    connection.send(bytes);
    let dps = |count: i64| json!((0..count).map(|number| json!([START_S + number, number])).collect::<Vec<_>>());
    assert_eq!(connection.answer().status, 204);
    assert_eq!(connection.answer().json()[0]["dps"], dps(2));
    assert_eq!(connection.answer().status, 400);
    assert_eq!(connection.answer().json(), json!({"success": 3, "failed": 0}));
    assert_eq!(connection.answer().status, 404);
    assert_eq!(connection.answer().status, 405);
    let last = connection.answer();
    assert_eq!((last.json()[0]["dps"].clone(), closes(&last)), (dps(3), true));
    assert_eq!(connection.rest(), b"");
}

#[test]
fn a_connection_is_used_again_after_every_kind_of_error() {
    let node = node();
    let mut connection = Connection::open(node.address());
    let bad = "[{\"metric\":\"\",\"timestamp\":1,\"value\":1,\"tags\":{}}]";
    let torn = &gzip(points("bodies.torn", 9).as_bytes())[..40];
    let check = |connection: &mut Connection, bytes: Vec<u8>, status: u16| {
        connection.send(bytes);
        let answer = connection.answer();
        assert_eq!((answer.status, closes(&answer)), (status, false), "{}", answer.text());
        connection.send(request("POST /api/put", "", points("bodies.after", 1)));
        assert_eq!(connection.answer().status, 204);
    };
    check(&mut connection, request("POST /api/put", "", "nonsense"), 400);
    check(&mut connection, request("POST /api/put?details", "", bad), 400);
    check(&mut connection, request("POST /api/put", "Content-Encoding: gzip\r\n", torn), 400);
    check(&mut connection, request("POST /api/query", "", "{}"), 400);
    check(&mut connection, request("GET /api/query?start=1h-ago&m=sum:no.such.metric", "", ""), 400);
    check(&mut connection, request("GET /api/annotation?start_time=1", "", ""), 404);
    check(&mut connection, request("POST /api/nosuch", "", "{}"), 404);
    check(&mut connection, chunked("POST /nosuch", "", b"0123456789", 3), 405);
    check(&mut connection, request("PUT /api/put", "", points("bodies.refused", 10)), 405);
    check(&mut connection, request("GET /api/v2/version", "", ""), 501);
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_to() {
    let node = node();
    let body = points("bodies.expect", 4);
    let mut connection = Connection::open(node.address());
    for framing in [format!("Content-Length: {}\r\n", body.len()), "Transfer-Encoding: chunked\r\n".to_owned()] {
        connection.send(format!(
            "POST /api/put?summary&sync HTTP/1.1\r\nHost: localhost\r\n{framing}Expect: 100-continue\r\n\r\n"
        ));
        assert_eq!(connection.answer().status, 100);
        match framing.starts_with("Content-Length") {
            true => connection.send(&body),
            false => connection.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
        }
        assert_eq!(connection.answer().json(), json!({"success": 4, "failed": 0}));
    }
    assert_eq!(stored(&mut connection, "bodies.expect"), 4.0);
    // What it would send is refused before it is sent.
    connection.send(format!(
        "POST /api/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        BODY_BYTES + 1
    ));
    let mut answer = connection.answer();
    if answer.status == 100 {
        answer = connection.answer();
    }
    assert_eq!(answer.status, 413);
    assert_eq!(connection.rest(), b"");
}

#[test]
fn clients_of_http_1_0_are_answered_without_chunks() {
    let node = node();
    let address = node.address();
    let body = points("bodies.old", 9_000);
    let mut connection = Connection::open(address);
    connection.send(format!("POST /api/put?sync HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    assert_eq!(connection.answer().status, 204);
    assert_eq!(connection.rest(), b"");

    let path = format!("/api/query?start={START_S}&end={}&arrays&m=sum:bodies.old", START_S + 9_000);
    for headers in ["", "Connection: keep-alive\r\n"] {
        // The answer is streamed, and its length is not known when it begins.
        let mut connection = Connection::open(address);
        connection.send(format!("GET {path} HTTP/1.0\r\n{headers}\r\n"));
        let answer = connection.answer();
        assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
        assert_eq!(answer.json()[0]["dps"].as_array().unwrap().len(), 9_000);
    }

    let mut connection = Connection::open(address);
    for _ in 0..2 {
        connection.send("GET /api/version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(connection.answer().header("connection"), Some("keep-alive"));
    }
    connection.send("GET /version HTTP/1.0\r\n\r\n");
    assert!(connection.answer().text().starts_with("net.opentsdb.tools "));
    assert_eq!(connection.rest(), b"");
}
