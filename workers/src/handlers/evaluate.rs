//! `evaluate` jobs: a rule over the store, and its incidents moved by what came of it.

use std::sync::Arc;

use serde_json::json;
use tidemark_alert::{
    IncidentBook, RuleSet,
    book::BookError,
    expression::ExpressionLimits,
    notification::{NotificationRequest, RequestError},
    rules::{RuleEvaluation, RuleFailure},
};
use tidemark_model::{BoxFuture, Clock, SeriesReader, TimestampMs};
use tidemark_queue::{
    Broker, BrokerError, EvaluatePayload, NewJob, NotifyPayload, PayloadError, UniqueKey, UniqueMode,
};

use crate::handler::{Handler, JobContext, JobError, JobOutput};

/// Evaluates rules and queues whom to tell.
///
/// Idempotent: the book ignores an evaluation that is not newer than the last, and a notification that is queued twice
/// has one unique key.
pub struct EvaluateHandler {
    rules: RuleSet,
    book: IncidentBook,
    reader: Arc<dyn SeriesReader>,
    clock: Arc<dyn Clock>,
    notifications: NotificationQueue,
}

impl EvaluateHandler {
    /// Evaluates `rules` over `reader` and keeps incidents in `book`.
    #[must_use]
    pub fn new(
        rules: RuleSet,
        book: IncidentBook,
        reader: Arc<dyn SeriesReader>,
        clock: Arc<dyn Clock>,
        notifications: NotificationQueue,
    ) -> Self {
        Self { rules, book, reader, clock, notifications }
    }

    async fn evaluate(&self, job: JobContext) -> Result<JobOutput, JobError> {
        let EvaluatePayload { rule: name } = job.payload()?;
        let Some(rule) = self.rules.rule(&name) else {
            return Err(JobError::Discard(format!("there is no rule `{name}` any more")));
        };
        if !rule.enabled {
            return Ok(job.answer(&json!({ "enabled": false })));
        }
        let limits: ExpressionLimits = self.rules.options().limits;
        let evaluation = rule.evaluate(self.reader.as_ref(), self.clock.now_ms(), limits).await;
        let requests = match self.book.apply(&self.rules, &name, &evaluation).await {
            Ok(requests) => requests,
            Err(error) if error.is_transient() => return Err(book_failed(error)),
            Err(error) => return Err(self.note_failure(&name, evaluation.at, error).await),
        };
        let made = match &evaluation.result {
            Ok(keys) => {
                job.log(format!("evaluated {} keys, notifications: {}", keys.len(), requests.len()));
                json!({"keys": keys.len(), "notifications": requests.len()})
            }
            Err(failure) => {
                job.log(format!("cannot be evaluated: {}", failure.reason));
                json!({"failure": failure.reason, "notifications": requests.len()})
            }
        };
        self.notifications
            .push(&self.book, &requests)
            .await
            .map_err(|error| JobError::Retry(error.to_string(), None))?;
        match evaluation.result {
            Err(failure) if failure.is_transient => Err(JobError::Retry(failure.reason, None)),
            // A rule that cannot be evaluated says so itself; as a dead letter each time it would bury the others.
            Ok(_) | Err(_) => Ok(job.answer(&made)),
        }
    }

    /// Makes a rule whose evaluation cannot be applied show that, so that it does not look healthy.
    async fn note_failure(&self, rule: &str, at: TimestampMs, error: BookError) -> JobError {
        let failure = RuleFailure { reason: error.to_string(), is_transient: false };
        let failed = RuleEvaluation { at, result: Err(failure) };
        if let Err(second) = self.book.apply(&self.rules, rule, &failed).await {
            tracing::warn!(rule, error = %second, "that a rule fails could not be noted");
        }
        book_failed(error)
    }
}

impl Handler for EvaluateHandler {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Result<JobOutput, JobError>> {
        Box::pin(self.evaluate(job))
    }
}

pub(crate) fn book_failed(error: BookError) -> JobError {
    if error.is_transient() { JobError::Retry(error.to_string(), None) } else { JobError::Discard(error.to_string()) }
}

/// Where notifications become `notify` jobs.
#[derive(Clone)]
pub struct NotificationQueue(Arc<dyn Broker>);

/// Why a notification is not queued.
#[derive(Debug, thiserror::Error)]
pub enum NotificationQueueError {
    /// The broker does not take it.
    #[error("queue a notification: {0}")]
    Broker(#[from] BrokerError),
    /// It cannot be written as a payload.
    #[error("queue a notification: {0}")]
    Payload(#[from] PayloadError),
    /// It cannot be encoded.
    #[error("queue a notification: {0}")]
    Request(#[from] RequestError),
    /// That it is queued could not be noted; it is queued once more and recognised by its key.
    #[error("note that a notification is queued: {0}")]
    Book(#[from] BookError),
}

impl NotificationQueue {
    /// Queues in `broker`.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self(broker)
    }

    /// Queues notifications, each under the unique key of its delivery, and notes that in the book.
    ///
    /// # Errors
    /// The broker or the book fails; pushing the same again is harmless.
    pub async fn push(
        &self,
        book: &IncidentBook,
        requests: &[NotificationRequest],
    ) -> Result<(), NotificationQueueError> {
        if requests.is_empty() {
            return Ok(());
        }
        let job = |request: &NotificationRequest| -> Result<NewJob, NotificationQueueError> {
            let mut job = NewJob::new(&NotifyPayload { notification: request.encode()? })?;
            job.rate_key = Some(request.notification.clone());
            job.unique = Some(UniqueKey { key: request.delivery.to_string(), mode: UniqueMode::UntilDone });
            Ok(job)
        };
        self.0.push(requests.iter().map(job).collect::<Result<_, _>>()?).await?;
        Ok(book.mark_queued(requests).await?)
    }
}
