//! `POST /api/put`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use tidemark_model::{PointBatch, WriteOutcome, WriteRefusal};

use super::{
    ParsedBody,
    answer::PutOutcome,
    flags::PutFlags,
    parse,
    rejected::{Datapoint, Rejection, Rejections},
};
use crate::{
    error::ApiError,
    http::{
        body::{Body, read_body},
        query_string::QueryString,
    },
    metrics::{Protocol, RejectReason},
    state::AppState,
};

/// Above this many bytes a body is parsed on a blocking thread.
const INLINE_PARSE_BYTES: usize = 256 << 10;

/// Stores points.
pub(crate) async fn put(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let flags = PutFlags::from_query(&QueryString::parse(request.query_string())?)?;
    let body = read_body(&request, payload, &state).await?;
    let tags_max = state.options.opentsdb.max_tags;
    let (body, parsed) = if body.bytes.len() <= INLINE_PARSE_BYTES {
        let parsed = parse(body.text()?, tags_max)?;
        (body, parsed)
    } else {
        parse_elsewhere(body, tags_max).await?
    };
    record_rejections(&state, &parsed.rejections);
    let ParsedBody { batch, mut rejections } = parsed;
    let points = batch.len();
    let outcome = if batch.is_empty() {
        Some(WriteOutcome::Done(tidemark_model::WriteReceipt::default()))
    } else {
        write(&state, flags, batch).await
    };
    let count = |reason, points| state.counters.points.reject(Protocol::Http, reason, points);
    let outcome = match outcome {
        None => {
            count(RejectReason::Unknown, points);
            return Ok(PutOutcome { stored: 0, rejections, timed_out: points }.answer(flags));
        }
        Some(outcome) => outcome,
    };
    let stored = match outcome {
        WriteOutcome::Done(receipt) => {
            state.counters.points.accept(Protocol::Http, receipt.stored);
            for (_, refusal) in &receipt.refused {
                count(refusal.reason.into(), 1);
            }
            if !receipt.refused.is_empty() {
                describe(&body, tags_max, &receipt.refused, &mut rejections)?;
            }
            receipt.stored
        }
        WriteOutcome::Refused(refusal) => {
            count(refusal.reason.into(), points);
            return Err(ApiError::from(&refusal));
        }
        WriteOutcome::Unknown(reason) => {
            count(RejectReason::Unknown, points);
            return Err(ApiError::unavailable(format!("whether the points are stored is unknown: {reason}"))
                .details("they may have been stored; sending them again is harmless"));
        }
    };
    Ok(PutOutcome { stored, rejections, timed_out: 0 }.answer(flags))
}

/// `None` when the time that the client gives is over.
async fn write(state: &AppState, flags: PutFlags, batch: PointBatch) -> Option<WriteOutcome> {
    let sink = if flags.sync || flags.timeout.is_some() { &state.seams.sink_sync } else { &state.seams.sink };
    match flags.timeout {
        None => Some(sink.write(batch).await),
        Some(timeout) => tokio::time::timeout(timeout, sink.write(batch)).await.ok(),
    }
}

async fn parse_elsewhere(body: Body, tags_max: usize) -> Result<(Body, ParsedBody), ApiError> {
    tokio::task::spawn_blocking(move || {
        let parsed = parse(body.text()?, tags_max)?;
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

/// Adds points that the store refused. The batch is gone, but the body is still there and gives the same batch again.
fn describe(
    body: &Body,
    tags_max: usize,
    refused: &[(usize, WriteRefusal)],
    rejections: &mut Rejections,
) -> Result<(), ApiError> {
    let batch = parse(body.text()?, tags_max)?.batch;
    let points: Vec<_> = batch.points().collect();
    for (position, refusal) in refused {
        rejections.add(|| Rejection {
            datapoint: points.get(*position).map(|point| {
                let key = batch.series_key(point.series);
                let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
                Datapoint {
                    metric: Some(key.metric().to_owned()),
                    timestamp: if point.timestamp % 1000 == 0 { point.timestamp / 1000 } else { point.timestamp },
                    value: Some(point.value.to_string()),
                    tags: Some(key.tags().map(owned).collect()),
                }
            }),
            error: refusal.message.clone(),
        });
    }
    Ok(())
}
