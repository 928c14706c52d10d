//! A master with a replica, and three sentinels that watch them.

use std::process::{Child, Command, Stdio};

use tidemark_queue::RedisOptions;

use super::{
    cluster::wait_for,
    server::{RedisServer, ask, free_port},
};

/// Ends with its servers when it is dropped.
pub(crate) struct RedisWithSentinels {
    pub(crate) servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
}

/// The password of the sentinels.
const SENTINEL_PASSWORD: &str = "hunter3";

struct Sentinel {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl RedisWithSentinels {
    pub(crate) async fn start() -> Option<Self> {
        let master = RedisServer::start().await?;
        let port = master.port.to_string();
        let settings = ["--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", &port];
        let (own_port, settings) = (free_port(), settings.into_iter().map(str::to_owned).collect());
        let options = RedisOptions::new(&format!("redis://127.0.0.1:{own_port}"));
        let replica = RedisServer::spawn(own_port, tempfile::tempdir().unwrap(), settings, options)?;
        replica.answers().await;
        wait_for("the replica is in step", || replica.ask(&["INFO", "replication"]).contains("link_status:up")).await;
        let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::start(&port)).collect();
        for sentinel in &sentinels {
            let knows_all = || {
                let info = ask_sentinel(sentinel.port, "INFO sentinel");
                info.contains("status=ok") && info.contains("slaves=1") && info.contains("sentinels=3")
            };
            wait_for("the sentinels know each other", knows_all).await;
        }
        Some(Self { servers: vec![master, replica], sentinels })
    }

    pub(crate) fn options(&self) -> RedisOptions {
        let list: Vec<String> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        RedisOptions {
            sentinel_password: Some(SENTINEL_PASSWORD.to_owned()),
            ..RedisOptions::new(&format!("redis+sentinel://{}/main", list.join(",")))
        }
    }

    /// Waits until the replica has been made the master.
    pub(crate) async fn failed_over(&self) {
        let port = self.servers[1].port;
        wait_for("the replica is the master", || ask(port, &["INFO", "replication"]).contains("role:master")).await;
    }
}

impl Sentinel {
    fn start(master_port: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let file = folder.path().join("sentinel.conf");
        let lines = [
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", folder.path().display()),
            format!("requirepass {SENTINEL_PASSWORD}"),
            format!("sentinel sentinel-pass {SENTINEL_PASSWORD}"),
            format!("sentinel monitor main 127.0.0.1 {master_port} 2"),
            "sentinel down-after-milliseconds main 500".to_owned(),
            "sentinel failover-timeout main 3000".to_owned(),
        ];
        std::fs::write(&file, lines.join("\n")).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), port, _folder: folder }
    }
}

fn ask_sentinel(port: u16, words: &str) -> String {
    // Two commands on one connection: the answer to the first is a line of its own.
    super::server::ask_after_login(port, SENTINEL_PASSWORD, words)
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
