//! What a day of a monitored host takes in pages of the engine once it is compacted, without rollups and with.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

#[expect(dead_code, reason = "the tests of the codec use all of it")]
#[path = "codec/sample_series.rs"]
mod sample_series;

use std::sync::Arc;

use sample_series::{INTERVAL_S, METRICS, SampleSeries};
use tidemark_kv::{KeyRange, Kv, MemoryKv, RangeLimit};
use tidemark_model::{Clock, ManualClock, PointBatchBuilder, PointSink, WriteOutcome};
use tidemark_tsdb::{RollupInterval, SealReason, Store, StoreOptions};

const START: i64 = 1_789_948_800_000;
/// Ten hosts of twenty metrics, as series of one metric, so that groups are full as those of hundreds of hosts are.
const SERIES: usize = 200;
/// The smallest page, and what the engine has around an entry, at most.
const PAGE: usize = 4096;
const ENGINE_BYTES: usize = 100;
const STEPS: i64 = 24 * 3600 / INTERVAL_S;

async fn compacted(rollup_intervals: Vec<RollupInterval>) -> (Arc<dyn Kv>, Store) {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let clock = Arc::new(ManualClock::new(START + 26 * 3_600_000));
    let options = StoreOptions { rollup_intervals, ..StoreOptions::default() };
    let store = Store::open(Arc::clone(&kv), clock as Arc<dyn Clock>, options).await.unwrap();
    let names: Vec<String> = (0..SERIES).map(|number| format!("h{number:03}")).collect();
    let kind = |number: usize| METRICS[number % METRICS.len()];
    let mut series: Vec<_> = (0..SERIES).map(|number| SampleSeries::new(kind(number), number as u64)).collect();
    for first in (0..STEPS).step_by(96) {
        let mut builder = PointBatchBuilder::default();
        for step in first..first + 96 {
            for (name, series) in names.iter().zip(&mut series) {
                let at = START + step * INTERVAL_S * 1000;
                builder.push("host.metric", &mut [("series", name.as_str())], at, series.next()).unwrap();
            }
        }
        assert!(matches!(store.write(builder.finish()).await, WriteOutcome::Done(_)));
    }
    store.seal(SealReason::Requested).await.unwrap();
    (kv, store)
}

/// Bytes that the embedded engine takes for the blocks, rollups and directories of a store, whose pages have 4 KiB times a
/// power of two.
async fn page_bytes(kv: &dyn Kv) -> usize {
    let snapshot = kv.snapshot().await.unwrap();
    let mut bytes = 0;
    for prefix in *b"BDRY" {
        let page = snapshot
            .range(KeyRange::prefix(&[prefix]), RangeLimit { entries: 100_000, bytes: 1 << 30, reverse: false })
            .await
            .unwrap();
        assert!(!page.more);
        for (key, value) in &page.entries {
            let entry = key.len() + value.len() + ENGINE_BYTES;
            bytes += if entry < PAGE / 2 { entry * 3 / 2 } else { PAGE * entry.div_ceil(PAGE).next_power_of_two() };
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_day_takes_a_byte_and_a_half_a_point_and_rollups_a_twentieth_of_that() {
    let points = (SERIES as i64 * STEPS) as f64;
    for (intervals, most) in [(Vec::new(), 1.54), (vec![RollupInterval::HOUR], 1.65)] {
        let (kv, store) = compacted(intervals).await;
        let figures = store.figures();
        assert_eq!((figures.seals.compactions, figures.block_points), (1, points as u64));
        let in_pages = page_bytes(kv.as_ref()).await as f64;
        println!(
            "{:.4} B/pt in groups of blocks, {:.4} in rollups ({:.2} B/row), {:.4} in pages",
            figures.block_bytes as f64 / points,
            figures.rollup_bytes as f64 / points,
            figures.rollup_bytes as f64 / figures.rollup_rows.max(1) as f64,
            in_pages / points
        );
        assert!(in_pages / points <= most, "{} bytes a point", in_pages / points);
        store.close().await;
    }
}
