//! Begins and ends attempts.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use apalis_core::task::Task;
use tidemark_model::{BoxFuture, Clock};
use tidemark_queue::{JobIdSource, Outcome};
use tower::{Layer, Service};

use super::AttemptService;
use crate::{
    AttemptEnd, WorkFigures,
    figures::QueueTimes,
    handler::{Attempted, JobError},
    pool::{Ended, HeldJob, InHand},
};

/// The middleware of the backend; see [`super`].
#[derive(Clone)]
pub(crate) struct SettleLayer {
    pub(crate) in_hand: Arc<InHand>,
    pub(crate) figures: Arc<WorkFigures>,
    /// Those of the queue.
    pub(crate) times: Arc<QueueTimes>,
    pub(crate) clock: Arc<dyn Clock>,
    /// For the jitter.
    pub(crate) random: Arc<JobIdSource>,
}

impl<S> Layer<S> for SettleLayer {
    type Service = Settle<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Settle { inner, layer: self.clone() }
    }
}

#[derive(Clone)]
pub(crate) struct Settle<S> {
    inner: S,
    layer: SettleLayer,
}

impl<S: AttemptService> Service<Task<HeldJob>> for Settle<S> {
    type Response = ();
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<(), S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, task: Task<HeldJob>) -> Self::Future {
        let layer = self.layer.clone();
        let job = task.args.clone();
        let wait = job.waited(layer.clock.now_ms());
        layer.figures.started(job.kind(), wait);
        layer.times.started(wait);
        let started = layer.clock.monotonic();
        let attempt = self.inner.call(task);
        Box::pin(async move {
            let attempted = attempt.await;
            let run = layer.clock.monotonic().saturating_sub(started);
            // No service below fails in tower's sense; if one ever does, the job must not get lost.
            let failed = |_error| Err(JobError::Retry("the worker's services failed".to_owned(), None));
            layer.settle(job, attempted.unwrap_or_else(failed), wait, run);
            Ok(())
        })
    }
}

impl SettleLayer {
    fn settle(&self, job: HeldJob, attempted: Attempted, wait: Duration, run: Duration) {
        let kind = job.kind();
        let (end, ended, reason) = match attempted {
            Ok(output) => (AttemptEnd::Completed, Ended::Settle(Outcome::Completed { result: output.result }), None),
            Err(JobError::Retry(reason, after)) => {
                let random = self.random.next_random();
                let delay = after.unwrap_or_else(|| kind.defaults().backoff.delay(job.attempt(), random));
                let outcome = Outcome::Retry { reason: reason.clone(), delay };
                (AttemptEnd::Retried, Ended::Settle(outcome), Some(reason))
            }
            Err(JobError::Snooze(delay)) => (AttemptEnd::Snoozed, Ended::Settle(Outcome::Snooze { delay }), None),
            Err(JobError::Discard(reason)) => {
                let outcome = Outcome::Discard { reason: reason.clone() };
                (AttemptEnd::Discarded, Ended::Settle(outcome), Some(reason))
            }
            Err(JobError::Cancelled) => (AttemptEnd::Cancelled, Ended::CalledOff, None),
        };
        self.figures.ended(kind, end, run);
        self.times.ended(run);
        log(&job, end, wait, run, reason.as_deref());
        self.in_hand.ended(job.token(), ended);
    }
}

/// The one line of an attempt. Completed attempts are logged as `debug`, since there may be hundreds of thousands a second.
fn log(job: &HeldJob, end: AttemptEnd, wait: Duration, run: Duration, reason: Option<&str>) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                job = %job.id(), kind = job.kind().name(), queue = job.queue().as_str(), attempt = job.attempt(),
                wait_ms = wait.as_secs_f64() * 1e3, run_ms = run.as_secs_f64() * 1e3, outcome = end.name(), reason,
                trace = job.trace().map(tracing::field::display), "attempt"
            )
        };
    }
    match end {
        AttemptEnd::Completed | AttemptEnd::Snoozed => line!(debug),
        AttemptEnd::Cancelled => line!(info),
        AttemptEnd::Retried | AttemptEnd::Discarded => line!(warn),
    }
}
