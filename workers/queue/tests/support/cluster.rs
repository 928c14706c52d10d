//! A cluster of three masters, and replicas of the first of them.

use std::time::Duration;

use tidemark_queue::RedisOptions;

use super::server::{RedisServer, free_port};

/// Ends with its nodes when it is dropped.
pub(crate) struct RedisCluster {
    pub(crate) masters: Vec<RedisServer>,
    pub(crate) replicas: Vec<RedisServer>,
}

const RANGES: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

impl RedisCluster {
    pub(crate) async fn start(replicas: usize) -> Option<Self> {
        let mut masters = Vec::new();
        for (place, (first, last)) in RANGES.iter().enumerate() {
            let node = node()?;
            node.answers().await;
            node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()]);
            masters.push(node);
        }
        let mut cluster = Self { masters, replicas: Vec::new() };
        for _ in 0..replicas {
            let node = node()?;
            node.answers().await;
            cluster.replicas.push(node);
        }
        let first = cluster.masters.first()?;
        let (port, bus) = (first.port.to_string(), bus_port(first));
        for node in cluster.masters.iter().skip(1).chain(&cluster.replicas) {
            node.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let id = first.ask(&["CLUSTER", "MYID"]);
        for replica in &cluster.replicas {
            wait_for("the replica knows its master", || replica.ask(&["CLUSTER", "NODES"]).contains(&id)).await;
            wait_for("the replica follows", || replica.ask(&["CLUSTER", "REPLICATE", &id]) == "OK").await;
        }
        for node in cluster.masters.iter().chain(&cluster.replicas) {
            let is_whole = || {
                let info = node.ask(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{}", 3 + replicas))
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
        let nodes: Vec<String> = self.masters.iter().skip(1).map(|node| format!("127.0.0.1:{}", node.port)).collect();
        RedisOptions::new(&format!("redis+cluster://{}", nodes.join(",")))
    }
}

fn node() -> Option<RedisServer> {
    let (port, bus) = (free_port(), free_port());
    let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
    let settings = settings.into_iter().chain(["--cluster-require-full-coverage", "no"]);
    let settings = settings.map(str::to_owned).chain(["--cluster-port".to_owned(), bus.to_string()]);
    let options = RedisOptions::new(&format!("redis+cluster://127.0.0.1:{port}"));
    RedisServer::spawn(port, tempfile::tempdir().unwrap(), settings.collect(), options)
}

fn bus_port(node: &RedisServer) -> String {
    // `<id> 127.0.0.1:<port>@<bus port> myself,…`
    let nodes = node.ask(&["CLUSTER", "NODES"]);
    let (_, rest) = nodes.split_once('@').unwrap();
    rest.split([' ', ',']).next().unwrap().to_owned()
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
