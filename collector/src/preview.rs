//! Running one collector for people to look at.

use std::{sync::Arc, time::Duration};

use tidemark_model::{
    Clock, MetricMetadata, PointBatch, PointBatchBuilder, PointSink, SeriesKey, TimestampMs, Value, WriteOutcome,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    AgentError, AgentOptions, CollectorSource, DeliveryHandle, ExternalOptions, builtin,
    collector::Collector,
    context::Context,
    external::{self, Found, Limits},
    gathering::{Gathered, Gathering},
    host_files::HostFiles,
    listing::{self, scan_external},
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
/// An external collector that runs all the time is ended once it has been silent for a while, at the latest after
/// half a minute.
///
/// # Errors
/// [`AgentError::UnknownCollector`]: there is none of this name. [`AgentError::Directory`]: the directory of external
/// collectors cannot be read.
pub async fn preview(options: &AgentOptions, clock: &Arc<dyn Clock>, name: &str) -> Result<Preview, AgentError> {
    if let Some(make) = find_builtin(clock, name) {
        return Ok(preview_builtin(options, clock, make).await);
    }
    let owned = options.clone();
    let scanned = TaskTracker::new().spawn_blocking(move || scan_external(&owned)).await;
    let found = scanned.unwrap_or_else(|_| Ok(external::Scan::default()))?.found;
    match (found.get(name), &options.external) {
        (Some(found), Some(external)) => Ok(preview_external(options, external, clock, name, found).await),
        _ => {
            let known: Vec<&str> =
                listing::builtin_names().into_iter().chain(found.keys().map(String::as_str)).collect();
            Err(AgentError::UnknownCollector { name: name.to_owned(), known: known.join(", ") })
        }
    }
}

async fn preview_builtin(options: &AgentOptions, clock: &Arc<dyn Clock>, make: BoxedMaker) -> Preview {
    let (host_tags, clock) = (options.host_tags.clone(), Arc::clone(clock));
    let blocking = TaskTracker::new().spawn_blocking(move || {
        let started = clock.monotonic();
        let mut out = Gathering::new(&host_tags, clock.now_ms());
        let result = make().collect(&HostFiles::system(), &mut out);
        (out.finish(), result, clock.monotonic().saturating_sub(started))
    });
    match blocking.await {
        Ok((gathered, result, took)) => Preview::new(vec![gathered], took, result.err().map(|error| error.to_string())),
        Err(error) => Preview::new(Vec::new(), Duration::ZERO, Some(format!("the collector panicked: {error}"))),
    }
}

async fn preview_external(
    options: &AgentOptions,
    external: &ExternalOptions,
    clock: &Arc<dyn Clock>,
    name: &str,
    found: &Found,
) -> Preview {
    let (out, mut receiver) = DeliveryHandle::to_channel(PREVIEW_RUNS_MAX);
    let context = Arc::new(Context {
        host_tags: options.host_tags.clone(),
        files: HostFiles::system(),
        clock: Arc::clone(clock),
        board: Arc::default(),
        triggers: Arc::default(),
        tracker: TaskTracker::new(),
        out,
        seed: options.seed,
    });
    context.board.register(name, CollectorSource::External(found.path.clone()), found.interval);
    let limits = Limits {
        longest: Some(found.interval.unwrap_or(PREVIEW_LONGEST)),
        silence: found.interval.is_none().then_some(PREVIEW_SILENCE),
    };
    let started = clock.monotonic();
    let (board, stop) = (Arc::clone(&context.board), CancellationToken::new());
    let running = async move { external::run(&context, external, name, &found.path, limits, &stop).await };
    let receiving = async {
        let mut gathered = Vec::new();
        while let Some(more) = receiver.recv().await {
            gathered.push(more);
        }
        gathered
    };
    let (report, gathered) = tokio::join!(running, receiving);
    let refused = board.snapshot(clock.now_ms()).into_iter().find_map(|status| status.last_error);
    let problem = report.problem(found.interval.is_none()).or(refused);
    Preview::new(gathered, clock.monotonic().saturating_sub(started), problem)
}

/// Most pieces of output that wait to be put together.
const PREVIEW_RUNS_MAX: usize = 64;

/// Programs that run all the time print their points at once at their start, and then after their own interval.
const PREVIEW_SILENCE: Duration = Duration::from_secs(3);

/// For those that never are silent.
const PREVIEW_LONGEST: Duration = Duration::from_secs(30);

/// Runs a collector once and delivers what it gathered.
///
/// # Errors
/// As [`preview`]; what became of the points is in the outcome.
pub async fn run_once(
    options: &AgentOptions,
    clock: &Arc<dyn Clock>,
    name: &str,
    sink: &dyn PointSink,
) -> Result<(Preview, WriteOutcome), AgentError> {
    let preview = preview(options, clock, name).await?;
    let outcome = sink.write(preview.batch()).await;
    Ok((preview, outcome))
}

impl Preview {
    fn new(gathered: Vec<Gathered>, took: Duration, error: Option<String>) -> Self {
        let refused: u64 = gathered.iter().map(|gathered| gathered.refused).sum();
        let first = gathered.iter().find_map(|gathered| gathered.first_refusal.as_ref());
        let refusal = first.map(|first| format!("{refused} points refused, the first because of {first}"));
        let metadata: Vec<&MetricMetadata> = gathered.iter().flat_map(|gathered| &gathered.metadata).collect();
        let points = gathered.iter().flat_map(|gathered| {
            let metadata = &metadata;
            gathered.batch.points().map(move |point| {
                let series = gathered.batch.series_key(point.series);
                let known = metadata.iter().find(|entry| entry.metric == series.metric()).map(|&entry| entry.clone());
                PreviewPoint { series, timestamp: point.timestamp, value: point.value, metadata: known }
            })
        });
        Self { points: points.collect(), took, errors: error.into_iter().chain(refusal).collect() }
    }

    /// The points as a batch for a sink.
    fn batch(&self) -> PointBatch {
        let mut builder = PointBatchBuilder::default();
        for point in &self.points {
            let mut tags: Vec<(&str, &str)> = point.series.tags().collect();
            if let Err(error) = builder.push(point.series.metric(), &mut tags, point.timestamp, point.value) {
                tracing::error!(%error, series = %point.series, "a point that was valid is not any more");
            }
        }
        builder.finish()
    }
}

type BoxedMaker = Box<dyn FnOnce() -> Box<dyn Collector> + Send>;

fn find_builtin(clock: &Arc<dyn Clock>, name: &str) -> Option<BoxedMaker> {
    if name == own_metrics::NAME {
        let clock = Arc::clone(clock);
        return Some(Box::new(move || Box::new(OwnMetrics { counters: Arc::default(), board: Arc::default(), clock })));
    }
    let make = builtin::MAKERS.iter().copied().find(|make| make().name() == name)?;
    Some(Box::new(make))
}
