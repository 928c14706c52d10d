//! What OpenTSDB's clients rely on beside the data: paths, methods, statuses, switches, and how requests are framed.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use flate2::{
    Compression,
    bufread::ZlibDecoder,
    write::{GzEncoder, ZlibEncoder},
};
use serde_json::{Value, json};
use tidemark_tests::{Node, NodeOptions, Response};

/// What an answer must be.
enum Expect {
    /// This JSON.
    Json(Value),
    /// An error object with this message.
    Error(&'static str),
    /// An array or an object that has this field or index.
    Has(&'static str),
    /// A text that begins so.
    Text(&'static str),
    /// No body.
    Empty,
}

use Expect::{Empty, Error, Has, Json, Text};

const METHOD: &str = "Method not allowed";
const NOT_PROMETHEUS: &str =
    "this is OpenTSDB's `/api/query`: it wants `start` and `m` or `tsuids`, or a body with `queries`";
const VERSION_TOO_HIGH: &str = "Requested API version is greater than the max implemented";

fn check(answer: &Response, status: u16, expect: &Expect, what: &str) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{what}: {text}");
    match expect {
        Json(json) => assert_eq!(&answer.json(), json, "{what}"),
        Error(message) => {
            let error = answer.json()["error"].clone();
            assert_eq!((&error["code"], &error["message"]), (&json!(status), &json!(message)), "{what}: {text}");
        }
        Has(pointer) => assert!(answer.json().pointer(pointer).is_some(), "{what}: no {pointer} in {text}"),
        Text(start) => assert!(text.to_lowercase().starts_with(&start.to_lowercase()), "{what}: {text}"),
        Empty => assert_eq!(text, "", "{what}"),
    }
}

#[test]
fn each_path_answers_each_method_as_opentsdb_does() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    let point = json!({"metric": "s.m", "timestamp": 1_767_225_600, "value": 1, "tags": {"host": "a"}}).to_string();
    let range = "start=1767225600&end=1767225700";
    let query = format!("/api/query?{range}&m=sum:s.m");
    let cases: Vec<(&str, &str, &str, u16, Expect)> = vec![
        // Writing, and its methods.
        ("POST", "/api/put", &point, 204, Empty),
        ("POST", "/api/put?summary", &point, 200, Json(json!({"success": 1, "failed": 0}))),
        ("POST", "/api/put?summary=false", &point, 200, Json(json!({"success": 1, "failed": 0}))),
        ("GET", "/api/put", "", 405, Error(METHOD)),
        // Paths: case, slashes, versions.
        ("GET", "/API/Version", "", 200, Has("/version")),
        ("GET", "/api/version/", "", 200, Has("/version")),
        ("GET", "/api/v1/version", "", 200, Has("/version")),
        ("GET", "/api/v2/version", "", 501, Error(VERSION_TOO_HIGH)),
        ("GET", "/api/vX/version", "", 404, Error("Endpoint not found")),
        ("GET", "/api/nothing", "", 404, Error("Endpoint not found")),
        ("GET", "/api", "", 404, Error("Endpoint not found")),
        // Methods that OpenTSDB does not know.
        ("PATCH", "/api/version", "", 405, Empty),
        ("OPTIONS", "/api/version", "", 405, Error(METHOD)),
        ("DELETE", "/api/version", "", 405, Error(METHOD)),
        ("PUT", "/api/query", "", 405, Error(METHOD)),
        ("GET", "/api/query/exp", "", 405, Error(METHOD)),
        ("POST", "/api/query/gexp", "", 405, Error(METHOD)),
        ("PUT", "/api/suggest", "", 405, Error(METHOD)),
        ("GET", "/api/annotation/bulk", "", 405, Error(METHOD)),
        ("DELETE", "/api/aggregators", "", 405, Error(METHOD)),
        // Switches.
        ("GET", "/api/version?serializer=json", "", 200, Has("/version")),
        ("GET", "/api/version?serializer=xml", "", 400, Error("Requested serializer was not found")),
        ("GET", "/api/dropcaches?jsonp=cb", "", 200, Text("cb({")),
        ("GET", "/api/suggest?method_override=post", r#"{"type":"metrics","q":"s."}"#, 200, Json(json!(["s.m"]))),
        ("GET", "/api/put?method_override=delete", "", 405, Error(METHOD)),
        ("GET", "/api/put?method_override=patch", "", 405, Error("Unknown or unsupported method override value")),
        // Reading.
        ("GET", &query, "", 200, Has("/0/dps/1767225600")),
        ("DELETE", &query, "", 400, Error("Bad request")),
        ("POST", "/api/query", "{}", 400, Has("/error/message")),
        ("POST", "/api/query", "{", 400, Error("Unable to parse the given JSON")),
        ("GET", "/api/query", "", 400, Error("Missing parameter <code>start</code>")),
        ("GET", "/api/query?start=1h-ago&m=sum:no.such", "", 400, Error("No such name for 'metrics': 'no.such'")),
        ("GET", "/api/query?query=up", "", 400, Error(NOT_PROMETHEUS)),
        ("POST", "/api/query", "query=up&time=1767225600", 400, Error(NOT_PROMETHEUS)),
        ("GET", "/api/v1/query", "", 400, Error(NOT_PROMETHEUS)),
        ("POST", "/api/v1/query", "\"query\"", 400, Error(NOT_PROMETHEUS)),
        ("GET", "/api/query/last?timeseries=s.m", "", 200, Has("/0/tsuid")),
        ("GET", "/api/suggest?type=metrics&q=s.", "", 200, Json(json!(["s.m"]))),
        ("GET", "/api/suggest", "", 400, Error("Missing parameter <code>type</code>")),
        ("GET", "/api/search/lookup?m=s.m", "", 200, Has("/results/0/tsuid")),
        ("GET", "/api/search/tsmeta?query=*", "", 400, Error("Searching is not enabled")),
        ("GET", "/api/search/uidmeta?query=*", "", 400, Error("Searching is not enabled")),
        ("GET", "/api/search/nothing", "", 400, Error("Invalid search query type supplied")),
        ("GET", "/api/aggregators", "", 200, Has("/0")),
        ("POST", "/api/aggregators", "", 200, Has("/0")),
        ("GET", "/api/config", "", 200, Has("/tsd.mode")),
        ("GET", "/api/config/filters", "", 200, Has("/literal_or/examples")),
        ("GET", "/api/serializers", "", 200, Has("/0/serializer")),
        ("GET", "/api/dropcaches", "", 200, Json(json!({"status": "200", "message": "Caches dropped"}))),
        ("GET", "/api/stats", "", 200, Has("/0/metric")),
        ("GET", "/api/stats/query", "", 200, Has("/completed/0/stats/totalTime")),
        ("GET", "/api/stats/jvm", "", 200, Has("/runtime/uptime")),
        ("GET", "/api/stats/threads", "", 200, Has("/0/threadID")),
        ("GET", "/api/stats/region_clients", "", 200, Json(json!([]))),
        ("GET", "/api/status", "", 200, Json(json!({"status": "startup"}))),
        ("GET", "/api/tree", "", 200, Json(json!([]))),
        ("GET", "/api/tree?treeid=1", "", 404, Has("/error/message")),
        ("GET", "/api/tree/branch?branch=1", "", 404, Has("/error/message")),
        ("GET", "/api/uid/uidmeta?uid=000001&type=metric", "", 200, Has("/name")),
        ("GET", "/api/uid/uidmeta?uid=FFFFFF&type=metric", "", 404, Error("Could not find the requested UID")),
        ("PUT", "/api/uid/uidmeta", r#"{"uid":"000001","type":"metric","notes":"n"}"#, 200, Has("/notes")),
        ("PUT", "/api/uid/uidmeta", r#"{"uid":"000001","type":"metric","notes":"n"}"#, 304, Empty),
        ("DELETE", "/api/uid/uidmeta", r#"{"uid":"000001","type":"metric"}"#, 204, Empty),
        ("GET", "/api/uid/tsmeta?m=s.m", "", 200, Has("/0/metric/uid")),
        ("GET", "/api/uid/tsmeta?tsuid=FFFFFFFFFFFFFFFFFF", "", 404, Error("Could not find Timeseries meta data")),
        ("GET", "/api/uid/assign?metric=s.n", "", 200, Has("/metric/s.n")),
        ("GET", "/api/uid/assign?metric=s.n", "", 400, Has("/metric_errors/s.n")),
        ("GET", "/api/uid/assign", "", 400, Error("Missing values to assign UIDs")),
        ("GET", "/api/uid/rename?metric=s.n&name=s.o", "", 200, Json(json!({"result": "true"}))),
        ("POST", "/api/uid/rename", r#"{"metric":"s.n","name":"s.p"}"#, 400, Has("/error")),
        ("POST", "/api/uid/rename", r#"{"metric":"s.o","name":"s.n"}"#, 200, Json(json!({"result": "true"}))),
        ("PUT", "/api/uid/rename", "", 405, Error(METHOD)),
        ("GET", "/api/uid", "", 501, Has("/error/message")),
        ("GET", "/api/uid/nothing", "", 501, Has("/error/message")),
        ("GET", "/api/annotation?start_time=1", "", 404, Error("Unable to locate annotation in storage")),
        // From before there was an /api.
        ("GET", "/aggregators", "", 200, Has("/0")),
        ("GET", "/suggest?type=metrics&q=s.", "", 200, Json(json!(["s.m", "s.n"]))),
        ("GET", "/version", "", 200, Text("net.opentsdb.tools ")),
        ("GET", "/Version?json", "", 200, Has("/version")),
        ("GET", "/stats", "", 200, Text("tsd.")),
        ("GET", "/stats?json", "", 200, Has("/0")),
        ("GET", "/dropcaches", "", 200, Text("Caches dropped")),
        ("GET", "/suggest", "", 400, Text("<!DOCTYPE html>")),
        ("GET", "/suggest?json", "", 400, Json(json!({"err": "Missing parameter <code>type</code>"}))),
        ("GET", "/logs?json", "", 200, Has("/0")),
        ("GET", "/logs?level=loud", "", 400, Text("<!DOCTYPE html>")),
        ("GET", "/nothing", "", 404, Text("<!DOCTYPE html>")),
        ("GET", "/nothing?json", "", 404, Json(json!({"err": "Page Not Found"}))),
        ("GET", "/diediedie", "", 404, Text("<!DOCTYPE html>")),
        ("GET", "/s/queryui.nocache.js", "", 404, Text("<!DOCTYPE html>")),
        ("PATCH", "/version", "", 405, Empty),
    ];
    for (method, path, body, status, expect) in &cases {
        let answer = client.request(method, path, &[], body.as_bytes()).unwrap();
        check(&answer, *status, expect, &format!("{method} {path}"));
        if path.starts_with("/api/") && !answer.body.is_empty() && !path.contains("jsonp") {
            assert_eq!(answer.header("content-type"), Some("application/json; charset=UTF-8"), "{method} {path}");
        }
    }
    // The client waits for a body that HEAD does not have.
    let head = raw(&node, "HEAD /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
}

#[test]
fn browsers_find_an_icon_beside_any_answer() {
    let node = Node::start(&NodeOptions::without_agent());
    let found = node.client().get("/favicon.ico");
    let path = found.header("location").unwrap();
    let icon = node.client().get(path);
    assert_eq!((found.status, icon.status, icon.header("content-type")), (302, 200, Some("image/svg+xml")));
}

#[test]
fn settings_are_shown_under_the_names_of_opentsdb() {
    let fixed = json!({
        "tsd.core.auto_create_metrics": "true", "tsd.core.auto_create_tagks": "true", "tsd.core.auto_create_tagvs": "true",
        "tsd.core.enable_api": "true", "tsd.core.enable_ui": "true", "tsd.http.request.enable_chunked": "true",
        "tsd.http.show_stack_trace": "false",
        "tsd.storage.fix_duplicates": "true",
    });
    let set = [
        ("LIMITS__CONNECTIONS", "321", "tsd.core.connections.limit", "321"),
        ("OPENTSDB__TIMEZONE", "Asia/Tokyo", "tsd.core.timezone", "Asia/Tokyo"),
        ("OPENTSDB__ALLOW_DELETE", "true", "tsd.http.query.allow_delete", "true"),
        ("OPENTSDB__CORS_DOMAINS", "http://a,http://b", "tsd.http.request.cors_domains", "http://a,http://b"),
        ("OPENTSDB__CORS_HEADERS", "X-Own", "tsd.http.request.cors_headers", "X-Own"),
        ("OPENTSDB__HEADER_TAG", "X-Tag", "tsd.http.header_tag", "X-Tag"),
        ("OPENTSDB__TELNET_ERRORS", "false", "tsd.rpc.telnet.return_errors", "false"),
        ("LIMITS__BODY_BYTES", "3MiB", "tsd.http.request.max_chunk", "3145728"),
        ("OPENTSDB__MODE", "ro", "tsd.mode", "ro"),
        ("LIMITS__QUERY_BYTES", "2MiB", "tsd.query.limits.bytes.default", "2097152"),
        ("LIMITS__QUERY_POINTS", "4567", "tsd.query.limits.data_points.default", "4567"),
        ("OPENTSDB__SKIP_UNRESOLVED", "true", "tsd.query.skip_unresolved_tagvs", "true"),
        ("LIMITS__QUERY_TIME", "7s", "tsd.query.timeout", "7000"),
        ("OPENTSDB__ROLLUPS", "", "tsd.rollups.enable", "false"),
        ("OPENTSDB__AUTO_CREATE_METRICS", "false", "tsd.core.auto_create_metrics", "false"),
        ("OPENTSDB__AUTO_CREATE_TAGKS", "false", "tsd.core.auto_create_tagks", "false"),
        ("OPENTSDB__AUTO_CREATE_TAGVS", "false", "tsd.core.auto_create_tagvs", "false"),
        ("OPENTSDB__MAX_TAGS", "5", "tsd.storage.max_tags", "5"),
        ("OPENTSDB__ALLOW_SPECIALCHARS", ":+", "tsd.core.tag.allow_specialchars", ":+"),
    ];
    let options = set.iter().fold(NodeOptions::without_agent(), |options, (variable, value, ..)| {
        options.variable(&format!("TIDEMARK_{variable}"), value)
    });
    let mut expect = fixed;
    set.iter().for_each(|(.., name, shown)| expect[*name] = json!(shown));
    let mut shown = Node::start(&options).client().get("/api/config").json();
    let threads = shown.as_object_mut().unwrap().remove("tsd.network.worker_threads");
    assert!(threads.unwrap().as_str().unwrap().parse::<usize>().unwrap() > 0);
    assert_eq!(shown, expect);
}

#[test]
fn the_page_of_graphs_gives_lines_and_figures_and_no_pictures() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    let point = |host: &str, second: i64, value: Value| json!({"metric": "g.m", "timestamp": 1_767_225_600 + second, "value": value, "tags": {"dc": "x", "host": host}});
    let points = json!([point("a", 0, json!(1)), point("a", 10, json!(2)), point("b", 0, json!(2.5))]);
    assert_eq!(client.post("/api/put", &points).status, 204);
    let range = "start=1767225600&end=1767225700";
    let ascii = client.get(&format!("/q?{range}&m=none:g.m%7Bhost=a%7D&ascii"));
    assert_eq!(ascii.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(ascii.text(), "g.m 1767225600 1 dc=x host=a\ng.m 1767225610 2 dc=x host=a\n");
    let figures = client.get(&format!("/Q?{range}&m=sum:g.m&json")).json();
    assert_eq!(
        (&figures["plotted"], &figures["points"], &figures["etags"]),
        (&json!(2), &json!(3), &json!([["host"]]))
    );
    let wrong = client.get(&format!("/q?{range}&m=sum:no.such&json"));
    assert_eq!((wrong.status, wrong.json()), (400, json!({"err": "No such name for 'metrics': 'no.such'"})));
    assert_eq!(client.get(&format!("/q?{range}&m=sum:g.m&png")).status, 400);
    let page = client.get(&format!("/q?{range}&m=sum:g.m"));
    assert_eq!((page.status, page.header("location")), (200, Some(format!("/#{range}&m=sum:g.m").as_str())));
}

/// Sends bytes on a connection of its own and reads until it is closed.
fn raw(node: &Node, request: &str) -> String {
    raw_bytes(node, request.as_bytes())
}

fn raw_bytes(node: &Node, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn requests_may_be_pipelined_chunked_compressed_and_announced() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    let points = |count: i64| -> Vec<u8> {
        let point = |n: i64| json!({"metric": "f.m", "timestamp": 1_767_225_600 + n, "value": n, "tags": {"a": "b"}});
        Value::Array((0..count).map(point).collect()).to_string().into_bytes()
    };
    // Far beyond the one buffer that OpenTSDB takes.
    let large = points(5_000);
    let summary = json!({"success": 5_000, "failed": 0});
    assert_eq!(client.request("POST", "/api/put?summary", &[], &large).unwrap().json(), summary);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&large).unwrap();
    let headers = [("Content-Encoding", "gzip")];
    let packed = gzip.finish().unwrap();
    assert_eq!(client.request("POST", "/api/put?summary", &headers, &packed).unwrap().json(), summary);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&large).unwrap();
    let headers = [("Content-Encoding", "deflate")];
    let packed = zlib.finish().unwrap();
    assert_eq!(client.request("POST", "/api/put?summary", &headers, &packed).unwrap().json(), summary);
    let mut chunked = Vec::new();
    for chunk in large.chunks(3_000) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let headers = [("Transfer-Encoding", "chunked")];
    assert_eq!(client.request("POST", "/api/put?summary", &headers, &chunked).unwrap().json(), summary);
    // Answers that are streamed, in the coding that the client likes best.
    let query = "/api/query?start=1767225600&end=1767230600&m=sum:f.m";
    let plain = client.get(query).body;
    for (accepted, coding) in
        [("deflate", "deflate"), ("gzip;q=0.5, deflate;q=0.8", "deflate"), ("deflate, gzip", "gzip")]
    {
        let answer = client.request("GET", query, &[("Accept-Encoding", accepted)], b"").unwrap();
        assert_eq!(answer.header("content-encoding"), Some(coding), "{accepted}");
        // Gzip is undone by the client of the tests.
        let mut unpacked = Vec::new();
        if coding == "deflate" {
            assert!(answer.body.len() < plain.len() / 2, "{accepted}");
            ZlibDecoder::new(answer.body.as_slice()).read_to_end(&mut unpacked).unwrap();
        } else {
            unpacked = answer.body;
        }
        assert!(unpacked == plain, "{accepted}");
    }
    let as_it_is = client.request("GET", query, &[("Accept-Encoding", "identity, gzip;q=0.1")], b"").unwrap();
    assert_eq!((as_it_is.header("content-encoding"), as_it_is.body.len()), (None, plain.len()));
    let body = String::from_utf8(points(1)).unwrap();
    let length = body.len();
    let put = format!("POST /api/put HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
    let announced = raw(&node, &format!("{put}Expect: 100-continue\r\nConnection: close\r\n\r\n{body}"));
    assert!(announced.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 "), "{announced}");
    let last = "GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let both = raw(&node, &format!("{put}\r\n{body}{put}\r\n{body}{last}"));
    let statuses: Vec<&str> = both.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)).collect();
    assert_eq!(statuses, ["204", "204", "200"], "{both}");
    // What has no body gets none by being wrapped: it would be read as the beginning of the next answer.
    let wrapped = put.replace("/api/put", "/api/put?jsonp=cb");
    let both = raw(&node, &format!("{wrapped}\r\n{body}{last}"));
    assert!(both.starts_with("HTTP/1.1 204 ") && !both.contains("cb("), "{both}");
    let statuses: Vec<&str> = both.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)).collect();
    assert_eq!(statuses, ["204", "200"], "{both}");
    let old = raw(&node, "GET /api/version HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 200 ") || old.starts_with("HTTP/1.1 200 "), "{old}");
}

#[test]
fn only_pages_of_the_origins_that_are_set_may_ask() {
    let with =
        |domains: &str| Node::start(&NodeOptions::without_agent().variable("TIDEMARK_OPENTSDB__CORS_DOMAINS", domains));
    let node = with("http://a.example,http://b.example");
    let ask =
        |method: &str, origin: &str| node.client().request(method, "/api/version", &[("Origin", origin)], b"").unwrap();
    let allowed = ask("GET", "http://b.example");
    let header = |name: &str| allowed.header(name).map(str::to_owned);
    assert_eq!((allowed.status, header("access-control-allow-origin")), (200, Some("http://b.example".to_owned())));
    assert_eq!(header("access-control-allow-methods").as_deref(), Some("GET, POST, PUT, DELETE"));
    assert!(header("access-control-allow-headers").unwrap().contains("Content-Type"));
    let preflight = ask("OPTIONS", "http://a.example");
    assert_eq!((preflight.status, preflight.text().as_str()), (200, ""));
    let preflight = node.client().request("OPTIONS", "/q", &[("Origin", "http://a.example")], b"").unwrap();
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, Some("http://a.example")));
    let refused = ask("GET", "http://c.example");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (200, None));
    let error = &refused.json()["error"];
    assert_eq!((&error["code"], &error["message"]), (&json!(200), &json!("CORS domain not allowed")));
    assert_eq!(node.client().request("OPTIONS", "/api/version", &[], b"").unwrap().status, 405);
}
