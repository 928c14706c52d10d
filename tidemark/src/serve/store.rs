//! The store of this process.

use std::sync::Arc;

use anyhow::Context;
use tidemark_kv::{Kv, RedbKv, RedbOptions};
use tidemark_model::{Clock, DocumentError, DocumentStore, ExpectedVersion};
use tidemark_tsdb::{Retention, RetentionRule, RollupInterval, Sharing, Store, StoreOptions};
use uuid::Uuid;

use super::{DataFolder, cluster};
use crate::config::{RetentionRuleSettings, RetentionSettings, Settings, StoreUrl};

/// The embedded store in the data folder.
pub(crate) const FILE: &str = "store.redb";
/// Shards of a new store that several processes use.
const SHARDS_IN_A_CLUSTER: u16 = 8;
/// Where a store that several processes use keeps its id.
const ID_COLLECTION: &str = "store";
const ID: &str = "id";
/// Free bytes below which a file is not compacted.
const FREE_BYTES_MIN: u64 = 256 << 20;

/// Opens the engine and the store on it; replays its log.
pub(crate) async fn open(
    settings: &Settings,
    folder: Option<&DataFolder>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<(Store, Arc<dyn Kv>)> {
    let options = store_options(settings);
    let context = || format!("open the store {}", shown(settings, folder));
    let (engine, file, options) = match &settings.store {
        StoreUrl::Embedded => {
            let file = Arc::new(open_file(folder).await.with_context(context)?);
            (Arc::clone(&file) as Arc<dyn Kv>, Some(file), options)
        }
        StoreUrl::Fdb(store) => {
            let engine = cluster::open(store).with_context(context)?;
            let shards = store.shards.unwrap_or(SHARDS_IN_A_CLUSTER);
            (engine, None, StoreOptions { shards, sharing: Sharing::Shared, ..options })
        }
    };
    // A store that exists keeps its number, also one that a backup brought here from the other engine.
    let stored = Store::stored_shards(engine.as_ref()).await.with_context(context)?;
    let options = StoreOptions { shards: stored.unwrap_or(options.shards), ..options };
    let store = Store::open(Arc::clone(&engine), Arc::clone(clock), options).await.with_context(context)?;
    if let Some(file) = file {
        compact_if_worth_it(&store, &file).await;
    }
    Ok((store, engine))
}

fn shown(settings: &Settings, folder: Option<&DataFolder>) -> String {
    match folder.filter(|_| settings.store == StoreUrl::Embedded) {
        Some(folder) => folder.file(FILE).display().to_string(),
        None => settings.store.to_string(),
    }
}

/// Gives the space of deleted and expired points back, at the only moment when nobody reads or writes: a compaction takes
/// both from everybody, and the free pages of a file are used again before it grows.
async fn compact_if_worth_it(store: &Store, file: &RedbKv) {
    let figures = store.figures();
    let used = figures.block_bytes + figures.rollup_bytes + figures.log_bytes;
    let Some(bytes) = figures.disk_bytes.filter(|&bytes| is_mostly_free(bytes, used)) else { return };
    tracing::info!(bytes, used, "more than half of the file of the store is free; compacting it");
    match file.compact().await {
        Ok(_) => tracing::info!(before = bytes, after = file.disk_bytes(), "compacted the file of the store"),
        // The file is as good as before.
        Err(error) => tracing::warn!(%error, "the file of the store was not compacted"),
    }
}

/// Whether less than half of a file is used, and so much is free that it matters. What is used is what its blocks and its
/// log have, and a quarter more for everything else and for pages that are not full.
fn is_mostly_free(bytes: u64, used: u64) -> bool {
    let used = used.saturating_add(used / 4);
    let free = bytes.saturating_sub(used);
    free >= FREE_BYTES_MIN && free > bytes / 2
}

async fn open_file(folder: Option<&DataFolder>) -> anyhow::Result<RedbKv> {
    let path = folder.context("an embedded store needs a data folder")?.file(FILE);
    let kv = tokio::task::spawn_blocking(move || RedbKv::open(&path, RedbOptions::default())).await?;
    Ok(kv?)
}

/// The id of the store, for those who keep something for it elsewhere: in the data folder of an embedded store, in the
/// store itself when others use it as well.
pub(crate) async fn id(folder: Option<&DataFolder>, store: &Store) -> anyhow::Result<String> {
    match folder {
        Some(folder) => folder.store_id(),
        None => shared_id(store).await.context("read or make the id of the store"),
    }
}

async fn shared_id(store: &Store) -> anyhow::Result<String> {
    let made = Uuid::now_v7().to_string();
    match store.put(ID_COLLECTION, ID, ExpectedVersion::Absent, made.clone().into_bytes()).await {
        Ok(_) => return Ok(made),
        Err(DocumentError::Conflict { .. } | DocumentError::Unknown { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let known = store.get(ID_COLLECTION, ID).await?.context("it was there a moment ago and is gone")?;
    Ok(String::from_utf8(known.bytes)?)
}

fn retention_of(settings: &RetentionSettings) -> Retention {
    let RetentionSettings { keep, keep_rollups, rules } = settings;
    let rules = rules.iter().map(|RetentionRuleSettings { metric, keep, keep_rollups }| RetentionRule {
        metric: metric.clone(),
        keep: keep.map(|span| span.0),
        keep_rollups: keep_rollups.map(|span| span.0),
    });
    let (default, default_rollups) = (keep.map(|span| span.0), keep_rollups.map(|span| span.0));
    Retention { rules: rules.collect(), default, default_rollups }
}

fn store_options(settings: &Settings) -> StoreOptions {
    let Settings { limits, rollups, retention, .. } = settings;
    StoreOptions {
        series_max: limits.series,
        series_per_metric_max: limits.series_per_metric,
        new_series_per_minute_max: limits.new_series_per_minute,
        future_max: limits.future.0,
        head_points_max: limits.head_points,
        tombstones_max: limits.tombstones,
        retention: retention_of(retention),
        queued_points_max: limits.queued_points,
        rollup_intervals: rollups
            .intervals
            .iter()
            .filter_map(|interval| RollupInterval::new(interval.0).ok())
            .collect(),
        merge_bytes_max: limits.merge_bytes.0,
        ..StoreOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_compacted_when_more_than_half_of_it_is_free_and_that_is_much() {
        const GIBIBYTE: u64 = 1 << 30;
        assert!(is_mostly_free(4 * GIBIBYTE, GIBIBYTE));
        assert!(!is_mostly_free(4 * GIBIBYTE, 2 * GIBIBYTE));
        assert!(!is_mostly_free(200 << 20, 0));
        assert!(!is_mostly_free(GIBIBYTE, u64::MAX));
    }
}
