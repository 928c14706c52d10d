//! Lets only so many attempts of a queue run at one time, and only so many of all queues of the pool.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use apalis_core::task::Task;

use super::{AttemptFuture, AttemptService, surround::Surround};
use crate::{
    handler::JobError,
    pool::{HeldJob, ShareOfLane, Slots},
};

#[derive(Clone, Debug)]
pub(crate) struct SlotLimit {
    pub(crate) slots: Arc<Slots>,
    /// Where the queue gets its part of the slots that all queues share.
    pub(crate) share: Option<ShareOfLane>,
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
        let waits = self.share.as_ref().map(|share| (share.acquire(), task.args.cancel_token().clone()));
        let attempt = inner.call(task);
        Box::pin(async move {
            let share = match waits {
                None => None,
                Some((turn, cancel)) => tokio::select! {
                    share = turn => share.ok(),
                    () = cancel.cancelled() => return Ok(Err(JobError::Cancelled)),
                },
            };
            let attempted = attempt.await;
            drop((share, slot));
            attempted
        })
    }
}
