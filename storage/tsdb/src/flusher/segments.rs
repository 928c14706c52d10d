//! Rows become segments.

use bytes::Bytes;
use tidemark_model::{RefusalReason, WriteRefusal};

use super::COMMIT_ROWS;
use crate::{
    codec,
    codec::{CodecError, Deletion, SEGMENT_BYTES_MAX, SegmentHeader},
    head::Row,
};

/// Rows of the first segment; later ones have as many as their size allows.
const ROWS_FIRST: usize = 4_096;

/// Encoded rows or deletions of one commit.
#[derive(Clone, Default)]
pub(super) struct Segments {
    pub(super) first_sequence: u64,
    pub(super) values: Vec<Bytes>,
}

impl Segments {
    pub(super) fn bytes(&self) -> u64 {
        self.values.iter().map(|value| value.len() as u64).sum()
    }
}

/// Cuts rows into segments and numbers them.
pub(super) struct SegmentEncoder {
    writer: u64,
    sequence: u64,
    rows_per_segment: usize,
}

impl SegmentEncoder {
    pub(super) fn new(writer: u64) -> Self {
        Self { writer, sequence: 0, rows_per_segment: ROWS_FIRST }
    }

    /// Cuts the rows into segments. How many rows fit is learnt from the segments before.
    pub(super) fn encode(&mut self, rows: &[Row]) -> Result<Segments, WriteRefusal> {
        let mut segments = Segments { first_sequence: self.sequence, values: Vec::new() };
        let mut rest = rows;
        while !rest.is_empty() {
            let (rows, later) = rest.split_at(self.rows_per_segment.clamp(1, rest.len()));
            let mut value = Vec::new();
            let header = header_of(self.writer, self.sequence);
            let encoded = codec::encode_segment(
                &header,
                rows.iter().map(|row| (row.id.0, row.timestamp, row.value())),
                &mut value,
            );
            let bytes = match encoded {
                Ok(()) => value.len(),
                Err(CodecError::TooManyBytes { bytes, .. }) if rows.len() > 1 => bytes,
                Err(error) => {
                    let message = format!("the points could not be encoded: {error}");
                    return Err(WriteRefusal::new(RefusalReason::Unavailable, message));
                }
            };
            self.rows_per_segment = (rows.len() * SEGMENT_BYTES_MAX * 9 / 10 / bytes.max(1)).clamp(1, COMMIT_ROWS);
            if encoded.is_ok() {
                segments.values.push(Bytes::from(value));
                self.sequence += 1;
                rest = later;
            }
        }
        Ok(segments)
    }

    /// One value for each deletion, numbered together with the segments.
    pub(super) fn encode_deletions(&mut self, deletions: &[Deletion]) -> Result<Segments, WriteRefusal> {
        let mut segments = Segments { first_sequence: self.sequence, values: Vec::new() };
        for deletion in deletions {
            let mut value = Vec::new();
            codec::encode_deletion(self.writer, self.sequence, deletion, &mut value).map_err(|error| {
                WriteRefusal::new(RefusalReason::Unavailable, format!("the deletion could not be encoded: {error}"))
            })?;
            segments.values.push(Bytes::from(value));
            self.sequence += 1;
        }
        Ok(segments)
    }
}

/// The codec counts the rows itself.
fn header_of(writer: u64, sequence: u64) -> SegmentHeader {
    SegmentHeader { writer, sequence, points: 0, min_timestamp: 0, max_timestamp: 0 }
}
