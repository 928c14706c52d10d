//! What surrounds a handler, as tower layers over apalis tasks. From the outside in:
//!
//! | layer | does |
//! |---|---|
//! | [`settle`] (the backend's middleware) | starts and ends the attempt: counters, the log line, the outcome for the broker |
//! | [`slot_limit`] | holds back tasks beyond the queue's number, and the pool's |
//! | [`rate_limit`] | puts a job off when its kind's rate is exceeded, without holding a slot |
//! | [`kind_limit`] | lets only so many of a kind run, over all queues |
//! | [`spawn`] (if the queue asks for it) | lets attempts run on all cores |
//! | [`panic_capture`] | a panic is a failed attempt |
//! | [`time_limit`] | an attempt is told to come to an end; a late or called-off one is dropped |
//! | [`dispatch`] | finds the handler |
//!
//! An attempt that fails is not an error in tower's sense: every service below `settle` answers `Ok(Attempted)`, so that
//! the reason keeps its type on the way out and nothing can end the worker.

pub(crate) mod dispatch;
pub(crate) mod kind_limit;
pub(crate) mod panic_capture;
pub(crate) mod rate_limit;
pub(crate) mod settle;
pub(crate) mod slot_limit;
pub(crate) mod spawn;
pub(crate) mod surround;
pub(crate) mod time_limit;

use apalis_core::task::Task;
use tidemark_model::BoxFuture;
use tower::Service;

use crate::{handler::Attempted, pool::HeldJob};

/// The error of services that do not fail.
pub(crate) type Never = std::convert::Infallible;

/// A service around a handler.
pub(crate) trait AttemptService:
    Service<Task<HeldJob>, Response = Attempted, Future: Send + 'static> + Send + 'static
{
}

impl<S> AttemptService for S where
    S: Service<Task<HeldJob>, Response = Attempted, Future: Send + 'static> + Send + 'static
{
}

pub(crate) type AttemptFuture<E> = BoxFuture<'static, Result<Attempted, E>>;
