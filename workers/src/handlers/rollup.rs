//! `rollup` jobs: what the log holds goes into blocks, and blocks are tidied up.

use serde_json::json;
use tidemark_model::BoxFuture;
use tidemark_queue::{RollupPayload, RollupRange, RollupStep};
use tidemark_tsdb::{CompactionReport, ExpiryReport, PurgeReport, SealReason, SealReport, Store, StoreError};

use super::time_window::range_of;
use crate::handler::{Handler, JobContext, JobError, JobOutput};

/// Seals and compacts the store. Idempotent: a seal that was broken off is finished, sealing an empty epoch does nothing,
/// and a day that is compacted stays so. Two at a time do no harm either, they wait for each other in the store.
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

    /// Makes the rollups of a range again, day by day; what it did.
    async fn range(&self, job: &JobContext, wanted: &RollupRange) -> Result<String, JobError> {
        let range = range_of(job, &wanted.window)?;
        // What is in memory is to be in the rollups, too.
        self.store.seal(SealReason::Requested).await.map_err(failed)?;
        let days = self.store.days(range, wanted.metric.as_deref()).await.map_err(failed)?;
        let (mut done, total) = (CompactionReport::default(), days.len() as u64);
        for (number, day) in (0..).zip(days) {
            job.progress(number, total);
            if job.cancel.is_cancelled() {
                job.log(format!("called off after {number} of {total} days of metrics"));
                return Err(JobError::Cancelled);
            }
            let CompactionReport { days, points, bytes } = self.store.compact_day(day).await.map_err(failed)?;
            done.days += days;
            done.points += points;
            done.bytes += bytes;
        }
        job.progress(total, total);
        let CompactionReport { days, points, bytes } = done;
        let left = match total - days {
            0 => String::new(),
            left => {
                format!("; left {left} as they are: too large for `limits.merge_bytes`, or another process has them")
            }
        };
        Ok(format!("made {days} days of metrics anew: {points} points in {bytes} bytes{left}"))
    }
}

impl Handler for RollupHandler {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Result<JobOutput, JobError>> {
        Box::pin(async move {
            let RollupPayload { step } = job.payload()?;
            let told = match step {
                RollupStep::Seal => self.store.seal(SealReason::Scheduled).await.map(sealed).map_err(failed)?,
                RollupStep::SealShard(shard) => {
                    self.store.seal_shard(shard, SealReason::Scheduled).await.map(sealed).map_err(failed)?
                }
                RollupStep::Compact => self.compact().await.map_err(failed)?,
                RollupStep::Range(wanted) => self.range(&job, &wanted).await?,
            };
            let output = job.answer(&json!({ "done": told }));
            job.log(told);
            Ok(output)
        })
    }
}

fn failed(error: StoreError) -> JobError {
    // Another process does it. Should it die, the next attempt takes over.
    let after = matches!(error, StoreError::SealUnderWay { .. }).then_some(Store::TAKE_OVER_AFTER);
    JobError::Retry(error.to_string(), after)
}

fn sealed(report: SealReport) -> String {
    let SealReport { shards, points, groups, bytes } = report;
    format!("sealed {shards} shards: {points} points in {groups} groups, {bytes} bytes")
}
