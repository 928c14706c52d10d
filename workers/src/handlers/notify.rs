//! `notify` jobs: one notification to one receiver.

use std::sync::Arc;

use tidemark_alert::{
    IncidentBook, Notifier, RuleSet,
    notification::{DeliveryOutcome, NotificationRequest},
};
use tidemark_model::{BoxFuture, Clock};
use tidemark_queue::NotifyPayload;

use crate::{
    handler::{Handler, JobContext, JobError, JobOutput},
    handlers::evaluate::book_failed,
};

/// Delivers notifications. A receiver may get one twice, under the same delivery id.
pub struct NotifyHandler {
    rules: RuleSet,
    book: IncidentBook,
    notifier: Notifier,
    clock: Arc<dyn Clock>,
}

impl NotifyHandler {
    /// Delivers with `notifier` and notes in `book` what became of it.
    #[must_use]
    pub fn new(rules: RuleSet, book: IncidentBook, notifier: Notifier, clock: Arc<dyn Clock>) -> Self {
        Self { rules, book, notifier, clock }
    }

    async fn notify(&self, job: JobContext) -> Result<JobOutput, JobError> {
        let payload: NotifyPayload = job.payload()?;
        let request = NotificationRequest::decode(&payload.notification);
        let request = request.map_err(|error| JobError::Discard(error.to_string()))?;
        let outcome = self.notifier.deliver(&self.rules, &request).await;
        let is_last = job.attempt >= job.job.attempts_max;
        let recorded = self.book.record_delivery(&request, &outcome, is_last, self.clock.now_ms()).await;
        if let Err(error) = &recorded {
            tracing::warn!(%error, delivery = %request.delivery, "an attempt at a delivery could not be noted");
        }
        match outcome {
            // Delivered is delivered: telling the receiver again because the book did not answer helps nobody.
            DeliveryOutcome::Delivered => Ok(JobOutput::default()),
            DeliveryOutcome::Retry { reason, after } => Err(JobError::Retry(reason, after)),
            DeliveryOutcome::Failed { reason } => {
                recorded.map_err(book_failed)?;
                Err(JobError::Discard(reason))
            }
        }
    }
}

impl Handler for NotifyHandler {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Result<JobOutput, JobError>> {
        Box::pin(self.notify(job))
    }
}
