//! Who may come in.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use tidemark_tests::{Connection, Node, NodeOptions, tidemark};

#[test]
fn an_open_address_is_refused_as_long_as_there_are_no_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions::default().arguments(&["--listen", "0.0.0.0:0"]);
    let (status, ready, log) = Node::run_to_end(&options, &folder.path().join("data"));
    assert_eq!((status.code(), ready.as_str()), (Some(1), ""), "{log}");
    assert!(log.contains("tidemark token create"), "{log}");
}

/// A token of these roles and its entry for the configuration.
fn token(name: &str, roles: &[&str]) -> (String, String) {
    let mut command = tidemark();
    command.args(["token", "create", "--name", name]);
    for role in roles {
        command.args(["--role", role]);
    }
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let text = output.lines().find_map(|line| line.strip_prefix("token: ")).unwrap().to_owned();
    let entry = output.split_once("[[auth.tokens]]").unwrap().1;
    (text, format!("[[auth.tokens]]{entry}"))
}

#[test]
fn each_role_may_do_its_part_and_no_more() {
    let (write, write_entry) = token("edge", &["write"]);
    let (read, read_entry) = token("wall", &["read"]);
    let (_folder, node) = node_with("", &[&write_entry, &read_entry]);
    let client = node.client();
    let point = json!({"metric": "auth.m", "timestamp": 1_767_225_600, "value": 1, "tags": {"host": "a"}}).to_string();
    let status = |method: &str, path: &str, authorization: Option<&str>| {
        let headers: Vec<_> = authorization.into_iter().map(|value| ("Authorization", value)).collect();
        let body = if method == "POST" { point.as_bytes() } else { b"" };
        client.request(method, path, &headers, body).unwrap().status
    };
    let bearer = |token: &str| format!("Bearer {token}");
    let basic = |token: &str| format!("Basic {}", BASE64_STANDARD.encode(format!("any:{token}")));
    for (method, path) in
        [("POST", "/api/put"), ("GET", "/api/suggest?type=metrics"), ("GET", "/"), ("GET", "/metrics")]
    {
        assert_eq!(status(method, path, None), 401, "{path}");
        assert_eq!(status(method, path, Some("Bearer nonsense")), 401, "{path}");
    }
    assert_eq!(status("POST", "/api/put", Some(&bearer(&write))), 204);
    assert_eq!(status("POST", "/api/put", Some(&basic(&write))), 204);
    assert_eq!(status("POST", "/api/put", Some(&bearer(&read))), 403);
    assert_eq!(status("GET", "/api/suggest?type=metrics", Some(&bearer(&read))), 200);
    assert_eq!(status("GET", "/", Some(&basic(&read))), 200);
    assert_eq!(status("GET", "/api/suggest?type=metrics", Some(&bearer(&write))), 403);
    assert_eq!(status("GET", "/-/healthy", None), 200);
    for (method, path) in [
        ("GET", "/prometheus/api/v1/query?query=1"),
        ("GET", "/api/v1/labels"),
        ("POST", "/prometheus/api/v1/labels"),
        ("POST", "/api/v1/query?query=1"),
    ] {
        assert_eq!(status(method, path, None), 401, "{method} {path}");
        assert_eq!(status(method, path, Some(&bearer(&write))), 403, "{method} {path}");
        assert_eq!(status(method, path, Some(&bearer(&read))), 200, "{method} {path}");
    }
}

#[test]
fn an_operator_imports_nothing_without_the_right_to_write() {
    let (operate, operate_entry) = token("shift", &["operate"]);
    let (both, both_entry) = token("mover", &["operate", "write"]);
    let (_folder, node) = node_with("", &[&operate_entry, &both_entry]);
    let client = node.client();
    let ask = |method: &str, path: &str, token: &str, body: &serde_json::Value| {
        let bearer = format!("Bearer {token}");
        let body = body.to_string();
        client
            .request(method, &format!("/api/tidemark/v1/{path}"), &[("Authorization", &bearer)], body.as_bytes())
            .unwrap()
    };
    let import = json!({"kind": "import", "file": "a.csv"});
    let flow = json!({"nodes": [{"job": {"kind": "rollup", "step": "seal"}}, {"job": import, "after": [0]}]});
    let nightly = json!({"when": {"every": "1h"}, "job": import});
    for (method, path, body) in
        [("POST", "jobs", &import), ("POST", "workflows", &flow), ("PUT", "schedules/nightly", &nightly)]
    {
        let refused = ask(method, path, &operate, body);
        assert_eq!(refused.status, 403, "{path}: {}", refused.text());
        assert!(refused.text().contains("needs the role `write`"), "{}", refused.text());
        let taken = ask(method, path, &both, body);
        assert!((200..300).contains(&taken.status), "{path}: {}", taken.text());
    }
    assert_eq!(ask("POST", "jobs", &operate, &json!({"kind": "export", "format": "csv"})).status, 202);
}

