//! A job that this process holds the lease of.

use std::{sync::Arc, time::Duration};

use tidemark_model::TimestampMs;
use tidemark_queue::{Delivery, JobId, JobKind, JobRecord, QueueName, Receipt, TraceId, WorkerId};
use tokio_util::sync::CancellationToken;

use super::note_book::{NoteBook, NoteWriter};
use crate::handler::JobContext;

/// What travels through apalis. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct HeldJob(Arc<Held>);

#[derive(Debug)]
struct Held {
    token: u64,
    delivery: Delivery,
    worker: WorkerId,
    cancel: CancellationToken,
    /// For a job with a soft limit; each token has a lock, so others go without.
    soft_stop: Option<CancellationToken>,
    notes: Arc<NoteBook>,
}

impl HeldJob {
    pub(super) fn new(token: u64, delivery: Delivery, worker: WorkerId, notes: Arc<NoteBook>) -> Self {
        let cancel = CancellationToken::new();
        let soft_stop = delivery.job.soft_limit.map(|_| cancel.child_token());
        Self(Arc::new(Held { token, delivery, worker, cancel, soft_stop, notes }))
    }

    /// Names the job within this process.
    pub(crate) fn token(&self) -> u64 {
        self.0.token
    }

    pub(crate) fn receipt(&self) -> &Receipt {
        &self.0.delivery.receipt
    }

    pub(crate) fn cancel_token(&self) -> &CancellationToken {
        &self.0.cancel
    }

    pub(crate) fn record(&self) -> &JobRecord {
        &self.0.delivery.job
    }

    pub(crate) fn id(&self) -> JobId {
        self.0.delivery.job.id
    }

    pub(crate) fn kind(&self) -> JobKind {
        self.0.delivery.job.kind
    }

    pub(crate) fn queue(&self) -> &QueueName {
        &self.0.delivery.job.queue
    }

    pub(crate) fn trace(&self) -> Option<TraceId> {
        self.0.delivery.job.trace
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.0.delivery.attempt
    }

    pub(crate) fn time_limit(&self) -> Duration {
        self.0.delivery.job.time_limit
    }

    /// After how long which token is to tell an attempt to come to an end, if that is before it is cancelled.
    pub(crate) fn soft_limit(&self) -> Option<(Duration, CancellationToken)> {
        let limit = self.0.delivery.job.soft_limit.filter(|limit| *limit < self.time_limit())?;
        Some((limit, self.0.soft_stop.clone()?))
    }

    /// Where its handler's notes go.
    pub(crate) fn notes(&self) -> (u64, &NoteBook) {
        (self.0.token, &self.0.notes)
    }

    /// How long the job has waited since it could have started.
    pub(crate) fn waited(&self, now_ms: TimestampMs) -> Duration {
        Duration::from_millis(u64::try_from(now_ms.saturating_sub(self.0.delivery.available_ms)).unwrap_or(0))
    }

    pub(crate) fn context(&self) -> JobContext {
        let held = &self.0;
        JobContext {
            job: held.delivery.job.clone(),
            attempt: held.delivery.attempt,
            rescues: held.delivery.rescues,
            worker: held.worker.clone(),
            cancel: held.cancel.clone(),
            soft_stop: held.soft_stop.clone(),
            notes: NoteWriter::new(self.clone()),
        }
    }
}
