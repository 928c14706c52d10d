//! From the bytes of a body to good points and bad ones.

use tidemark_model::{PointBatch, PointBatchBuilder, PointRules};

use super::{
    cursor,
    header_tag::HeaderTag,
    other_values::{parse_histograms, parse_rollups},
    rejected::Rejections,
    slow,
};
use crate::{error::ApiError, options::OpenTsdbOptions};

/// What a body holds.
#[derive(Debug, Default)]
pub(crate) struct ParsedBody {
    /// The good points.
    pub(crate) batch: PointBatch,
    /// The bad ones.
    pub(crate) rejections: Rejections,
}

/// What a body is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// `/api/put`.
    Points,
    /// `/api/histogram`.
    Histograms,
    /// `/api/rollup`.
    Rollups,
}

/// Reads a body of this kind, whose points have the tag of the header in addition, or in place of theirs of that key.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_kind(
    text: &str,
    kind: BodyKind,
    options: &OpenTsdbOptions,
    tag: Option<&HeaderTag>,
) -> Result<ParsedBody, ApiError> {
    match kind {
        BodyKind::Points if tag.is_some() => slow::parse(text, &options.point_rules, tag),
        BodyKind::Points => parse(text, &options.point_rules),
        BodyKind::Histograms => parse_histograms(text, &options.point_rules, tag),
        BodyKind::Rollups => parse_rollups(text, &options.point_rules, &options.rollups, tag),
    }
}

/// Reads a body of one point or an array of points.
///
/// # Errors
/// 400 when the body is no JSON, or has no point.
pub(crate) fn parse(text: &str, rules: &PointRules) -> Result<ParsedBody, ApiError> {
    let mut builder = PointBatchBuilder::with_rules(rules.clone());
    match cursor::parse(text, &mut builder) {
        Ok(()) => Ok(ParsedBody { batch: builder.finish(), rejections: Rejections::default() }),
        Err(cursor::GaveUp) => slow::parse(text, rules, None),
    }
}
