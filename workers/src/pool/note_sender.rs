//! Tells the broker what handlers tell.

use std::{sync::Arc, time::Duration};

use tidemark_queue::{Broker, BrokerError, JobNote};
use tokio_util::sync::CancellationToken;

use super::{InHand, Once, slept_until};

/// How long to gather notes between two calls.
const GATHER: Duration = Duration::from_secs(1);

pub(super) struct NoteSender {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) in_hand: Arc<InHand>,
}

impl NoteSender {
    /// Sends what was written at most once a second. The last notes of a job are the settler's.
    pub(super) async fn run(self, stop: CancellationToken) {
        let said = Once::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.in_hand.notes().written.notified() => {}
            }
            match self.send().await {
                Ok(()) => said.reset(),
                Err(BrokerError::Closed) => return,
                Err(error) if said.is_first() => tracing::warn!(%error, "send notes on running jobs; trying again"),
                Err(_still) => {}
            }
            if slept_until(&stop, GATHER).await {
                return;
            }
        }
    }

    async fn send(&self) -> Result<(), BrokerError> {
        let mut on_their_way = self.in_hand.notes().take_all().await;
        let notes = std::mem::take(&mut on_their_way.notes).into_iter();
        // Notes on jobs that are not in hand any more are late.
        let held: Vec<(u64, JobNote)> = notes.filter(|(token, _)| self.in_hand.receipt(*token).is_some()).collect();
        if held.is_empty() {
            return Ok(());
        }
        let with_receipts = held.iter().filter_map(|(token, note)| Some((self.in_hand.receipt(*token)?, note.clone())));
        let sent = self.broker.note(with_receipts.collect()).await;
        if sent.is_err() {
            on_their_way.put_back(held);
        }
        sent.map(drop)
    }
}
