//! Work that lives and dies with a request of this process.
//!
//! In `tidemark serve` a client waits until the store has committed its points, so there is nothing to gain from storing
//! the `write` job: when the process dies, the client knows that it has no answer. Such jobs go through a [`DirectQueue`]:
//! bounded, in memory, without serialisation, but run by an apalis worker under a concurrency limit and a time limit, with
//! panics contained and everything counted in the same [`WorkFigures`] as the jobs of the broker.
//!
//! We turned down running the work in the caller's task under a semaphore, which is cheaper by about a microsecond: a
//! caller that goes away would then leave half of the work undone, and "how many writes wait" would have no owner.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    task::{Task, task_id::TaskId},
    worker::{builder::WorkerBuilder, context::WorkerContext},
};
use futures_util::{FutureExt, task::AtomicWaker};
use parking_lot::Mutex;
use tidemark_model::{BoxFuture, Clock};
use tidemark_queue::{JobKind, Origin};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, layer::util::Identity, limit::ConcurrencyLimitLayer};
use tracing::{Instrument, Span};

use crate::{
    AttemptEnd, WorkFigures,
    layers::{Never, panic_capture::message_of},
};

/// Limits of a direct queue.
#[derive(Clone, Debug)]
pub struct DirectOptions {
    /// As what the work is counted.
    pub kind: JobKind,
    /// How much runs at once.
    pub concurrency: usize,
    /// How much may wait or run; beyond that callers are refused. Setting `direct.jobs_max`.
    pub jobs_max: usize,
    /// Bytes that may wait or run, as the callers count them. Setting `direct.bytes_max`.
    pub bytes_max: usize,
    /// How long one piece may take.
    pub time_limit: Duration,
}

impl DirectOptions {
    /// Defaults for `write` jobs. A write waits for the store's group commit, so many run at once.
    #[must_use]
    pub fn writes() -> Self {
        Self {
            kind: JobKind::Write,
            concurrency: 256,
            jobs_max: 8_192,
            bytes_max: 256 * 1024 * 1024,
            time_limit: JobKind::Write.defaults().time_limit,
        }
    }
}

/// Why direct work was not done, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectError {
    /// Too much waits: try again later. Nothing was done.
    #[error("{kind} queue is full: {waiting} {unit} wait, at most {limit} are allowed; see `{setting}`")]
    Full {
        /// The kind of work.
        kind: JobKind,
        /// How much waits.
        waiting: usize,
        /// The limit.
        limit: usize,
        /// What is counted: `jobs` or `bytes`.
        unit: &'static str,
        /// The setting that raises the limit.
        setting: &'static str,
    },
    /// The process ends. Nothing was done.
    #[error("{0} queue is closed: the process is ending")]
    Closed(JobKind),
    /// It took too long and was dropped in the middle.
    #[error("{kind} job exceeded its time limit of {limit:?}")]
    TimedOut {
        /// The kind of work.
        kind: JobKind,
        /// Its limit.
        limit: Duration,
    },
    /// It panicked in the middle.
    #[error("{kind} job panicked: {message}")]
    Panicked {
        /// The kind of work.
        kind: JobKind,
        /// What the panic said.
        message: String,
    },
}

struct DirectJob<T, R> {
    value: T,
    queued: Duration,
    /// Who submitted it, and the span in which they did.
    origin: Origin,
    span: Span,
    room: RoomGuard,
    reply: oneshot::Sender<Result<R, DirectError>>,
}

struct Shared<T, R> {
    options: DirectOptions,
    clock: Arc<dyn Clock>,
    figures: Arc<WorkFigures>,
    room: Arc<Room>,
    state: Mutex<State<T, R>>,
    worker: AtomicWaker,
}

struct State<T, R> {
    jobs: VecDeque<DirectJob<T, R>>,
    closed: bool,
}

/// What waits or runs.
#[derive(Debug, Default)]
struct Room {
    jobs: AtomicUsize,
    bytes: AtomicUsize,
}

/// Counts one piece of work until it is dropped.
#[derive(Debug)]
struct RoomGuard {
    room: Arc<Room>,
    bytes: usize,
}

