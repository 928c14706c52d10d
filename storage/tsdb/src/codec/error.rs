//! What can go wrong.

use thiserror::Error;

/// Why points did not become bytes, or bytes did not become points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The first byte is no format that this version reads.
    #[error("format byte {0} is not known to this version")]
    UnknownFormat(u8),
    /// The bytes end in the middle.
    #[error("the bytes end too early")]
    Truncated,
    /// The bytes contradict themselves.
    #[error("the bytes are damaged: {0}")]
    Damaged(&'static str),
    /// The checksum is not that of the bytes.
    #[error("the bytes are damaged: the checksum does not match")]
    Checksum,
    /// There is nothing to encode.
    #[error("no points to encode")]
    Empty,
    /// Timestamps and values differ in number.
    #[error("{timestamps} timestamps do not go with {values} values")]
    UnequalColumns {
        /// Number of timestamps.
        timestamps: usize,
        /// Number of values.
        values: usize,
    },
    /// A timestamp of a block is not greater than the one before.
    #[error("timestamp {index} of the block is not greater than the one before")]
    NotAscending {
        /// Position of the timestamp.
        index: usize,
    },
    /// More points than the format allows.
    #[error("{points} points exceed the limit of {limit}")]
    TooManyPoints {
        /// Number of points.
        points: u64,
        /// The limit.
        limit: u64,
    },
    /// More bytes than the format allows.
    #[error("{bytes} bytes exceed the limit of {limit}")]
    TooManyBytes {
        /// Number of bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The compressor failed.
    #[error("the compressor failed")]
    Compressor,
}
