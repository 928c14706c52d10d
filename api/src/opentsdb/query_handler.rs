//! `/api/query`.
//!
//! A query waits for its turn, opens the series of all its sub-queries, and is then evaluated on a blocking thread that
//! hands the answer over in pieces. The status is decided when the first piece is there, so that what goes wrong before
//! it is an error and not half an answer. A client that goes away takes the receiving end with it, which ends the
//! evaluation at the next series.
//!
//! A query that deletes does so when its series are open, whose points are a snapshot, and then answers as any other: with
//! what is gone.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    body::BodyStream,
    http::StatusCode,
    web::{Data, Payload},
};
use bytes::Bytes;
use futures_util::stream;
use tidemark_model::{DeleteOutcome, DeleteRefusal, DeleteRequest, ReadLimits, SeriesSet, TimeRange};
use tidemark_query::{EvaluationControl, EvaluationStatistics, Query, QueryError, SubQueryPlan};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    query_annotations::QueryAnnotations,
    query_answer::{AnswerSink, AnswerWriter, Gone, describe},
    query_request::{AnswerShape, Moment, QueryBody, QueryRequest, from_query_string},
    wire,
};
use crate::{
    auth::Visitor,
    error::{ApiError, JSON},
    http::query_string::QueryString,
    state::AppState,
};

/// Bytes that are handed over at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the client; the evaluation waits when there are more.
const PIECES_WAITING: usize = 4;

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let flags = QueryString::parse(request.query_string())?;
    let asked = from_query_string(&flags, moment(&state), state.options.limits.query_parts)?;
    answer(&request, state.into_inner(), asked).await
}

pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let flags = QueryString::parse(request.query_string())?;
    let body: QueryBody = wire::read_json(&request, payload, &state).await?;
    let asked = body.into_request(moment(&state), &flags, state.options.limits.query_parts)?;
    answer(&request, state.into_inner(), asked).await
}

pub(crate) async fn delete(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let flags = QueryString::parse(request.query_string())?;
    let mut asked = from_query_string(&flags, moment(&state), state.options.limits.query_parts)?;
    asked.delete = true;
    answer(&request, state.into_inner(), asked).await
}

fn moment(state: &AppState) -> Moment<'_> {
    Moment { now: state.seams.clock.now_ms(), time_zone: &state.options.opentsdb.timezone }
}

async fn answer(request: &HttpRequest, state: Arc<AppState>, asked: QueryRequest) -> Result<HttpResponse, ApiError> {
    if asked.delete {
        check_may_delete(request, &state)?;
    }
    let began = state.seams.clock.monotonic();
    let limits = state.options.limits;
    let turn = tokio::time::timeout(limits.query_wait, Arc::clone(&state.query_slots).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(ApiError::unavailable(format!(
            "{} queries are under evaluation and none ended within {} s; see `limits.queries`",
            limits.queries,
            limits.query_wait.as_secs_f64()
        )));
    };
    let opened = tokio::time::timeout(limits.query_time, open(&state, &asked.query));
    let parts = opened.await.map_err(|_| too_slow(limits.query_time))??;
    let range = TimeRange::inclusive(asked.query.start, asked.query.end);
    if asked.delete {
        delete_points(&state, &parts, range).await?;
    }
    let series = parts.iter().flat_map(|part| part.series.series());
    let annotated = tokio::time::timeout(limits.query_time, QueryAnnotations::read(&state, asked.shape, range, series));
    let annotations = Arc::new(annotated.await.map_err(|_| too_slow(limits.query_time))??);
    let (sender, receiver) = mpsc::channel(PIECES_WAITING);
    let ms_resolution = asked.query.ms_resolution;
    let evaluation = Evaluation { parts, annotations, shape: asked.shape, ms_resolution, began, sender, _turn: turn };
    let of_thread = Arc::clone(&state);
    state.tasks.spawn_blocking(move || evaluation.run(&of_thread));
    respond(receiver).await
}

/// Whether this visitor may delete anything here.
fn check_may_delete(request: &HttpRequest, state: &AppState) -> Result<(), ApiError> {
    if !state.options.opentsdb.allow_delete {
        let details = "Deleting data is not enabled (`opentsdb.allow_delete`)";
        return Err(ApiError::bad_request("Bad request").details(details));
    }
    match Visitor::of(request).filter(|visitor| !visitor.operates) {
        Some(visitor) => {
            let message = format!("token `{}` may not delete points: it needs the role `operate`", visitor.name);
            Err(ApiError::new(StatusCode::FORBIDDEN, message))
        }
        None => Ok(()),
    }
}

/// Deletes what the sub-queries match from the start to the end of the query, both included, and nothing around it.
async fn delete_points(state: &AppState, parts: &[Part], range: TimeRange) -> Result<(), ApiError> {
    for part in parts {
        let selector = part.plan.sub_query().selector();
        let request = DeleteRequest { selector, range, series_max: state.options.limits.query_reads.series_max };
        match state.seams.deleter.delete(&request).await {
            DeleteOutcome::Done(_) => {}
            DeleteOutcome::Refused(DeleteRefusal::Selection(error)) => return Err(error.into()),
            DeleteOutcome::Refused(DeleteRefusal::Store(refusal)) => {
                return Err(ApiError::from(&refusal).details("these points are still there; send the request again"));
            }
            DeleteOutcome::Unknown(reason) => {
                let details = "points may be deleted or not; send the request again";
                return Err(ApiError::unavailable(reason).details(details));
            }
        }
    }
    Ok(())
}

