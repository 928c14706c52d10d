//! What the layers around a handler have in common: a tower layer says in [`Surround`] alone what it does.

use std::task::{Context, Poll, ready};

use apalis_core::task::Task;
use tower::{Layer, Service};

use super::{AttemptFuture, AttemptService};
use crate::{handler::Attempted, pool::HeldJob};

/// Does something around attempts.
pub(crate) trait Surround: Clone + Send + 'static {
    /// Whether there is room for another attempt; wakes the task of `context` when there is none now.
    fn poll_room(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// An attempt and what is around it; `inner` makes the attempt.
    fn surround<S>(&self, task: Task<HeldJob>, inner: &mut S) -> AttemptFuture<S::Error>
    where
        S: AttemptService,
        S::Error: Send;
}

/// The layer that does what `L` says.
#[derive(Clone, Debug)]
pub(crate) struct SurroundLayer<L>(pub(crate) L);

impl<S, L: Clone> Layer<S> for SurroundLayer<L> {
    type Service = Surrounded<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        Surrounded { inner, around: self.0.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Surrounded<S, L> {
    inner: S,
    around: L,
}

impl<S: AttemptService, L: Surround> Service<Task<HeldJob>> for Surrounded<S, L>
where
    S::Error: Send,
{
    type Response = Attempted;
    type Error = S::Error;
    type Future = AttemptFuture<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.around.poll_room(context));
        self.inner.poll_ready(context)
    }

    fn call(&mut self, task: Task<HeldJob>) -> Self::Future {
        self.around.surround(task, &mut self.inner)
    }
}
