//! The one way in for points.

use std::fmt;

use crate::{BoxFuture, PointBatch};

/// Takes points. Telnet, HTTP, every other protocol, the agent, backfill and import build a [`PointBatch`] and hand
/// it to one of these; there is no other write path.
pub trait PointSink: Send + Sync {
    /// Writes a batch and waits until its fate is known.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the fate unknown to the caller: the batch may be stored all the same. Sending it
    /// again is harmless, since the last write of one (series, timestamp) wins.
    fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome>;
}

/// What became of a write. Matched exhaustively: "unknown" is neither success nor failure.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteOutcome {
    /// Acknowledged: all points of the batch but the refused ones survive whatever the mode promises.
    Done(WriteReceipt),
    /// Nothing of the batch was stored.
    Refused(WriteRefusal),
    /// The store lost track: the batch may be stored or not. Sending it again is harmless.
    Unknown(String),
}

/// What was acknowledged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteReceipt {
    /// Points that are stored.
    pub stored: usize,
    /// Points that were refused one by one, by position in the batch, such as those of a new series over a limit.
    pub refused: Vec<(usize, WriteRefusal)>,
}

/// Why points were not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteRefusal {
    /// The kind, for status codes and metrics.
    pub reason: RefusalReason,
    /// For the person who sent the points: what, the limit or dependency, what to do.
    pub message: String,
}

/// Kinds of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// A queue is full or a rate is exceeded: try again later. HTTP 503 with `Retry-After`.
    Busy,
    /// A dependency is down: try again later. HTTP 503 with `Retry-After`.
    Unavailable,
    /// The disk is full; reads go on. HTTP 507.
    DiskFull,
    /// A limit on series or points. HTTP 400 for the point.
    Limit,
    /// The process is ending. HTTP 503.
    ShuttingDown,
}

impl fmt::Display for WriteRefusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl WriteRefusal {
    /// A refusal of this kind.
    #[must_use]
    pub fn new(reason: RefusalReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
