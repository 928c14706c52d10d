//! Lets only so many attempts of a kind run at one time, over all queues of the pool. An attempt that waits here holds a
//! slot of its queue.

use std::sync::Arc;

use apalis_core::task::Task;
use tidemark_queue::JobKind;
use tokio::sync::Semaphore;

use super::{AttemptFuture, AttemptService, surround::Surround};
use crate::{handler::JobError, pool::HeldJob};

#[derive(Clone, Debug)]
pub(crate) struct KindLimit {
    places: Arc<[Option<Arc<Semaphore>>; JobKind::ALL.len()]>,
}

impl KindLimit {
    /// Limits of these kinds; the others are free.
    pub(crate) fn new(limits: &[(JobKind, usize)]) -> Self {
        let place = |kind| {
            let (_, most) = limits.iter().find(|(candidate, _)| *candidate == kind)?;
            Some(Arc::new(Semaphore::new((*most).clamp(1, Semaphore::MAX_PERMITS))))
        };
        Self { places: Arc::new(JobKind::ALL.map(place)) }
    }

    fn of(&self, kind: JobKind) -> Option<Arc<Semaphore>> {
        self.places.get(kind as usize)?.clone()
    }
}

impl Surround for KindLimit {
    fn surround<S>(&self, task: Task<HeldJob>, inner: &mut S) -> AttemptFuture<S::Error>
    where
        S: AttemptService,
        S::Error: Send,
    {
        let Some(places) = self.of(task.args.kind()) else { return Box::pin(inner.call(task)) };
        let cancel = task.args.cancel_token().clone();
        let attempt = inner.call(task);
        Box::pin(async move {
            let place = tokio::select! {
                place = places.acquire_owned() => place,
                () = cancel.cancelled() => return Ok(Err(JobError::Cancelled)),
            };
            let attempted = attempt.await;
            drop(place);
            attempted
        })
    }
}
