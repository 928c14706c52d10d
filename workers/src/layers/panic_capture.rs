//! A panic is a failed attempt.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
};

use apalis_core::task::Task;
use futures_util::FutureExt;
use tower::{Layer, Service};

use super::{AttemptFuture, AttemptService};
use crate::{WorkFigures, handler::JobError, pool::HeldJob};

#[derive(Clone, Debug)]
pub(crate) struct PanicCaptureLayer {
    pub(crate) figures: Arc<WorkFigures>,
}

impl<S> Layer<S> for PanicCaptureLayer {
    type Service = PanicCapture<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PanicCapture { inner, figures: self.figures.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct PanicCapture<S> {
    inner: S,
    figures: Arc<WorkFigures>,
}

impl<S: AttemptService> Service<Task<HeldJob>> for PanicCapture<S>
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
        let kind = task.args.kind();
        let figures = self.figures.clone();
        let attempt = AssertUnwindSafe(self.inner.call(task)).catch_unwind();
        Box::pin(async move {
            attempt.await.unwrap_or_else(|panic| {
                figures.panicked(kind);
                Ok(Err(failure_of(&*panic)))
            })
        })
    }
}

/// What a panic means for the job: another attempt.
pub(crate) fn failure_of(panic: &(dyn Any + Send)) -> JobError {
    JobError::Retry(format!("panicked: {}", message_of(panic)), None)
}

/// What a panic said.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
