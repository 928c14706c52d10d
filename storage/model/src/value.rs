//! Values and points.

use std::fmt;

/// Milliseconds since the Unix epoch, UTC.
pub type TimestampMs = i64;

/// What a point holds, and which of the two was written: OpenTSDB's arithmetic and output depend on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A signed 64-bit integer.
    Int(i64),
    /// A finite IEEE double; NaN and infinities are refused at ingest.
    Float(f64),
}

impl Value {
    /// The value as a double; integers beyond 2^53 lose their low bits.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    /// Whether the value was written as an integer.
    #[must_use]
    pub fn is_int(self) -> bool {
        matches!(self, Self::Int(_))
    }

    /// Equal type and equal bits, so that `-0.0` differs from `0.0` and a NaN equals itself.
    #[must_use]
    pub fn same_bits(self, other: Self) -> bool {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => left == right,
            (Self::Float(left), Self::Float(right)) => left.to_bits() == right.to_bits(),
            _ => false,
        }
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Self::Float(float)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => int.fmt(out),
            Self::Float(float) => float.fmt(out),
        }
    }
}

/// One point of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When, in milliseconds since the epoch.
    pub timestamp: TimestampMs,
    /// What.
    pub value: Value,
}
