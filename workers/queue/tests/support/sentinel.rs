//! A master with a replica, and three sentinels that watch them.

use std::process::{Child, Stdio};

use tidemark_queue::{RedisOptions, RedisTls};

use super::{
    certificates::Certificates,
    cluster::wait_for,
    server::{RedisServer, ask, free_port, server_command},
};

/// Ends with its servers when it is dropped.
pub(crate) struct RedisWithSentinels {
    pub(crate) servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
    tls: Option<RedisTls>,
}

/// The password of the sentinels.
const SENTINEL_PASSWORD: &str = "hunter3";

struct Sentinel {
    child: Child,
    /// Where clients reach it.
    port: u16,
    /// Where we do, without TLS.
    plain_port: u16,
    _folder: tempfile::TempDir,
}

impl RedisWithSentinels {
    pub(crate) async fn start() -> Option<Self> {
        Self::start_with(None).await
    }

    /// All of them speak TLS with each other and with clients.
    pub(crate) async fn start_tls(certificates: &Certificates) -> Option<Self> {
        Self::start_with(Some(certificates)).await
    }

    async fn start_with(certificates: Option<&Certificates>) -> Option<Self> {
        let port = free_port().to_string();
        let master = server(&port, certificates, &[])?;
        master.answers().await;
        let settings = ["--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", &port];
        let replica = server(&free_port().to_string(), certificates, &settings)?;
        replica.answers().await;
        wait_for("the replica is in step", || replica.ask(&["INFO", "replication"]).contains("link_status:up")).await;
        let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::start(&port, certificates)).collect();
        for sentinel in &sentinels {
            let knows_all = || {
                let info = ask_sentinel(sentinel.plain_port, "INFO sentinel");
                info.contains("status=ok") && info.contains("slaves=1") && info.contains("sentinels=3")
            };
            wait_for("the sentinels know each other", knows_all).await;
        }
        let tls = certificates.map(Certificates::client);
        Some(Self { servers: vec![master, replica], sentinels, tls })
    }

    pub(crate) fn options(&self) -> RedisOptions {
        let list: Vec<String> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        RedisOptions {
            sentinel_password: Some(SENTINEL_PASSWORD.to_owned()),
            tls: self.tls.clone().unwrap_or_default(),
            ..RedisOptions::new(&format!("{scheme}+sentinel://{}/main", list.join(",")))
        }
    }

    /// Waits until the replica has been made the master.
    pub(crate) async fn failed_over(&self) {
        let port = self.servers[1].port;
        wait_for("the replica is the master", || ask(port, &["INFO", "replication"]).contains("role:master")).await;
    }
}

/// A server that clients reach on this port; with TLS, we reach it without on another one.
fn server(port: &str, certificates: Option<&Certificates>, settings: &[&str]) -> Option<RedisServer> {
    let plain_port = if certificates.is_some() { free_port() } else { port.parse().unwrap() };
    let mut all: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    if let Some(certificates) = certificates {
        all.extend(["--tls-port", port, "--tls-replication", "yes"].map(str::to_owned));
        all.extend(certificates.server_settings());
    }
    let options = RedisOptions::new(&format!("redis://127.0.0.1:{plain_port}"));
    RedisServer::spawn(plain_port, tempfile::tempdir().unwrap(), all, options)
}

impl Sentinel {
    fn start(master_port: &str, certificates: Option<&Certificates>) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let plain_port = if certificates.is_some() { free_port() } else { port };
        let file = folder.path().join("sentinel.conf");
        let lines = [
            format!("port {plain_port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", folder.path().display()),
            format!("requirepass {SENTINEL_PASSWORD}"),
            format!("sentinel sentinel-pass {SENTINEL_PASSWORD}"),
            format!("sentinel monitor main 127.0.0.1 {master_port} 2"),
            "sentinel down-after-milliseconds main 500".to_owned(),
            "sentinel failover-timeout main 3000".to_owned(),
        ];
        std::fs::write(&file, lines.join("\n")).unwrap();
        let mut command = server_command();
        command.arg(&file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(certificates) = certificates {
            command.args(["--tls-port", &port.to_string(), "--tls-replication", "yes"]);
            command.args(certificates.server_settings());
        }
        Self { child: command.spawn().unwrap(), port, plain_port, _folder: folder }
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