#[test]
fn telnet_is_closed_where_tokens_are_needed() {
    use std::io::{Read, Write};
    let (_, entry) = token("edge", &["write"]);
    let (_folder, node) = node_with("", &[&entry]);
    let mut stream = std::net::TcpStream::connect(node.address()).unwrap();
    stream.write_all(b"put auth.telnet 1767225600 1 host=a\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.contains("token"), "{reply}");
}

#[test]
fn telnet_is_open_to_the_networks_that_are_named() {
    let (read, entry) = token("wall", &["read"]);
    let check = |networks: &str, expect: u16| {
        let configuration = format!("[auth]\ntelnet_from = [{networks}]");
        let (_folder, node) = node_with(&configuration, &[&entry]);
        let mut connection = Connection::open(node.address());
        // Whoever is refused may be so before all is sent.
        let _sent = connection.try_send("put auth.telnet 1767225600 1 host=a\nversion\n");
        assert_eq!(connection.line().contains("token"), expect == 400);
        let path = "/api/query?start=1767225600&m=sum:auth.telnet";
        let authorization = format!("Bearer {read}");
        let answer = node.client().request("GET", path, &[("Authorization", &authorization)], b"").unwrap();
        assert_eq!(answer.status, expect, "{}", answer.text());
        assert_eq!(node.client().get(path).status, 401);
    };
    check("\"10.0.0.0/8\", \"127.0.0.0/8\"", 200);
    check("\"10.0.0.0/8\"", 400);
}

/// A node that knows these tokens, with more configuration before them.
fn node_with(configuration: &str, entries: &[&str]) -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidemark.toml");
    std::fs::write(&file, format!("{configuration}\n{}", entries.join("\n"))).unwrap();
    let options = NodeOptions::without_agent().arguments(&["--config", &file.display().to_string()]);
    (folder, Node::start(&options))
}

/// Header lines of a request.
type Headers<'a> = &'a [(&'a str, &'a str)];

const POINT: &str = r#"{"metric":"auth.m","timestamp":1767225600,"value":1,"tags":{"host":"a"}}"#;
const PAUSE: &str = "/api/tidemark/v1/queues/maintenance/pause";
const RESUME: &str = "/api/tidemark/v1/queues/maintenance/resume";

