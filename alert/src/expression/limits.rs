//! How much an expression may be and do.

use tidemark_model::ReadLimits;

/// Limits of one expression. Errors name the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpressionLimits {
    /// Bytes of text.
    pub text_bytes_max: usize,
    /// Levels of nesting, chains of operators included.
    pub depth_max: usize,
    /// Queries, counting each window of `band` and the like.
    pub queries_max: usize,
    /// Groups in any set on the way.
    pub groups_max: usize,
    /// Values produced in all, counting every point and number of every step.
    pub work_max: u64,
    /// What each query may read.
    pub read: ReadLimits,
}

impl Default for ExpressionLimits {
    fn default() -> Self {
        Self {
            text_bytes_max: 16 * 1024,
            depth_max: 128,
            queries_max: 200,
            groups_max: 100_000,
            work_max: 100_000_000,
            read: ReadLimits::default(),
        }
    }
}
