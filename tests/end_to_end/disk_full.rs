//! A full disk refuses writes and keeps serving reads.

use std::{fs, path::Path, process::Command, time::Duration};

use rustix::fs::statvfs;
use serde_json::json;
use tidemark_tests::{Client, Ledger, Node, NodeOptions, Response, tidemark, wait_for};

/// A small file system in memory; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Only root may mount: whoever is not says with `TEST_WITHOUT_MOUNT=1` that the test cannot run.
    fn mount(size: &str) -> Option<Self> {
        if std::env::var_os("TEST_WITHOUT_MOUNT").is_some() {
            eprintln!("SKIPPED on request: this test mounts a small file system");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        let output = mounted.unwrap();
        assert!(
            output.status.success(),
            "mounting a small file system needs root (TEST_WITHOUT_MOUNT=1 leaves this test out): {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn free_bytes(&self) -> usize {
        let disk = statvfs(self.path()).unwrap();
        usize::try_from(disk.f_bavail * disk.f_frsize).unwrap()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "unmount {}", self.0.path().display());
    }
}

/// Bytes that are left beside the ballast: a little more than the 32 MiB below which the store takes no writes.
const LEFT_FREE: usize = 34 << 20;

#[test]
fn a_full_disk_refuses_writes_with_507_and_reads_go_on() {
    let Some(disk) = SmallDisk::mount("112m") else { return };
    let data = disk.path().join("data");
    let mut node = Node::start(&NodeOptions::without_agent().data(&data));
    let client = node.client();
    let mut ledger = Ledger::default();
    assert_eq!(client.post("/api/put", &Ledger::body(0, 0, 1000)).status, 204);
    ledger.acknowledge(0, 0, 1000);
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; disk.free_bytes() - LEFT_FREE]).unwrap();
    let (mut step, mut refused) = (1000, None);
    while refused.is_none() {
        assert!(step < 10_000_000, "the disk never fills");
        refused = put(&client, &mut ledger, step);
        step += 1000;
    }
    let (status, text) = refused.unwrap();
    assert_eq!(status, 507, "{text}");
    assert!(text.contains("the disk is full") && text.contains("reads go on"), "{text}");
    ledger.check(&client);
    assert_eq!(client.get("/-/healthy").status, 200);
    fs::remove_file(ballast).unwrap();
    wait_for("writes go on once there is space", Duration::from_secs(30), || {
        step += 1000;
        put(&client, &mut ledger, step).is_none().then_some(())
    });
    ledger.check(&client);
    // Neither the file nor anything in it has suffered, also after a crash.
    node.kill();
    let doctor = tidemark().args(["doctor", "--data"]).arg(&data).output().unwrap();
    assert!(doctor.status.success(), "{doctor:?}");
    ledger.check(&Node::start(&NodeOptions::without_agent().data(&data)).client());
}

/// Status and text of a refusal, if it is one.
fn put(client: &Client, ledger: &mut Ledger, step: i64) -> Option<(u16, String)> {
    let answer = client.post("/api/put", &Ledger::body(0, step, 1000));
    if answer.status == 204 {
        ledger.acknowledge(0, step, 1000);
        return None;
    }
    ledger.lose_track(0, step, 1000);
    Some((answer.status, answer.text()))
}

/// Bytes that are left beside the ballast for a queue: it takes jobs until there are none left, however small.
const LEFT_FOR_JOBS: usize = 256 << 10;

#[test]
fn a_full_disk_refuses_jobs_with_503_and_loses_none_that_were_acknowledged() {
    let Some(disk) = SmallDisk::mount("112m") else { return };
    let data = disk.path().join("data");
    let mut node = Node::start(&NodeOptions::without_agent().data(&data));
    let client = node.client();
    let later = json!({"kind": "rollup", "step": "seal", "not_before": "+1h"});
    let enqueue = |client: &Client| client.post("/api/tidemark/v1/jobs", &later);
    let id_of = |answer: &Response| answer.json()["job"].as_str().unwrap().to_owned();
    let mut acknowledged = vec![id_of(&enqueue(&client))];
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; disk.free_bytes() - LEFT_FOR_JOBS]).unwrap();
    let refused = loop {
        assert!(acknowledged.len() < 100_000, "the disk never fills");
        let answer = enqueue(&client);
        match answer.status {
            202 => acknowledged.push(id_of(&answer)),
            _ => break answer,
        }
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("disk is full"), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let missing = |client: &Client| {
        let path = |id: &&String| client.get(&format!("/api/tidemark/v1/jobs/{id}")).status != 200;
        acknowledged.iter().filter(path).cloned().collect::<Vec<_>>()
    };
    assert_eq!(missing(&client), Vec::<String>::new(), "while the disk is full");
    fs::remove_file(ballast).unwrap();
    wait_for("jobs are taken once there is space", Duration::from_secs(30), || {
        (enqueue(&client).status == 202).then_some(())
    });
    assert_eq!(missing(&client), Vec::<String>::new(), "once there is space");
    node.kill();
    let node = Node::start(&NodeOptions::without_agent().data(&data));
    assert_eq!(missing(&node.client()), Vec::<String>::new(), "after a crash");
}
