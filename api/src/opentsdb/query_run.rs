//! How a query runs, whatever it asks.
//!
//! It waits for its turn, opens the series of all its sub-queries, and is then evaluated on a blocking thread that hands
//! the answer over in pieces. The status is decided when the first piece is there, so that what goes wrong before it is an
//! error and not half an answer. A client that goes away takes the receiving end with it, which ends the evaluation at the
//! next block. All the way it is in the list of running queries, from which anybody who steers the server can end it.

use std::{cell::Cell, sync::Arc, time::Duration};

use actix_web::{HttpResponse, body::BodyStream};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tidemark_model::{ReadStatistics, SeriesSelector, SeriesSet};
use tidemark_query::{
    EvaluationControl, EvaluationStatistics, GroupResult, Query, QueryError, SubQuery, SubQueryPlan,
    expression::ShiftedSubQuery,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
};

use super::{
    query_answer::{AnswerSink, Gone, describe},
    unresolved::{Unresolved, Warnings, open_resolved},
};
use crate::{
    error::{ApiError, JSON, WARNING_HEADER},
    planning::plan,
    queries::{Asked, Phase, QueryEntry},
    state::AppState,
};

/// Bytes that are handed over at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the client; the evaluation waits when there are more.
const PIECES_WAITING: usize = 4;

/// A query that has its turn, and is under way.
pub(crate) struct Turn {
    state: Arc<AppState>,
    entry: QueryEntry,
    /// When it had its turn.
    began: Duration,
    /// How long it may take from then on.
    limit: Duration,
    permit: OwnedSemaphorePermit,
    warnings: Warnings,
}

/// What is evaluated and written once the series are open.
pub(crate) trait Answer: Send + 'static {
    /// Its form.
    fn content_type(&self) -> &'static str {
        JSON
    }

    /// Hands the answer over to the sink and gives its end, which is all of it when it is small.
    ///
    /// # Errors
    /// What the evaluation says; [`Run::ended`] when the sink or the control say that nobody waits.
    fn write(&self, run: &Run<'_>, sink: &mut ChannelSink<'_>) -> Result<Vec<u8>, ApiError>;
}

/// A sub-query with the series that it is about.
pub(crate) struct Part {
    pub(crate) plan: SubQueryPlan,
    /// What selected the series; none when names that it needs are unknown.
    pub(crate) selector: Option<SeriesSelector>,
    pub(crate) series: Box<dyn SeriesSet>,
    /// As `showQuery` repeats it.
    pub(crate) described: String,
}

impl Turn {
    /// Enters the query and waits until not too many others are evaluated.
    ///
    /// # Errors
    /// 503 when that takes too long or the client has too many queries under way, 409 when somebody ends it.
    pub(crate) async fn wait(state: &Arc<AppState>, asked: Asked) -> Result<Self, ApiError> {
        let entry = state.queries.enter(asked)?;
        let permit = wait_for_slot(state, &entry).await?;
        Ok(Self {
            state: Arc::clone(state),
            entry,
            began: state.seams.clock.monotonic(),
            limit: state.options.limits.query_time,
            permit,
            warnings: Warnings::default(),
        })
    }

    /// Gives it less time than a query may take.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = self.limit.min(limit);
        self
    }

    /// Notes what a read cost.
    pub(crate) fn count_read(&self, used: ReadStatistics) {
        self.entry.update(|figures| figures.add_read(used));
    }

    /// Notes that it was answered, and what came of it, where that is no [`Answer`].
    pub(crate) fn answered(&self, results: EvaluationStatistics) {
        self.entry.update(|figures| figures.add_result(results));
        self.entry.answered();
    }

    /// Plans all sub-queries of these queries and opens their series, which together may read as much as the limits say.
    ///
    /// # Errors
    /// What the reader says; 413 when it takes too long or is too much, 409 when somebody ends it.
    pub(crate) async fn open(&mut self, queries: Vec<Query>, unresolved: Unresolved) -> Result<Vec<Part>, ApiError> {
        let mut warnings = Warnings::default();
        let opening = async {
            let plans = plan(queries).await.map_err(|error| api_error(&error))?;
            open(&self.state, &self.entry, plans, unresolved, &mut warnings).await
        };
        let parts = self.in_time(opening).await?;
        self.warnings = warnings;
        Ok(parts)
    }

    /// Waits for something that belongs to the query, but not longer than a query may take, and not when somebody ends it.
    ///
    /// # Errors
    /// What the work says; 413 when it takes too long, 409 when somebody ends it.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let limit = self.limit;
        let done = tokio::select! {
            done = tokio::time::timeout(limit, work) => done.unwrap_or_else(|_| Err(too_slow(limit))),
            () = self.entry.cancelled().cancelled() => Err(self.entry.cancellation()),
        };
        self.whole(done)
    }

    /// Notes an error of something that belongs to the query and is not to be broken off.
    ///
    /// # Errors
    /// That error.
    pub(crate) fn whole<T>(&self, done: Result<T, ApiError>) -> Result<T, ApiError> {
        done.map_err(|error| self.entry.failed(error))
    }

    /// Evaluates and answers.
    ///
    /// # Errors
    /// What goes wrong before the first piece.
    pub(crate) async fn answer(self, answer: impl Answer) -> Result<HttpResponse, ApiError> {
        let (sender, receiver) = mpsc::channel(PIECES_WAITING);
        let content_type = answer.content_type();
        let Self { state, entry, began, limit, permit, warnings } = self;
        let opened = state.seams.clock.monotonic().saturating_sub(began);
        entry.update(|figures| figures.opened = opened);
        entry.enter(Phase::Evaluates);
        let warnings = Arc::new(warnings);
        let (of_thread, told) = (Arc::clone(&state), Arc::clone(&warnings));
        state.tasks.spawn_blocking(move || {
            run(Run::new(&of_thread, (began, limit), entry, &sender, &told), &answer);
            drop(permit);
        });
        respond(receiver, content_type, &warnings).await
    }
}

