//! A job that this process holds the lease of.

use std::{sync::Arc, time::Duration};

use tidemark_model::TimestampMs;
use tidemark_queue::{Delivery, JobId, JobKind, QueueName, Receipt, TraceId};
use tokio_util::sync::CancellationToken;

use crate::handler::JobContext;
use tidemark_queue::WorkerId;

/// What travels through apalis. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct HeldJob(Arc<Held>);

#[derive(Debug)]
struct Held {
    token: u64,
    delivery: Delivery,
    worker: WorkerId,
    cancel: CancellationToken,
}

impl HeldJob {
    pub(crate) fn new(token: u64, delivery: Delivery, worker: WorkerId) -> Self {
        Self(Arc::new(Held { token, delivery, worker, cancel: CancellationToken::new() }))
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
        }
    }
}
