//! How a query runs, whatever it asks.
//!
//! It waits for its turn, opens the series of all its sub-queries, and is then evaluated on a blocking thread that hands
//! the answer over in pieces. The status is decided when the first piece is there, so that what goes wrong before it is an
//! error and not half an answer. A client that goes away takes the receiving end with it, which ends the evaluation at the
//! next series.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpResponse, body::BodyStream};
use bytes::Bytes;
use futures_util::stream;
use tidemark_model::{ReadLimits, SeriesSelector, SeriesSet};
use tidemark_query::{EvaluationControl, EvaluationStatistics, QueryError, SubQueryPlan};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    query_answer::{AnswerSink, Gone, describe},
    unresolved::{Unresolved, Warnings, open_resolved},
};
use crate::{
    error::{ApiError, JSON},
    state::AppState,
};

/// What a query was answered without, one header for each warning. HTTP's own `Warning` is about caches and obsolete.
const WARNING_HEADER: &str = "X-Tidemark-Warning";
/// Bytes that are handed over at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the client; the evaluation waits when there are more.
const PIECES_WAITING: usize = 4;

/// A query that has its turn, and is under way.
pub(crate) struct Turn {
    state: Arc<AppState>,
    began: Duration,
    permit: OwnedSemaphorePermit,
    warnings: Warnings,
}

/// What is evaluated and written once the series are open.
pub(crate) trait Answer: Send + 'static {
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
    /// Waits until not too many others are evaluated.
    ///
    /// # Errors
    /// 503 when that takes too long.
    pub(crate) async fn wait(state: &Arc<AppState>) -> Result<Self, ApiError> {
        let began = state.seams.clock.monotonic();
        let limits = state.options.limits;
        let turn = tokio::time::timeout(limits.query_wait, Arc::clone(&state.query_slots).acquire_owned()).await;
        match turn {
            Ok(Ok(permit)) => Ok(Self { state: Arc::clone(state), began, permit, warnings: Warnings::default() }),
            _ => Err(ApiError::unavailable(format!(
                "{} queries are under evaluation and none ended within {} s; see `limits.queries`",
                limits.queries,
                limits.query_wait.as_secs_f64()
            ))),
        }
    }

    /// Opens the series of all sub-queries, which together may read as much as the limits say.
    ///
    /// # Errors
    /// What the reader says; 413 when it takes too long.
    pub(crate) async fn open(
        &mut self,
        plans: Vec<SubQueryPlan>,
        unresolved: Unresolved,
    ) -> Result<Vec<Part>, ApiError> {
        let mut warnings = Warnings::default();
        let parts = self.in_time(open(&self.state, plans, unresolved, &mut warnings)).await?;
        self.warnings = warnings;
        Ok(parts)
    }

    /// Waits for something that belongs to the query, but not longer than a query may take.
    ///
    /// # Errors
    /// What the work says; 413 when it takes too long.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let limit = self.state.options.limits.query_time;
        tokio::time::timeout(limit, work).await.map_err(|_| too_slow(limit))?
    }

    /// Evaluates and answers.
    ///
    /// # Errors
    /// What goes wrong before the first piece.
    pub(crate) async fn answer(self, answer: impl Answer) -> Result<HttpResponse, ApiError> {
        let (sender, receiver) = mpsc::channel(PIECES_WAITING);
        let Self { state, began, permit, warnings } = self;
        let warnings = Arc::new(warnings);
        let (of_thread, told) = (Arc::clone(&state), Arc::clone(&warnings));
        state.tasks.spawn_blocking(move || {
            run(&Run { state: &of_thread, began, sender: &sender, warnings: &told }, &answer);
            drop(permit);
        });
        respond(receiver, &warnings).await
    }
}

async fn open(
    state: &AppState,
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
        left = subtract(left, series.as_ref());
        let described = describe(plan.sub_query(), index);
        parts.push(Part { plan, selector, series, described });
    }
    Ok(parts)
}

