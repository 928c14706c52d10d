//! The apalis backend: hands out jobs that the fetcher got.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    task::{Task, task_id::TaskId},
    worker::context::WorkerContext,
};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Ended, HeldJob, InHand};
use crate::layers::{Never, settle::SettleLayer};

/// Jobs that were fetched and wait for a slot.
#[derive(Debug)]
pub(super) struct ReadyQueue {
    state: Mutex<ReadyState>,
    worker: AtomicWaker,
    /// Fired when a job was taken.
    pub(super) taken: Notify,
}

#[derive(Debug, Default)]
struct ReadyState {
    jobs: VecDeque<HeldJob>,
    closed: bool,
}

impl ReadyQueue {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), worker: AtomicWaker::new(), taken: Notify::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().jobs.len()
    }

    /// Lines jobs up; hands them back when the queue is closed.
    pub(super) fn extend(&self, jobs: Vec<HeldJob>) -> Vec<HeldJob> {
        let mut state = self.state.lock();
        if state.closed {
            return jobs;
        }
        state.jobs.extend(jobs);
        drop(state);
        self.worker.wake();
        Vec::new()
    }

    /// Takes no more jobs.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
    }

    /// Gives all waiting jobs back; how many there were.
    pub(super) fn release_all(&self, in_hand: &InHand) -> usize {
        let jobs = std::mem::take(&mut self.state.lock().jobs);
        jobs.iter().for_each(|job| in_hand.ended(job.token(), Ended::Release));
        jobs.len()
    }

    fn pop(&self) -> Option<HeldJob> {
        let job = self.state.lock().jobs.pop_front();
        if job.is_some() {
            self.taken.notify_one();
        }
        job
    }
}

/// See the module's text. It is always ready and never fails: the broker's troubles are the fetcher's.
pub(super) struct BrokerBackend {
    ready: Arc<ReadyQueue>,
    in_hand: Arc<InHand>,
    settle: SettleLayer,
}

impl BrokerBackend {
    pub(super) fn new(ready: Arc<ReadyQueue>, in_hand: Arc<InHand>, settle: SettleLayer) -> Self {
        Self { ready, in_hand, settle }
    }

    /// The next job that nobody has called off in the meantime.
    fn next(&self) -> Option<HeldJob> {
        loop {
            let job = self.ready.pop()?;
            if !job.cancel_token().is_cancelled() {
                return Some(job);
            }
            self.in_hand.ended(job.token(), Ended::CalledOff);
        }
    }
}

impl Backend for BrokerBackend {
    type Task = Task<HeldJob>;
    type Error = Never;

    fn poll_ready(&mut self, _context: &mut Context<'_>, _worker: &WorkerContext) -> Poll<Result<(), Never>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        _worker: &WorkerContext,
    ) -> Poll<Option<Result<Task<HeldJob>, Never>>> {
        let job = self.next().or_else(|| {
            // IMPORTANT: register, then look again, or a job that comes in between waits for the next one.
            self.ready.worker.register(context.waker());
            self.next()
        });
        match job {
            Some(job) => Poll::Ready(Some(Ok(Task::new(job)))),
            None => Poll::Pending,
        }
    }

    fn poll_close(&mut self, _context: &mut Context<'_>, _worker: &WorkerContext) -> Poll<Result<(), Never>> {
        self.ready.close();
        self.ready.release_all(&self.in_hand);
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for BrokerBackend {
    type Args = HeldJob;
    type Id = TaskId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = SettleLayer;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _worker: &mut WorkerContext) -> SettleLayer {
        self.settle.clone()
    }
}
