//! From the bytes of a body to good points and bad ones.

use tidemark_model::{PointBatch, PointBatchBuilder};

use super::{cursor, rejected::Rejections, slow};
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
