//! Lets only so many attempts of a kind run at one time, over all queues of the pool. An attempt that waits here holds a
//! slot of its queue.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use apalis_core::task::Task;
use tidemark_queue::JobKind;
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use super::{AttemptFuture, AttemptService};
use crate::{handler::JobError, pool::HeldJob};

#[derive(Clone, Debug)]
pub(crate) struct KindLimitLayer {
    places: Arc<[Option<Arc<Semaphore>>; JobKind::ALL.len()]>,
}

impl KindLimitLayer {
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

impl<S> Layer<S> for KindLimitLayer {
    type Service = KindLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        KindLimit { inner, layer: self.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct KindLimit<S> {
    inner: S,
    layer: KindLimitLayer,
}

impl<S: AttemptService> Service<Task<HeldJob>> for KindLimit<S>
where
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AttemptFuture<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, task: Task<HeldJob>) -> Self::Future {
        let Some(places) = self.layer.of(task.args.kind()) else { return Box::pin(self.inner.call(task)) };
        let cancel = task.args.cancel_token().clone();
        let attempt = self.inner.call(task);
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
