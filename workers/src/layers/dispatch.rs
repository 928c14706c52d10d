//! Finds the handler of a job, and lets what it logs and the jobs that it pushes know which job and trace caused them.

use std::task::{Context, Poll};

use apalis_core::task::Task;
use tidemark_queue::Origin;
use tower::Service;
use tracing::{Instrument, Span};

use super::{AttemptFuture, Never};
use crate::{
    handler::{Handlers, JobError},
    pool::HeldJob,
};

#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    handlers: Handlers,
}

impl Dispatch {
    pub(crate) fn new(handlers: Handlers) -> Self {
        Self { handlers }
    }
}

impl Service<Task<HeldJob>> for Dispatch {
    type Response = crate::handler::Attempted;
    type Error = Never;
    type Future = AttemptFuture<Never>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Never>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<HeldJob>) -> Self::Future {
        let job = task.args.context();
        match self.handlers.get(job.kind()).cloned() {
            Some(handler) => {
                let origin = Origin { trace: job.job.trace, job: Some(job.job.id) };
                let span =
                    origin.trace.map_or_else(Span::none, |trace| tracing::info_span!("job", %trace, id = %job.job.id));
                Box::pin(async move { Ok(origin.scope(handler.run(job)).instrument(span).await) })
            }
            None => {
                let reason = format!("this worker has no handler for {} jobs", job.kind());
                Box::pin(std::future::ready(Ok(Err(JobError::Retry(reason, None)))))
            }
        }
    }
}
