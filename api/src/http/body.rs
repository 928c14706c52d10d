//! Reads the body of a request: under a limit, under deadlines, decompressed under another limit.

use std::time::Duration;

use actix_web::{HttpRequest, http::StatusCode, http::header, web::Payload};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use crate::{
    error::ApiError,
    http::{
        body_budget::BodyBytes,
        capped_decoder::{CappedDecoder, Encoding},
    },
    options::ApiLimits,
    state::AppState,
};

/// A body that was read. Its bytes count as held until it is dropped.
#[derive(Debug)]
pub struct Body {
    /// The bytes, decompressed.
    pub bytes: Vec<u8>,
    #[expect(dead_code, reason = "held for its drop")]
    held: BodyBytes,
}

/// Memory that is made ready for a body that only claims to be so long.
const READY_BYTES: usize = 256 << 10;
/// Above this many bytes before or after, a body is decompressed on a blocking thread.
const INLINE_ENCODED_BYTES: usize = 64 << 10;
const INLINE_DECODED_BYTES: usize = 512 << 10;
/// Most bytes that are read of a body that nobody wants.
const UNWANTED_BYTES_MAX: usize = 64 << 10;
/// How long a body may take that is not held in memory.
const LONGEST_BODY: Duration = Duration::from_secs(7 * 86_400);

/// Reads the whole body of a request.
///
/// # Errors
/// 415 for an unknown encoding, 413 when a limit is reached, 408 when the body stalls, 400 when it is cut off or
/// damaged, 503 when too many bodies are in flight.
pub async fn read_body(request: &HttpRequest, payload: Payload, state: &AppState) -> Result<Body, ApiError> {
    read_body_up_to(request, payload, state, usize::MAX).await
}

/// Reads the whole body of a request that is not to have more than `bytes_max` bytes, compressed or not.
///
/// # Errors
/// As [`read_body`].
pub async fn read_body_up_to(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
    bytes_max: usize,
) -> Result<Body, ApiError> {
    let encoding = request.headers().get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    read_body_of(request, payload, state, Encoding::from_header(encoding)?, bytes_max).await
}

/// As [`read_body_up_to`], of a body that is compressed in this way.
///
/// # Errors
/// As [`read_body`].
pub(crate) async fn read_body_of(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
    encoding: Encoding,
    bytes_max: usize,
) -> Result<Body, ApiError> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let length = header(header::CONTENT_LENGTH).and_then(|value| value.parse::<usize>().ok());
    let mut limits = state.options.limits;
    if bytes_max < limits.body_bytes.min(limits.body_bytes_decoded) && length.is_some_and(|length| length > bytes_max) {
        return Err(ApiError::too_large(format!("a request of this kind may have {bytes_max} bytes at most")).closing());
    }
    limits.body_bytes = limits.body_bytes.min(bytes_max);
    limits.body_bytes_decoded = limits.body_bytes_decoded.min(bytes_max);
    let limits = &limits;
    let mut held = state.body_budget.begin();
    let raw = read_raw(payload, length, limits, &mut held).await?;
    if encoding == Encoding::Identity {
        return Ok(Body { bytes: raw, held });
    }
    let decoder = CappedDecoder { bytes_max: limits.body_bytes_decoded };
    let inline = CappedDecoder { bytes_max: decoder.bytes_max.min(INLINE_DECODED_BYTES) };
    if raw.len() <= INLINE_ENCODED_BYTES {
        let mut tried = state.body_budget.begin();
        match inline.decode(encoding, &raw, &mut tried) {
            // A small body may still be a large one in disguise.
            Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {}
            decoded => return Ok(Body { bytes: decoded?, held: tried }),
        }
    }
    tokio::task::spawn_blocking(move || {
        let bytes = decoder.decode(encoding, &raw, &mut held)?;
        Ok(Body { bytes, held })
    })
    .await
    .unwrap_or_else(|failed| Err(decoder_failed(&failed)))
}

fn decoder_failed(failed: &tokio::task::JoinError) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the body could not be decompressed").details(failed.to_string())
}

