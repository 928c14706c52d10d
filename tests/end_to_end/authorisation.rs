//! Who may come in.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use tidemark_tests::{Node, NodeOptions, binary};

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
    let mut command = std::process::Command::new(binary());
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
    let folder = tempfile::tempdir().unwrap();
    let (write, write_entry) = token("edge", &["write"]);
    let (read, read_entry) = token("wall", &["read"]);
    let configuration = folder.path().join("tidemark.toml");
    std::fs::write(&configuration, format!("{write_entry}\n{read_entry}")).unwrap();
    let node =
        Node::start(&NodeOptions::without_agent().arguments(&["--config", &configuration.display().to_string()]));
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
}

#[test]
fn telnet_is_closed_where_tokens_are_needed() {
    use std::io::{Read, Write};
    let folder = tempfile::tempdir().unwrap();
    let (_, entry) = token("edge", &["write"]);
    let configuration = folder.path().join("tidemark.toml");
    std::fs::write(&configuration, entry).unwrap();
    let node =
        Node::start(&NodeOptions::without_agent().arguments(&["--config", &configuration.display().to_string()]));
    let mut stream = std::net::TcpStream::connect(node.address()).unwrap();
    stream.write_all(b"put auth.telnet 1767225600 1 host=a\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.contains("token"), "{reply}");
}