impl Drop for RoomGuard {
    fn drop(&mut self) {
        self.room.jobs.fetch_sub(1, Ordering::Relaxed);
        self.room.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Takes work; cheap to clone. See the module's text.
pub struct DirectQueue<T, R> {
    shared: Arc<Shared<T, R>>,
}

impl<T, R> Clone for DirectQueue<T, R> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

/// What a [`DirectWorker`] does with each value.
type Work<T, R> = Arc<dyn Fn(T) -> BoxFuture<'static, R> + Send + Sync>;

/// Does the work of a [`DirectQueue`].
pub struct DirectWorker<T, R> {
    shared: Arc<Shared<T, R>>,
    work: Work<T, R>,
}

impl<T: Send + 'static, R: Send + 'static> DirectQueue<T, R> {
    /// A queue, and the worker that does `work` with what is submitted.
    #[must_use]
    pub fn new(
        options: DirectOptions,
        clock: Arc<dyn Clock>,
        figures: Arc<WorkFigures>,
        work: impl Fn(T) -> BoxFuture<'static, R> + Send + Sync + 'static,
    ) -> (Self, DirectWorker<T, R>) {
        let shared = Arc::new(Shared {
            options,
            clock,
            figures,
            room: Arc::default(),
            state: Mutex::new(State { jobs: VecDeque::new(), closed: false }),
            worker: AtomicWaker::new(),
        });
        (Self { shared: shared.clone() }, DirectWorker { shared, work: Arc::new(work) })
    }

    /// Has work done and waits for it; `bytes` is what the value holds of memory.
    ///
    /// # Errors
    /// [`DirectError::Full`] and [`DirectError::Closed`] say that nothing was done; the others that it is unknown.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the work.
    pub async fn submit(&self, value: T, bytes: usize) -> Result<R, DirectError> {
        let shared = &self.shared;
        let room = shared.enter(bytes)?;
        let (reply, answer) = oneshot::channel();
        let (origin, span) = (Origin::current(), Span::current());
        let job = DirectJob { value, queued: shared.clock.monotonic(), origin, span, room, reply };
        {
            let mut state = shared.state.lock();
            if state.closed {
                return Err(DirectError::Closed(shared.options.kind));
            }
            state.jobs.push_back(job);
        }
        shared.worker.wake();
        answer.await.unwrap_or(Err(DirectError::Closed(shared.options.kind)))
    }

    /// How much waits or runs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.room.jobs.load(Ordering::Relaxed)
    }

    /// Whether nothing waits or runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T, R> Shared<T, R> {
    fn enter(&self, bytes: usize) -> Result<RoomGuard, DirectError> {
        let jobs_before = self.room.jobs.fetch_add(1, Ordering::Relaxed);
        let bytes_before = self.room.bytes.fetch_add(bytes, Ordering::Relaxed);
        // From here on leaving undoes the counting.
        let guard = RoomGuard { room: self.room.clone(), bytes };
        let DirectOptions { kind, jobs_max, bytes_max, .. } = self.options;
        let full = |waiting, limit, unit, setting| DirectError::Full { kind, waiting, limit, unit, setting };
        if jobs_before >= jobs_max {
            return Err(full(jobs_before, jobs_max, "jobs", "direct.jobs_max"));
        }
        if bytes_before > 0 && bytes_before.saturating_add(bytes) > bytes_max {
            return Err(full(bytes_before, bytes_max, "bytes", "direct.bytes_max"));
        }
        Ok(guard)
    }
}

impl<T: Send + 'static, R: Send + 'static> DirectWorker<T, R> {
    /// Does work until `stop` fires; then refuses what is new, finishes all that waits, and returns.
    pub async fn run(self, stop: CancellationToken) {
        let shared = self.shared.clone();
        let tracker = TaskTracker::new();
        let context = WorkerContext::new(shared.options.kind.name());
        let service = DirectService { shared: shared.clone(), work: self.work, tracker: tracker.clone() };
        let worker = WorkerBuilder::new(context)
            .backend(DirectBackend { shared: shared.clone() })
            .layer(ConcurrencyLimitLayer::new(shared.options.concurrency.max(1)))
            .build(service);
        let running = worker.run();
        tokio::pin!(running);
        let outcome = tokio::select! {
            outcome = &mut running => outcome,
            () = stop.cancelled() => {
                shared.close();
                // The backend now ends once it is empty, and the worker with it.
                running.await
            }
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "the direct worker ended: none of its services should have failed");
        }
        shared.close();
        shared.state.lock().jobs.clear();
        tracker.close();
        tracker.wait().await;
    }
}

