//! The store of this process.

use std::sync::Arc;

use anyhow::Context;
use tidemark_kv::{Kv, RedbKv, RedbOptions};
use tidemark_model::Clock;
use tidemark_tsdb::{Store, StoreOptions};

use super::DataFolder;
use crate::config::{LimitSettings, Settings, StoreUrl};

/// Opens the engine and the store on it; replays its log.
pub(crate) async fn open(
    settings: &Settings,
    folder: &DataFolder,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<(Store, Arc<RedbKv>)> {
    let StoreUrl::Embedded = settings.store;
    let path = folder.file("store.redb");
    let shown = path.display().to_string();
    let kv = tokio::task::spawn_blocking(move || RedbKv::open(&path, RedbOptions::default())).await?;
    let engine = Arc::new(kv.with_context(|| format!("open the store {shown}"))?);
    let kv: Arc<dyn Kv> = Arc::clone(&engine) as _;
    let store = Store::open(kv, Arc::clone(clock), store_options(&settings.limits)).await;
    Ok((store.with_context(|| format!("open the store {shown}"))?, engine))
}

fn store_options(limits: &LimitSettings) -> StoreOptions {
    StoreOptions {
        series_max: limits.series,
        series_per_metric_max: limits.series_per_metric,
        new_series_per_minute_max: limits.new_series_per_minute,
        future_max: limits.future.0,
        head_points_max: limits.head_points,
        queued_points_max: limits.queued_points,
        ..StoreOptions::default()
    }
}
