//! Lets only so many attempts of a queue run at one time.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use apalis_core::task::Task;
use tower::{Layer, Service};

use super::{AttemptFuture, AttemptService};
use crate::pool::{HeldJob, Slots};

#[derive(Clone, Debug)]
pub(crate) struct SlotLimitLayer {
    pub(crate) slots: Arc<Slots>,
}

impl<S> Layer<S> for SlotLimitLayer {
    type Service = SlotLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SlotLimit { inner, slots: self.slots.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct SlotLimit<S> {
    inner: S,
    slots: Arc<Slots>,
}

impl<S: AttemptService> Service<Task<HeldJob>> for SlotLimit<S>
where
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AttemptFuture<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.slots.poll_free(context));
        self.inner.poll_ready(context)
    }

    fn call(&mut self, task: Task<HeldJob>) -> Self::Future {
        let slot = self.slots.take();
        let attempt = self.inner.call(task);
        Box::pin(async move {
            let attempted = attempt.await;
            drop(slot);
            attempted
        })
    }
}
