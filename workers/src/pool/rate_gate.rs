//! Holds fetched jobs to the rates that all workers share, before they get a slot.
//!
//! A job whose turn comes within [`PATIENCE`] is waited for; the others go back to the broker until about their turn, which
//! counts as no attempt. The turns are asked for by the fetch, not by the job, so a batch costs one call of the broker.

use std::{sync::Arc, time::Duration};

use tidemark_queue::{Broker, Outcome, RateClaim};

use super::{Ended, HeldJob, InHand, Once};
use crate::{SharedRates, WorkFigures};

/// Longest wait for turns of one fetch.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long jobs are put off when the broker does not say whether they may start.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

pub(super) struct RateGate {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) rates: SharedRates,
    pub(super) in_hand: Arc<InHand>,
    pub(super) figures: Arc<WorkFigures>,
    pub(super) said: Once,
}

impl RateGate {
    /// Whether there is any rate.
    pub(super) fn is_open(&self) -> bool {
        self.rates.is_empty()
    }

    /// Hands the jobs that may start to `start`, and puts the others off.
    pub(super) async fn pass(&self, jobs: Vec<HeldJob>, start: impl Fn(Vec<HeldJob>)) {
        let mut left = PATIENCE;
        let mut jobs: Vec<(HeldJob, RateClaim)> =
            jobs.into_iter().map(|job| (job.clone(), self.rates.claim_of(job.record()))).collect();
        loop {
            let waits = self.waits_of(&jobs).await;
            let (go, early): (Vec<_>, Vec<_>) = jobs.into_iter().zip(waits).partition(|(_, wait)| wait.is_zero());
            start(go.into_iter().map(|((job, _), _)| job).collect());
            let first = early.iter().map(|(_, wait)| *wait).min();
            let Some(first) = first.filter(|first| *first <= left) else {
                return self.put_off(early);
            };
            tokio::time::sleep(first).await;
            left -= first;
            jobs = early.into_iter().map(|(job, _)| job).collect();
        }
    }

    async fn waits_of(&self, jobs: &[(HeldJob, RateClaim)]) -> Vec<Duration> {
        let claims: Vec<RateClaim> = jobs.iter().map(|(_, claim)| claim.clone()).collect();
        match self.broker.admit(claims).await {
            Ok(waits) if waits.len() == jobs.len() => {
                self.said.reset();
                waits
            }
            answer => {
                if self.said.is_first() {
                    let error = answer.err().map(|error| error.to_string());
                    tracing::warn!(error, "ask whether jobs may start; they are put off");
                }
                vec![UNKNOWN_WAIT; jobs.len()]
            }
        }
    }

    /// Each waits for one step of its rate longer than the one before: they cannot all be the next.
    fn put_off(&self, early: Vec<((HeldJob, RateClaim), Duration)>) {
        let mut before: Vec<(RateClaim, u32)> = Vec::new();
        for ((job, claim), wait) in early {
            let step = SharedRates::step_of(&claim);
            let place = match before.iter_mut().find(|(known, _)| *known == claim) {
                Some((_, count)) => {
                    *count += 1;
                    *count
                }
                None => {
                    before.push((claim, 0));
                    0
                }
            };
            self.figures.put_off(job.kind());
            let delay = wait + step * place;
            self.in_hand.ended(job.token(), Ended::Settle(Outcome::Snooze { delay }));
        }
    }
}
