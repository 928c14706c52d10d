//! Asking queries for the pages: texts in, aligned columns out.
//!
//! What one request asks takes one slot, has one deadline and may answer so many series and points in all. Whoever stops
//! waiting ends the evaluation at its next series, and the slot is free only when it has ended.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tidemark_dashboards::{GraphData, GraphQuery, GraphSeries, Unit, resolve_auto_downsample};
use tidemark_model::{Clock, MetadataStore, ReadError, ReadLimits, SeriesReader, TimestampMs};
use tidemark_query::{EvaluationControl, EvaluationLimits, GroupResult, ParseError, Query, QueryError, SubQuery, Tz};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::ConsoleSeams;
use crate::planning::plan;

/// Most queries of one graph.
pub(crate) const QUERIES_MAX: usize = 26;
/// Most series of one graph; a picture of more says nothing and costs the browser much.
const SERIES_MAX: usize = 1_000;
/// Most points of one graph before they are put on shared timestamps.
const POINTS_MAX: u64 = 2_000_000;
/// Most values of one graph, gaps included: timestamps times series.
const CELLS_MAX: usize = 5_000_000;

/// Asks queries, a few at a time, so that many open pages cannot starve the store.
#[derive(Clone)]
pub(crate) struct Asker {
    reader: Arc<dyn SeriesReader>,
    clock: Arc<dyn Clock>,
    metadata: Arc<dyn MetadataStore>,
    limits: ReadLimits,
    time_limit: Duration,
    slots: Arc<Semaphore>,
}

/// Why a graph could not be made.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// A text is no query or no time.
    #[error("{0}")]
    Text(#[from] ParseError),
    /// The store could not read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The evaluation failed.
    #[error("{0}")]
    Evaluate(#[from] QueryError),
    /// The graph is too large.
    #[error("{0}")]
    TooLarge(String),
    /// It took too long.
    #[error(
        "the query took longer than {} s; shorten its range, narrow its filters or raise `limits.query_time`",
        _0.as_secs_f64()
    )]
    TooSlow(Duration),
    /// No slot became free in time.
    #[error("other pages kept the store busy for {} s; try again", _0.as_secs_f64())]
    Busy(Duration),
    /// The server is ending.
    #[error("the server is ending")]
    Ending,
}

/// A range of time, with the texts it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start_ms: TimestampMs,
    pub(crate) end_ms: TimestampMs,
}

/// One request's turn: its slot, its deadline, and how much it may still answer.
struct Turn {
    slot: Arc<OwnedSemaphorePermit>,
    deadline: Instant,
    time_limit: Duration,
    series_left: usize,
    points_left: u64,
}

impl Asker {
    /// Asks the reader of these seams, for so many requests at one time.
    pub(crate) fn new(seams: &ConsoleSeams, slots: usize) -> Self {
        Self {
            reader: Arc::clone(&seams.reader),
            clock: Arc::clone(&seams.clock),
            metadata: Arc::clone(&seams.metadata),
            limits: seams.read_limits,
            time_limit: seams.query_time,
            slots: Arc::new(Semaphore::new(slots)),
        }
    }

    /// The window that two texts mean now.
    pub(crate) fn window(&self, from: &str, to: &str) -> Result<Window, AskError> {
        let now_ms = self.clock.now_ms();
        let end_ms = if to.is_empty() { now_ms } else { tidemark_query::parse_time(to, now_ms, Tz::UTC)? };
        let start_ms = tidemark_query::parse_time(from, now_ms, Tz::UTC)?;
        if end_ms < start_ms {
            return Err(ParseError::EndBeforeStart { start: start_ms, end: end_ms }.into());
        }
        Ok(Window { start_ms, end_ms })
    }

    /// The answer to the queries of a graph, on shared timestamps. `px` is the width of the picture, which `auto`
    /// downsampling follows.
    pub(crate) async fn graph(&self, queries: &[GraphQuery], window: Window, px: u32) -> Result<GraphData, AskError> {
        if queries.len() > QUERIES_MAX {
            return Err(AskError::TooLarge(format!(
                "{} queries in one graph, at most {QUERIES_MAX} are allowed",
                queries.len()
            )));
        }
        let mut turn = self.turn(SERIES_MAX).await?;
        let mut answers = Vec::new();
        for query in queries {
            let m = resolve_auto_downsample(&query.m, window.end_ms - window.start_ms, px);
            answers.push(self.answer(&m, window, &mut turn).await?);
        }
        let mut data = align(queries, &answers)?;
        drop((answers, turn));
        self.add_units(queries, &mut data).await;
        Ok(data)
    }