impl<T, R> Shared<T, R> {
    fn close(&self) {
        self.state.lock().closed = true;
        self.worker.wake();
    }
}

struct DirectBackend<T, R> {
    shared: Arc<Shared<T, R>>,
}

impl<T, R> DirectBackend<T, R> {
    /// A job, or the end when the queue is closed and empty.
    fn next(&self) -> Option<Option<DirectJob<T, R>>> {
        let mut state = self.shared.state.lock();
        match state.jobs.pop_front() {
            Some(job) => Some(Some(job)),
            None if state.closed => Some(None),
            None => None,
        }
    }
}

impl<T: Send + 'static, R: Send + 'static> Backend for DirectBackend<T, R> {
    type Task = Task<DirectJob<T, R>>;
    type Error = Never;

    fn poll_ready(&mut self, _context: &mut Context<'_>, _worker: &WorkerContext) -> Poll<Result<(), Never>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Never>>> {
        let next = self.next().or_else(|| {
            // IMPORTANT: register, then look again, or a job that comes in between waits for the next one.
            self.shared.worker.register(context.waker());
            self.next()
        });
        match next {
            Some(Some(job)) => Poll::Ready(Some(Ok(Task::new(job)))),
            Some(None) => {
                // Without this the worker would wait for a stop that nobody else gives.
                drop(worker.stop());
                Poll::Ready(None)
            }
            None => Poll::Pending,
        }
    }

    fn poll_close(&mut self, _context: &mut Context<'_>, _worker: &WorkerContext) -> Poll<Result<(), Never>> {
        Poll::Ready(Ok(()))
    }
}

impl<T: Send + 'static, R: Send + 'static> BackendConfig for DirectBackend<T, R> {
    type Args = DirectJob<T, R>;
    type Id = TaskId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _worker: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

struct DirectService<T, R> {
    shared: Arc<Shared<T, R>>,
    work: Work<T, R>,
    tracker: TaskTracker,
}

impl<T: Send + 'static, R: Send + 'static> Service<Task<DirectJob<T, R>>> for DirectService<T, R> {
    type Response = ();
    type Error = Never;
    type Future = BoxFuture<'static, Result<(), Never>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Never>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<DirectJob<T, R>>) -> Self::Future {
        let (shared, work) = (self.shared.clone(), self.work.clone());
        let spawned = self.tracker.spawn(run_one(shared, work, task.args));
        Box::pin(async move {
            // Panics are caught inside, and nobody aborts the task.
            drop(spawned.await);
            Ok(())
        })
    }
}

async fn run_one<T, R>(shared: Arc<Shared<T, R>>, work: Work<T, R>, job: DirectJob<T, R>) {
    let DirectOptions { kind, time_limit: limit, .. } = shared.options;
    let DirectJob { value, queued, origin, span, room, reply } = job;
    let started = shared.clock.monotonic();
    let wait = started.saturating_sub(queued);
    shared.figures.started(kind, wait);
    let attempt = origin.scope(async { work(value).await }).instrument(span);
    let attempt = AssertUnwindSafe(attempt).catch_unwind();
    let answer = match tokio::time::timeout(limit, attempt).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(panic)) => {
            shared.figures.panicked(kind);
            Err(DirectError::Panicked { kind, message: message_of(&*panic).to_owned() })
        }
        Err(_elapsed) => {
            shared.figures.timed_out(kind);
            Err(DirectError::TimedOut { kind, limit })
        }
    };
    let run = shared.clock.monotonic().saturating_sub(started);
    let end = if answer.is_ok() { AttemptEnd::Completed } else { AttemptEnd::Discarded };
    shared.figures.ended(kind, end, run);
    let (wait_ms, run_ms) = (wait.as_secs_f64() * 1e3, run.as_secs_f64() * 1e3);
    let trace = origin.trace.map(tracing::field::display);
    match &answer {
        Ok(_) => {
            tracing::debug!(
                kind = kind.name(),
                queue = "direct",
                attempt = 1,
                wait_ms,
                run_ms,
                outcome = "completed",
                trace,
                "attempt"
            );
        }
        Err(error) => {
            tracing::warn!(kind = kind.name(), queue = "direct", attempt = 1, wait_ms, run_ms, outcome = "discarded", %error, trace, "attempt");
        }
    }
    // Leave before the answer: whoever hears it may look at the length.
    drop(room);
    // A caller that has gone does not hear the answer.
    drop(reply.send(answer));
}
