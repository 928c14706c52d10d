//! `write` jobs: a batch of points into the store; and the two ways in which a request has its points written.
//!
//! [`DirectPointSink`] goes through a [`DirectQueue`] and answers when the store has: the way of `tidemark serve`.
//! [`BrokerPointSink`] makes a job of the batch and answers when it is queued, or when it is done.

use std::{sync::Arc, time::Duration};

use tidemark_model::{
    BoxFuture, Clock, PointBatch, PointSink, RefusalReason, WriteOutcome, WriteReceipt, WriteRefusal,
};
use tidemark_queue::{
    Broker, BrokerError, Completion, JobId, JobKind, JobState, NewJob, PayloadError, Pushed, QueueName, WritePayload,
};

use super::{prompt_push::PromptPush, refusal_log::RefusalLog, write_receipt};
use crate::{
    DirectError, DirectOptions, DirectQueue, DirectWorker, WorkFigures,
    handler::{Handler, JobContext, JobError, JobOutput},
};

/// Begins the reason of a job that was discarded because the store refused all its points. Jobs are discarded for other
/// reasons, too, after which it is not known whether their points are stored.
const REFUSED: &str = "the points were refused: ";

/// Writes the batch of a `write` job into a sink.
///
/// Idempotent, since the last write of one (series, timestamp) wins.
pub struct WriteHandler {
    sink: Arc<dyn PointSink>,
    figures: Arc<WorkFigures>,
    refusals: RefusalLog,
}

impl WriteHandler {
    /// Writes into `sink`. Points that it refuses for good are counted in `figures` and told in the log, since whoever
    /// sent them was told that they are queued.
    #[must_use]
    pub fn new(sink: Arc<dyn PointSink>, figures: Arc<WorkFigures>, clock: Arc<dyn Clock>) -> Self {
        Self { sink, figures, refusals: RefusalLog::new(clock) }
    }

    async fn write(&self, job: JobContext) -> Result<JobOutput, JobError> {
        let payload: WritePayload = job.payload()?;
        // The bytes do not get better by waiting.
        let batch = payload.into_batch().map_err(|error| JobError::Discard(error.to_string()))?;
        let points = batch.len();
        match self.sink.write(batch).await {
            WriteOutcome::Done(receipt) => {
                if let Some((_, refusal)) = receipt.refused.first() {
                    self.note_refused(receipt.refused.len(), &refusal.message);
                }
                Ok(JobOutput { result: job.job.result_ttl.map(|_| write_receipt::encode(&receipt)) })
            }
            WriteOutcome::Refused(refusal) => match refusal.reason {
                RefusalReason::Limit => {
                    self.note_refused(points, &refusal.message);
                    Err(JobError::Discard(format!("{REFUSED}{}", refusal.message)))
                }
                RefusalReason::Busy
                | RefusalReason::Unavailable
                | RefusalReason::DiskFull
                | RefusalReason::ShuttingDown => Err(JobError::Retry(refusal.message, None)),
            },
            WriteOutcome::Unknown(reason) => Err(JobError::Retry(reason, None)),
        }
    }

    fn note_refused(&self, points: usize, first_reason: &str) {
        let points = points as u64;
        self.figures.points_refused(points);
        self.refusals.note(points, first_reason);
    }
}

impl Handler for WriteHandler {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Result<JobOutput, JobError>> {
        Box::pin(self.write(job))
    }
}

/// A sink that has batches written by a direct queue's worker into `sink`, and that worker.
#[must_use]
pub fn direct_writes(
    sink: Arc<dyn PointSink>,
    options: DirectOptions,
    clock: Arc<dyn Clock>,
    figures: Arc<WorkFigures>,
) -> (DirectPointSink, DirectWorker<PointBatch, WriteOutcome>) {
    let (queue, worker) = DirectQueue::new(options, clock, figures, move |batch| {
        let sink = sink.clone();
        Box::pin(async move { sink.write(batch).await }) as BoxFuture<'static, WriteOutcome>
    });
    (DirectPointSink { queue }, worker)
}

/// Has points written within this process and answers when the store has; see [`direct_writes`].
#[derive(Clone)]
pub struct DirectPointSink {
    queue: DirectQueue<PointBatch, WriteOutcome>,
}

impl DirectPointSink {
    /// Batches that wait or are being written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

impl PointSink for DirectPointSink {
    fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
        Box::pin(async move {
            let bytes = batch.memory_bytes();
            let refused =
                |reason, error: DirectError| WriteOutcome::Refused(WriteRefusal::new(reason, error.to_string()));
            match self.queue.submit(batch, bytes).await {
                Ok(outcome) => outcome,
                Err(error @ DirectError::Full { .. }) => refused(RefusalReason::Busy, error),
                Err(error @ DirectError::Closed(_)) => refused(RefusalReason::ShuttingDown, error),
                Err(error @ (DirectError::TimedOut { .. } | DirectError::Panicked { .. })) => {
                    WriteOutcome::Unknown(error.to_string())
                }
            }
        })
    }
}

