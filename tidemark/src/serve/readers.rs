//! How this process reads its store.

use std::sync::Arc;

use tidemark_model::SeriesReader;
use tidemark_query::SpaceReader;
use tidemark_tsdb::Store;

/// Reads points, and the other values that metrics have.
pub(crate) fn space_reader(store: &Store) -> Arc<dyn SeriesReader> {
    Arc::new(SpaceReader::new(Arc::new(store.clone())))
}
