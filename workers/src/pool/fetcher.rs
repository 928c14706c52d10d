//! Gets jobs from the broker.

use std::{sync::Arc, time::Duration};

use tidemark_queue::{Backoff, Broker, BrokerError, FetchRequest, JobIdSource, WorkerId};
use tokio_util::sync::CancellationToken;

use super::{Ended, HeldJob, InHand, QueueOptions, Slots, backend::ReadyQueue, rate_gate::RateGate, slept_until};
use crate::WorkFigures;

/// How long a fetch waits for a job. The end of a pool waits for the fetch, since dropping it would leave what it got to
/// the lease.
const FETCH_WAIT: Duration = Duration::from_millis(500);
/// How long to wait after a failed call.
pub(super) const CALL_BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_secs(5) };

pub(super) struct Fetcher {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) worker: WorkerId,
    pub(super) queue: QueueOptions,
    pub(super) in_hand: Arc<InHand>,
    pub(super) ready: Arc<ReadyQueue>,
    pub(super) figures: Arc<WorkFigures>,
    pub(super) random: Arc<JobIdSource>,
    pub(super) slots: Arc<Slots>,
    pub(super) gate: RateGate,
}

impl Fetcher {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let room = tokio::select! {
                () = stop.cancelled() => return,
                room = self.wait_for_room() => room,
            };
            match self.broker.fetch(self.request(room)).await {
                Ok(deliveries) => {
                    failures = 0;
                    let jobs = self.in_hand.take(deliveries, &self.worker);
                    if self.gate.is_open() || jobs.is_empty() {
                        self.line_up(jobs);
                    } else {
                        self.gate.pass(jobs, |jobs| self.line_up(jobs)).await;
                    }
                }
                Err(BrokerError::Closed) => return,
                Err(error) => {
                    failures += 1;
                    self.figures.fetch_failed();
                    let delay = CALL_BACKOFF.delay(failures, self.random.next_random());
                    let queue = self.queue.queue.as_str();
                    tracing::warn!(queue, %error, attempt = failures, again_in = ?delay, "fetch jobs");
                    if slept_until(&stop, delay).await {
                        return;
                    }
                }
            }
        }
    }

    fn line_up(&self, jobs: Vec<HeldJob>) {
        for late in self.ready.extend(jobs) {
            self.in_hand.ended(late.token(), Ended::Release);
        }
    }

    fn request(&self, room: usize) -> FetchRequest {
        FetchRequest {
            worker: self.worker.clone(),
            queues: vec![self.queue.queue.clone()],
            max: room,
            wait: FETCH_WAIT,
        }
    }

    /// Waits until the jobs that wait for a slot are half gone, and there is room for more; how much there is.
    async fn wait_for_room(&self) -> usize {
        let limit = || self.slots.limit() + self.queue.prefetch;
        loop {
            let taken = self.ready.taken.notified();
            let held = self.in_hand.wait_for_room(|held| held < limit()).await;
            if self.ready.len() <= self.queue.prefetch / 2 {
                return limit().saturating_sub(held).max(1);
            }
            taken.await;
        }
    }
}
