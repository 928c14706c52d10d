//! `POST /api/put`.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use tidemark_model::{RefusalReason, Value, WriteOutcome, WriteReceipt, WriteRefusal};

use crate::{client::Client, started::Started};

const POINT: &str = r#"{"metric":"cpu","timestamp":1356998400,"value":42,"tags":{"host":"web01"}}"#;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_good_point_is_stored_and_answered_by_its_flags() {
    let server = Started::new();
    let mut client = server.client();
    let answer = client.post("/api/put", POINT);
    assert_eq!((answer.status, answer.text(), answer.header("content-length")), (204, "", None));
    assert_eq!(server.store.points("cpu{host=web01}"), [(1_356_998_400_000, Value::Int(42))]);
    client.post("/api/put?summary", POINT).expect(200, json!({"success": 1, "failed": 0}));
    client.post("/api/put?details", POINT).expect(200, json!({"success": 1, "failed": 0, "errors": []}));
    client
        .post("/api/put?details&sync&sync_timeout=10000", POINT)
        .expect(200, json!({"success": 1, "failed": 0, "timeouts": 0, "errors": []}));
    assert_eq!(client.post("/api/put?sync", &format!("[{POINT},{POINT}]")).status, 204);
    let counts = &server.state.counters.points.snapshot()[0];
    assert_eq!(counts.accepted, 6);
}

#[test]
fn a_header_adds_a_tag_to_every_point() {
    let server = Started::with(|options| options.opentsdb.header_tag = "X-Tag".to_owned());
    let mut client = server.client();
    let tagged = |client: &mut Client, tag: &str, body: &str| {
        client.request("POST", "/api/put?details", &format!("x-tag: {tag}\r\n"), body)
    };
    let bare = r#"{"metric":"mem","timestamp":1356998400,"value":1}"#;
    let own = r#"{"metric":"net","timestamp":1356998400,"value":1,"tags":{"dc":"dal","host":"a"}}"#;
    let body = format!("[{POINT},{bare},{own}]");
    tagged(&mut client, "dc=lga", &body).expect(200, json!({"success": 3, "failed": 0, "errors": []}));
    for series in ["cpu{dc=lga,host=web01}", "mem{dc=lga}", "net{dc=lga,host=a}"] {
        assert_eq!(server.store.points(series).len(), 1, "{series}");
    }
    let histogram = r#"{"metric":"h","timestamp":1356998400,"buckets":{"0,1":2},"tags":{"host":"a"}}"#;
    let answer = client.request("POST", "/api/histogram?summary", "X-Tag: dc=b d\r\n", histogram);
    answer.expect(400, json!({"success": 0, "failed": 1}));
    tagged(&mut client, "lga", POINT).expect(
        400,
        json!({"error": {"code": 400, "message": "invalid tag: lga", "details": "in the header `X-Tag`"}}),
    );
    // Without the header points are as they were sent.
    assert_eq!(client.post("/api/put", POINT).status, 204);
    assert_eq!(server.store.points("cpu{host=web01}").len(), 1);
}

#[test]
fn good_points_beside_bad_ones_are_stored() {
    let server = Started::new();
    let mut client = server.client();
    let bad = r#"{"metric":"","timestamp":1356998400,"value":42,"tags":{"host":"web01"}}"#;
    let body = format!("[{bad},{POINT},null]");
    client.post("/api/put", &body).expect(
        400,
        json!({"error": {"code": 400, "message": "One or more data points had errors",
            "details": "Please see the TSD logs or append \"details\" to the put request"}}),
    );
    client.post("/api/put?summary", &body).expect(400, json!({"success": 1, "failed": 2}));
    client.post("/api/put?details", &body).expect(
        400,
        json!({"success": 1, "failed": 2, "errors": [
            {"datapoint": {"metric": "", "timestamp": 1_356_998_400, "value": "42", "tags": {"host": "web01"}},
             "error": "Metric name was empty"},
            {"datapoint": null, "error": "Unexpected null datapoint encountered in set."},
        ]}),
    );
    assert_eq!(server.store.len(), 1);
    assert_eq!(server.state.counters.rejected_lines.snapshot().len(), 6);
}

#[test]
fn bodies_that_are_no_points_are_refused() {
    let server = Started::new();
    let mut client = server.client();
    client
        .post("/api/put", "[]")
        .expect(400, json!({"error": {"code": 400, "message": "No datapoints found in content"}}));
    client.post("/api/put", "").expect_error(400, "Missing request content");
    client.post("/api/put", "{\"metric\":").expect_error(400, "Unable to parse the given JSON");
    client.post("/api/put", "42").expect_error(400, "The JSON must start as an object or an array");
    let answer = client.request("POST", "/api/put", "", b"[{\"metric\":\"\xff\"}]");
    answer.expect_error(400, "Unable to parse the given JSON");
    assert!(answer.text().contains("byte 12"), "{}", answer.text());
    client.get("/api/put").expect(
        405,
        json!({"error": {"code": 405, "message": "Method not allowed",
            "details": "The HTTP method [GET] is not permitted for this endpoint"}}),
    );
    assert_eq!(server.store.batches(), 0);
}