/// A sub-query with the series that it is about.
struct Part {
    plan: SubQueryPlan,
    series: Box<dyn SeriesSet>,
    described: String,
}

/// Opens the series of all sub-queries, which together may read as much as the limits say.
async fn open(state: &AppState, query: &Query) -> Result<Vec<Part>, ApiError> {
    let mut left = state.options.limits.query_reads;
    let mut parts = Vec::new();
    for (index, plan) in query.plan().map_err(|error| api_error(&error))?.into_iter().enumerate() {
        let series = state.seams.reader.open(plan.read_request(left)).await?;
        left = subtract(left, series.as_ref());
        let described = describe(plan.sub_query(), index);
        parts.push(Part { plan, series, described });
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
struct Evaluation {
    parts: Vec<Part>,
    annotations: Arc<QueryAnnotations>,
    shape: AnswerShape,
    ms_resolution: bool,
    began: Duration,
    sender: PieceSender,
    _turn: OwnedSemaphorePermit,
}

impl Evaluation {
    fn run(self, state: &AppState) {
        let _running = state.counters.queries.enter();
        let last = match self.evaluate(state) {
            Ok(bytes) => Ok(Piece { bytes: bytes.into(), is_last: true }),
            Err(error) => {
                tracing::debug!(%error, "a query ended early");
                Err(error)
            }
        };
        if self.sender.blocking_send(last).is_err() {
            tracing::debug!("the client of a query is gone");
        }
    }

    /// The end of the answer, which is all of it when it is small.
    fn evaluate(&self, state: &AppState) -> Result<Vec<u8>, ApiError> {
        let clock = &state.seams.clock;
        let limits = &state.options.limits;
        let deadline = self.began + limits.query_time;
        let is_late = || clock.monotonic() > deadline;
        let cancelled = || self.sender.is_closed() || is_late() || state.abandon.is_cancelled();
        let control = EvaluationControl { limits: limits.query_evaluation, cancelled: &cancelled };
        let mut sink = ChannelSink(&self.sender);
        let mut writer = AnswerWriter::new(self.shape, self.ms_resolution, Arc::clone(&self.annotations));
        let mut total = EvaluationStatistics::default();
        for part in &self.parts {
            let mut gone = false;
            let evaluated = part.plan.evaluate(part.series.as_ref(), &control, |group| {
                gone = writer.group(&group, &part.described, &mut sink).is_err() || is_late();
                if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match evaluated {
                Err(QueryError::Cancelled) => return Err(cancelled_error(is_late(), limits.query_time)),
                Err(error) => return Err(api_error(&error)),
                Ok(_) if gone => return Err(cancelled_error(is_late(), limits.query_time)),
                Ok(statistics) => add(&mut total, statistics),
            }
        }
        if self.shape.summary || self.shape.statistics {
            let took = clock.monotonic().saturating_sub(self.began);
            writer.summary(&total, took.as_secs_f64() * 1000.0);
        }
        Ok(writer.finish())
    }
}

fn add(total: &mut EvaluationStatistics, part: EvaluationStatistics) {
    total.series += part.series;
    total.points += part.points;
    total.groups += part.groups;
    total.result_points += part.result_points;
}

/// Sends pieces that are large enough.
struct ChannelSink<'a>(&'a PieceSender);

impl AnswerSink for ChannelSink<'_> {
    fn take(&mut self, out: &mut Vec<u8>) -> Result<(), Gone> {
        if out.len() < PIECE_BYTES {
            return Ok(());
        }
        let full = std::mem::replace(out, Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4));
        self.0.blocking_send(Ok(Piece { bytes: full.into(), is_last: false })).map_err(|_| Gone)
    }
}

async fn respond(mut pieces: mpsc::Receiver<Result<Piece, ApiError>>) -> Result<HttpResponse, ApiError> {
    let first = pieces.recv().await.ok_or_else(failed)??;
    let mut response = HttpResponse::Ok();
    response.content_type(JSON);
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
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the evaluation of the query failed; the log says why")
}

fn too_slow(limit: Duration) -> ApiError {
    ApiError::too_large("Sorry, your query timed out. Please try a narrower query.")
        .details(format!("the query took longer than {} s; see `limits.query_time`", limit.as_secs_f64()))
}

fn cancelled_error(is_late: bool, limit: Duration) -> ApiError {
    if is_late { too_slow(limit) } else { ApiError::unavailable("the query was cancelled") }
}

fn api_error(error: &QueryError) -> ApiError {
    match error {
        QueryError::Parse(error) => ApiError::bad_request(error.to_string()),
        QueryError::Read(error) => ApiError::from(error.clone()),
        QueryError::Cancelled => ApiError::unavailable(error.to_string()),
        QueryError::TooManyBuckets { .. }
        | QueryError::TooManyResultPoints { .. }
        | QueryError::TooManyGroupPoints { .. } => ApiError::too_large(error.to_string()),
    }
}
