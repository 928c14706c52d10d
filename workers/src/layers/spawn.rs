//! Lets attempts run on all cores: apalis polls all tasks of a worker in one Tokio task.

use std::task::{Context, Poll};

use apalis_core::task::Task;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tower::{Layer, Service};

use super::{AttemptFuture, AttemptService, panic_capture::failure_of};
use crate::{handler::JobError, pool::HeldJob};

#[derive(Clone, Debug)]
pub(crate) struct SpawnLayer {
    /// Where to spawn; `None` to stay in the worker's own task, which is cheaper for jobs that mostly wait.
    pub(crate) tracker: Option<TaskTracker>,
}

impl<S> Layer<S> for SpawnLayer {
    type Service = Spawn<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Spawn { inner, tracker: self.tracker.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Spawn<S> {
    inner: S,
    tracker: Option<TaskTracker>,
}

impl<S: AttemptService> Service<Task<HeldJob>> for Spawn<S>
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
        let attempt = self.inner.call(task);
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