#[test]
fn no_spelling_of_a_request_gets_past_a_role() {
    let (operate, operate_entry) = token("ops", &["operate"]);
    let (read, read_entry) = token("wall", &["read"]);
    let (admin, admin_entry) = token("root", &["admin"]);
    let (_folder, node) = node_with("", &[&operate_entry, &read_entry, &admin_entry]);
    let rows = [
        ("GET", "/api/suggest?type=metrics", &operate, 200),
        ("POST", PAUSE, &operate, 204),
        ("POST", RESUME, &operate, 204),
        ("POST", PAUSE, &read, 403),
        ("POST", "/api/put", &operate, 403),
        ("GET", "/api/put?method_override=post", &operate, 403),
        ("GET", "/api/tidemark/v1/queues/maintenance/pause?method_override=post", &operate, 404),
        ("GET", "/api/tidemark/v1/queues/maintenance/pause?method_override=post", &read, 404),
        ("POST", "/api/%70ut", &operate, 403),
        ("POST", "/%61pi/v1/%50ut/", &operate, 403),
        ("GET", "/api/%70ut?method_override=post", &operate, 403),
        ("POST", "//api//put", &operate, 403),
        ("POST", "/api/put/", &operate, 403),
        ("POST", "/API/PUT", &operate, 403),
        ("POST", "/api/tidemark/v1/queues/maintenance/%70ause", &read, 403),
        ("DELETE", "/api/query?start=1h-ago&m=sum:auth.m", &read, 403),
        ("GET", "/api/tidemark/v1/jobs", &read, 200),
        ("POST", "/api/tidemark/v1/jobs", &read, 403),
        ("POST", "/api/tidemark/v1/jobs", &operate, 400),
        ("PUT", "/api/tidemark/v1/schedules/seal", &read, 403),
        ("PUT", "/api/tidemark/v1/schedules/seal", &operate, 400),
        ("POST", "/api/tidemark/v1/schedules/nothing/pause", &operate, 404),
        ("DELETE", "/api/tidemark/v1/schedules/nothing", &operate, 403),
        ("DELETE", "/api/tidemark/v1/%73chedules/nothing", &operate, 403),
        ("DELETE", "/api/tidemark/v1/schedules/nothing", &admin, 404),
        ("POST", "/api/tidemark/v1/jobs/purge", &operate, 403),
        ("POST", "/api/tidemark/v1/jobs/%70urge", &operate, 403),
        ("POST", "/api/tidemark/v1/jobs/%70urge", &admin, 400),
        ("PUT", "/api/tidemark/v1/queues/notify/settings", &read, 403),
        ("PUT", "/api/tidemark/v1/queues/notify/settings", &operate, 400),
        ("POST", "/api/tidemark/v1/workers/nobody/stop", &read, 403),
        ("POST", "/api/tidemark/v1/workers/nobody/stop", &operate, 404),
    ];
    for (method, path, token, expect) in rows {
        let authorization = format!("Bearer {token}");
        let answer = node.client().request(method, path, &[("Authorization", &authorization)], POINT.as_bytes());
        assert_eq!(answer.unwrap().status, expect, "{method} {path}");
    }
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let node = Node::start(&NodeOptions::without_agent());
    let client = node.client();
    let page = client.get("/").text();
    let csrf = page.split_once("csrf-token\" content=\"").unwrap().1.split_once('"').unwrap().0;
    let own = format!("http://{}", node.address());
    let (evil, neighbour) = ("http://evil.example", "http://127.0.0.1:1");
    let rows: [(&str, Headers<'_>, u16); 10] = [
        (PAUSE, &[("Origin", evil)], 403),
        (PAUSE, &[("Origin", evil), ("X-Tidemark-Csrf", csrf)], 403),
        (PAUSE, &[("Origin", &own)], 403),
        (PAUSE, &[("Origin", &own), ("X-Tidemark-Csrf", "old")], 403),
        (PAUSE, &[("Origin", &own), ("X-Tidemark-Csrf", csrf)], 204),
        (RESUME, &[], 204),
        ("/api/put", &[("Origin", evil), ("Content-Type", "text/plain")], 403),
        ("/api/put", &[("Origin", neighbour), ("Content-Type", "text/plain")], 403),
        ("/api/put", &[("Origin", &own)], 204),
        ("/api/put", &[], 204),
    ];
    for (path, headers, expect) in rows {
        let answer = client.request("POST", path, headers, POINT.as_bytes()).unwrap();
        assert_eq!(answer.status, expect, "{path} {headers:?}: {}", answer.text());
    }
}

#[test]
fn a_name_that_is_not_ours_gets_no_page_as_long_as_there_are_no_tokens() {
    let (_, entry) = token("wall", &["read"]);
    let (_folder, asking) = node_with("", &[&entry]);
    let open = Node::start(&NodeOptions::without_agent());
    let rows = [
        (&open, Some("evil.example:4242"), 421),
        (&open, Some("localhost:4242"), 200),
        (&open, Some("[::1]:4242"), 200),
        (&open, None, 200),
        (&asking, Some("tidemark.example"), 401),
    ];
    for (node, host, expect) in rows {
        let answer = raw(node, "GET", "/", host);
        assert!(answer.starts_with(&format!("HTTP/1.0 {expect}")), "{host:?}: {answer}");
        assert_eq!(answer.contains("public_url"), expect == 421, "{host:?}: {answer}");
    }
}

#[test]
fn a_preflight_of_an_allowed_page_needs_no_token() {
    let (read, entry) = token("wall", &["read"]);
    let (_folder, node) = node_with("[opentsdb]\ncors_domains = [\"http://wall.example\"]\n", &[&entry]);
    let bearer = format!("Bearer {read}");
    let origin = ("Origin", "http://wall.example");
    let rows: [(&str, &str, Headers<'_>, u16); 4] = [
        ("OPTIONS", "/api/query", &[origin, ("Access-Control-Request-Method", "POST")], 200),
        ("GET", "/api/suggest?type=metrics", &[origin], 401),
        ("POST", "/api/put", &[origin, ("Authorization", &bearer)], 403),
        ("GET", "/api/suggest?type=metrics", &[origin, ("Authorization", &bearer)], 200),
    ];
    for (method, path, headers, expect) in rows {
        let answer = node.client().request(method, path, headers, b"").unwrap();
        assert_eq!(answer.status, expect, "{method} {path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://wall.example"), "{method} {path}");
    }
}

#[test]
fn readiness_is_told_to_everybody_and_its_reasons_to_readers() {
    let (read, read_entry) = token("wall", &["read"]);
    let (write, write_entry) = token("edge", &["write"]);
    let (_folder, node) = node_with("", &[&read_entry, &write_entry]);
    let (read, write) = (format!("Bearer {read}"), format!("Bearer {write}"));
    for (authorization, told) in
        [(None, false), (Some("Bearer nonsense"), false), (Some(&*write), false), (Some(&*read), true)]
    {
        let headers: Vec<_> = authorization.into_iter().map(|value| ("Authorization", value)).collect();
        let answer = node.client().request("GET", "/-/ready", &headers, b"").unwrap();
        assert_eq!((answer.status, answer.json()["reasons"].is_array()), (200, told), "{authorization:?}");
    }
}

#[test]
fn head_asks_whether_a_page_is_there() {
    let node = Node::start(&NodeOptions::without_agent());
    for path in ["/-/healthy", "/-/ready", "/", "/hosts", "/tasks", "/metrics", "/api/tidemark/v1/queues"] {
        let answer = raw(&node, "HEAD", path, None);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{path}: {head}");
        assert_eq!(body, "", "{path}");
    }
    for path in ["/api/version", "/api/put", "/version"] {
        assert!(raw(&node, "HEAD", path, None).starts_with("HTTP/1.0 405"), "{path}");
    }
}

/// What comes for a request of HTTP/1.0, which may leave out the host.
fn raw(node: &Node, method: &str, path: &str, host: Option<&str>) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(node.address()).unwrap();
    let host = host.map(|host| format!("Host: {host}\r\n")).unwrap_or_default();
    stream.write_all(format!("{method} {path} HTTP/1.0\r\n{host}\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
