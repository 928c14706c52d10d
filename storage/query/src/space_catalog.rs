//! Names and series of metrics that have other values than points.

use std::sync::Arc;

use tidemark_model::{
    BoxFuture, Cardinality, CatalogError, HISTOGRAM_PART_KEY, HistogramPart, LastPoint, MetricSpace, NameKind,
    ReadError, SeriesCatalog, SeriesInfo, SeriesKey, SeriesPage, SeriesSelector, TagMatch, TagPredicate, TimestampMs,
    is_reserved, written_metric,
};

use crate::{
    RollupIntervals,
    space_reader::{metric_of, names_in_spaces},
};

/// A catalogue that lists histograms under the names that they were written with. Where a metric has points, too, its
/// series are those of the points. A metric without points has no last one, and is not unknown, when it has other values.
pub struct SpaceCatalog {
    points: Arc<dyn SeriesCatalog>,
    intervals: RollupIntervals,
}

impl SpaceCatalog {
    /// The catalogue of a store to which rollups of these intervals may be written.
    #[must_use]
    pub fn new(points: Arc<dyn SeriesCatalog>, intervals: RollupIntervals) -> Self {
        Self { points, intervals }
    }

    async fn suggest_all(&self, kind: NameKind, prefix: &str, max: usize) -> Result<Vec<String>, CatalogError> {
        let mut names = self.points.suggest(kind, prefix, max).await?;
        if kind == NameKind::Metric && !is_reserved(prefix) {
            let of_histograms = self.points.suggest(kind, &MetricSpace::Histogram.stored_name(prefix), max).await?;
            names.extend(of_histograms.iter().map(|name| written_metric(name).to_owned()));
            names.sort_unstable();
            names.dedup();
            names.truncate(max);
        }
        Ok(names)
    }

    async fn lookup_all(
        &self,
        selector: &SeriesSelector,
        offset: usize,
        limit: usize,
    ) -> Result<SeriesPage, CatalogError> {
        let unknown = match self.points.lookup(selector, offset, limit).await {
            Err(CatalogError(unknown @ ReadError::UnknownName { kind: NameKind::Metric, .. })) => unknown,
            found => return found,
        };
        let Some(of_histograms) = histograms(selector) else { return Err(CatalogError(unknown)) };
        match self.points.lookup(&of_histograms, offset, limit).await {
            Ok(SeriesPage { total, series }) => {
                Ok(SeriesPage { total, series: series.into_iter().map(as_written).collect() })
            }
            Err(CatalogError(ReadError::UnknownName { kind: NameKind::Metric, .. })) => Err(CatalogError(unknown)),
            Err(error) => Err(error),
        }
    }

    async fn last_all(
        &self,
        selector: &SeriesSelector,
        not_before: TimestampMs,
    ) -> Result<Vec<LastPoint>, CatalogError> {
        let unknown = match self.points.last(selector, not_before).await {
            Err(CatalogError(unknown @ ReadError::UnknownName { kind: NameKind::Metric, .. })) => unknown,
            found => return found,
        };
        let Some(metric) = metric_of(selector) else { return Err(CatalogError(unknown)) };
        for name in names_in_spaces(&metric, &self.intervals) {
            match self.points.lookup(&SeriesSelector::metric(name), 0, 0).await {
                Err(CatalogError(ReadError::UnknownName { .. })) => {}
                found => return found.map(|_| Vec::new()),
            }
        }
        Err(CatalogError(unknown))
    }
}

impl SeriesCatalog for SpaceCatalog {
    fn suggest<'a>(
        &'a self,
        kind: NameKind,
        prefix: &'a str,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, CatalogError>> {
        Box::pin(self.suggest_all(kind, prefix, max))
    }

    fn lookup<'a>(
        &'a self,
        selector: &'a SeriesSelector,
        offset: usize,
        limit: usize,
    ) -> BoxFuture<'a, Result<SeriesPage, CatalogError>> {
        Box::pin(self.lookup_all(selector, offset, limit))
    }

    fn last<'a>(
        &'a self,
        selector: &'a SeriesSelector,
        not_before: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<LastPoint>, CatalogError>> {
        Box::pin(self.last_all(selector, not_before))
    }

    fn cardinality(&self, top: usize) -> BoxFuture<'_, Result<Cardinality, CatalogError>> {
        self.points.cardinality(top)
    }
}

/// One series for each series of histograms that is selected.
fn histograms(selector: &SeriesSelector) -> Option<SeriesSelector> {
    let metric = metric_of(selector).filter(|metric| !is_reserved(metric))?;
    let SeriesSelector::Tags { predicates, exact_keys, .. } = selector.clone() else { return None };
    let exact_keys = exact_keys && !predicates.is_empty();
    let matches = TagMatch::OneOf(vec![HistogramPart::Shape.tag_value()]);
    let part = TagPredicate { key: HISTOGRAM_PART_KEY.to_owned(), matches };
    let predicates = predicates.into_iter().chain([part]).collect();
    Some(SeriesSelector::Tags { metric: Some(MetricSpace::Histogram.stored_name(&metric)), predicates, exact_keys })
}

fn as_written(info: SeriesInfo) -> SeriesInfo {
    let tags: Vec<_> = info.key.tags().filter(|(key, _)| !is_reserved(key)).collect();
    let key = SeriesKey::new(written_metric(info.key.metric()), &tags);
    SeriesInfo { key, ..info }
}
