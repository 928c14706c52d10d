//! Reads of metrics that have other values than points.

use std::sync::Arc;

use tidemark_model::{
    BoxFuture, MetricSpace, NameKind, NoSeries, ReadError, ReadLimits, ReadRequest, RollupFunction, RollupRequest,
    SeriesReader, SeriesSelector, SeriesSet, TimeRange, WrittenRollup, written_metric,
};

use crate::{
    RollupIntervals,
    written_rollups::{WithRollups, WrittenValues},
};

/// A reader that knows a metric when it has values of any kind (what it has none of is empty, and not unknown), and that
/// answers buckets without points by rollups that somebody wrote.
pub struct SpaceReader {
    points: Arc<dyn SeriesReader>,
    intervals: RollupIntervals,
}

impl SpaceReader {
    /// Reads from a store to which rollups of these intervals may be written.
    #[must_use]
    pub fn new(points: Arc<dyn SeriesReader>, intervals: RollupIntervals) -> Self {
        Self { points, intervals }
    }

    async fn read(&self, request: ReadRequest) -> Result<Box<dyn SeriesSet>, ReadError> {
        let (points, unknown) = match self.points.open(request.clone()).await {
            Ok(points) => (Some(points), None),
            Err(ReadError::UnknownName { kind: NameKind::Metric, name }) => (None, Some(name)),
            Err(error) => return Err(error),
        };
        let written = self.written(&request, points.as_deref()).await?;
        match (points, unknown) {
            (Some(points), _) if written.is_empty() => Ok(points),
            (None, Some(name)) if written.is_empty() => self.unknown(&name).await,
            (points, _) => {
                let buckets = request.rollup.map(|rollup| rollup.buckets);
                let metric = metric_of(&request.selector).unwrap_or_default();
                Ok(Box::new(WithRollups::new(metric, points, written, buckets)))
            }
        }
    }

    /// The rollups that may answer, longest intervals first.
    async fn written(
        &self,
        request: &ReadRequest,
        points: Option<&dyn SeriesSet>,
    ) -> Result<Vec<WrittenValues>, ReadError> {
        let (Some(RollupRequest { function, buckets }), Some(metric)) = (&request.rollup, metric_of(&request.selector))
        else {
            return Ok(Vec::new());
        };
        let aggregators: &[&str] = match function {
            RollupFunction::Sum => &["SUM"],
            RollupFunction::Average => &["SUM", "COUNT"],
            RollupFunction::Smallest => &["MIN"],
            RollupFunction::Largest => &["MAX"],
            RollupFunction::Count => &["COUNT"],
            RollupFunction::First | RollupFunction::Last => return Ok(Vec::new()),
        };
        let mut limits = request.limits;
        points.into_iter().for_each(|points| limits = limits.after(points.statistics()));
        let mut written = Vec::new();
        for (interval, _) in self.intervals.iter().filter(|(_, millis)| buckets.are_made_of(*millis)) {
            let mut sets = Vec::new();
            for aggregator in aggregators {
                let Some(name) = rollup_name(&metric, interval, aggregator) else { return Ok(written) };
                let request = ReadRequest {
                    selector: with_metric(&request.selector, name),
                    range: request.range,
                    limits,
                    rollup: None,
                };
                match self.points.open(request).await {
                    Ok(set) => {
                        limits = limits.after(set.statistics());
                        sets.push(set);
                    }
                    Err(ReadError::UnknownName { .. }) => break,
                    Err(error) => return Err(error),
                }
            }
            let mut sets = sets.into_iter();
            match (sets.next(), sets.next()) {
                (Some(values), None) if aggregators.len() == 1 => written.push(WrittenValues::new(values, None)),
                (Some(values), counts @ Some(_)) => written.push(WrittenValues::new(values, counts)),
                _ => {}
            }
        }
        Ok(written)
    }

    /// Nothing, when the metric has values of another kind than those that were asked for.
    async fn unknown(&self, stored: &str) -> Result<Box<dyn SeriesSet>, ReadError> {
        let metric = written_metric(stored);
        let names = [metric.to_owned()].into_iter().chain(names_in_spaces(metric, &self.intervals));
        for name in names.filter(|name| name != stored) {
            let request = ReadRequest {
                selector: SeriesSelector::metric(name),
                range: TimeRange::new(0, 0),
                limits: ReadLimits { series_max: 1, ..ReadLimits::default() },
                rollup: None,
            };
            if !matches!(self.points.open(request).await, Err(ReadError::UnknownName { .. })) {
                return Ok(Box::new(NoSeries));
            }
        }
        Err(ReadError::UnknownName { kind: NameKind::Metric, name: metric.to_owned() })
    }
}

impl SeriesReader for SpaceReader {
    fn open(&self, request: ReadRequest) -> BoxFuture<'_, Result<Box<dyn SeriesSet>, ReadError>> {
        Box::pin(self.read(request))
    }
}

/// The stored names that a metric has in all spaces.
pub(crate) fn names_in_spaces<'a>(
    metric: &'a str,
    intervals: &'a RollupIntervals,
) -> impl Iterator<Item = String> + 'a {
    let spaces = [MetricSpace::Histogram, MetricSpace::Aggregate].map(|space| space.stored_name(metric));
    spaces.into_iter().chain(rollup_names(metric, intervals))
}

/// The stored names of all rollups of a metric.
pub(crate) fn rollup_names<'a>(metric: &'a str, intervals: &'a RollupIntervals) -> impl Iterator<Item = String> + 'a {
    intervals.iter().flat_map(move |(interval, _)| {
        crate::ROLLUP_AGGREGATORS.iter().filter_map(move |aggregator| rollup_name(metric, interval, aggregator))
    })
}

/// The stored name of the rollups of a metric, or of its pre-aggregates; `None` when there are none.
fn rollup_name(stored: &str, interval: &str, aggregator: &str) -> Option<String> {
    let rollup = WrittenRollup { interval: interval.to_owned(), aggregator: aggregator.to_owned() };
    let metric = written_metric(stored);
    if stored == metric {
        return Some(MetricSpace::Rollup(rollup).stored_name(metric));
    }
    (stored == MetricSpace::Aggregate.stored_name(metric))
        .then(|| MetricSpace::AggregateRollup(rollup).stored_name(metric))
}

pub(crate) fn metric_of(selector: &SeriesSelector) -> Option<String> {
    match selector {
        SeriesSelector::Tags { metric, .. } => metric.clone(),
        SeriesSelector::Tsuids(_) => None,
    }
}

/// The same of another metric.
pub(crate) fn with_metric(selector: &SeriesSelector, name: String) -> SeriesSelector {
    match selector.clone() {
        SeriesSelector::Tags { predicates, exact_keys, .. } => {
            SeriesSelector::Tags { metric: Some(name), predicates, exact_keys }
        }
        tsuids @ SeriesSelector::Tsuids(_) => tsuids,
    }
}
