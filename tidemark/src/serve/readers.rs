//! How this process reads and deletes what metrics have beside points, too.

use std::sync::Arc;

use tidemark_model::{PointDeleter, SeriesCatalog, SeriesReader};
use tidemark_query::{SpaceCatalog, SpaceDeleter, SpaceReader};
use tidemark_tsdb::Store;

use super::api_options::rollup_intervals;
use crate::config::Settings;

/// Reads points, and the other values that metrics have.
pub(crate) fn space_reader(settings: &Settings, store: &Store) -> Arc<dyn SeriesReader> {
    Arc::new(SpaceReader::new(Arc::new(store.clone()), rollup_intervals(settings)))
}

/// Deletes points, and the rollups that would answer in their place.
pub(crate) fn space_deleter(settings: &Settings, store: &Store) -> Arc<dyn PointDeleter> {
    Arc::new(SpaceDeleter::new(Arc::new(store.clone()), rollup_intervals(settings)))
}

/// Lists series of points, and those of histograms.
pub(crate) fn space_catalog(settings: &Settings, store: &Store) -> Arc<dyn SeriesCatalog> {
    Arc::new(SpaceCatalog::new(Arc::new(store.clone()), rollup_intervals(settings)))
}
