//! `opentsdb.mode`: servers that only read and servers that only write. What such a server leaves out is not there.

use serde_json::{Value, json};
use tidemark_tests::{Connection, Node, NodeOptions};

const START_S: i64 = 1_767_225_600;
/// A method and a path of each endpoint that answers questions about points.
const READING: [(&str, &str); 19] = [
    ("GET", "/api/query?start=1h-ago&m=sum:m"),
    ("POST", "/api/v1/query"),
    ("DELETE", "/api/query?start=1h-ago&m=sum:m"),
    ("POST", "/api/query/exp"),
    ("GET", "/api/query/gexp?start=1h-ago&exp=scale(sum:m,2)"),
    ("GET", "/api/query/last?timeseries=m"),
    ("GET", "/API/Suggest?type=metrics"),
    ("GET", "/api/search/lookup?m=m"),
    ("GET", "/api/search/tsmeta"),
    ("GET", "/api/metadata/get"),
    ("GET", "/api/metadata/metrics"),
    ("POST", "/api/expr"),
    ("POST", "/bosun/api/expr"),
    ("GET", "/suggest?type=metrics"),
    ("GET", "/q?start=1h-ago&m=sum:m&ascii"),
    ("GET", "/prometheus/api/v1/query?query=m"),
    ("GET", "/prometheus/api/v1/labels"),
    ("GET", "/api/v1/query?query=m"),
    ("GET", "/api/v1/label/a/values"),
];
/// Likewise of those that change something.
const WRITING: [(&str, &str); 17] = [
    ("POST", "/api/put"),
    ("POST", "/api/v1/put?details"),
    ("POST", "/api/rollup"),
    ("POST", "/api/histogram"),
    ("GET", "/api/annotation?start_time=1"),
    ("POST", "/api/annotation"),
    ("POST", "/api/annotation/bulk"),
    ("GET", "/api/annotations?start_time=1"),
    ("GET", "/api/uid/assign?metric=n"),
    ("POST", "/api/uid/rename"),
    ("GET", "/api/uid/uidmeta?uid=000001&type=metric"),
    ("GET", "/api/uid/tsmeta?m=m"),
    ("GET", "/api/uid"),
    ("GET", "/api/tree"),
    ("GET", "/api/tree/branch"),
    ("POST", "/api/metadata/put"),
    ("DELETE", "/api/metadata/delete"),
];
const ALWAYS: [(&str, &str); 16] = [
    ("GET", "/api/aggregators"),
    ("GET", "/api/config"),
    ("GET", "/api/config/filters"),
    ("GET", "/api/serializers"),
    ("GET", "/api/dropcaches"),
    ("GET", "/api/stats"),
    ("GET", "/api/stats/query"),
    ("GET", "/api/status"),
    ("GET", "/api/version"),
    ("GET", "/aggregators"),
    ("GET", "/logs"),
    ("GET", "/stats"),
    ("GET", "/version"),
    ("GET", "/"),
    ("GET", "/-/healthy"),
    ("GET", "/metrics"),
];

fn node(mode: &str) -> Node {
    Node::start(&NodeOptions::without_agent().variable("TIDEMARK_OPENTSDB__MODE", mode))
}

/// Whether an endpoint answers as if there were no such path.
fn is_absent(node: &Node, method: &str, path: &str) -> bool {
    let answer = node.client().request(method, path, &[], b"{}").unwrap();
    let text = answer.text();
    answer.status == 404 && (text.contains("Endpoint not found") || text.contains("<title>nothing here"))
}

fn check(node: &Node, endpoints: &[(&str, &str)], absent: bool) {
    for (method, path) in endpoints {
        assert_eq!(is_absent(node, method, path), absent, "{method} {path}");
    }
}

fn help(node: &Node) -> String {
    let mut connection = Connection::open(node.address());
    connection.send(format!("put m {START_S} 1 h=a\nhelp\nexit\n"));
    connection.finish_sending();
    String::from_utf8(connection.rest()).unwrap()
}

#[test]
fn a_server_that_only_reads_has_nothing_that_writes() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions::without_agent().data(folder.path());
    let point = json!({"metric": "m", "timestamp": START_S, "value": 1, "tags": {"h": "a"}});
    let mut before = Node::start(&options);
    assert_eq!(before.client().post("/api/put", &point).status, 204);
    for endpoints in [READING.as_slice(), &WRITING, &ALWAYS] {
        check(&before, endpoints, false);
    }
    before.stop();
    let options = options.variable("TIDEMARK_OPENTSDB__MODE", "ro").variable("TIDEMARK_OPENTSDB__ALLOW_DELETE", "true");
    let node = Node::start(&options);
    let client = node.client();
    check(&node, &WRITING, true);
    check(&node, &READING, false);
    check(&node, &ALWAYS, false);
    assert_eq!(client.get("/api/config").json()["tsd.mode"], "ro");
    let absent = client.post("/api/put", &point);
    assert_eq!(absent.json(), json!({"error": {"code": 404, "message": "Endpoint not found"}}));
    assert_eq!(
        help(&node),
        "unknown command: put.  Try `help'.\navailable commands: stats dropcaches version status exit help \n"
    );
    // What was there can be asked about, and not deleted.
    let query = format!("/api/query?start={START_S}&end={}&m=sum:m", START_S + 60);
    let refused = client.request("DELETE", &query, &[], b"").unwrap();
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["details"], "this server only reads (`opentsdb.mode`)");
    let by_body = json!({"start": START_S, "delete": true, "queries": [{"metric": "m", "aggregator": "sum"}]});
    assert_eq!(client.post("/api/query", &by_body).status, 400);
    assert_eq!(client.get(&query).json()[0]["dps"], json!({START_S.to_string(): 1}));
}

#[test]
fn a_server_that_only_writes_answers_no_questions() {
    let node = node("wo");
    check(&node, &READING, true);
    check(&node, &WRITING, false);
    check(&node, &ALWAYS, false);
    assert_eq!(node.client().get("/api/config").json()["tsd.mode"], "wo");
    let absent = node.client().get("/suggest?type=metrics&json");
    assert_eq!((absent.status, absent.json()), (404, json!({"err": "Page Not Found"})));
    assert_eq!(help(&node), "available commands: stats dropcaches version status exit help put rollup histogram \n");
    // The point of the line above is there: its metric has an identifier.
    let assigned = node.client().get("/api/uid/assign?metric=m").json();
    assert!(matches!(&assigned["metric_errors"]["m"], Value::String(text) if text.contains("already exists")));
}
