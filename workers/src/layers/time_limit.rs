//! Tells attempts to come to an end, and ends those that are late or were called off and do not end by themselves.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use apalis_core::task::Task;
use tower::{Layer, Service};

use super::{AttemptFuture, AttemptService, Never};
use crate::{WorkFigures, handler::JobError, pool::HeldJob};

#[derive(Clone, Debug)]
pub(crate) struct TimeLimitLayer {
    pub(crate) figures: Arc<WorkFigures>,
    /// How long an attempt may go on once it was told to stop.
    pub(crate) cancel_grace: Duration,
}

impl<S> Layer<S> for TimeLimitLayer {
    type Service = TimeLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TimeLimit { inner, layer: self.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct TimeLimit<S> {
    inner: S,
    layer: TimeLimitLayer,
}

impl<S: AttemptService> Service<Task<HeldJob>> for TimeLimit<S>
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
        let limit = task.args.time_limit();
        let kind = task.args.kind();
        let cancel = task.args.cancel_token().clone();
        let TimeLimitLayer { figures, cancel_grace } = self.layer.clone();
        let (soft_limit, soft_stop) = (task.args.soft_limit(), task.args.soft_stop().clone());
        let attempt = self.inner.call(task);
        Box::pin(async move {
            let softly_stopped = async move {
                if let Some(soft_limit) = soft_limit {
                    tokio::time::sleep(soft_limit).await;
                    soft_stop.cancel();
                }
                std::future::pending::<Never>().await
            };
            let called_off = async {
                cancel.cancelled().await;
                tokio::time::sleep(cancel_grace).await;
            };
            tokio::select! {
                biased;
                attempted = attempt => attempted,
                () = called_off => Ok(Err(JobError::Cancelled)),
                never = softly_stopped => match never {},
                () = tokio::time::sleep(limit) => {
                    cancel.cancel();
                    figures.timed_out(kind);
                    Ok(Err(JobError::Retry(format!("exceeded its time limit of {limit:?}"), None)))
                }
            }
        })
    }
}
