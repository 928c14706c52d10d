//! Deletions of metrics that have other values than points.

use std::sync::Arc;

use tidemark_model::{
    BoxFuture, DeleteOutcome, DeleteReceipt, DeleteRefusal, DeleteRequest, PointDeleter, ReadError, written_metric,
};

use crate::{
    RollupIntervals,
    space_reader::{metric_of, rollup_names, with_metric},
};

/// A deleter that takes the rollups away that somebody wrote with the points that are to go: they would answer in their
/// place.
pub struct SpaceDeleter {
    points: Arc<dyn PointDeleter>,
    intervals: RollupIntervals,
}

impl SpaceDeleter {
    /// Deletes from a store to which rollups of these intervals may be written.
    #[must_use]
    pub fn new(points: Arc<dyn PointDeleter>, intervals: RollupIntervals) -> Self {
        Self { points, intervals }
    }

    async fn delete_all(&self, request: &DeleteRequest) -> DeleteOutcome {
        let mut outcome = self.points.delete(request).await;
        let Some(metric) = metric_of(&request.selector) else { return outcome };
        for name in rollup_names(&metric, &self.intervals) {
            if !matches!(outcome, DeleteOutcome::Done(_)) && !is_unknown(&outcome) {
                return outcome;
            }
            let request = DeleteRequest { selector: with_metric(&request.selector, name), ..request.clone() };
            outcome = match (outcome, self.points.delete(&request).await) {
                (before, now) if is_unknown(&now) => before,
                (DeleteOutcome::Done(before), DeleteOutcome::Done(now)) => {
                    DeleteOutcome::Done(DeleteReceipt { series: before.series.max(now.series) })
                }
                (_, now) => now,
            };
        }
        written(outcome)
    }
}

impl PointDeleter for SpaceDeleter {
    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, DeleteOutcome> {
        Box::pin(self.delete_all(request))
    }
}

/// Whether there is nothing of that name.
fn is_unknown(outcome: &DeleteOutcome) -> bool {
    matches!(outcome, DeleteOutcome::Refused(DeleteRefusal::Selection(ReadError::UnknownName { .. })))
}

/// Tells names as they were written.
fn written(outcome: DeleteOutcome) -> DeleteOutcome {
    match outcome {
        DeleteOutcome::Refused(DeleteRefusal::Selection(ReadError::UnknownName { kind, name })) => {
            let name = written_metric(&name).to_owned();
            DeleteOutcome::Refused(DeleteRefusal::Selection(ReadError::UnknownName { kind, name }))
        }
        other => other,
    }
}
