//! Jobs that were handed out and are not to run: they expired or were called off while they waited, or lost their payload.

use foldhash::HashMap;

use super::{RedisBroker, frame::Item, keys::QueueKeys, leases::Fetching};
use crate::{BrokerError, Delivery, JobId, JobState, Outcome, QueueName, Settled};

/// Which of the jobs that were handed out are not to run.
pub(super) struct Unwanted {
    pub(super) look_for_cancelled: bool,
    /// Those whose payloads are gone, and what to say of them.
    pub(super) lost: HashMap<JobId, String>,
    pub(super) now_ms: i64,
}

/// Of the jobs whose payloads are gone, what to say of each.
pub(super) fn lost_payloads<'a>(keys: &QueueKeys, items: impl Iterator<Item = &'a Item>) -> HashMap<JobId, String> {
    let reason = |item: &Item| {
        let (bytes, key) = (item.payload_len(), keys.payload(item.id()));
        (item.id(), format!("its payload of {bytes} bytes is lost: redis has none at `{key}`"))
    };
    items.filter(|item| item.lacks_payload()).map(reason).collect()
}

impl RedisBroker {
    /// Settles those of the deliveries from `first` on at once, and takes them out.
    pub(super) async fn drop_unwanted(
        &self,
        queue: &QueueName,
        fetched: &mut Fetching<'_>,
        first: usize,
        unwanted: Unwanted,
    ) -> Result<(), BrokerError> {
        let Unwanted { look_for_cancelled, lost, now_ms } = unwanted;
        let fresh = fetched.deliveries.get(first..).unwrap_or_default();
        let mut cancelled = std::collections::HashSet::new();
        if look_for_cancelled && !fresh.is_empty() {
            let ids: Vec<JobId> = fresh.iter().map(|delivery| delivery.job.id).collect();
            cancelled.extend(self.cancel_requests(queue, &ids).await?);
        }
        let why = |delivery: &Delivery| {
            if cancelled.contains(&delivery.job.id) {
                Some(Outcome::Cancelled { reason: "cancelled".to_owned() })
            } else if delivery.job.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
                Some(Outcome::Discard { reason: "expired before it could start".to_owned() })
            } else {
                lost.get(&delivery.job.id).map(|reason| Outcome::Discard { reason: reason.clone() })
            }
        };
        let unwanted = |delivery: &Delivery| Some((delivery.receipt.clone(), why(delivery)?));
        let unwanted: Vec<_> = fresh.iter().filter_map(unwanted).collect();
        if !unwanted.is_empty() {
            let jobs: Vec<JobId> = unwanted.iter().map(|(receipt, _)| receipt.job).collect();
            let settled = self.settle_all(unwanted).await?;
            // Of a job that somebody else has ended meanwhile the payload is rightly gone, and nothing is settled.
            let is_over = |settled: &Settled| *settled == Settled::Recorded(JobState::Discarded);
            let discarded = jobs.iter().zip(&settled).filter(|(_, settled)| is_over(settled));
            for (job, reason) in discarded.filter_map(|(job, _)| Some((job, lost.get(job)?))) {
                tracing::error!(queue = queue.as_str(), %job, reason, "discard a job that cannot be run");
            }
            let mut place = 0;
            fetched.deliveries.retain(|delivery| {
                place += 1;
                place <= first || why(delivery).is_none()
            });
        }
        Ok(())
    }
}
