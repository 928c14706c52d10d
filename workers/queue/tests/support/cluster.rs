//! A cluster of three masters, and replicas of the first of them.

use std::time::Duration;

use tidemark_queue::{RedisOptions, RedisTls};

use super::{
    certificates::Certificates,
    server::{RedisServer, free_port},
};

/// Ends with its nodes when it is dropped.
pub(crate) struct RedisCluster {
    pub(crate) masters: Vec<RedisServer>,
    pub(crate) replicas: Vec<RedisServer>,
    /// Where clients reach the masters with TLS.
    tls_ports: Vec<u16>,
    tls: Option<RedisTls>,
}

const RANGES: [std::ops::RangeInclusive<u16>; 3] = [0..=5_460, 5_461..=10_922, 10_923..=16_383];
/// From the port of a node to that of its bus; other ones can be set since Redis 7.
const BUS_OFFSET: u16 = 10_000;

impl RedisCluster {
    pub(crate) async fn start(replicas: usize) -> Option<Self> {
        Self::start_with(replicas, None).await
    }

    /// Its nodes speak TLS with each other and with clients.
    pub(crate) async fn start_tls(replicas: usize, certificates: &Certificates) -> Option<Self> {
        Self::start_with(replicas, Some(certificates)).await
    }

    async fn start_with(replicas: usize, certificates: Option<&Certificates>) -> Option<Self> {
        let tls = certificates.map(Certificates::client);
        let mut cluster = Self { masters: Vec::new(), replicas: Vec::new(), tls_ports: Vec::new(), tls };
        for (place, range) in RANGES.into_iter().enumerate() {
            let (node, tls_port) = node(certificates)?;
            node.answers().await;
            let slots: Vec<String> = range.map(|slot| slot.to_string()).collect();
            let add: Vec<&str> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
            node.command(&add);
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()]);
            cluster.masters.push(node);
            cluster.tls_ports.push(tls_port);
        }
        for _ in 0..replicas {
            let (node, _) = node(certificates)?;
            node.answers().await;
            cluster.replicas.push(node);
        }
        let first = cluster.masters.first()?;
        let port = if cluster.tls.is_some() { cluster.tls_ports.first()? } else { &first.port }.to_string();
        for node in cluster.masters.iter().skip(1).chain(&cluster.replicas) {
            node.command(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        }
        let id = first.ask(&["CLUSTER", "MYID"]);
        for replica in &cluster.replicas {
            wait_for("the replica knows its master", || replica.ask(&["CLUSTER", "NODES"]).contains(&id)).await;
            wait_for("the replica follows", || replica.ask(&["CLUSTER", "REPLICATE", &id]) == "OK").await;
        }
        for node in cluster.masters.iter().chain(&cluster.replicas) {
            let is_whole = || {
                let info = node.ask(&["CLUSTER", "INFO"]);
                // Without full coverage the state is ok before a node knows who has the slots of others.
                let lines = ["cluster_state:ok", "cluster_slots_assigned:16384"];
                let known = format!("cluster_known_nodes:{}", 3 + replicas);
                lines.into_iter().chain([known.as_str()]).all(|line| info.contains(line))
            };
            wait_for("the cluster is whole", is_whole).await;
        }
        for replica in &cluster.replicas {
            wait_for("the replica is in step", || replica.ask(&["INFO", "replication"]).contains("link_status:up"))
                .await;
        }
        Some(cluster)
    }

    /// By its last two masters, so that the first can be lost and the address still be of use.
    pub(crate) fn options(&self) -> RedisOptions {
        let plain: Vec<u16> = self.masters.iter().map(|node| node.port).collect();
        let (scheme, ports) = if self.tls.is_some() { ("rediss", &self.tls_ports) } else { ("redis", &plain) };
        let nodes: Vec<String> = ports.iter().skip(1).map(|port| format!("127.0.0.1:{port}")).collect();
        let options = RedisOptions::new(&format!("{scheme}+cluster://{}", nodes.join(",")));
        RedisOptions { tls: self.tls.clone().unwrap_or_default(), ..options }
    }
}

/// A node, and where clients reach it with TLS if it speaks that; we reach it without.
fn node(certificates: Option<&Certificates>) -> Option<(RedisServer, u16)> {
    let (port, tls_port) = (free_port_with_bus(), free_port_with_bus());
    let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
    let settings = settings.into_iter().chain(["--cluster-require-full-coverage", "no"]);
    let mut settings: Vec<String> = settings.map(str::to_owned).collect();
    if let Some(certificates) = certificates {
        let tls_port = tls_port.to_string();
        let with_tls = ["--tls-port", &tls_port, "--tls-cluster", "yes", "--tls-replication", "yes"];
        settings.extend(with_tls.map(str::to_owned));
        settings.extend(certificates.server_settings());
    }
    let options = RedisOptions::new(&format!("redis+cluster://127.0.0.1:{port}"));
    Some((RedisServer::spawn(port, tempfile::tempdir().unwrap(), settings, options)?, tls_port))
}

/// A port whose bus has one, too.
fn free_port_with_bus() -> u16 {
    loop {
        let port = free_port();
        let bus = port.checked_add(BUS_OFFSET);
        if bus.is_some_and(|bus| std::net::TcpListener::bind(("127.0.0.1", bus)).is_ok()) {
            return port;
        }
    }
}

pub(crate) async fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for: {what}");
}