/// Waits until not too many other queries are evaluated.
///
/// # Errors
/// 503 when that takes too long, 409 when somebody ends the query.
pub(crate) async fn wait_for_slot(state: &AppState, entry: &QueryEntry) -> Result<OwnedSemaphorePermit, ApiError> {
    let limits = state.options.limits;
    let slot = tokio::time::timeout(limits.query_wait, Arc::clone(&state.query_slots).acquire_owned());
    let waited = tokio::select! {
        slot = slot => match slot {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(ApiError::unavailable(format!(
                "{} queries are under evaluation and none ended within {} s; see `limits.queries`",
                limits.queries,
                limits.query_wait.as_secs_f64()
            ))),
        },
        () = entry.cancelled().cancelled() => Err(entry.cancellation()),
    };
    let permit = waited.map_err(|error| entry.failed(error))?;
    let waited = entry.elapsed();
    entry.update(|figures| figures.waited = waited);
    entry.enter(Phase::Opens);
    Ok(permit)
}

/// Refuses at once what would be refused when the query has its turn.
///
/// # Errors
/// 400 for the first query that is wrong.
pub(crate) fn check(queries: &[Query]) -> Result<(), ApiError> {
    let checked = queries.iter().try_for_each(Query::check);
    checked.map_err(|error| api_error(&error.into()))
}

/// A query as the list of running ones shows it: the window in milliseconds, and its sub-queries.
pub(crate) fn shown<'a>(window: &Query, sub_queries: impl Iterator<Item = &'a SubQuery>) -> Value {
    let queries: Vec<Value> =
        sub_queries.enumerate().map(|(index, sub_query)| describe(&window.as_planned(sub_query), index)).collect();
    json!({ "start": window.start, "end": window.end, "timezone": window.time_zone.name(), "queries": queries })
}

async fn open(
    state: &AppState,
    entry: &QueryEntry,
    plans: Vec<SubQueryPlan>,
    unresolved: Unresolved,
    warnings: &mut Warnings,
) -> Result<Vec<Part>, ApiError> {
    let mut left = state.options.limits.query_reads;
    let mut parts = Vec::with_capacity(plans.len());
    for (index, plan) in plans.into_iter().enumerate() {
        let request = plan.read_request(left);
        let (series, selector) = match unresolved {
            Unresolved::Skip => open_resolved(state.seams.reader.as_ref(), request, warnings).await?,
            Unresolved::Refuse => {
                let selector = request.selector.clone();
                (state.seams.reader.open(request).await?, Some(selector))
            }
        };
        let used = series.statistics();
        left = left.after(used);
        entry.update(|figures| figures.add_read(used));
        let described = describe(plan.sub_query(), index).to_string();
        parts.push(Part { plan, selector, series, described });
    }
    Ok(parts)
}

/// A piece of an answer.
struct Piece {
    bytes: Bytes,
    is_last: bool,
}

type PieceSender = mpsc::Sender<Result<Piece, ApiError>>;

