//! What bounds an evaluation, and what it cost.

use std::fmt;

/// What bounds and stops an evaluation.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Values (series times steps) that are held at once; `limits.query_group_points`.
    pub held_max: u64,
    /// Points of the answer; `limits.query_result_points`.
    pub result_points_max: u64,
    /// Asked now and then; true ends the evaluation with [`crate::QueryError::Cancelled`].
    pub cancelled: &'a dyn Fn() -> bool,
}

impl Default for Control<'_> {
    fn default() -> Self {
        Self { held_max: 50_000_000, result_points_max: 10_000_000, cancelled: &|| false }
    }
}

impl fmt::Debug for Control<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { held_max, result_points_max, .. } = self;
        out.debug_struct("Control")
            .field("held_max", held_max)
            .field("result_points_max", result_points_max)
            .finish_non_exhaustive()
    }
}

/// What an evaluation cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Series that were read.
    pub series: usize,
    /// Points that were read.
    pub points: u64,
    /// Series of the answer.
    pub result_series: usize,
    /// Points of the answer.
    pub result_points: u64,
}
