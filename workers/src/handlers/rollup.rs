//! `rollup` jobs: what the log holds goes into blocks.

use tidemark_model::BoxFuture;
use tidemark_queue::{RollupPayload, RollupStep};
use tidemark_tsdb::{SealReason, SealReport, Store, StoreError};

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
            let RollupPayload { step } = job.payload()?;
            let sealed = match step {
                RollupStep::Seal => self.store.seal(SealReason::Scheduled).await,
                RollupStep::SealShard(shard) => self.store.seal_shard(shard, SealReason::Scheduled).await,
            };
            match sealed {
                Ok(report) => {
                    let SealReport { shards, points, groups, bytes } = report;
                    job.log(format!("sealed {shards} shards: {points} points in {groups} groups, {bytes} bytes"));
                    Ok(JobOutput::default())
                }
                // Another process does it. Should it die, the next attempt takes over.
                Err(error @ StoreError::SealUnderWay { .. }) => {
                    Err(JobError::Retry(error.to_string(), Some(Store::TAKE_OVER_AFTER)))
                }
                Err(error) => Err(JobError::Retry(error.to_string(), None)),
            }
        })
    }
}