    /// Says what the values count, where that is known.
    async fn add_units(&self, queries: &[GraphQuery], data: &mut GraphData) {
        let mut known: HashMap<(usize, String), Unit> = HashMap::new();
        for series in &mut data.series {
            let key = (series.query, series.metric.clone());
            if let Some(unit) = known.get(&key) {
                series.unit = *unit;
                continue;
            }
            // A graph without units is better than none.
            let metadata = self.metadata.metadata(&series.metric).await.ok().flatten().unwrap_or_default();
            let sub_query = queries.get(series.query).and_then(|query| SubQuery::parse(&query.m).ok());
            let is_rate = sub_query.is_some_and(|sub_query| sub_query.rate.is_some());
            series.unit = Unit::from_metadata(&metadata.unit, is_rate);
            known.insert(key, series.unit);
        }
    }

    /// As [`Asker::graph`], but a metric that nobody ever wrote is no error: the graph is empty then.
    pub(crate) async fn graph_or_empty(
        &self,
        queries: &[GraphQuery],
        window: Window,
        px: u32,
    ) -> Result<GraphData, AskError> {
        match self.graph(queries, window, px).await {
            Err(AskError::Read(ReadError::UnknownName { .. })) => Ok(GraphData::default()),
            other => other,
        }
    }

    /// The groups of one query, none when nobody ever wrote its metric. `m` has no `auto`, and there may be any number
    /// of groups.
    pub(crate) async fn groups(&self, m: &str, window: Window) -> Result<Vec<GroupResult>, AskError> {
        let mut turn = self.turn(usize::MAX).await?;
        match self.answer(m, window, &mut turn).await {
            Err(AskError::Read(ReadError::UnknownName { .. })) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Waits for a slot.
    async fn turn(&self, series_max: usize) -> Result<Turn, AskError> {
        let deadline = Instant::now() + self.time_limit;
        let slot = timeout_at(deadline, Arc::clone(&self.slots).acquire_owned()).await;
        let slot = slot.map_err(|_| AskError::Busy(self.time_limit))?.map_err(|_| AskError::Ending)?;
        Ok(Turn {
            slot: Arc::new(slot),
            deadline,
            time_limit: self.time_limit,
            series_left: series_max,
            points_left: POINTS_MAX,
        })
    }

    async fn answer(&self, m: &str, window: Window, turn: &mut Turn) -> Result<Vec<GroupResult>, AskError> {
        let query = Query::new(window.start_ms, window.end_ms, vec![SubQuery::parse(m)?]);
        let (deadline, time_limit) = (turn.deadline, turn.time_limit);
        timeout_at(deadline, self.evaluate(query, turn)).await.map_err(|_| AskError::TooSlow(time_limit))?
    }

    /// # Cancel safety
    /// Dropping the future ends the evaluation at its next series.
    async fn evaluate(&self, query: Query, turn: &mut Turn) -> Result<Vec<GroupResult>, AskError> {
        let mut groups = Vec::new();
        for plan in plan(vec![query]).await? {
            let set = self.reader.open(plan.read_request(self.limits)).await?;
            let dropped = CancellationToken::new();
            let _ends_it = dropped.clone().drop_guard();
            let slot = Arc::clone(&turn.slot);
            let (series_left, points_left) = (turn.series_left, turn.points_left);
            let evaluated = tokio::task::spawn_blocking(move || {
                let _slot = slot;
                let cancelled = || dropped.is_cancelled();
                let limits = EvaluationLimits { result_points_max: points_left, ..EvaluationLimits::default() };
                let control = EvaluationControl { limits, cancelled: &cancelled };
                let mut groups = Vec::new();
                let done = plan.evaluate(set.as_ref(), &control, &mut |group| {
                    groups.push(group);
                    if groups.len() > series_left { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                done.map(|_| groups)
            });
            let of_plan = match evaluated.await.map_err(|_| AskError::Ending)? {
                Err(QueryError::TooManyResultPoints { .. }) => return Err(too_many_points()),
                other => other?,
            };
            turn.series_left = turn.series_left.checked_sub(of_plan.len()).ok_or_else(too_many_series)?;
            let points: usize = of_plan.iter().map(|group| group.timestamps.len()).sum();
            turn.points_left = turn.points_left.saturating_sub(points as u64);
            groups.extend(of_plan);
        }
        Ok(groups)
    }
}

fn too_many_series() -> AskError {
    AskError::TooLarge(format!(
        "the graph has more than {SERIES_MAX} series, which is as many as are drawn; narrow its filters or group less"
    ))
}

fn too_many_points() -> AskError {
    AskError::TooLarge(format!(
        "the graph has more than {POINTS_MAX} points; downsample, shorten its range or narrow its filters"
    ))
}

/// Puts all groups on the union of their timestamps.
fn align(queries: &[GraphQuery], answers: &[Vec<GroupResult>]) -> Result<GraphData, AskError> {
    let mut times_ms: Vec<TimestampMs> =
        answers.iter().flatten().flat_map(|group| group.timestamps.iter().copied()).collect();
    times_ms.sort_unstable();
    times_ms.dedup();
    let series: usize = answers.iter().map(Vec::len).sum();
    if times_ms.len().saturating_mul(series) > CELLS_MAX {
        return Err(AskError::TooLarge(format!(
            "the graph has {series} series on {} timestamps, which is more than {CELLS_MAX} values; downsample, so that \
             the series share their timestamps",
            times_ms.len()
        )));
    }
    let mut series = Vec::with_capacity(series);
    for (position, (query, groups)) in queries.iter().zip(answers).enumerate() {
        let mut of_query: Vec<_> = groups.iter().map(|group| graph_series(position, query, group, &times_ms)).collect();
        of_query.sort_by(|left, right| left.label.cmp(&right.label));
        series.extend(of_query);
    }
    Ok(GraphData { times_ms, series })
}

fn graph_series(position: usize, query: &GraphQuery, group: &GroupResult, times_ms: &[TimestampMs]) -> GraphSeries {
    let tags: BTreeMap<String, String> = group.tags.iter().cloned().collect();
    let label = query.label_tag.as_ref().and_then(|key| tags.get(key).cloned()).unwrap_or_else(|| label(group));
    let mut known = group.timestamps.iter().zip(group.values.iter()).peekable();
    let value_at = |time: &TimestampMs| {
        let (_, value) = known.next_if(|(timestamp, _)| *timestamp == time)?;
        Some(value.as_f64()).filter(|value| value.is_finite())
    };
    let values = times_ms.iter().map(value_at).collect();
    GraphSeries { query: position, metric: group.metric.clone(), tags, label, unit: Unit::None, values }
}

fn label(group: &GroupResult) -> String {
    let tags: Vec<_> = group.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if tags.is_empty() { group.metric.clone() } else { format!("{}{{{}}}", group.metric, tags.join(",")) }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use tidemark_model::{
        BoxFuture, DocumentError, ManualClock, MetricMetadata, PointColumns, ReadRequest, ReadStatistics, SeriesId,
        SeriesInfo, SeriesKey, SeriesSet, Tsuid, Value, ValueColumn,
    };
    use tidemark_query::Fill;

    use super::*;

    /// Series, each of which is read when something comes out of the gate.
    #[derive(Clone)]
    struct Gated {
        series: Arc<Vec<SeriesInfo>>,
        gate: Arc<Mutex<mpsc::Receiver<()>>>,
        reads: Arc<AtomicUsize>,
    }

    impl SeriesReader for Gated {
        fn open(&self, _: ReadRequest) -> BoxFuture<'_, Result<Box<dyn SeriesSet>, ReadError>> {
            Box::pin(async { Ok(Box::new(self.clone()) as Box<dyn SeriesSet>) })
        }
    }

    impl SeriesSet for Gated {
        fn series(&self) -> &[SeriesInfo] {
            &self.series
        }

        fn read(&self, _: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
            // A gate without anybody at it is open.
            self.gate.lock().unwrap().recv().unwrap_or(());
            self.reads.fetch_add(1, Ordering::SeqCst);
            columns.clear();
            columns.push(500_000, Value::Int(1));
            Ok(())
        }

        fn statistics(&self) -> ReadStatistics {
            ReadStatistics::default()
        }
    }

    struct NoMetadata;

    impl MetadataStore for NoMetadata {
        fn put_metadata(&self, _: Vec<MetricMetadata>) -> BoxFuture<'_, Result<(), DocumentError>> {
            Box::pin(async { Ok(()) })
        }

        fn metadata<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<MetricMetadata>, DocumentError>> {
            Box::pin(async { Ok(None) })
        }
    }

    /// Asks one request at a time of so many series, and whoever holds the sender keeps the gate.
    fn asker(series: u32, time_limit: Duration) -> (Asker, Gated, mpsc::SyncSender<()>) {
        let (keeper, gate) = mpsc::sync_channel(1);
        let info = |number: u32| SeriesInfo {
            id: SeriesId(u64::from(number)),
            key: SeriesKey::new("m", &[("host", format!("h{number:05}").as_str())]),
            tsuid: Tsuid::new(1, &[(1, number + 1)]),
        };
        let series = Arc::new((0..series).map(info).collect());
        let reader = Gated { series, gate: Arc::new(Mutex::new(gate)), reads: Arc::default() };
        let asker = Asker {
            reader: Arc::new(reader.clone()),
            clock: Arc::new(ManualClock::new(1_000_000)),
            metadata: Arc::new(NoMetadata),
            limits: ReadLimits::default(),
            time_limit,
            slots: Arc::new(Semaphore::new(1)),
        };
        (asker, reader, keeper)
    }

    const WINDOW: Window = Window { start_ms: 0, end_ms: 1_000_000 };

    fn by_host() -> GraphQuery {
        GraphQuery { m: "sum:m{host=*}".to_owned(), label_tag: None }
    }

    #[tokio::test]
    async fn an_evaluation_that_nobody_waits_for_ends_and_only_then_frees_its_slot() {
        let (asker, reader, keeper) = asker(50, Duration::from_millis(50));
        let late = asker.graph(&[by_host()], WINDOW, 800).await.unwrap_err();
        assert!(matches!(late, AskError::TooSlow(_)), "{late}");
        let refused = asker.graph(&[by_host()], WINDOW, 800).await.unwrap_err();
        assert!(matches!(refused, AskError::Busy(_)), "{refused}");
        drop(keeper);
        let slot = tokio::time::timeout(Duration::from_secs(10), asker.slots.acquire()).await;
        assert!(slot.is_ok(), "the slot is never free again");
        assert_eq!(reader.reads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn series_are_counted_over_all_queries_of_a_graph_and_while_they_come() {
        let (asker, reader, keeper) = asker(600, Duration::from_secs(60));
        drop(keeper);
        let data = asker.graph(&[by_host()], WINDOW, 800).await.unwrap();
        assert_eq!(data.series.len(), 600);
        let refused = asker.graph(&[by_host(), by_host(), by_host()], WINDOW, 800).await.unwrap_err();
        assert!(matches!(refused, AskError::TooLarge(_)), "{refused}");
        assert_eq!(reader.reads.load(Ordering::SeqCst), 600 + 600 + 401);
        assert_eq!(asker.groups("sum:m{host=*}", WINDOW).await.unwrap().len(), 600);
    }

    fn group(timestamps: Vec<TimestampMs>) -> GroupResult {
        GroupResult {
            metric: "m".to_owned(),
            tags: Vec::new(),
            aggregate_tags: Vec::new(),
            tsuids: Vec::new(),
            values: ValueColumn::Int(vec![1; timestamps.len()]),
            timestamps,
            fill: Fill::None,
        }
    }

    #[test]
    fn series_stand_on_the_union_of_their_timestamps() {
        let queries = [GraphQuery { m: "sum:m".to_owned(), label_tag: None }];
        let data = align(&queries, &[vec![group(vec![1, 3]), group(vec![2, 3])]]).unwrap();
        assert_eq!(data.times_ms, [1, 2, 3]);
        assert_eq!(data.series[0].values, [Some(1.0), None, Some(1.0)]);
        assert_eq!(data.series[1].values, [None, Some(1.0), Some(1.0)]);
    }

    #[test]
    fn series_that_share_no_timestamps_are_refused_before_the_memory_is_taken() {
        let queries = [GraphQuery { m: "sum:m".to_owned(), label_tag: None }];
        let apart = (0..1_000).map(|first| group((0..10).map(|step| first + step * 1_000).collect())).collect();
        let refused = align(&queries, &[apart]).unwrap_err().to_string();
        assert!(refused.contains("1000 series on 10000 timestamps") && refused.contains("downsample"), "{refused}");
    }
}
