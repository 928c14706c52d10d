//! Points through the layer, as a share of what the same FoundationDB cluster takes raw.
//!
//! `FDB_CLUSTER_FILE=… cargo bench -p tidemark-tsdb --features fdb --bench cluster -- [SECONDS]`, with
//! `TIDEMARK_FDB_LIBRARY` where the loader does not find the client library. Rounds of both take turns; each prints its
//! megabytes of values a second, and at the end the ratio of the medians. Everything is cleared afterwards.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a benchmark that panics has failed")]
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock and the environment")]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tidemark_kv::{Commit, CommitOutcome, FdbKv, FdbNetwork, FdbOptions, KeyPrefix, KeyRange, Kv};
use tidemark_model::{PointBatch, PointBatchBuilder, PointSink, SystemClock, Value, WriteOutcome};
use tidemark_tsdb::{Sharing, Store, StoreOptions};
use tokio::task::JoinSet;

const ROUNDS: usize = 3;
/// Commits of the raw rounds that are on their way at once, and the bytes of each. Sixteen are not faster, and a server
/// without its own machine runs out of memory.
const RAW_IN_FLIGHT: usize = 4;
const RAW_BYTES: usize = 250_000;
const RAW_VALUE_BYTES: usize = 30_000;
/// Writers of the layer, each with a batch on its way.
const WRITERS: usize = 16;
const BATCH_POINTS: usize = 10_000;
const SERIES: usize = 10_000;
/// How fast a calm cluster answers.
const CALM: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() {
    let Some(cluster) = std::env::var_os("FDB_CLUSTER_FILE").map(PathBuf::from) else {
        println!("SKIPPED: FDB_CLUSTER_FILE names no cluster");
        return;
    };
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10);
    let span = Duration::from_secs(seconds);
    let library = std::env::var_os("TIDEMARK_FDB_LIBRARY").map(PathBuf::from);
    let network = FdbNetwork::start(library.as_deref()).unwrap();
    let open = |prefix: &str| -> Arc<dyn Kv> {
        let key_prefix = KeyPrefix::new(prefix.as_bytes().to_vec()).unwrap();
        // A cluster that was flooded answers late for a while.
        let options = FdbOptions { key_prefix, read_timeout: Duration::from_secs(60) };
        Arc::new(FdbKv::open(network, &cluster, options).unwrap())
    };
    let (raw_kv, layer_kv) = (open("tidemark-bench-raw/"), open("tidemark-bench-layer/"));
    let (mut raw, mut layer) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        raw.push(raw_round(&raw_kv, span).await);
        clear(&raw_kv).await;
        let (points, bytes) = layer_round(&layer_kv, span).await;
        clear(&layer_kv).await;
        layer.push(bytes);
        println!(
            "round {round}: raw {:.1} MB/s, layer {:.1} MB/s of log, {points:.0} points/s",
            raw.last().unwrap() / 1e6,
            bytes / 1e6
        );
    }
    println!("share of the raw bandwidth, medians: {:.0} %", 100.0 * median(layer) / median(raw));
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

async fn clear(kv: &Arc<dyn Kv>) {
    let mut commit = Commit::new();
    commit.delete_range(KeyRange::prefix(b""));
    assert!(matches!(kv.commit(commit).await, CommitOutcome::Done(_)));
    // Until what the round left to the cluster is done.
    for _ in 0..120 {
        let asked = Instant::now();
        kv.snapshot().await.unwrap().get(b"nothing").await.unwrap();
        if asked.elapsed() < CALM {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Bytes of values a second, without any layer.
async fn raw_round(kv: &Arc<dyn Kv>, span: Duration) -> f64 {
    let (started, written) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut writers = JoinSet::new();
    for writer in 0..RAW_IN_FLIGHT {
        let (kv, written) = (Arc::clone(kv), Arc::clone(&written));
        writers.spawn(async move {
            let mut noise = writer as u64 + 1;
            let value: Vec<u8> = (0..RAW_VALUE_BYTES).map(|_| next(&mut noise) as u8).collect();
            let value = Bytes::from(value);
            while started.elapsed() < span {
                let mut commit = Commit::new();
                for _ in 0..RAW_BYTES / RAW_VALUE_BYTES {
                    commit.put_versionstamped(vec![b'r', writer as u8], value.clone());
                }
                let bytes = commit.bytes() as u64;
                assert!(matches!(kv.commit(commit).await, CommitOutcome::Done(_)));
                written.fetch_add(bytes, Ordering::Relaxed);
            }
        });
    }
    while writers.join_next().await.is_some() {}
    written.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// Points and bytes of log a second through the layer.
async fn layer_round(kv: &Arc<dyn Kv>, span: Duration) -> (f64, f64) {
    let options = StoreOptions {
        shards: 8,
        sharing: Sharing::Shared,
        seal_points: u64::MAX,
        head_points_max: u64::MAX,
        ..StoreOptions::default()
    };
    let store = Store::open(Arc::clone(kv), Arc::new(SystemClock::new()), options).await.unwrap();
    // Series are created before the clock starts.
    write(&store, batch(0, 0, SERIES)).await;
    let before = store.figures().flushes;
    let started = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            let mut step = 1;
            while started.elapsed() < span {
                write(&store, batch(writer, step, BATCH_POINTS)).await;
                step += 1;
            }
        });
    }
    while writers.join_next().await.is_some() {}
    let seconds = started.elapsed().as_secs_f64();
    let after = store.figures().flushes;
    store.close().await;
    ((after.points - before.points) as f64 / seconds, (after.bytes - before.bytes) as f64 / seconds)
}

async fn write(store: &Store, batch: PointBatch) {
    let outcome = store.write(batch).await;
    assert!(matches!(&outcome, WriteOutcome::Done(receipt) if receipt.refused.is_empty()), "{outcome:?}");
}

/// One point of each of `points` series of twenty metrics; values as counters and gauges have them.
fn batch(writer: usize, step: i64, points: usize) -> PointBatch {
    let mut builder = PointBatchBuilder::default();
    let mut noise = (writer as u64) << 32 | step.unsigned_abs();
    for series in 0..points {
        let (metric, host) = (format!("bench.m{}", series % 20), format!("h{}", series / 20));
        let at = 1_789_948_800_000 + (step * WRITERS as i64 + writer as i64) * 15_000;
        let value = match series % 2 {
            0 => Value::Int(step * 1_000 + (next(&mut noise) % 900) as i64),
            _ => Value::Float((next(&mut noise) % 10_000) as f64 / 100.0),
        };
        builder.push(&metric, &mut [("host", host.as_str())], at, value).unwrap();
    }
    builder.finish()
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
