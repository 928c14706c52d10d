//! The points that one request may hold.

use crate::{EvaluationControl, QueryError};

/// Points of everything that an evaluation holds at once: what it was given, what it computed of that, and what it hands
/// out.
#[derive(Clone, Copy, Debug)]
pub(super) struct PointBudget {
    left: u64,
    limit: u64,
}

impl PointBudget {
    pub(super) fn new(control: &EvaluationControl<'_>) -> Self {
        let limit = control.limits.result_points_max;
        Self { left: limit, limit }
    }

    /// Takes points before memory is taken for them.
    pub(super) fn take(&mut self, rows: usize, columns: usize) -> Result<(), QueryError> {
        let points = (rows as u64).saturating_mul(columns as u64);
        self.left = self.left.checked_sub(points).ok_or(QueryError::TooManyResultPoints { limit: self.limit })?;
        Ok(())
    }
}
