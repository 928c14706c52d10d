//! A panic is a failed attempt.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use apalis_core::task::Task;
use futures_util::FutureExt;

use super::{AttemptFuture, AttemptService, surround::Surround};
use crate::{WorkFigures, handler::JobError, pool::HeldJob};

#[derive(Clone, Debug)]
pub(crate) struct PanicCapture {
    pub(crate) figures: Arc<WorkFigures>,
}

impl Surround for PanicCapture {
    fn surround<S>(&self, task: Task<HeldJob>, inner: &mut S) -> AttemptFuture<S::Error>
    where
        S: AttemptService,
        S::Error: Send,
    {
        let kind = task.args.kind();
        let figures = self.figures.clone();
        let attempt = AssertUnwindSafe(inner.call(task)).catch_unwind();
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
