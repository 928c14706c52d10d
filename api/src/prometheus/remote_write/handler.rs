//! Takes requests of remote write.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    web::{Data, Payload},
};
use tidemark_model::{WriteOutcome, WriteReceipt};

use super::message::{Received, read};
use crate::{
    error::ApiError,
    http::{body::read_body_of, capped_decoder::Encoding},
    metrics::{Protocol, RejectReason},
    state::AppState,
};

/// Above this many bytes a message is read on a blocking thread.
const INLINE_BYTES: usize = 256 << 10;
/// What a message is called.
const MEDIA_TYPE: &str = "application/x-protobuf";
/// Which message it is.
const MESSAGE: &str = "prometheus.WriteRequest";

/// Stores samples: 204 when all of them are stored, 400 when some never can be.
pub(crate) async fn post(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    check_headers(request.headers())?;
    let body = read_body_of(&request, payload, &state, Encoding::Snappy, usize::MAX).await?;
    let received = match body.bytes.len() > INLINE_BYTES {
        false => read(&body.bytes),
        true => tokio::task::spawn_blocking(move || read(&body.bytes)).await.map_err(|failed| {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the message could not be read")
                .details(failed.to_string())
        })?,
    };
    let received = received.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let counters = &state.counters;
    counters.not_finite.add(received.dropped);
    counters.points.reject(Protocol::Prometheus, RejectReason::Invalid, received.refused);
    let Received { batch, mut refused, mut reasons, .. } = received;
    let sent = batch.len();
    let outcome = match batch.is_empty() {
        true => WriteOutcome::Done(WriteReceipt::default()),
        false => state.seams.sink.write(batch).await,
    };
    match outcome {
        WriteOutcome::Done(receipt) => {
            for (_, refusal) in &receipt.refused {
                counters.points.reject(Protocol::Prometheus, refusal.reason.into(), 1);
            }
            counters.points.accept(Protocol::Prometheus, sent.saturating_sub(receipt.refused.len()));
            refused += receipt.refused.len();
            reasons.extend(receipt.refused.into_iter().next().map(|(_, refusal)| refusal.message));
        }
        WriteOutcome::Refused(refusal) => {
            counters.points.reject(Protocol::Prometheus, refusal.reason.into(), sent);
            return Err(ApiError::from(&refusal));
        }
        WriteOutcome::Unknown(reason) => {
            counters.points.reject(Protocol::Prometheus, RejectReason::Unknown, sent);
            return Err(ApiError::unavailable(format!("whether the samples are stored is unknown: {reason}"))
                .details("they may have been stored; sending them again is harmless"));
        }
    }
    if refused == 0 {
        return Ok(HttpResponse::NoContent().finish());
    }
    Err(ApiError::bad_request(format!("{refused} samples can never be stored: {}", reasons.join("; ")))
        .details("the other samples of the request are stored"))
}

/// # Errors
/// 415 for another message, and for one that is compressed in another way.
fn check_headers(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let unsupported = |text: String| ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text).closing();
    let encoding = text(header::CONTENT_ENCODING);
    if !encoding.trim().eq_ignore_ascii_case("snappy") {
        let shown: String = encoding.chars().take(64).collect();
        return Err(unsupported(format!("Content-Encoding `{shown}` is not supported: remote write sends `snappy`")));
    }
    let mut parts = text(header::CONTENT_TYPE).split(';').map(str::trim);
    let is_protobuf = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(MEDIA_TYPE));
    let is_known = parts.filter_map(|part| part.strip_prefix("proto=")).all(|message| message == MESSAGE);
    if is_protobuf && is_known {
        return Ok(());
    }
    let shown: String = text(header::CONTENT_TYPE).chars().take(100).collect();
    Err(unsupported(format!(
        "Content-Type `{shown}` is not supported: remote write 1.0 sends `{MEDIA_TYPE}`, `{MESSAGE}`"
    )))
}