/// Reads a body piece by piece, each of which `take` gets as it comes. It must come at the pace of any other, but may take
/// as long as it needs, and has no other limit than that of `take`.
///
/// # Errors
/// 408 when the body stalls, 400 when it is cut off, and what `take` says.
pub(crate) async fn read_in_pieces(
    mut payload: Payload,
    limits: &ApiLimits,
    mut take: impl AsyncFnMut(Bytes) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let limits = ApiLimits { body_total_timeout: LONGEST_BODY, ..*limits };
    let (mut pace, mut received) = (Pace::new(&limits), 0);
    loop {
        let chunk = next_chunk(&mut payload, &pace, received).await?;
        let Some(chunk) = chunk else { return Ok(()) };
        received += chunk.len();
        pace.advance(chunk.len());
        let before = Instant::now();
        take(chunk).await?;
        // The client does not have to make up for the time that the disk took.
        pace.span_ends += before.elapsed();
    }
}

/// Reads a body that nobody wants, so that its connection can be used again after the answer. The connection of a long
/// one, or of one that stalls, is closed then.
pub(crate) async fn skip_short_body(request: &HttpRequest, mut payload: Payload, limits: &ApiLimits) {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > UNWANTED_BYTES_MAX) {
        return;
    }
    let (mut pace, mut skipped) = (Pace::new(limits), 0);
    while skipped <= UNWANTED_BYTES_MAX {
        let Ok(Some(chunk)) = next_chunk(&mut payload, &pace, skipped).await else { return };
        skipped += chunk.len();
        pace.advance(chunk.len());
    }
}

async fn next_chunk(payload: &mut Payload, pace: &Pace<'_>, received: usize) -> Result<Option<Bytes>, ApiError> {
    match timeout_at(pace.deadline(), payload.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => Err(ApiError::bad_request("the body ended early").details(error.to_string()).closing()),
        Err(_) => Err(pace.stalled(received)),
    }
}

async fn read_raw(
    mut payload: Payload,
    length: Option<usize>,
    limits: &ApiLimits,
    held: &mut BodyBytes,
) -> Result<Vec<u8>, ApiError> {
    if length.is_some_and(|length| length > limits.body_bytes) {
        return Err(too_large(limits));
    }
    let mut body = Vec::with_capacity(length.unwrap_or(0).min(READY_BYTES));
    let mut pace = Pace::new(limits);
    loop {
        let Some(chunk) = next_chunk(&mut payload, &pace, body.len()).await? else { return Ok(body) };
        if body.len() + chunk.len() > limits.body_bytes {
            return Err(too_large(limits));
        }
        held.take(chunk.len())?;
        body.extend_from_slice(&chunk);
        pace.advance(chunk.len());
    }
}

fn too_large(limits: &ApiLimits) -> ApiError {
    ApiError::too_large(format!("the body has more than {} bytes; see `limits.body_bytes`", limits.body_bytes))
        .closing()
}

/// Decides when a body counts as stalled: too few bytes within a span, or too long in all.
struct Pace<'a> {
    limits: &'a ApiLimits,
    all_by: Instant,
    span_ends: Instant,
    span_bytes: u64,
}

impl<'a> Pace<'a> {
    fn new(limits: &'a ApiLimits) -> Self {
        let now = Instant::now();
        Self { limits, all_by: now + limits.body_total_timeout, span_ends: now + limits.body_timeout, span_bytes: 0 }
    }

    fn deadline(&self) -> Instant {
        self.span_ends.min(self.all_by)
    }

    fn advance(&mut self, bytes: usize) {
        self.span_bytes += bytes as u64;
        let wanted = self.limits.body_rate_min.saturating_mul(self.limits.body_timeout.as_secs().max(1));
        if self.span_bytes >= wanted {
            self.span_bytes = 0;
            self.span_ends = Instant::now() + self.limits.body_timeout;
        }
    }

    fn stalled(&self, received: usize) -> ApiError {
        let ApiLimits { body_timeout, body_total_timeout, body_rate_min, .. } = self.limits;
        let limit = |limit: &Duration| limit.as_secs_f64();
        ApiError::new(StatusCode::REQUEST_TIMEOUT, format!("the body stalled after {received} bytes"))
            .details(format!(
                "at least {body_rate_min} bytes a second must come within {} s and all within {} s; \
                 see `limits.body_rate`, `limits.body_timeout` and `limits.body_total_timeout`",
                limit(body_timeout),
                limit(body_total_timeout),
            ))
            .closing()
    }
}

impl Body {
    /// The body as text.
    ///
    /// # Errors
    /// 400 naming the first byte that is no UTF-8.
    pub fn text(&self) -> Result<&str, ApiError> {
        std::str::from_utf8(&self.bytes).map_err(|error| {
            ApiError::bad_request("Unable to parse the given JSON")
                .details(format!("the body is no UTF-8 at byte {}", error.valid_up_to()))
        })
    }
}
