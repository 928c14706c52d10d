//! Holds a kind of job to a rate of this process; rates of all processes are the fetcher's.
//!
//! A job that comes too early waits for at most [`PATIENCE`]; beyond that it goes back to the broker until its turn, since a
//! job that waits here holds one of the queue's slots.

use std::{sync::Arc, time::Duration};

use apalis_core::task::Task;
use governor::{
    Quota, RateLimiter,
    clock::Clock as GovernorClock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use tidemark_model::Clock;
use tidemark_queue::{JobKind, Rate};

use super::{AttemptFuture, AttemptService, surround::Surround};
use crate::{handler::JobError, pool::HeldJob};

/// Longest wait in a slot.
const PATIENCE: Duration = Duration::from_millis(50);

#[derive(Clone)]
struct RateClock(Arc<dyn Clock>);

impl GovernorClock for RateClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, RateClock, NoOpMiddleware<Duration>>;

#[derive(Clone)]
pub(crate) struct RateLimit {
    clock: RateClock,
    limiters: Arc<[Option<Limiter>; JobKind::ALL.len()]>,
}

impl RateLimit {
    /// Limits of these kinds; the others are free.
    pub(crate) fn new(rates: &[(JobKind, Rate)], clock: Arc<dyn Clock>) -> Self {
        let clock = RateClock(clock);
        let limiter = |kind| {
            let (_, rate) = rates.iter().find(|(candidate, _)| *candidate == kind)?;
            let quota = Quota::with_period(rate.period / rate.jobs.get())?.allow_burst(rate.jobs);
            Some(RateLimiter::direct_with_clock(quota, clock.clone()))
        };
        Self { limiters: Arc::new(JobKind::ALL.map(limiter)), clock }
    }

    /// How long a job of this kind has to wait; its turn is taken when it need not.
    fn wait_for(&self, kind: JobKind) -> Option<Duration> {
        let limiter = self.limiters.get(kind as usize)?.as_ref()?;
        limiter.check().err().map(|early| early.wait_time_from(self.clock.now()))
    }
}

impl Surround for RateLimit {
    fn surround<S>(&self, task: Task<HeldJob>, inner: &mut S) -> AttemptFuture<S::Error>
    where
        S: AttemptService,
        S::Error: Send,
    {
        let kind = task.args.kind();
        let Some(wait) = self.wait_for(kind) else {
            return Box::pin(inner.call(task));
        };
        if wait > PATIENCE {
            return Box::pin(std::future::ready(Ok(Err(JobError::Snooze(wait)))));
        }
        let layer = self.clone();
        let attempt = inner.call(task);
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            match layer.wait_for(kind) {
                None => attempt.await,
                Some(wait) => Ok(Err(JobError::Snooze(wait))),
            }
        })
    }
}
