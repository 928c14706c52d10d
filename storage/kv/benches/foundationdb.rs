//! What a FoundationDB cluster takes from this machine, and what is left of it behind the engine.
//!
//! `FDB_CLUSTER_FILE=… cargo bench -p tidemark-kv --features fdb`; `TIDEMARK_FDB_LIBRARY` names the client library, if
//! the loader does not find it. Each row is three seconds of commits by so many tasks, one after the other in each.
//!
//! *blind* is the crate `foundationdb` alone, which sets keys without reading: the bandwidth of the cluster. *fenced*
//! is what the time-series layer does: a commit that expects the fence unchanged and adds segments to the log.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails by panicking")]

use std::{
    env,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use foundationdb::Database;
use tidemark_kv::{Commit, CommitOutcome, FdbKv, FdbNetwork, FdbOptions, KeyPrefix, KeyRange, Kv};
use tokio::task::JoinSet;

const PREFIX: &str = "tidemark-bench/";
const TIME: Duration = Duration::from_secs(3);

/// Who commits.
#[derive(Clone, Copy)]
enum Way {
    Blind,
    Fenced,
}

/// What one row measures.
#[derive(Clone, Copy)]
struct Load {
    way: Way,
    tasks: usize,
    /// Values of a commit, and bytes of each.
    values: usize,
    bytes: usize,
}

struct Cluster {
    raw: Database,
    store: FdbKv,
}

fn main() {
    let Some(file) = variable("FDB_CLUSTER_FILE") else {
        eprintln!("SKIPPED: the benchmark needs a cluster; set FDB_CLUSTER_FILE to its cluster file");
        return;
    };
    let network = FdbNetwork::start(variable("TIDEMARK_FDB_LIBRARY").as_deref()).unwrap();
    let options = FdbOptions { key_prefix: KeyPrefix::new(PREFIX).unwrap(), ..FdbOptions::default() };
    let store = FdbKv::open(network, &file, options).unwrap();
    let cluster = Arc::new(Cluster { raw: Database::from_path(file.to_str().unwrap()).unwrap(), store });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();

    println!(
        "{:<7} {:>5} {:>14} {:>10} {:>7} {:>9} {:>9}",
        "way", "tasks", "commit", "commits/s", "MB/s", "p50 ms", "p99 ms"
    );
    for (values, bytes) in [(1, 8_000), (1, 31_000), (6, 31_000), (20, 31_000)] {
        for tasks in [1, 4, 16, 64] {
            for way in [Way::Blind, Way::Fenced] {
                let load = Load { way, tasks, values, bytes };
                runtime.block_on(clear(&cluster.store));
                print(load, runtime.block_on(measure(&cluster, load)));
            }
        }
    }
    runtime.block_on(clear(&cluster.store));
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is told its cluster in the environment")]
fn variable(name: &str) -> Option<PathBuf> {
    env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from)
}

async fn clear(store: &FdbKv) {
    let mut commit = Commit::new();
    commit.delete_range(KeyRange::prefix(b"")).put("fence", "0");
    assert!(matches!(store.commit(commit).await, CommitOutcome::Done(_)));
}

/// How long each commit took.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
async fn measure(cluster: &Arc<Cluster>, load: Load) -> Vec<Duration> {
    let until = Instant::now() + TIME;
    let mut tasks = JoinSet::new();
    for task in 0..load.tasks {
        let cluster = Arc::clone(cluster);
        tasks.spawn(async move {
            let mut took = Vec::new();
            let mut began = Instant::now();
            while began < until {
                match load.way {
                    Way::Blind => blind(&cluster.raw, task, took.len(), load).await,
                    Way::Fenced => fenced(&cluster.store, load).await,
                }
                let ended = Instant::now();
                took.push(ended - began);
                began = ended;
            }
            took
        });
    }
    let mut took = tasks.join_all().await.concat();
    took.sort_unstable();
    took
}

async fn blind(raw: &Database, task: usize, number: usize, load: Load) {
    let transaction = raw.create_trx().unwrap();
    for value in 0..load.values {
        transaction.set(format!("{PREFIX}{task}/{number}/{value}").as_bytes(), &vec![7; load.bytes]);
    }
    transaction.commit().await.unwrap();
}

async fn fenced(store: &FdbKv, load: Load) {
    let mut commit = Commit::new();
    commit.expect("fence", Some("0".into()));
    for _ in 0..load.values {
        commit.put_versionstamped("log/", vec![7; load.bytes]);
    }
    assert!(matches!(store.commit(commit).await, CommitOutcome::Done(_)));
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn print(load: Load, took: Vec<Duration>) {
    let way = match load.way {
        Way::Blind => "blind",
        Way::Fenced => "fenced",
    };
    let per_second = took.len() as f64 / TIME.as_secs_f64();
    let megabytes = per_second * (load.values * load.bytes) as f64 / 1e6;
    let millis = |share: f64| {
        let index = (took.len() as f64 * share) as usize;
        took.get(index).map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
    };
    let commit = format!("{} x {} B", load.values, load.bytes);
    let (tasks, p50, p99) = (load.tasks, millis(0.5), millis(0.99));
    println!("{way:<7} {tasks:>5} {commit:>14} {per_second:>10.0} {megabytes:>7.1} {p50:>9.2} {p99:>9.2}");
}