/// What the blocking thread does.
fn run(run: Run<'_>, answer: &impl Answer) {
    let _running = run.state.counters.queries.enter();
    let written = answer.write(&run, &mut ChannelSink { run: &run });
    let last = match written {
        Ok(bytes) => {
            run.sent_bytes(bytes.len());
            run.entry.answered();
            Ok(Piece { bytes: bytes.into(), is_last: true })
        }
        Err(error) if run.sender.is_closed() => Err(error),
        Err(error) => Err(run.entry.failed(error)),
    };
    if let Err(error) = &last {
        tracing::debug!(%error, "a query ended early");
    }
    let place = run.place();
    run.note();
    // IMPORTANT: the entry goes before the last piece: whoever has an answer finds its query among those that ended.
    drop(run);
    match place {
        Ok(place) => place.send(last),
        Err(Gone) => tracing::debug!("the client of a query is gone"),
    }
}

/// A query under evaluation.
pub(crate) struct Run<'a> {
    state: &'a AppState,
    /// When it had its turn.
    began: Duration,
    /// How long it may take from then on.
    limit: Duration,
    /// When its evaluation began.
    evaluation: Duration,
    entry: QueryEntry,
    sender: &'a PieceSender,
    warnings: &'a Warnings,
    /// Time spent in writing and in handing pieces over.
    writing: Cell<Duration>,
    /// What of that was spent in waiting for the client.
    spent: Cell<Duration>,
}

impl<'a> Run<'a> {
    fn new(
        state: &'a AppState,
        (began, limit): (Duration, Duration),
        entry: QueryEntry,
        sender: &'a PieceSender,
        warnings: &'a Warnings,
    ) -> Self {
        let evaluation = state.seams.clock.monotonic();
        Self {
            state,
            began,
            limit,
            evaluation,
            entry,
            sender,
            warnings,
            writing: Cell::default(),
            spent: Cell::default(),
        }
    }

    /// What it is answered without.
    pub(crate) fn warnings(&self) -> &[String] {
        self.warnings.texts()
    }

    /// What bounds the evaluation; `cancelled` is [`Self::is_cancelled`] of this query.
    pub(crate) fn control<'c>(&self, cancelled: &'c dyn Fn() -> bool) -> EvaluationControl<'c> {
        EvaluationControl { limits: self.state.options.limits.query_evaluation, cancelled }
    }

    /// Whether it takes too long.
    pub(crate) fn is_late(&self) -> bool {
        self.state.seams.clock.monotonic() > self.began + self.limit
    }

    /// Whether nobody waits for it, or not any longer.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.sender.is_closed()
            || self.entry.cancelled().is_cancelled()
            || self.is_late()
            || self.state.abandon.is_cancelled()
    }

    /// Milliseconds since it came.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.entry.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The groups of a sub-query that is not shown itself: what was read for it counts, what came of it does not.
    pub(crate) fn groups_of(
        &self,
        source: &ShiftedSubQuery,
        part: &Part,
        control: &EvaluationControl<'_>,
    ) -> Result<Vec<GroupResult>, QueryError> {
        let (groups, statistics) = source.evaluate(&part.plan, part.series.as_ref(), control)?;
        self.count(EvaluationStatistics { groups: 0, result_points: 0, ..statistics });
        Ok(groups)
    }

    /// Counts groups that are shown, and their points.
    pub(crate) fn count_shown(&self, groups: usize, points: usize) {
        let result_points = points as u64;
        self.count(EvaluationStatistics { groups, result_points, ..EvaluationStatistics::default() });
    }

    /// Counts what was evaluated.
    pub(crate) fn count(&self, part: EvaluationStatistics) {
        self.entry.update(|figures| figures.add_result(part));
    }

    /// Does what counts as writing, and no more as evaluating.
    pub(crate) fn writing<T>(&self, write: impl FnOnce() -> T) -> T {
        let began = self.state.seams.clock.monotonic();
        let done = write();
        self.writing.set(self.writing.get() + self.state.seams.clock.monotonic().saturating_sub(began));
        done
    }

    /// What it cost until now, as the last element of an answer tells it.
    pub(crate) fn summary(&self) -> Value {
        self.note();
        self.entry.figures().to_json()
    }

    /// Notes where the time went.
    fn note(&self) {
        let evaluation = self.state.seams.clock.monotonic().saturating_sub(self.evaluation);
        let (writing, spent) = (self.writing.get(), self.spent.get());
        self.entry.update(|figures| {
            figures.evaluated = evaluation.saturating_sub(writing);
            figures.written = writing.saturating_sub(spent);
            figures.sent = spent;
        });
    }

    fn sent_bytes(&self, bytes: usize) {
        self.entry.update(|figures| figures.answer_bytes += bytes as u64);
    }

    /// Waits until the client took enough to hand another piece over.
    fn place(&self) -> Result<mpsc::Permit<'a, Result<Piece, ApiError>>, Gone> {
        if let Ok(place) = self.sender.try_reserve() {
            return Ok(place);
        }
        let began = self.state.seams.clock.monotonic();
        let place = Handle::current().block_on(async {
            tokio::select! {
                place = self.sender.reserve() => place.map_err(|_| Gone),
                () = self.entry.cancelled().cancelled() => Err(Gone),
                () = self.state.abandon.cancelled() => Err(Gone),
            }
        });
        let waited = self.state.seams.clock.monotonic().saturating_sub(began);
        self.spent.set(self.spent.get() + waited);
        place
    }

    /// Why it was ended before it was done.
    pub(crate) fn ended(&self) -> ApiError {
        if self.entry.cancelled().is_cancelled() {
            self.entry.cancellation()
        } else if self.is_late() {
            too_slow(self.limit)
        } else {
            ApiError::unavailable("the query was cancelled")
        }
    }

    /// What to answer when the evaluation says this.
    pub(crate) fn error(&self, error: &QueryError) -> ApiError {
        match error {
            QueryError::Cancelled => self.ended(),
            other => api_error(other),
        }
    }
}

