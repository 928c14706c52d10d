//! Extends the leases of what is in hand.

use std::sync::Arc;

use tidemark_queue::{Broker, BrokerError};
use tokio_util::sync::CancellationToken;

use super::{InHand, Once, slept_until};

/// Most leases of one call.
const EXTEND_MAX: usize = 2_000;

pub(super) struct LeaseKeeper {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) in_hand: Arc<InHand>,
}

impl LeaseKeeper {
    /// Extends every third of a lease, so that two calls may fail.
    pub(super) async fn run(self, stop: CancellationToken) {
        let every = self.broker.lease() / 3;
        let said = Once::default();
        while !slept_until(&stop, every).await {
            match self.extend_all().await {
                Ok(()) => said.reset(),
                Err(BrokerError::Closed) => return,
                // The attempts go on: the lease may be there still, and if not, their end will be refused.
                Err(error) if said.is_first() => tracing::warn!(%error, "extend leases; trying again"),
                Err(_still) => {}
            }
        }
    }

    async fn extend_all(&self) -> Result<(), BrokerError> {
        let held = self.in_hand.receipts();
        for chunk in held.chunks(EXTEND_MAX) {
            let receipts: Vec<_> = chunk.iter().map(|(_, receipt)| receipt.clone()).collect();
            let leases = self.broker.extend(&receipts).await?;
            for ((token, _), lease) in chunk.iter().zip(leases) {
                self.in_hand.note_lease(*token, lease);
            }
        }
        Ok(())
    }
}
