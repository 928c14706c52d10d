//! Asking queries for the pages: texts in, aligned columns out.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tidemark_dashboards::{GraphData, GraphQuery, GraphSeries, Unit, resolve_auto_downsample};
use tidemark_model::{Clock, MetadataStore, ReadError, ReadLimits, SeriesReader, TimestampMs};
use tidemark_query::{EvaluationControl, EvaluationLimits, GroupResult, ParseError, Query, QueryError, SubQuery, Tz};
use tokio::sync::Semaphore;

use super::ConsoleSeams;

/// Most queries of one graph.
pub(crate) const QUERIES_MAX: usize = 26;
/// Most series of one graph; a picture of more says nothing and costs the browser much.
const SERIES_MAX: usize = 1_000;
/// How long one graph may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Asks queries, a few at a time, so that many open pages cannot starve the store.
#[derive(Clone)]
pub(crate) struct Asker {
    reader: Arc<dyn SeriesReader>,
    clock: Arc<dyn Clock>,
    metadata: Arc<dyn MetadataStore>,
    limits: ReadLimits,
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
    #[error("the query took longer than {} s; shorten its range or narrow its filters", TIME_LIMIT.as_secs())]
    TooSlow,
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

impl Asker {
    /// Asks the reader of these seams, so many queries at one time.
    pub(crate) fn new(seams: &ConsoleSeams, slots: usize) -> Self {
        Self {
            reader: Arc::clone(&seams.reader),
            clock: Arc::clone(&seams.clock),
            metadata: Arc::clone(&seams.metadata),
            limits: seams.read_limits,
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
        let mut answers = Vec::new();
        for query in queries {
            let m = resolve_auto_downsample(&query.m, window.end_ms - window.start_ms, px);
            answers.push(self.groups(&m, window).await?);
        }
        let series: usize = answers.iter().map(Vec::len).sum();
        if series > SERIES_MAX {
            return Err(AskError::TooLarge(format!(
                "the graph has {series} series, at most {SERIES_MAX} are drawn; narrow its filters or group less"
            )));
        }
        let mut data = align(queries, &answers);
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

    /// The groups of one query; `m` has no `auto` any more.
    pub(crate) async fn groups(&self, m: &str, window: Window) -> Result<Vec<GroupResult>, AskError> {
        let query = Query::new(window.start_ms, window.end_ms, vec![SubQuery::parse(m)?]);
        let _slot = self.slots.acquire().await.map_err(|_| AskError::Ending)?;
        tokio::time::timeout(TIME_LIMIT, self.evaluate(query)).await.map_err(|_| AskError::TooSlow)?
    }

    async fn evaluate(&self, query: Query) -> Result<Vec<GroupResult>, AskError> {
        let mut groups = Vec::new();
        for plan in query.plan()? {
            let set = self.reader.open(plan.read_request(self.limits)).await?;
            let evaluated = tokio::task::spawn_blocking(move || {
                let limits = EvaluationLimits { result_points_max: 2_000_000, ..EvaluationLimits::default() };
                let mut groups = Vec::new();
                let control = EvaluationControl { limits, ..EvaluationControl::default() };
                let done = plan.evaluate(set.as_ref(), &control, &mut |group| {
                    groups.push(group);
                    std::ops::ControlFlow::Continue(())
                });
                done.map(|_| groups)
            });
            groups.extend(evaluated.await.map_err(|_| AskError::Ending)??);
        }
        Ok(groups)
    }
}

/// Puts all groups on the union of their timestamps.
fn align(queries: &[GraphQuery], answers: &[Vec<GroupResult>]) -> GraphData {
    let mut times_ms: Vec<TimestampMs> =
        answers.iter().flatten().flat_map(|group| group.timestamps.iter().copied()).collect();
    times_ms.sort_unstable();
    times_ms.dedup();
    let mut series = Vec::new();
    for (position, (query, groups)) in queries.iter().zip(answers).enumerate() {
        let mut of_query: Vec<_> = groups.iter().map(|group| graph_series(position, query, group, &times_ms)).collect();
        of_query.sort_by(|left, right| left.label.cmp(&right.label));
        series.extend(of_query);
    }
    GraphData { times_ms, series }
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
