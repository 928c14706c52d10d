//! Reads of metrics that have other values than points.

use std::sync::Arc;

use tidemark_model::{
    BoxFuture, MetricSpace, NameKind, PointColumns, ReadError, ReadLimits, ReadRequest, ReadStatistics, SeriesInfo,
    SeriesReader, SeriesSelector, SeriesSet, TimeRange, written_metric,
};

/// A reader that knows a metric when it has values of any kind: what it has none of is empty, and not unknown.
pub struct SpaceReader {
    points: Arc<dyn SeriesReader>,
}

impl SpaceReader {
    /// Reads from a store.
    #[must_use]
    pub fn new(points: Arc<dyn SeriesReader>) -> Self {
        Self { points }
    }

    /// Whether the store knows the metric in another space than that of the stored name.
    async fn has_other_values(&self, stored: &str, metric: &str) -> bool {
        let spaces = [MetricSpace::Histogram, MetricSpace::Aggregate].map(|space| space.stored_name(metric));
        let names = [metric.to_owned()].into_iter().chain(spaces);
        for name in names.filter(|name| name != stored) {
            let request = ReadRequest {
                selector: SeriesSelector::metric(name),
                range: TimeRange::new(0, 0),
                limits: ReadLimits { series_max: 1, ..ReadLimits::default() },
                rollup: None,
            };
            if !matches!(self.points.open(request).await, Err(ReadError::UnknownName { .. })) {
                return true;
            }
        }
        false
    }
}

impl SeriesReader for SpaceReader {
    fn open(&self, request: ReadRequest) -> BoxFuture<'_, Result<Box<dyn SeriesSet>, ReadError>> {
        Box::pin(async move {
            match self.points.open(request).await {
                Err(ReadError::UnknownName { kind: NameKind::Metric, name }) => {
                    let metric = written_metric(&name).to_owned();
                    match self.has_other_values(&name, &metric).await {
                        true => Ok(Box::new(NoSeries) as Box<dyn SeriesSet>),
                        false => Err(ReadError::UnknownName { kind: NameKind::Metric, name: metric }),
                    }
                }
                found => found,
            }
        })
    }
}

/// A set without a series.
struct NoSeries;

impl SeriesSet for NoSeries {
    fn series(&self) -> &[SeriesInfo] {
        &[]
    }

    fn read(&self, _index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
        columns.clear();
        Ok(())
    }

    fn statistics(&self) -> ReadStatistics {
        ReadStatistics::default()
    }
}