/// When a [`BrokerPointSink`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteAnswer {
    /// Once the job is queued: the points survive what the broker promises, and are stored soon.
    WhenQueued,
    /// Once the job is done, or after this time with "unknown".
    WhenDone(Duration),
}

/// Makes `write` jobs of batches.
#[derive(Clone)]
pub struct BrokerPointSink {
    broker: Arc<dyn Broker>,
    queue: QueueName,
    answer: WriteAnswer,
    prompt: Option<Arc<PromptPush>>,
}

impl BrokerPointSink {
    /// Pushes to the queue of `write` jobs.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, answer: WriteAnswer) -> Self {
        Self { broker, queue: JobKind::Write.default_queue(), answer, prompt: None }
    }

    /// The same sink with another moment to answer, as `?sync` asks for.
    #[must_use]
    pub fn answering(&self, answer: WriteAnswer) -> Self {
        Self { answer, ..self.clone() }
    }

    /// The same sink for clients that are told within `limit` whether their points are queued. Beyond it the outcome is
    /// unknown, and while the broker answers late, points are refused at once but for those that find out whether it still
    /// does. Clones of the sink share what they know.
    #[must_use]
    pub fn queued_within(&self, limit: Duration) -> Self {
        Self { prompt: Some(Arc::new(PromptPush::new(limit))), ..self.clone() }
    }

    async fn push(&self, job: NewJob) -> Result<Vec<Pushed>, BrokerError> {
        let push = self.broker.push(vec![job]);
        match &self.prompt {
            Some(prompt) => prompt.run(push).await,
            None => push.await,
        }
    }

    async fn write_batch(&self, batch: PointBatch) -> Result<WriteOutcome, BrokerError> {
        let points = batch.len();
        if points == 0 {
            return Ok(WriteOutcome::Done(WriteReceipt::default()));
        }
        let job = match NewJob::new(&WritePayload::from_batch(&batch)) {
            Ok(job) => job.on_queue(self.queue.clone()),
            Err(error) => return Ok(refuse_payload(&error)),
        };
        drop(batch);
        match self.answer {
            WriteAnswer::WhenQueued => {
                self.push(job).await?;
                Ok(WriteOutcome::Done(WriteReceipt { stored: points, refused: Vec::new() }))
            }
            WriteAnswer::WhenDone(wait) => {
                // Longer than the wait, so that the result is there when we look.
                let job = job.with_result(wait + Duration::from_secs(30));
                let pushed = self.push(job).await?;
                match pushed.first() {
                    Some(pushed) => Ok(self.await_done(pushed.id(), wait).await),
                    None => Err(BrokerError::Corrupt("a push was answered without a job".to_owned())),
                }
            }
        }
    }

    async fn await_done(&self, job: JobId, wait: Duration) -> WriteOutcome {
        match self.broker.completion(job, wait).await {
            Ok(Completion::Ended(ended)) => match (ended.state, ended.result) {
                (JobState::Completed, Some(result)) => write_receipt::decode(&result),
                (JobState::Completed, None) => {
                    WriteOutcome::Unknown(format!("job {job} is done, but which points were refused was not kept"))
                }
                (state, _) => {
                    let reason = ended.error.unwrap_or_default();
                    if let (JobState::Discarded, Some(refusal)) = (state, reason.strip_prefix(REFUSED)) {
                        return WriteOutcome::Refused(WriteRefusal::new(RefusalReason::Limit, refusal));
                    }
                    WriteOutcome::Unknown(format!("job {job} is {}: {reason}", state.name()))
                }
            },
            Ok(Completion::Pending) => {
                WriteOutcome::Unknown(format!("job {job} is queued and not done after {wait:?}"))
            }
            Ok(Completion::Unknown) => WriteOutcome::Unknown(format!("the broker does not know job {job} any more")),
            Err(error) => WriteOutcome::Unknown(format!("job {job} is queued; {error}")),
        }
    }
}

impl PointSink for BrokerPointSink {
    fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
        Box::pin(async move { self.write_batch(batch).await.unwrap_or_else(|error| refuse(&error)) })
    }
}

fn refuse_payload(error: &PayloadError) -> WriteOutcome {
    WriteOutcome::Refused(WriteRefusal::new(RefusalReason::Limit, error.to_string()))
}

/// What a failed push means for the points.
fn refuse(error: &BrokerError) -> WriteOutcome {
    let reason = match error {
        BrokerError::Full { .. } | BrokerError::Draining { .. } => RefusalReason::Busy,
        BrokerError::Unavailable(_) | BrokerError::Corrupt(_) | BrokerError::OtherStore(_) => {
            RefusalReason::Unavailable
        }
        BrokerError::DiskFull(_) => RefusalReason::DiskFull,
        BrokerError::Invalid(_) => RefusalReason::Limit,
        BrokerError::Closed => RefusalReason::ShuttingDown,
        BrokerError::Unknown(_) => return WriteOutcome::Unknown(error.to_string()),
    };
    WriteOutcome::Refused(WriteRefusal::new(reason, error.to_string()))
}
