//! Programs that write to OpenTSDB's HTTP API, with the bytes that they send: what arrives can be queried.
//!
//! The sources: Bosun 0.9 `collect/queue.go` and `metadata/metadata.go` (scollector), `cmd/tsdbrelay/main.go`, Telegraf
//! `plugins/outputs/opentsdb/opentsdb_http.go`, TCollector 1.3.4 `tcollector.py` (`send_data_via_http`).

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tidemark_tests::{Connection, Node, NodeOptions, Response};

const START_S: i64 = 1_767_225_600;

fn gzip(body: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A POST as Go's `net/http` writes it: first what it sets itself, then the program's headers, then what it accepts.
fn go_post(connection: &mut Connection, path: &str, agent: &str, headers: &[&str], body: &[u8]) -> Response {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    connection.send(format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:4242\r\nUser-Agent: {agent}\r\nContent-Length: {}\r\n{headers}\
         Accept-Encoding: gzip\r\n\r\n",
        body.len()
    ));
    connection.send(body);
    connection.answer()
}

fn get(connection: &mut Connection, path: &str, headers: &str) -> Value {
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
    let answer = connection.answer();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Tags and points of the only series of a metric.
fn only_series(connection: &mut Connection, metric: &str, headers: &str) -> Value {
    let path = format!("/api/query?start={START_S}&end={}&arrays&m=none:{metric}", START_S + 3600);
    let answer = get(connection, &path, headers);
    assert_eq!(answer.as_array().unwrap().len(), 1, "{metric}: {answer}");
    json!([answer[0]["tags"], answer[0]["dps"]])
}

const GZIPPED_JSON: [&str; 2] = ["Content-Encoding: gzip", "Content-Type: application/json"];
const SCOLLECTOR: &str = "Scollector/0.9.0-dev";

#[test]
fn scollector_writes_points_and_metadata_over_one_connection() {
    let node = Node::start(&NodeOptions::without_agent());
    let mut connection = Connection::open(node.address());
    // `json.NewEncoder` ends what it writes with a line feed. Anything but 204 would be sent again for ever.
    let points = format!(
        "[{{\"metric\":\"os.cpu\",\"timestamp\":{START_S},\"value\":12.5,\"tags\":{{\"host\":\"web01\"}}}},\
         {{\"metric\":\"os.net.bytes\",\"timestamp\":{START_S},\"value\":18446744073709552000,\
         \"tags\":{{\"direction\":\"in\",\"host\":\"web01\",\"iface\":\"eth0\"}}}},\
         {{\"metric\":\"os.mem.used\",\"timestamp\":{START_S},\"value\":1.5e+21,\"tags\":{{\"host\":\"web01\"}}}},\
         {{\"metric\":\"scollector.collect.sent\",\"timestamp\":{START_S},\"value\":0,\"tags\":{{\"host\":\"web01\"}}}}]\n"
    );
    let answer = go_post(&mut connection, "/api/put", SCOLLECTOR, &GZIPPED_JSON, &gzip(&points));
    // The second point is a counter above 2^63, which OpenTSDB refuses; the others are stored.
    assert_eq!(answer.status, 400, "{}", answer.text());
    let good = points.replace("18446744073709552000", "9007199254740993");
    assert_eq!(go_post(&mut connection, "/api/put", SCOLLECTOR, &GZIPPED_JSON, &gzip(&good)).status, 204);

    let metadata = json!([
        {"Metric": "os.cpu", "Name": "rate", "Value": "counter"},
        {"Metric": "os.cpu", "Name": "unit", "Value": "CentiHertz"},
        {"Metric": "os.cpu", "Name": "desc", "Value": "Time spent in \"user\" mode."},
        {"Metric": "os.net.bytes", "Tags": {"direction": "in"}, "Name": "desc", "Value": "Received."},
        {"Tags": {"host": "web01"}, "Name": "version", "Value": "5.10.0-28"},
        {"Tags": {"host": "web01"}, "Name": "memory", "Value": 16_777_216},
        {"Tags": {"host": "web01", "iface": "eth0"}, "Name": "name", "Value": "eth0"},
    ]);
    let json_alone = ["Content-Type: application/json"];
    let answer =
        go_post(&mut connection, "/api/metadata/put", SCOLLECTOR, &json_alone, metadata.to_string().as_bytes());
    assert_eq!(answer.status, 204, "{}", answer.text());

    let mut series = |metric: &str| only_series(&mut connection, metric, "");
    assert_eq!(series("os.cpu"), json!([{"host": "web01"}, [[START_S, 12.5]]]));
    assert_eq!(series("os.mem.used"), json!([{"host": "web01"}, [[START_S, 1.5e21]]]));
    let net = json!({"direction": "in", "host": "web01", "iface": "eth0"});
    assert_eq!(series("os.net.bytes"), json!([net, [[START_S, 9_007_199_254_740_993_i64]]]));
    let known = get(&mut connection, "/api/metadata/metrics?metric=os.cpu", "");
    assert_eq!((&known["Rate"], &known["Unit"]), (&json!("counter"), &json!("CentiHertz")));
    let host = get(&mut connection, "/api/metadata/get?tagk=host&tagv=web01", "");
    let value =
        |name: &str| host.as_array().unwrap().iter().find(|entry| entry["Name"] == name).unwrap()["Value"].clone();
    assert_eq!((value("version"), value("memory")), (json!("5.10.0-28"), json!("16777216")));
}

#[test]
fn tsdbrelay_passes_on_what_it_was_sent() {
    let node = Node::start(&NodeOptions::without_agent());
    let mut connection = Connection::open(node.address());
    let point =
        format!("[{{\"metric\":\"relay.m\",\"timestamp\":{START_S},\"value\":1,\"tags\":{{\"host\":\"a\"}}}}]\n");
    // Its reverse proxy keeps the sender's headers, adds where they came from, and sends in chunks what came in chunks.
    let body = gzip(&point);
    let mut chunked = format!(
        "POST /api/put HTTP/1.1\r\nHost: 127.0.0.1:4242\r\nUser-Agent: {SCOLLECTOR}\r\nTransfer-Encoding: chunked\r\n\
         Accept-Encoding: gzip\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\n\
         X-Forwarded-For: 10.0.0.9\r\n\r\n{:x}\r\n",
        body.len()
    )
    .into_bytes();
    chunked.extend_from_slice(&body);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    connection.send(chunked);
    assert_eq!(connection.answer().status, 204);
    // To a second server it sends the bytes again, and says that it did.
    let relayed = ["Content-Encoding: gzip", "Content-Type: application/json", "X-Relayed-From: relay01"];
    assert_eq!(go_post(&mut connection, "/api/put", "Tsdbrelay/0.9.0", &relayed, &body).status, 204);
    let metadata = b"[{\"Metric\":\"relay.m\",\"Name\":\"unit\",\"Value\":\"items\"}]";
    let answer = go_post(&mut connection, "/api/metadata/put", "Tsdbrelay/0.9.0", &relayed[1..], metadata);
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(only_series(&mut connection, "relay.m", ""), json!([{"host": "a"}, [[START_S, 1]]]));
    assert_eq!(get(&mut connection, "/api/metadata/metrics?metric=relay.m", "")["Unit"], "items");
}

#[test]
fn telegraf_writes_compressed_batches() {
    let node = Node::start(&NodeOptions::without_agent());
    let mut connection = Connection::open(node.address());
    /// `json.Encoder` ends each point with a line feed, and the commas come before the next.
    fn batch(points: &[String]) -> Vec<u8> {
        gzip(&format!("[{}]", points.iter().map(|point| format!("{point}\n")).collect::<Vec<_>>().join(",")))
    }
    let point = |metric: &str, step: i64, value: &str, tags: &str| {
        format!("{{\"metric\":\"{metric}\",\"timestamp\":{},\"value\":{value},\"tags\":{{{tags}}}}}", START_S + step)
    };
    let host = "\"host\":\"web01\"";
    // `http_batch_size` is 50; 120 points come as 50, 50 and 20.
    let all: Vec<_> = (0..120).map(|step| point("tg_cpu", step, "1e-07", host)).collect();
    for points in all.chunks(50) {
        let answer = go_post(&mut connection, "/api/put", "Go-http-client/1.1", &GZIPPED_JSON, &batch(points));
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }
    // With `debug` it asks for details, and logs them; 4xx makes it drop the batch, of which the good points must be in.
    let mixed = [
        point("tg_mem", 0, "17179869184", host),
        point("tg_mem", 1, "18446744073709551615", host),
        point("tg_mem", 2, "1", ""),
        point("tg_mem", 3, "-2.5", host),
    ];
    let answer = go_post(&mut connection, "/api/put?details", "Go-http-client/1.1", &GZIPPED_JSON, &batch(&mixed));
    assert_eq!(answer.status, 400);
    let details = answer.json();
    assert_eq!((&details["success"], &details["failed"]), (&json!(2), &json!(2)));
    let errors: Vec<_> = details["errors"].as_array().unwrap().iter().map(|error| error["error"].clone()).collect();
    assert_eq!(errors, ["Unable to parse value to a number", "Missing tags"]);
    let cpu = only_series(&mut connection, "tg_cpu", "");
    assert_eq!((cpu[1].as_array().unwrap().len(), &cpu[1][119]), (120, &json!([START_S + 119, 1e-7])));
    let mem = only_series(&mut connection, "tg_mem", "");
    assert_eq!(mem, json!([{"host": "web01"}, [[START_S, 17_179_869_184_f64], [START_S + 3, -2.5]]]));
}

#[test]
fn tcollector_writes_one_body_and_closes() {
    let node = Node::start(&NodeOptions::without_agent());
    // `json.dumps` puts blanks behind colons and commas, and every value is a float; `urlopen` closes each connection.
    let body = format!(
        "[{{\"metric\": \"proc.stat.cpu\", \"timestamp\": {START_S}, \"value\": 123456.0, \"tags\": {{\"host\": \"web01\", \
         \"type\": \"user\"}}}}, {{\"metric\": \"df.bytes.free\", \"timestamp\": {START_S}, \"value\": 1e+16, \"tags\": \
         {{\"host\": \"web01\", \"mount\": \"/\"}}}}]"
    );
    for path in ["/api/put", "/api/put?details"] {
        let mut connection = Connection::open(node.address());
        connection.send(format!(
            "POST {path} HTTP/1.1\r\nAccept-Encoding: identity\r\nContent-Length: {}\r\nHost: {}\r\n\
             User-Agent: Python-urllib/3.11\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{body}",
            body.len(),
            node.address()
        ));
        let answer = connection.answer();
        let details = json!({"success": 2, "failed": 0, "errors": []});
        assert!(answer.status == 204 || answer.json() == details, "{}", answer.text());
        assert_eq!(connection.rest(), b"");
    }
    let mut connection = Connection::open(node.address());
    let cpu = only_series(&mut connection, "proc.stat.cpu", "");
    assert_eq!(cpu, json!([{"host": "web01", "type": "user"}, [[START_S, 123_456.0]]]));
    let disk = only_series(&mut connection, "df.bytes.free", "");
    assert_eq!(disk, json!([{"host": "web01", "mount": "/"}, [[START_S, 1e16]]]));
}
