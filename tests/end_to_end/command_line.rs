//! The commands beside `serve`.

use std::{
    io::Write,
    process::{Output, Stdio},
};

use tidemark_tests::{Node, NodeOptions};

fn tidemark(arguments: &[&str], node: Option<&Node>) -> Output {
    let mut command = tidemark_tests::tidemark();
    command.args(arguments);
    if let Some(node) = node {
        command.env("TIDEMARK_URL", format!("http://{}", node.address()));
    }
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn points_go_in_and_come_out() {
    let node = Node::start(&NodeOptions::without_agent());
    let put = tidemark(&["put", "cli.metric", "-2.5", "host=a", "--time", "1767225600"], Some(&node));
    assert!(put.status.success(), "{put:?}");
    let mut lines = tidemark_tests::tidemark()
        .args(["put", "--stdin", "--url", &format!("http://{}", node.address())])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lines.stdin.take().unwrap().write_all(b"cli.metric 1767225660 4 host=a\nbroken\n").unwrap();
    let lines = lines.wait_with_output().unwrap();
    assert_eq!(lines.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&lines.stderr).contains("line 2"), "{lines:?}");
    let ask = |form: &str| {
        let range = ["--from", "1767225000", "--to", "1767226000", "-o", form];
        let output = tidemark(&[&["query", "sum:cli.metric{host=*}"][..], &range[..]].concat(), Some(&node));
        assert!(output.status.success(), "{output:?}");
        stdout(&output)
    };
    assert_eq!(
        ask("csv"),
        "series,timestamp_ms,value\n\"cli.metric{host=a}\",1767225600000,-2.5\n\"cli.metric{host=a}\",1767225660000,4\n"
    );
    assert!(ask("table").contains("cli.metric{host=a}  2       4"), "{}", ask("table"));
    assert!(ask("graph").contains("▁█"), "{}", ask("graph"));
    assert!(ask("json").starts_with("[{\"metric\":\"cli.metric\""), "{}", ask("json"));
}

#[test]
fn an_expression_is_evaluated() {
    let node = Node::start(&NodeOptions::without_agent());
    let sum = tidemark(&["query", "--expr", "1 + 2 * 3", "-o", "csv"], Some(&node));
    assert!(sum.status.success(), "{sum:?}");
    assert!(stdout(&sum).ends_with(",7\n"), "{sum:?}");
    let wrong = tidemark(&["query", "--expr", "1 +"], Some(&node));
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
}

#[test]
fn exit_codes_tell_what_happened() {
    assert_eq!(tidemark(&["version"], None).status.code(), Some(0));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let wrong: [&[&str]; 6] = [
        &["serve", "--wrong"],
        &["serve", "--roles", "bogus", "--data", &data],
        &["serve", "--broker", "amqp://x", "--data", &data],
        &["put", "app.x", "1", "host"],
        &["token", "create", "--name", "me", "--role", "god"],
        &["agent", "--data", &data],
    ];
    for arguments in wrong {
        let output = tidemark(arguments, None);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
    let unreachable = tidemark(&["query", "sum:x", "--url", "http://127.0.0.1:1"], None);
    assert_eq!(unreachable.status.code(), Some(1));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.toml"), "[[rule]]\nname = \"x\"\n").unwrap();
    let check = tidemark(&["check", &folder.path().display().to_string()], None);
    assert_eq!(check.status.code(), Some(3), "{check:?}");
    assert!(String::from_utf8_lossy(&check.stderr).contains("bad.toml"), "{check:?}");
}

#[test]
fn check_and_serve_name_the_same_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidemark.toml");
    let text = "roles = [\"api\"]\n[limits]\nqueries = 0\n[opentsdb]\ntimezone = \"Mars/Phobos\"\n\
                [worker]\nqueues = [\"write:0\"]\n[agent]\nhost = \"a b\"\n\
                [[auth.tokens]]\nname = \"x\"\nsha256 = \"1\"\nroles = [\"read\"]\n\
                [[collect]]\nname = \"web\"\nurl = \"http://h/\"\nevery = \"0s\"\n";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let data = folder.path().join("data").display().to_string();
    let check = tidemark(&["check", "--config", &file], None);
    let serve = tidemark(&["serve", "--config", &file, "--listen", "127.0.0.1:0", "--data", &data], None);
    assert_eq!((check.status.code(), serve.status.code()), (Some(3), Some(1)), "{check:?} {serve:?}");
    for output in [&check, &serve] {
        let log = String::from_utf8_lossy(&output.stderr);
        let settings = ["roles", "limits.queries", "opentsdb.timezone", "worker.queues", "agent.host", "auth.tokens"];
        for setting in settings.iter().chain(&["collect `web`: every"]) {
            assert!(log.contains(setting), "{setting}: {log}");
        }
    }
    assert!(!folder.path().join("data").exists());
}

#[test]
fn no_password_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    for broker in ["rediss://:hunter2@h:0", "redis://me:hunter2@", "amqp://me:hunter2@h", "unix:/x?pass=hunter2"] {
        let output = tidemark(&["serve", "--broker", broker, "--data", &data], None);
        assert!(!output.status.success(), "{output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"), "{output:?}");
    }
    let output = tidemark(&["query", "sum:x", "--url", "http://me:hunter2@127.0.0.1:1"], None);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"), "{output:?}");
}