fn subtract(left: ReadLimits, series: &dyn SeriesSet) -> ReadLimits {
    let used = series.statistics();
    ReadLimits {
        series_max: left.series_max.saturating_sub(used.series),
        points_max: left.points_max.saturating_sub(used.points),
        bytes_max: left.bytes_max.saturating_sub(used.bytes),
    }
}

/// A piece of an answer.
struct Piece {
    bytes: Bytes,
    is_last: bool,
}

type PieceSender = mpsc::Sender<Result<Piece, ApiError>>;

/// What the blocking thread does.
fn run(run: &Run<'_>, answer: &impl Answer) {
    let _running = run.state.counters.queries.enter();
    let last = match answer.write(run, &mut ChannelSink(run.sender)) {
        Ok(bytes) => Ok(Piece { bytes: bytes.into(), is_last: true }),
        Err(error) => {
            tracing::debug!(%error, "a query ended early");
            Err(error)
        }
    };
    if run.sender.blocking_send(last).is_err() {
        tracing::debug!("the client of a query is gone");
    }
}

/// A query under evaluation.
pub(crate) struct Run<'a> {
    state: &'a AppState,
    began: Duration,
    sender: &'a PieceSender,
    warnings: &'a Warnings,
}

impl Run<'_> {
    /// What it is answered without.
    pub(crate) fn warnings(&self) -> &[String] {
        self.warnings.texts()
    }

    /// What bounds the evaluation; `cancelled` is [`Self::is_cancelled`] of this query.
    pub(crate) fn control<'a>(&self, cancelled: &'a dyn Fn() -> bool) -> EvaluationControl<'a> {
        EvaluationControl { limits: self.state.options.limits.query_evaluation, cancelled }
    }

    /// Whether it takes too long.
    pub(crate) fn is_late(&self) -> bool {
        self.state.seams.clock.monotonic() > self.began + self.state.options.limits.query_time
    }

    /// Whether nobody waits for it, or not any longer.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.sender.is_closed() || self.is_late() || self.state.abandon.is_cancelled()
    }

    /// Milliseconds since it came.
    pub(crate) fn took_ms(&self) -> f64 {
        self.state.seams.clock.monotonic().saturating_sub(self.began).as_secs_f64() * 1000.0
    }

    /// Why it was ended before it was done.
    pub(crate) fn ended(&self) -> ApiError {
        if self.is_late() {
            too_slow(self.state.options.limits.query_time)
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

/// Adds the figures of a sub-query to those of the whole.
pub(crate) fn add(total: &mut EvaluationStatistics, part: EvaluationStatistics) {
    total.series += part.series;
    total.points += part.points;
    total.groups += part.groups;
    total.result_points += part.result_points;
}

/// Sends pieces that are large enough.
pub(crate) struct ChannelSink<'a>(&'a PieceSender);

impl AnswerSink for ChannelSink<'_> {
    fn take(&mut self, out: &mut Vec<u8>) -> Result<(), Gone> {
        if out.len() < PIECE_BYTES {
            return Ok(());
        }
        let full = std::mem::replace(out, Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4));
        self.0.blocking_send(Ok(Piece { bytes: full.into(), is_last: false })).map_err(|_| Gone)
    }
}

async fn respond(
    mut pieces: mpsc::Receiver<Result<Piece, ApiError>>,
    warnings: &Warnings,
) -> Result<HttpResponse, ApiError> {
    let first = pieces.recv().await.ok_or_else(failed)??;
    let mut response = HttpResponse::Ok();
    response.content_type(JSON);
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

fn too_slow(limit: Duration) -> ApiError {
    ApiError::too_large("Sorry, your query timed out. Please try a narrower query.")
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
        | QueryError::TooManyResultPoints { .. }
        | QueryError::TooManyGroupPoints { .. } => ApiError::too_large(error.to_string()),
    }
}
