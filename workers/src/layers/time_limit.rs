//! Tells attempts to come to an end, and ends those that are late or were called off and do not end by themselves.

use std::{sync::Arc, time::Duration};

use apalis_core::task::Task;
use tidemark_model::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{AttemptFuture, AttemptService, Never, surround::Surround};
use crate::{WorkFigures, handler::JobError, pool::HeldJob};

#[derive(Clone, Debug)]
pub(crate) struct TimeLimit {
    pub(crate) figures: Arc<WorkFigures>,
    /// How long an attempt may go on once it was told to stop.
    pub(crate) cancel_grace: Duration,
}

impl Surround for TimeLimit {
    fn surround<S>(&self, task: Task<HeldJob>, inner: &mut S) -> AttemptFuture<S::Error>
    where
        S: AttemptService,
        S::Error: Send,
    {
        let limit = task.args.time_limit();
        let kind = task.args.kind();
        let cancel = task.args.cancel_token().clone();
        let TimeLimit { figures, cancel_grace } = self.clone();
        // Most jobs have none, and need no further timer.
        let softly_stopped = task.args.soft_limit().map(softly_stopped);
        let attempt = inner.call(task);
        Box::pin(async move {
            let called_off = async {
                cancel.cancelled().await;
                tokio::time::sleep(cancel_grace).await;
            };
            tokio::select! {
                biased;
                attempted = attempt => attempted,
                () = called_off => Ok(Err(JobError::Cancelled)),
                never = wait_for_ever_after(softly_stopped) => match never {},
                // Made when it is first looked at: an attempt that ends at once needs no timer.
                () = async { tokio::time::sleep(limit).await } => {
                    cancel.cancel();
                    figures.timed_out(kind);
                    Ok(Err(JobError::Retry(format!("exceeded its time limit of {limit:?}"), None)))
                }
            }
        })
    }
}

/// Tells an attempt to come to an end when its soft limit is over.
fn softly_stopped((limit, soft_stop): (Duration, CancellationToken)) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        tokio::time::sleep(limit).await;
        soft_stop.cancel();
    })
}

async fn wait_for_ever_after(first: Option<BoxFuture<'static, ()>>) -> Never {
    if let Some(first) = first {
        first.await;
    }
    std::future::pending().await
}
