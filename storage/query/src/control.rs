//! What bounds an evaluation.

use std::fmt;

/// How much one evaluation may hold and hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluationLimits {
    /// Points in all results of a sub-query; `limits.query_result_points`.
    pub result_points_max: u64,
    /// Points of one group held at once, after downsampling; `limits.query_group_points`.
    pub group_points_max: u64,
}

impl Default for EvaluationLimits {
    fn default() -> Self {
        Self { result_points_max: 10_000_000, group_points_max: 50_000_000 }
    }
}

/// What bounds and stops an evaluation.
#[derive(Clone, Copy)]
pub struct EvaluationControl<'a> {
    /// How much.
    pub limits: EvaluationLimits,
    /// Asked before every series and, where the store can stop there, every block of it; true ends the evaluation with [`crate::QueryError::Cancelled`].
    pub cancelled: &'a dyn Fn() -> bool,
}

impl Default for EvaluationControl<'_> {
    /// The default limits, and nobody who cancels.
    fn default() -> Self {
        Self { limits: EvaluationLimits::default(), cancelled: &|| false }
    }
}

impl fmt::Debug for EvaluationControl<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EvaluationControl").field("limits", &self.limits).finish_non_exhaustive()
    }
}
