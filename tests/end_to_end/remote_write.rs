//! Samples that Prometheus pushes: bytes as it sends them, to what PromQL and OpenTSDB's queries say of them.

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, Response};

const START_MS: i64 = 1_767_225_600_000;
const HEADERS: [(&str, &str); 3] = [
    ("Content-Type", "application/x-protobuf"),
    ("Content-Encoding", "snappy"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
];

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7F) as u8);
}

/// A field of bytes, whose number fits into four bits.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(bytes.len() as u64, &mut out);
    out.extend(bytes);
    out
}

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Vec<u8> {
    let label =
        |(name, value): &(&str, &str)| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
    let sample = |(timestamp, value): &(i64, f64)| {
        let mut bytes = vec![1 << 3 | 1];
        bytes.extend(value.to_le_bytes());
        bytes.push(2 << 3);
        varint(timestamp.cast_unsigned(), &mut bytes);
        field(2, &bytes)
    };
    field(1, &labels.iter().map(label).chain(samples.iter().map(sample)).collect::<Vec<_>>().concat())
}

fn block(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

fn write_to(client: &Client, path: &str, message: &[u8]) -> Response {
    client.request("POST", path, &HEADERS, &block(message)).unwrap()
}

fn write(client: &Client, message: &[u8]) -> Response {
    write_to(client, "/api/v1/write", message)
}

fn promql(client: &Client, query: &str) -> Value {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = client.get(&format!("/prometheus/api/v1/query?time={}&query={encoded}", START_MS / 1000 + 60));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"]["result"].clone()
}

#[test]
fn samples_are_stored_under_their_own_names_and_times() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    let labels: Vec<(String, String)> =
        (0..12).map(|number| (format!("label_{number:02}"), format!("größe \"{number}\" /x%"))).collect();
    let mut named = vec![("__name__", "job:requests:rate5m")];
    named.extend(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let stale = f64::from_bits(0x7FF0_0000_0000_0002);
    let message = [
        series(&named, &[(START_MS + 123, 1.5), (START_MS + 15_123, -0.25), (START_MS + 30_123, stale)]),
        series(&[("__name__", "up"), ("instance", "localhost:9090"), ("job", "self")], &[(START_MS, 1.0)]),
    ];
    for path in ["/api/v1/write", "/prometheus/api/v1/write"] {
        let answer = write_to(&client, path, &message.concat());
        assert_eq!((answer.status, answer.text().as_str()), (204, ""), "{path}");
    }
    let found = promql(&client, r#"last_over_time({__name__="job:requests:rate5m"}[2m])"#);
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found[0]["value"][1], "-0.25");
    for (name, value) in &labels {
        assert_eq!(found[0]["metric"][name], *value, "{found}");
    }
    assert_eq!(promql(&client, r#"up{job="self"}"#)[0]["metric"]["instance"], "localhost:9090");
    let body = json!({"start": START_MS, "end": START_MS + 60_000, "msResolution": true,
                      "queries": [{"aggregator": "none", "metric": "job:requests:rate5m"}]});
    let answer = client.post("/api/query", &body).json();
    let dps = json!({(START_MS + 123).to_string(): 1.5, (START_MS + 15_123).to_string(): -0.25});
    assert_eq!(answer[0]["dps"], dps, "{answer}");
    // Sent twice, and the mark of the end left out each time.
    let figures = client.get("/metrics").text();
    assert!(figures.contains("tidemark_api_samples_not_finite_total 2\n"), "{figures}");
    assert!(figures.contains("tidemark_api_points_accepted_total{protocol=\"prometheus\"} 6\n"), "{figures}");
}

#[test]
fn what_cannot_be_taken_is_told_by_the_status_that_says_whether_to_send_it_again() {
    let node = Node::start(&NodeOptions::without_agent().variable("TIDEMARK_LIMITS__BODY_BYTES_DECODED", "64KiB"));
    let client = node.client();
    let good = series(&[("__name__", "m"), ("a", "b")], &[(START_MS, 1.0)]);
    let bad = series(&[("a", "b")], &[(START_MS, 1.0), (START_MS + 1, 1.0)]);
    let answer = write(&client, &[good.clone(), bad].concat());
    assert_eq!(answer.status, 400, "{}", answer.text());
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "2 samples can never be stored: {a=b}: it has no label `__name__`");
    // The other one is stored.
    assert_eq!(promql(&client, "m")[0]["metric"]["a"], "b");

    let send = |headers: &[(&str, &str)], body: &[u8]| client.request("POST", "/api/v1/write", headers, body).unwrap();
    let (protobuf, snappy) = (HEADERS[0], HEADERS[1]);
    let second = ("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");
    let first = ("Content-Type", "application/x-protobuf;proto=prometheus.WriteRequest");
    assert_eq!(send(&[first, snappy], &block(&good)).status, 204);
    for headers in [&[second, snappy][..], &[protobuf, ("Content-Encoding", "gzip")], &[protobuf], &[snappy]] {
        let answer = send(headers, &block(&good));
        assert_eq!(answer.status, 415, "{headers:?}: {}", answer.text());
    }
    assert_eq!(send(&[protobuf, snappy], &good).status, 400);
    assert_eq!(write(&client, &good[..good.len() - 1]).status, 400);
    assert_eq!(write(&client, &vec![0; 65 << 10]).status, 413);
    // Ten bytes that claim to become four gigabytes.
    let claim = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0, 0, 0, 0, 0];
    assert_eq!(send(&[protobuf, snappy], &claim).status, 413);
    assert_eq!(client.get("/api/v1/write").status, 405);
    assert_eq!(write(&client, b"").status, 204);
}
