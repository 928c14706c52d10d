//! What is in the index.

use thiserror::Error;

use crate::{BoxFuture, Cardinality, NameKind, Point, ReadError, SeriesInfo, SeriesSelector, TimestampMs};

/// Answers about names and series, from the index alone.
pub trait SeriesCatalog: Send + Sync {
    /// At most `max` names of a kind that start with `prefix`, in byte order. Prefixes are case-sensitive.
    fn suggest<'a>(
        &'a self,
        kind: NameKind,
        prefix: &'a str,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, CatalogError>>;

    /// The series of a selector in order of their canonical key, `limit` of them from `offset`, and how many there are.
    fn lookup<'a>(
        &'a self,
        selector: &'a SeriesSelector,
        offset: usize,
        limit: usize,
    ) -> BoxFuture<'a, Result<SeriesPage, CatalogError>>;

    /// The newest point of each series of a selector that has one at or after `not_before`.
    fn last<'a>(
        &'a self,
        selector: &'a SeriesSelector,
        not_before: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<LastPoint>, CatalogError>>;

    /// How many series there are, and the `top` metrics, tag keys and tags with the most.
    fn cardinality(&self, top: usize) -> BoxFuture<'_, Result<Cardinality, CatalogError>>;
}

/// A page of series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesPage {
    /// How many series the selector has in all.
    pub total: usize,
    /// Those of this page.
    pub series: Vec<SeriesInfo>,
}

/// The newest point of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct LastPoint {
    /// The series.
    pub series: SeriesInfo,
    /// Its newest point.
    pub point: Point,
}

/// Why the index could not answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(transparent)]
pub struct CatalogError(#[from] pub ReadError);
