//! How an expression is answered: its series are opened, then it is evaluated on a blocking thread.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use tidemark_model::{
    NameKind, ReadError, ReadLimits, ReadRequest, SeriesInfo, SeriesSelector, SeriesSet, is_reserved,
};
use tidemark_promql::{Control, MetricChoice, Query, QueryError, SelectedSeries, SeriesRead, Statistics};
use tidemark_query::EvaluationStatistics;

use super::{
    answer::{self, JSON},
    error::{PrometheusError, of_query},
    listing,
};
use crate::{
    error::ApiError,
    opentsdb::query_run::{Answer, ChannelSink, Run, Turn},
    queries::{Asked, ClientIdentity},
    state::AppState,
};

/// A query that is to be answered.
pub(super) struct Job {
    pub(super) query: Query,
    /// Its moment, when it has one.
    pub(super) time: i64,
    /// Series that are shown.
    pub(super) limit: Option<usize>,
    /// How long it may take.
    pub(super) timeout: Option<Duration>,
    /// As the list of running queries shows it.
    pub(super) described: Value,
}

/// The series of one selector.
struct Part {
    read: SeriesRead,
    sets: Vec<Box<dyn SeriesSet>>,
}

struct PrometheusAnswer {
    query: Query,
    parts: Vec<Part>,
    time: i64,
    limit: Option<usize>,
}

/// Waits for a turn, reads, evaluates and answers.
pub(super) async fn answer(
    request: &HttpRequest,
    state: &Arc<AppState>,
    endpoint: &'static str,
    job: Job,
) -> Result<HttpResponse, PrometheusError> {
    let Job { query, time, limit, timeout, described } = job;
    let (reads, parts_max) = (query.reads(), state.options.limits.query_parts);
    if reads.len() > parts_max {
        let found = reads.len();
        return Err(PrometheusError::bad_data(format!(
            "the expression has {found} selectors, at most {parts_max} are allowed; see `limits.query_parts`"
        )));
    }
    let asked = Asked::new(ClientIdentity::of(request), endpoint, described);
    let mut turn = Turn::wait(state, asked).await?;
    if let Some(timeout) = timeout {
        turn = turn.within(timeout);
    }
    let parts = turn.in_time(open(state, &turn, reads)).await?;
    Ok(turn.answer(PrometheusAnswer { query, parts, time, limit }).await?)
}

/// Opens the series of all selectors, which together may read as much as the limits say.
async fn open(state: &AppState, turn: &Turn, reads: Vec<SeriesRead>) -> Result<Vec<Part>, ApiError> {
    let mut left = state.options.limits.query_reads;
    let mut parts = Vec::with_capacity(reads.len());
    for read in reads {
        let mut sets = Vec::new();
        for metric in metrics(state, &read).await? {
            if let Some(set) = open_one(state, &read, metric, left).await? {
                let used = set.statistics();
                left = left.after(used);
                turn.count_read(used);
                sets.push(set);
            }
        }
        parts.push(Part { read, sets });
    }
    Ok(parts)
}

/// The metrics of a selector; `None` stands for all of them.
pub(super) async fn metrics(state: &AppState, read: &SeriesRead) -> Result<Vec<Option<String>>, ApiError> {
    match read.metrics() {
        // What others store under reserved names is not for everybody.
        MetricChoice::One(metric) if is_reserved(&metric) => Ok(Vec::new()),
        MetricChoice::One(metric) => Ok(vec![Some(metric)]),
        MetricChoice::Every => Ok(vec![None]),
        MetricChoice::Some => {
            let known = state.seams.catalog.suggest(NameKind::Metric, "", state.options.limits.results).await?;
            let count = known.len();
            let wanted: Vec<_> = known.into_iter().filter(|metric| read.accepts_metric(metric)).map(Some).collect();
            // `{__name__!=""}` and the like: one selection does.
            Ok(if wanted.len() == count && count > 1 { vec![None] } else { wanted })
        }
    }
}

/// The series of one metric or of all; `None` when a name of the conditions is unknown, so that there are none.
async fn open_one(
    state: &AppState,
    read: &SeriesRead,
    metric: Option<String>,
    limits: ReadLimits,
) -> Result<Option<Box<dyn SeriesSet>>, ApiError> {
    let selector = if read.is_narrower_than_its_selector() {
        narrowed(state, read, metric, limits.series_max).await?
    } else {
        read.selector(metric)
    };
    let request = ReadRequest { selector, range: read.range, limits, rollup: None };
    match state.seams.reader.open(request).await {
        Ok(set) => Ok(Some(set)),
        Err(ReadError::UnknownName { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Exactly the series that fulfil the conditions, so that no blocks of others are fetched.
async fn narrowed(
    state: &AppState,
    read: &SeriesRead,
    metric: Option<String>,
    limit: usize,
) -> Result<SeriesSelector, ApiError> {
    let mut tsuids = Vec::new();
    let mut take = |series: &SeriesInfo| {
        tsuids.push(series.tsuid.clone());
        tsuids.len() <= limit
    };
    listing::each_of_metric(state, read, metric, |_| Ok(()), &mut take).await?;
    if tsuids.len() > limit {
        return Err(ReadError::TooManySeries { found: tsuids.len(), limit }.into());
    }
    Ok(SeriesSelector::Tsuids(tsuids))
}

impl Answer for PrometheusAnswer {
    fn content_type(&self) -> &'static str {
        JSON
    }

    fn write(&self, run: &Run<'_>, sink: &mut ChannelSink<'_>) -> Result<Vec<u8>, ApiError> {
        let cancelled = || run.is_cancelled();
        let limits = run.control(&cancelled).limits;
        let control = Control {
            held_max: limits.group_points_max,
            result_points_max: limits.result_points_max,
            cancelled: &cancelled,
        };
        let selected: Vec<SelectedSeries<'_>> =
            self.parts.iter().map(|part| SelectedSeries::new(&part.sets, &part.read)).collect();
        let (answer, Statistics { series, points, result_series, result_points }) =
            self.query.evaluate(&selected, &control).map_err(|error| match error {
                QueryError::Cancelled => run.ended(),
                other => of_query(other),
            })?;
        run.count(EvaluationStatistics { series, points, groups: result_series, result_points });
        run.writing(|| answer::write(&answer, self.time, self.limit, sink)).map_err(|_| run.ended())
    }
}