/// Sends pieces that are large enough.
pub(crate) struct ChannelSink<'a> {
    run: &'a Run<'a>,
}

impl AnswerSink for ChannelSink<'_> {
    fn take(&mut self, out: &mut Vec<u8>) -> Result<(), Gone> {
        if out.len() < PIECE_BYTES {
            return Ok(());
        }
        let full = std::mem::replace(out, Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4));
        self.run.sent_bytes(full.len());
        self.run.place()?.send(Ok(Piece { bytes: full.into(), is_last: false }));
        Ok(())
    }
}

async fn respond(
    mut pieces: mpsc::Receiver<Result<Piece, ApiError>>,
    content_type: &'static str,
    warnings: &Warnings,
) -> Result<HttpResponse, ApiError> {
    let first = pieces.recv().await.ok_or_else(failed)??;
    let mut response = HttpResponse::Ok();
    response.content_type(content_type);
    for warning in warnings.header_values() {
        response.append_header((WARNING_HEADER, warning));
    }
    if first.is_last {
        return Ok(response.body(first.bytes));
    }
    // The stream ends only after the last piece; anything else is an error, which cuts the connection, so that half an
    // answer cannot be taken for a whole one.
    let rest = stream::unfold((Some(first), pieces), |(ready, mut pieces)| async move {
        let piece = match ready {
            Some(piece) if piece.is_last && piece.bytes.is_empty() => return None,
            Some(piece) => piece,
            None => match pieces.recv().await.unwrap_or_else(|| Err(failed())) {
                Ok(piece) => piece,
                Err(error) => return Some((Err(error), (Some(Piece::end()), pieces))),
            },
        };
        let next = piece.is_last.then(Piece::end);
        Some((Ok::<_, ApiError>(piece.bytes), (next, pieces)))
    });
    Ok(response.body(BodyStream::new(rest)))
}

impl Piece {
    fn end() -> Self {
        Self { bytes: Bytes::new(), is_last: true }
    }
}

fn failed() -> ApiError {
    ApiError::new(
        actix_web::http::StatusCode::INTERNAL_SERVER_ERROR,
        "the evaluation of the query failed; the log says why",
    )
}

/// What OpenTSDB says of a query that takes too long.
const TIMED_OUT: &str = "Sorry, your query timed out. Please try a narrower query.";

/// Whether an error says that a query takes too long.
pub(crate) fn is_too_slow(error: &ApiError) -> bool {
    error.message() == TIMED_OUT
}

fn too_slow(limit: Duration) -> ApiError {
    ApiError::too_large(TIMED_OUT)
        .details(format!("the query took longer than {} s; see `limits.query_time`", limit.as_secs_f64()))
}

/// What to answer when a query cannot be planned or evaluated.
pub(crate) fn api_error(error: &QueryError) -> ApiError {
    match error {
        QueryError::Parse(error) => ApiError::bad_request(error.to_string()),
        QueryError::NoIntersection { .. } => ApiError::bad_request(error.to_string()),
        QueryError::Read(error) => ApiError::from(error.clone()),
        QueryError::Cancelled => ApiError::unavailable(error.to_string()),
        QueryError::TooManyBuckets { .. }
        | QueryError::TooManyCalendarBuckets { .. }
        | QueryError::TooManyResultPoints { .. }
        | QueryError::TooManyGroupPoints { .. } => ApiError::too_large(error.to_string()),
    }
}
