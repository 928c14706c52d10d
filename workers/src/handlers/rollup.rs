//! `rollup` jobs: what the log holds goes into blocks.

use tidemark_model::BoxFuture;
use tidemark_queue::{RollupPayload, RollupStep};
use tidemark_tsdb::{SealReason, Store};

use crate::handler::{Handler, JobContext, JobError, JobOutput};

/// Seals the store. Idempotent: a seal that was broken off is finished, and sealing an empty epoch does nothing.
#[derive(Debug)]
pub struct RollupHandler {
    store: Store,
}

impl RollupHandler {
    /// Seals `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for RollupHandler {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Result<JobOutput, JobError>> {
        Box::pin(async move {
            let RollupPayload { step: RollupStep::Seal } = job.payload()?;
            match self.store.seal(SealReason::Scheduled).await {
                Ok(_) => Ok(JobOutput::default()),
                Err(error) => Err(JobError::Retry(error.to_string(), None)),
            }
        })
    }
}
