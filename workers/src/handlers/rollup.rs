//! `rollup` jobs: what the log holds goes into blocks, and blocks are tidied up.

use serde_json::json;
use tidemark_model::BoxFuture;
use tidemark_queue::{RollupPayload, RollupStep};
use tidemark_tsdb::{CompactionReport, ExpiryReport, PurgeReport, SealReason, SealReport, Store, StoreError};

use crate::handler::{Handler, JobContext, JobError, JobOutput};

/// Seals and compacts the store. Idempotent: a seal that was broken off is finished, sealing an empty epoch does nothing,
/// and a day that is compacted stays so.
#[derive(Debug)]
pub struct RollupHandler {
    store: Store,
}

impl RollupHandler {
    /// Looks after `store`.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// What it did.
    async fn compact(&self) -> Result<String, StoreError> {
        let CompactionReport { days, points, bytes } = self.store.compact().await?;
        let PurgeReport { deletions, .. } = self.store.purge().await?;
        let ExpiryReport { buckets, .. } = self.store.expire().await?;
        Ok(format!(
            "compacted {days} days of metrics: {points} points in {bytes} bytes; took {deletions} deletions and {buckets} \
             buckets that were too old from the disk"
        ))
    }
}

impl Handler for RollupHandler {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Result<JobOutput, JobError>> {
        Box::pin(async move {
            let RollupPayload { step } = job.payload()?;
            let done = match step {
                RollupStep::Seal => self.store.seal(SealReason::Scheduled).await.map(sealed),
                RollupStep::SealShard(shard) => self.store.seal_shard(shard, SealReason::Scheduled).await.map(sealed),
                RollupStep::Compact => self.compact().await,
            };
            match done {
                Ok(told) => {
                    let output = job.answer(&json!({ "done": told }));
                    job.log(told);
                    Ok(output)
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

fn sealed(report: SealReport) -> String {
    let SealReport { shards, points, groups, bytes } = report;
    format!("sealed {shards} shards: {points} points in {groups} groups, {bytes} bytes")
}
