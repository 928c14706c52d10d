//! `POST /api/put`, `/api/histogram` and `/api/rollup`.

use std::collections::BTreeSet;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use tidemark_model::{PointBatch, WriteOutcome, WriteReceipt, is_reserved, written_metric};

use super::{
    answer::PutOutcome,
    flags::PutFlags,
    header_tag::HeaderTag,
    known_names::judge,
    parse::{BodyKind, ParsedBody, parse_kind},
    rejected::{Datapoint, Rejection, Rejections},
};
use crate::{
    error::ApiError,
    http::{
        body::{Body, read_body},
        query_string::QueryString,
    },
    metrics::{PointCounters, Protocol, RejectReason},
    state::AppState,
};

/// Above this many bytes a body is parsed on a blocking thread.
const INLINE_PARSE_BYTES: usize = 256 << 10;

/// Stores points.
pub(crate) async fn put(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answered {
    store(BodyKind::Points, request, payload, state).await
}

/// Stores histograms.
pub(crate) async fn histogram(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answered {
    store(BodyKind::Histograms, request, payload, state).await
}

/// Stores values that were aggregated before they were sent.
pub(crate) async fn rollup(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answered {
    store(BodyKind::Rollups, request, payload, state).await
}

type Answered = Result<HttpResponse, ApiError>;

async fn store(kind: BodyKind, request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answered {
    let flags = PutFlags::from_query(&QueryString::parse(request.query_string())?)?;
    let body = read_body(&request, payload, &state).await?;
    let tag = HeaderTag::of(request.headers(), &state.options.opentsdb.header_tag)?;
    let (body, ParsedBody { batch, mut rejections }) = parse_body(body, kind, tag.as_ref(), &state).await?;
    let mut judged = judge(batch, &state).await?;
    if !judged.unknown.is_empty() {
        let unknown: Vec<_> = judged.unknown.iter().map(|(at, name)| (*at, name.http_text())).collect();
        describe(&body, kind, tag.as_ref(), &state, &unknown, &mut rejections)?;
    }
    record_rejections(&state, &rejections);
    let batch = std::mem::take(&mut judged.batch);
    // A histogram is one thing that somebody sent and several points of the batch.
    let sent = if kind == BodyKind::Histograms { batch.datapoint_starts().count() } else { batch.len() };
    let Some(outcome) = write(&state, flags, batch).await else {
        state.counters.points.reject(Protocol::Http, RejectReason::Unknown, sent);
        return Ok(PutOutcome { stored: 0, rejections, timed_out: sent }.answer(flags));
    };
    let receipt = acknowledged(outcome, sent, &state.counters.points)?;
    let mut refused = 0;
    if !receipt.refused.is_empty() {
        let of_body = receipt.refused.into_iter().map(|(at, refusal)| (judged.position(at), refusal.message));
        refused = describe(&body, kind, tag.as_ref(), &state, &of_body.collect::<Vec<_>>(), &mut rejections)?;
    }
    let stored = sent.saturating_sub(refused);
    state.counters.points.accept(Protocol::Http, stored);
    Ok(PutOutcome { stored, rejections, timed_out: 0 }.answer(flags))
}

/// `None` when the time that the client gives is over.
async fn write(state: &AppState, flags: PutFlags, batch: PointBatch) -> Option<WriteOutcome> {
    if batch.is_empty() {
        return Some(WriteOutcome::Done(WriteReceipt::default()));
    }
    let sink = if flags.sync || flags.timeout.is_some() { &state.seams.sink_sync } else { &state.seams.sink };
    match flags.timeout {
        None => Some(sink.write(batch).await),
        Some(timeout) => tokio::time::timeout(timeout, sink.write(batch)).await.ok(),
    }
}

/// What was acknowledged; what was not is counted.
///
/// # Errors
/// When nothing was stored, or nobody knows whether.
fn acknowledged(outcome: WriteOutcome, points: usize, counters: &PointCounters) -> Result<WriteReceipt, ApiError> {
    match outcome {
        WriteOutcome::Done(receipt) => {
            for (_, refusal) in &receipt.refused {
                counters.reject(Protocol::Http, refusal.reason.into(), 1);
            }
            Ok(receipt)
        }
        WriteOutcome::Refused(refusal) => {
            counters.reject(Protocol::Http, refusal.reason.into(), points);
            Err(ApiError::from(&refusal))
        }
        WriteOutcome::Unknown(reason) => {
            counters.reject(Protocol::Http, RejectReason::Unknown, points);
            Err(ApiError::unavailable(format!("whether the points are stored is unknown: {reason}"))
                .details("they may have been stored; sending them again is harmless"))
        }
    }
}

/// Parses a body and gives it back: when the store refuses some of its points, they are described from it.
async fn parse_body(
    body: Body,
    kind: BodyKind,
    tag: Option<&HeaderTag>,
    state: &Data<AppState>,
) -> Result<(Body, ParsedBody), ApiError> {
    if body.bytes.len() > INLINE_PARSE_BYTES {
        return parse_elsewhere(body, kind, tag.cloned(), Data::clone(state)).await;
    }
    let parsed = parse_kind(body.text()?, kind, &state.options.opentsdb, tag)?;
    Ok((body, parsed))
}

async fn parse_elsewhere(
    body: Body,
    kind: BodyKind,
    tag: Option<HeaderTag>,
    state: Data<AppState>,
) -> Result<(Body, ParsedBody), ApiError> {
    tokio::task::spawn_blocking(move || {
        let parsed = parse_kind(body.text()?, kind, &state.options.opentsdb, tag.as_ref())?;
        Ok((body, parsed))
    })
    .await
    .unwrap_or_else(|failed| {
        Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the body could not be parsed")
            .details(failed.to_string()))
    })
}

fn record_rejections(state: &AppState, rejections: &Rejections) {
    if rejections.count() == 0 {
        return;
    }
    state.counters.points.reject(Protocol::Http, RejectReason::Invalid, rejections.count());
    let now = state.seams.clock.now_ms();
    for rejection in rejections.described().iter().take(20) {
        let text = serde_json::to_string(&rejection.datapoint).unwrap_or_default();
        state.counters.rejected_lines.add(now, Protocol::Http, &text, &rejection.error);
        tracing::debug!(error = crate::metrics::printable(&rejection.error), "rejected a point");
    }
}

/// Adds points that were refused after the body was read, by their positions, and says how many things that somebody sent
/// they are. The batch is gone, but the body is still there and gives the same batch again.
fn describe(
    body: &Body,
    kind: BodyKind,
    tag: Option<&HeaderTag>,
    state: &AppState,
    refused: &[(usize, String)],
    rejections: &mut Rejections,
) -> Result<usize, ApiError> {
    let batch = parse_kind(body.text()?, kind, &state.options.opentsdb, tag)?.batch;
    let points: Vec<_> = batch.points().collect();
    let starts: Vec<usize> = batch.datapoint_starts().collect();
    let mut described = BTreeSet::new();
    for (position, reason) in refused {
        // Which of the things that were sent it is a part of.
        if !described.insert(starts.partition_point(|start| start <= position)) {
            continue;
        }
        rejections.add(|| Rejection {
            datapoint: points.get(*position).map(|point| {
                let key = batch.series_key(point.series);
                let owned = |(key, value): (&str, &str)| (key.to_owned(), Some(value.to_owned()));
                Datapoint {
                    metric: Some(written_metric(key.metric()).to_owned()),
                    timestamp: if point.timestamp % 1000 == 0 { point.timestamp / 1000 } else { point.timestamp },
                    value: (kind != BodyKind::Histograms).then(|| point.value.to_string()),
                    tags: Some(key.tags().filter(|(key, _)| !is_reserved(key)).map(owned).collect()),
                }
            }),
            error: reason.clone(),
        });
    }
    Ok(described.len())
}
