//! `collect` jobs: a remote target, polled by a worker.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tidemark_collector::{Probe, ProbeTarget};
use tidemark_model::{BoxFuture, PointSink, WriteOutcome};
use tidemark_queue::CollectPayload;

use crate::handler::{Handler, JobContext, JobError, JobOutput};

/// Polls targets and writes what came of it. Idempotent in effect: a second poll is one more measurement.
pub struct CollectHandler {
    probe: Probe,
    sink: Arc<dyn PointSink>,
}

impl CollectHandler {
    /// Polls with `probe` and writes into `sink`.
    #[must_use]
    pub fn new(probe: Probe, sink: Arc<dyn PointSink>) -> Self {
        Self { probe, sink }
    }

    async fn collect(&self, job: JobContext) -> Result<JobOutput, JobError> {
        let payload: CollectPayload = job.payload()?;
        // The URL may hold a password, so it is not shown.
        let unreadable = |error| JobError::Discard(format!("the URL of target `{}`: {error}", payload.target));
        let url = payload.url.parse().map_err(unreadable)?;
        let timeout = Duration::from_millis(payload.timeout_ms);
        let target = ProbeTarget { name: payload.target, url, timeout };
        let batch = self.probe.run(&target).await.map_err(|error| JobError::Discard(error.to_string()))?;
        let points = batch.len();
        match self.sink.write(batch).await {
            WriteOutcome::Done(_) => {
                job.log(format!("wrote {points} points of target `{}`", target.name));
                Ok(job.answer(&json!({ "points": points })))
            }
            WriteOutcome::Refused(refusal) => Err(JobError::Retry(refusal.message, None)),
            WriteOutcome::Unknown(reason) => Err(JobError::Retry(reason, None)),
        }
    }
}

impl Handler for CollectHandler {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Result<JobOutput, JobError>> {
        Box::pin(self.collect(job))
    }
}