#[test]
fn the_outcome_of_the_store_decides_the_status() {
    let server = Started::new();
    let mut client = server.client();
    let refused = |reason| WriteOutcome::Refused(WriteRefusal::new(reason, "because"));
    let mut check = |outcome, status: u16, message: &str, retry: Option<&str>| {
        server.store.dictate([outcome]);
        let answer = client.post("/api/put", POINT);
        answer.expect_error(status, message);
        assert_eq!(answer.header("retry-after"), retry);
    };
    check(refused(RefusalReason::Busy), 503, "because", Some("1"));
    check(refused(RefusalReason::Unavailable), 503, "because", Some("1"));
    check(refused(RefusalReason::ShuttingDown), 503, "because", Some("1"));
    check(refused(RefusalReason::DiskFull), 507, "because", None);
    check(refused(RefusalReason::Limit), 400, "because", None);
    let unknown = "whether the points are stored is unknown: lost the connection";
    check(WriteOutcome::Unknown("lost the connection".into()), 503, unknown, Some("1"));
    assert_eq!(server.store.len(), 0);
}

#[test]
fn points_that_the_store_refuses_are_reported_one_by_one() {
    let server = Started::new();
    let refusal = WriteRefusal::new(RefusalReason::Limit, "series limit of metric `mem` reached (1)");
    server.store.dictate([WriteOutcome::Done(WriteReceipt { stored: 0, refused: vec![(1, refusal)] })]);
    let other = POINT.replace("cpu", "mem");
    let answer = server.client().post("/api/put?details", &format!("[{POINT},{other}]"));
    answer.expect(
        400,
        json!({"success": 1, "failed": 1, "errors": [
            {"datapoint": {"metric": "mem", "timestamp": 1_356_998_400, "value": "42", "tags": {"host": "web01"}},
             "error": "series limit of metric `mem` reached (1)"},
        ]}),
    );
    assert_eq!(server.store.len(), 1);
}

#[test]
fn a_client_that_waits_only_so_long_hears_about_timeouts() {
    let server = Started::new();
    server.store.hold();
    let mut client = server.client();
    let answer = client.post("/api/put?sync_timeout=10", POINT);
    assert_eq!(answer.status, 503);
    let answer = client.post("/api/put?summary&sync_timeout=10", POINT);
    answer.expect(400, json!({"success": 0, "failed": 0, "timeouts": 1}));
    server.store.release();
}

#[test]
fn compressed_chunked_and_pipelined_bodies_are_read() {
    let server = Started::new();
    let mut client = server.client();
    let answer = client.request("POST", "/api/put?summary", "Content-Encoding: gzip\r\n", gzip(POINT.as_bytes()));
    answer.expect(200, json!({"success": 1, "failed": 0}));

    client.send("POST /api/put?summary HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in POINT.as_bytes().chunks(7) {
        client.send(format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()));
    }
    client.send("0\r\n\r\n");
    client.answer().expect(200, json!({"success": 1, "failed": 0}));

    let request =
        format!("POST /api/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{POINT}", POINT.len());
    client.send(request.repeat(20));
    (0..20).for_each(|_| assert_eq!(client.answer().status, 204));
    assert_eq!(server.store.batches(), 22);
}

#[test]
fn a_client_that_asks_first_is_told_to_continue() {
    let server = Started::new();
    let mut client = server.client();
    let length = POINT.len();
    client.send(format!(
        "POST /api/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(POINT);
    assert_eq!(client.answer().status, 204);
}

#[test]
fn a_large_body_of_many_points_is_read() {
    let server = Started::new();
    let points: Vec<_> =
        (0..50_000).map(|number| POINT.replace("1356998400", &(1_356_998_400 + number).to_string())).collect();
    let body = format!("[{}]", points.join(","));
    let mut client = server.client();
    assert_eq!(client.post("/api/put", &body).status, 204);
    assert_eq!(server.store.len(), 50_000);
    let answer = client.request("POST", "/api/put?summary", "Content-Encoding: gzip\r\n", gzip(body.as_bytes()));
    answer.expect(200, json!({"success": 50_000, "failed": 0}));
}

#[test]
fn a_connection_is_used_again_after_a_refusal_that_did_not_want_the_body() {
    let server = Started::new();
    let mut client = server.client();
    for (method, path, status) in [("POST", "/api/nosuch", 404), ("POST", "/nosuch", 404), ("PUT", "/api/put", 405)] {
        let answer = client.request(method, path, "", POINT);
        assert_eq!((answer.status, answer.header("connection")), (status, None));
    }
    assert_eq!(client.post("/api/put", POINT).status, 204);
    let answer = client.request("PUT", "/api/put", "", " ".repeat(1 << 20));
    assert_eq!((answer.status, answer.header("connection")), (405, Some("close")));
}
