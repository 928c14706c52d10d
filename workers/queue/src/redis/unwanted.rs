//! Jobs that were handed out and are not to run: they expired or were called off while they waited.

use super::{RedisBroker, leases::Fetching};
use crate::{BrokerError, Delivery, JobId, Outcome, QueueName};

impl RedisBroker {
    /// Settles those of the deliveries from `first` on at once, and takes them out.
    pub(super) async fn drop_unwanted(
        &self,
        queue: &QueueName,
        fetched: &mut Fetching<'_>,
        first: usize,
        look_for_cancelled: bool,
        now_ms: i64,
    ) -> Result<(), BrokerError> {
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
                None
            }
        };
        let unwanted = |delivery: &Delivery| Some((delivery.receipt.clone(), why(delivery)?));
        let unwanted: Vec<_> = fresh.iter().filter_map(unwanted).collect();
        if !unwanted.is_empty() {
            self.settle_all(unwanted).await?;
            let mut place = 0;
            fetched.deliveries.retain(|delivery| {
                place += 1;
                place <= first || why(delivery).is_none()
            });
        }
        Ok(())
    }
}
