//! Running one collector for people to look at.

use std::{sync::Arc, time::Duration};

use tidemark_model::{Clock, MetricMetadata, PointBatch, PointSink, SeriesKey, TimestampMs, Value, WriteOutcome};
use tokio_util::task::TaskTracker;

use crate::{
    AgentError, AgentOptions, builtin,
    collector::Collector,
    gathering::{Gathered, Gathering},
    host_files::HostFiles,
    listing,
    own_metrics::{self, OwnMetrics},
};

/// What one run of a collector gathered.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// Its points, in the order in which it gathered them.
    pub points: Vec<PreviewPoint>,
    /// How long it took.
    pub took: Duration,
    /// What went wrong; the points are there all the same.
    pub errors: Vec<String>,
    batch: PointBatch,
}

/// A point and what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct PreviewPoint {
    /// Metric and tags.
    pub series: SeriesKey,
    /// When, in milliseconds since the epoch.
    pub timestamp: TimestampMs,
    /// What.
    pub value: Value,
    /// Unit, kind and description, where the collector states them.
    pub metadata: Option<MetricMetadata>,
}

/// Runs a collector once and returns what it would send. Nothing is sent.
///
/// # Errors
/// [`AgentError::UnknownCollector`]: there is none of this name.
pub async fn preview(options: &AgentOptions, clock: &Arc<dyn Clock>, name: &str) -> Result<Preview, AgentError> {
    let make = find_builtin(clock, name)?;
    let (host_tags, clock) = (options.host_tags.clone(), Arc::clone(clock));
    let blocking = TaskTracker::new().spawn_blocking(move || {
        let started = clock.monotonic();
        let mut out = Gathering::new(&host_tags, clock.now_ms());
        let result = make().collect(&HostFiles::system(), &mut out);
        (out.finish(), result, clock.monotonic().saturating_sub(started))
    });
    Ok(match blocking.await {
        Ok((gathered, result, took)) => Preview::new(gathered, took, result.err().map(|error| error.to_string())),
        Err(error) => {
            let error = format!("the collector panicked: {error}");
            Preview::new(Gathered::default(), Duration::ZERO, Some(error))
        }
    })
}

/// Runs a collector once and delivers what it gathered.
///
/// # Errors
/// [`AgentError::UnknownCollector`]: there is none of this name.
pub async fn run_once(
    options: &AgentOptions,
    clock: &Arc<dyn Clock>,
    name: &str,
    sink: &dyn PointSink,
) -> Result<(Preview, WriteOutcome), AgentError> {
    let preview = preview(options, clock, name).await?;
    let outcome = sink.write(preview.batch.clone()).await;
    Ok((preview, outcome))
}

impl Preview {
    pub(crate) fn new(gathered: Gathered, took: Duration, error: Option<String>) -> Self {
        let refused = gathered
            .first_refusal
            .as_ref()
            .map(|first| format!("{} points refused, the first because of {first}", gathered.refused));
        let points = gathered.batch.points().map(|point| {
            let series = gathered.batch.series_key(point.series);
            let metadata = gathered.metadata.iter().find(|entry| entry.metric == series.metric()).cloned();
            PreviewPoint { series, timestamp: point.timestamp, value: point.value, metadata }
        });
        Self {
            points: points.collect(),
            took,
            errors: error.into_iter().chain(refused).collect(),
            batch: gathered.batch,
        }
    }
}

type BoxedMaker = Box<dyn FnOnce() -> Box<dyn Collector> + Send>;

fn find_builtin(clock: &Arc<dyn Clock>, name: &str) -> Result<BoxedMaker, AgentError> {
    if name == own_metrics::NAME {
        let clock = Arc::clone(clock);
        return Ok(Box::new(move || Box::new(OwnMetrics { counters: Arc::default(), board: Arc::default(), clock })));
    }
    match builtin::MAKERS.iter().copied().find(|make| make().name() == name) {
        Some(make) => Ok(Box::new(make)),
        None => Err(AgentError::UnknownCollector { name: name.to_owned(), known: listing::builtin_names().join(", ") }),
    }
}
