//! Tells the broker what became of jobs.

use std::sync::Arc;

use tidemark_queue::{Broker, BrokerError, JobIdSource, Settled};
use tokio_util::sync::CancellationToken;

use super::{Ended, InHand, fetcher::CALL_BACKOFF};
use crate::WorkFigures;

/// Most jobs of one call.
const SETTLE_MAX: usize = 4_096;

pub(super) struct Settler {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) in_hand: Arc<InHand>,
    pub(super) figures: Arc<WorkFigures>,
    pub(super) random: Arc<JobIdSource>,
}

impl Settler {
    /// Settles until `stop` fires and nothing is left to settle.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            let ended = self.in_hand.take_ended(SETTLE_MAX, stop.cancelled()).await;
            if ended.is_empty() {
                return;
            }
            self.send_last_notes(&ended).await;
            if !self.settle(&ended).await {
                return;
            }
            self.in_hand.forget(&ended);
        }
    }

    /// Sends what handlers told last. If that fails, it is lost: the end of a job does not wait for notes on it.
    async fn send_last_notes(&self, ended: &[(u64, Ended)]) {
        let last = self.in_hand.notes().take_last(ended.iter().map(|(token, _)| *token)).await;
        if last.is_empty() {
            return;
        }
        let with_receipts = last.into_iter().filter_map(|(token, note)| Some((self.in_hand.receipt(token)?, note)));
        if let Err(error) = self.broker.note(with_receipts.collect()).await {
            tracing::warn!(%error, "the last notes on jobs that ended are lost");
        }
    }

    /// Tries until the broker has answered. Settling twice is harmless: the second one is refused as stale.
    async fn settle(&self, ended: &[(u64, Ended)]) -> bool {
        let mut failures = 0;
        loop {
            match self.settle_once(ended).await {
                Ok(()) => return true,
                Err(BrokerError::Closed) => return false,
                Err(error) => {
                    failures += 1;
                    self.figures.settle_failed();
                    let delay = CALL_BACKOFF.delay(failures, self.random.next_random());
                    tracing::warn!(jobs = ended.len(), %error, attempt = failures, again_in = ?delay, "settle jobs");
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    async fn settle_once(&self, ended: &[(u64, Ended)]) -> Result<(), BrokerError> {
        let report = self.in_hand.report(ended);
        if !report.settlements.is_empty() {
            let settled = self.broker.settle(report.settlements).await?;
            let stale = settled.iter().filter(|settled| **settled == Settled::Stale).count();
            if stale > 0 {
                self.figures.stale(stale as u64);
                tracing::warn!(jobs = stale, "settled too late: the lease was lost, or an earlier answer was");
            }
        }
        if !report.releases.is_empty() {
            self.broker.release(report.releases).await?;
        }
        Ok(())
    }
}
