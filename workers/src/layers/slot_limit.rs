//! Lets only so many attempts of a queue run at one time.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use apalis_core::task::Task;

use super::{AttemptFuture, AttemptService, surround::Surround};
use crate::pool::{HeldJob, Slots};

#[derive(Clone, Debug)]
pub(crate) struct SlotLimit {
    pub(crate) slots: Arc<Slots>,
}

impl Surround for SlotLimit {
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.slots.poll_free(context)
    }

    fn surround<S>(&self, task: Task<HeldJob>, inner: &mut S) -> AttemptFuture<S::Error>
    where
        S: AttemptService,
        S::Error: Send,
    {
        let slot = self.slots.take();
        let attempt = inner.call(task);
        Box::pin(async move {
            let attempted = attempt.await;
            drop(slot);
            attempted
        })
    }
}
