//! Lets attempts run on all cores: apalis polls all tasks of a worker in one Tokio task.

use apalis_core::task::Task;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{AttemptFuture, AttemptService, panic_capture::failure_of, surround::Surround};
use crate::{handler::JobError, pool::HeldJob};

#[derive(Clone, Debug)]
pub(crate) struct Spawn {
    /// Where to spawn; `None` to stay in the worker's own task, which is cheaper for jobs that mostly wait.
    pub(crate) tracker: Option<TaskTracker>,
}

impl Surround for Spawn {
    fn surround<S>(&self, task: Task<HeldJob>, inner: &mut S) -> AttemptFuture<S::Error>
    where
        S: AttemptService,
        S::Error: Send,
    {
        let attempt = inner.call(task);
        let Some(tracker) = self.tracker.clone() else { return Box::pin(attempt) };
        // IMPORTANT: the task begins when this future is polled, since the layers around may let the attempt wait.
        Box::pin(async move {
            // IMPORTANT: dropping this future must end the attempt, as it does without a task of its own.
            let spawned = AbortOnDropHandle::new(tracker.spawn(attempt));
            spawned.await.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => Ok(Err(failure_of(&*panic))),
                Err(_aborted) => Ok(Err(JobError::Cancelled)),
            })
        })
    }
}
