//! The agent on another host.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use tidemark_tests::{Client, Node, NodeOptions, tidemark, wait_for};

/// A running `tidemark agent`; killed when dropped.
struct Agent {
    child: std::process::Child,
    folder: tempfile::TempDir,
}

impl Agent {
    fn start(server: &Node, collectors: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = tidemark()
            .args(["agent", "--to", &format!("http://{}", server.address()), "--host", "other", "--data"])
            .arg(folder.path())
            .arg("--collectors")
            .arg(collectors)
            .env("TIDEMARK_AGENT__INTERVAL", "1s")
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// Whether its spool holds anything but its own bookkeeping.
    fn has_spooled(&self) -> bool {
        let spool = fs::read_dir(self.folder.path().join("spool")).unwrap().flatten();
        spool.filter_map(|entry| entry.metadata().ok()).any(|file| file.len() > 256)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn script(folder: &Path, interval: &str, name: &str, text: &str) {
    let folder = folder.join(interval);
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn last(client: &Client, metric: &str) -> Option<String> {
    let answer = client.get(&format!("/api/query/last?timeseries={metric}&resolve"));
    let value = answer.json()[0]["value"].as_str().map(str::to_owned);
    value.filter(|_| answer.status == 200)
}

#[test]
fn built_in_and_external_collectors_arrive_from_another_host() {
    let node = Node::start(&NodeOptions::without_agent());
    let collectors = tempfile::tempdir().unwrap();
    script(
        collectors.path(),
        "0",
        "steady.sh",
        "#!/bin/sh\nwhile :; do echo \"ext.steady $(date +%s) 1 a=b\"; sleep 1; done\n",
    );
    script(
        collectors.path(),
        "15",
        "periodic.sh",
        "#!/bin/sh\necho \"ext.periodic $(date +%s) 2.5 a=b\"\necho broken line\n",
    );
    script(collectors.path(), "0", "absent.sh", "#!/bin/sh\necho \"ext.absent $(date +%s) 1 a=b\"\nexit 13\n");
    let _agent = Agent::start(&node, collectors.path());
    let client = node.client();
    for (metric, expect) in [("ext.steady", "1"), ("ext.periodic", "2.5"), ("ext.absent", "1")] {
        let value = wait_for(metric, Duration::from_secs(40), || last(&client, &format!("{metric}{{host=other}}")));
        assert_eq!(value, expect, "{metric}");
    }
    wait_for("a built-in collector", Duration::from_secs(20), || last(&client, "os.cpu{host=other}"));
}

#[test]
fn points_wait_in_the_spool_while_the_server_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut node = Node::start(&NodeOptions::without_agent().data(&data));
    let listen = node.address().to_string();
    let collectors = tempfile::tempdir().unwrap();
    let counting = "#!/bin/sh\ni=0\nwhile :; do i=$((i+1)); echo \"ext.counting $(date +%s) $i a=b\"; sleep 1; done\n";
    script(collectors.path(), "0", "counting.sh", counting);
    let agent = Agent::start(&node, collectors.path());
    wait_for("the first point", Duration::from_secs(40), || last(&node.client(), "ext.counting{host=other}"));
    node.kill();
    wait_for("points go into the spool", Duration::from_secs(30), || agent.has_spooled().then_some(()));
    let node = Node::start(&NodeOptions::without_agent().data(&data).arguments(&["--listen", &listen]));
    // The collector counts seconds: the numbers that came while the server was away are all there in the end.
    wait_for("no number is missing", Duration::from_secs(60), || {
        let answer = node.client().get("/api/query?start=10m-ago&arrays&m=sum:ext.counting");
        let values: Vec<i64> = answer.json()[0]["dps"]
            .as_array()?
            .iter()
            .filter_map(|point| point[1].as_f64())
            .map(|value| value as i64)
            .collect();
        let complete = values.first() == Some(&1) && values.windows(2).all(|pair| pair[1] == pair[0] + 1);
        (complete && values.len() > 12).then_some(())
    });
}

#[test]
fn collectors_can_be_listed_and_previewed_without_a_server() {
    let list = tidemark().args(["agent", "list"]).output().unwrap();
    assert!(list.status.success(), "{list:?}");
    assert!(String::from_utf8_lossy(&list.stdout).contains("cpu"), "{list:?}");
    let preview = tidemark().args(["agent", "preview", "memory", "-o", "json"]).output().unwrap();
    assert!(preview.status.success(), "{preview:?}");
    assert!(String::from_utf8_lossy(&preview.stdout).contains("os.mem.total"), "{preview:?}");
}
