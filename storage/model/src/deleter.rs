//! The one way to delete points.

use thiserror::Error;

use crate::{BoxFuture, ReadError, SeriesSelector, TimeRange, WriteRefusal};

/// Deletes points of many series at once.
pub trait PointDeleter: Send + Sync {
    /// Deletes the points of the selected series in a range and waits until their fate is known.
    ///
    /// Every point that was acknowledged before the call is gone for every read that begins after it, and from the disk
    /// some time later. Points that are written later into the same range stay.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the fate unknown to the caller. Deleting again is harmless.
    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, DeleteOutcome>;
}

/// What to delete.
#[derive(Clone, Debug)]
pub struct DeleteRequest {
    /// Which series.
    pub selector: SeriesSelector,
    /// Which timestamps.
    pub range: TimeRange,
    /// How many series at most.
    pub series_max: usize,
}

/// What became of a deletion. Matched exhaustively: "unknown" is neither success nor failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The points are gone for all readers, and will be after a crash.
    Done(DeleteReceipt),
    /// Nothing was deleted.
    Refused(DeleteRefusal),
    /// The store lost track: all, some or none of the points are gone. Deleting again is harmless.
    Unknown(String),
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteReceipt {
    /// Series that were selected, whether or not they had points in the range.
    pub series: usize,
}

/// Why nothing was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeleteRefusal {
    /// The series could not be selected.
    #[error(transparent)]
    Selection(#[from] ReadError),
    /// The store does not take it now.
    #[error("{0}")]
    Store(WriteRefusal),
}
