//! Points over HTTP: `POST /api/put`.
//!
//! A body is read by a hand-written [`cursor`] that knows only the shape which agents send. Whatever it does not know
//! (an escape, an unknown key, a point that breaks a rule) makes it give up, and the whole body is read again by
//! [`slow`], which uses `serde_json` and has OpenTSDB's rules and texts. The cursor never guesses: what it accepts, the
//! slow path accepts with the same result, and a property test holds the two to it. With `serde_json` alone parsing
//! costs three times as much as everything else that happens to a point on its way into the log.

#[cfg(test)]
mod agreement;
mod answer;
pub(crate) mod cursor;
mod flags;
mod handler;
pub(crate) mod refusal_text;
mod rejected;
pub(crate) mod slow;

pub(crate) use handler::put;
pub(crate) use rejected::Rejections;

use tidemark_model::{PointBatch, PointBatchBuilder};

use crate::error::ApiError;

/// What a body holds.
#[derive(Debug, Default)]
pub(crate) struct ParsedBody {
    /// The good points.
    pub(crate) batch: PointBatch,
    /// The bad ones.
    pub(crate) rejections: Rejections,
}

/// Reads a body of one point or an array of points.
///
/// # Errors
/// 400 when the body is no JSON, or has no point.
pub(crate) fn parse(text: &str, tags_max: usize) -> Result<ParsedBody, ApiError> {
    let mut builder = PointBatchBuilder::new(tags_max);
    match cursor::parse(text, &mut builder) {
        Ok(()) => Ok(ParsedBody { batch: builder.finish(), rejections: Rejections::default() }),
        Err(cursor::GaveUp) => slow::parse(text, tags_max),
    }
}
