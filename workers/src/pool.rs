//! The worker pool: apalis workers over a [`Broker`].
//!
//! For each queue there is one apalis worker whose backend hands out jobs that a *fetcher* got from the broker, and whose
//! innermost service is our handlers behind the layers of [`crate::layers`]. What ends goes to a *settler*, which tells
//! the broker in batches and tries again until the broker has answered; a *keeper* extends the leases of everything in
//! hand. A job counts as in hand from its fetch to its settlement, and a fetcher asks for no more than fits, so memory is
//! bounded also when the broker is away.
//!
//! ```text
//!   Broker --fetch--> [ready queue] --poll_next--> layers --> handler
//!      ^                                                        |
//!      +--settle-- settler <--------- [ended] <-----------------+
//!      +--extend-- keeper, every third of a lease
//!      +--note---- note sender, at most once a second
//! ```
//!
//! Of apalis we use the task, the worker loop with its readiness protocol, and the tower stack. The traps of its stock
//! backends, all measured, are avoided like this: `poll_*` never fails, so no hiccup of the broker ends a worker; fetching,
//! settling and extending are tasks of their own, so a full service does not stop the heartbeat; payloads are decoded in
//! the handler, so a bad one is an ordinary failed attempt; jobs that were fetched and not started are given back at the
//! end. Its retries (within the process), schedules, stores and board are not used.

mod backend;
mod fetcher;
mod held;
mod in_hand;
mod keeper;
mod note_book;
mod note_sender;
mod options;
mod settler;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use apalis_core::worker::{builder::WorkerBuilder, context::WorkerContext};
use tidemark_model::Clock;
use tidemark_queue::{Broker, BrokerError, JobIdSource, WorkerReport};
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::limit::ConcurrencyLimitLayer;

pub(crate) use held::HeldJob;
pub(crate) use in_hand::{Ended, InHand};
pub(crate) use note_book::NoteWriter;
pub use options::{PoolOptions, QueueOptions};

use crate::{
    Handlers, WorkFigures,
    layers::{
        dispatch::Dispatch, panic_capture::PanicCaptureLayer, rate_limit::RateLimitLayer, settle::SettleLayer,
        spawn::SpawnLayer, time_limit::TimeLimitLayer,
    },
};
use backend::{BrokerBackend, ReadyQueue};
use fetcher::Fetcher;
use in_hand::StopReason;
use keeper::LeaseKeeper;
use note_sender::NoteSender;
use settler::Settler;

/// Runs jobs of some queues until it is told to stop.
pub struct WorkerPool {
    options: PoolOptions,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    handlers: Handlers,
    handle: PoolHandle,
    random: Arc<JobIdSource>,
}

/// What others see of a pool.
#[derive(Clone, Debug)]
pub struct PoolHandle {
    figures: Arc<WorkFigures>,
    in_hand: Arc<[Arc<InHand>]>,
}

impl PoolHandle {
    /// What the pool has done.
    #[must_use]
    pub fn figures(&self) -> &Arc<WorkFigures> {
        &self.figures
    }

    /// Jobs that the pool holds: running, waiting for a slot, or waiting for the broker to hear of their end.
    #[must_use]
    pub fn in_hand(&self) -> usize {
        self.in_hand.iter().map(|in_hand| in_hand.len()).sum()
    }
}

/// How a pool ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Jobs that were given back without being started.
    pub released: usize,
    /// Attempts that were told to stop because the grace period was over, and were given back.
    pub cancelled: usize,
    /// Jobs whose end the broker did not hear of: they come back when their lease runs out.
    pub abandoned: usize,
}

/// One queue of the pool while it runs.
struct Lane {
    in_hand: Arc<InHand>,
    ready: Arc<ReadyQueue>,
    worker: WorkerContext,
    running: JoinHandle<()>,
}

impl WorkerPool {
    /// A pool that runs jobs with these handlers. Counts into `figures`, which may be shared with a
    /// [`crate::DirectQueue`].
    #[must_use]
    pub fn new(
        options: PoolOptions,
        broker: Arc<dyn Broker>,
        clock: Arc<dyn Clock>,
        handlers: Handlers,
        figures: Arc<WorkFigures>,
    ) -> Self {
        let in_hand = options.queues.iter().map(|_| Arc::new(InHand::new(clock.clone()))).collect();
        let handle = PoolHandle { figures, in_hand };
        let random = Arc::new(JobIdSource::random(clock.clone()));
        Self { options, broker, clock, handlers, handle, random }
    }

    /// To look at the pool while it runs.
    #[must_use]
    pub fn handle(&self) -> PoolHandle {
        self.handle.clone()
    }

    /// Runs jobs until `stop` fires; then stops fetching, gives back what was not started, lets running attempts finish
    /// for [`PoolOptions::stop_grace`], tells the others to stop and gives them back, and returns once the broker has
    /// heard of everything.
    pub async fn run(self, stop: CancellationToken) -> StopReport {
        let tracker = TaskTracker::new();
        let fetching = CancellationToken::new();
        let settling = CancellationToken::new();
        let queues = self.options.queues.iter().zip(self.handle.in_hand.iter());
        let lanes: Vec<Lane> = queues
            .map(|(queue, in_hand)| self.start_lane(queue, in_hand.clone(), &tracker, &fetching, &settling))
            .collect();
        tracker.spawn(self.sweep(settling.clone()));
        tracker.spawn(self.report(settling.clone()));

        stop.cancelled().await;
        fetching.cancel();
        let report = self.wind_down(&lanes).await;
        settling.cancel();
        tracker.close();
        if tokio::time::timeout(self.options.settle_grace, tracker.wait()).await.is_err() {
            tracing::warn!("the broker does not hear of finished jobs: they will run again");
        }
        let abandoned = self.handle.in_hand();
        if let Err(error) = self.broker.farewell(&self.options.worker).await {
            tracing::debug!(%error, "say goodbye to the broker");
        }
        StopReport { abandoned, ..report }
    }

    fn start_lane(
        &self,
        queue: &QueueOptions,
        in_hand: Arc<InHand>,
        tracker: &TaskTracker,
        fetching: &CancellationToken,
        settling: &CancellationToken,
    ) -> Lane {
        let ready = Arc::new(ReadyQueue::new());
        let fetcher = Fetcher {
            broker: self.broker.clone(),
            worker: self.options.worker.clone(),
            queue: queue.clone(),
            in_hand: in_hand.clone(),
            ready: ready.clone(),
            figures: self.handle.figures.clone(),
            random: self.random.clone(),
        };
        tracker.spawn(fetcher.run(fetching.clone()));
        let settler = Settler {
            broker: self.broker.clone(),
            in_hand: in_hand.clone(),
            figures: self.handle.figures.clone(),
            random: self.random.clone(),
        };
        tracker.spawn(settler.run(settling.clone()));
        let keeper = LeaseKeeper { broker: self.broker.clone(), in_hand: in_hand.clone() };
        tracker.spawn(keeper.run(settling.clone()));
        let sender = NoteSender { broker: self.broker.clone(), in_hand: in_hand.clone() };
        tracker.spawn(sender.run(settling.clone()));
        let worker = WorkerContext::new(&format!("{}/{}", self.options.worker, queue.queue));
        let running = tracker.spawn(self.apalis_worker(queue, &in_hand, &ready, worker.clone(), tracker));
        Lane { in_hand, ready, worker, running }
    }

    fn apalis_worker(
        &self,
        queue: &QueueOptions,
        in_hand: &Arc<InHand>,
        ready: &Arc<ReadyQueue>,
        context: WorkerContext,
        tracker: &TaskTracker,
    ) -> impl Future<Output = ()> + Send + 'static {
        let figures = self.handle.figures.clone();
        let settle = SettleLayer {
            in_hand: in_hand.clone(),
            figures: figures.clone(),
            clock: self.clock.clone(),
            random: self.random.clone(),
        };
        let backend = BrokerBackend::new(ready.clone(), in_hand.clone(), settle);
        let spawn = queue.parallel.then(|| tracker.clone());
        let cancel_grace = self.options.cancel_grace;
        // The first layer is the outermost.
        let worker = WorkerBuilder::new(context)
            .backend(backend)
            .layer(ConcurrencyLimitLayer::new(queue.concurrency.max(1)))
            .layer(RateLimitLayer::new(&self.options.rates, self.clock.clone()))
            .layer(SpawnLayer { tracker: spawn })
            .layer(PanicCaptureLayer { figures: figures.clone() })
            .layer(TimeLimitLayer { figures, cancel_grace })
            .build(Dispatch::new(self.handlers.clone()));
        async move {
            if let Err(error) = worker.run().await {
                tracing::error!(%error, "a worker ended: none of its services should have failed");
            }
        }
    }

    /// Calls the broker's sweep.
    fn sweep(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let (broker, every) = (self.broker.clone(), self.options.sweep_every);
        async move {
            let mut failing = false;
            while !slept_until(&stop, every).await {
                match broker.tick().await {
                    Ok(report) => {
                        failing = false;
                        if report.rescued + report.poisoned > 0 {
                            tracing::warn!(rescued = report.rescued, poisoned = report.poisoned, "leases ran out");
                        }
                    }
                    Err(BrokerError::Closed) => break,
                    Err(error) if !std::mem::replace(&mut failing, true) => {
                        tracing::warn!(%error, "sweep the queues; trying again");
                    }
                    Err(_still) => {}
                }
            }
        }
    }

    /// Tells the broker that this worker lives.
    fn report(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let (broker, options, handle) = (self.broker.clone(), self.options.clone(), self.handle.clone());
        let started_ms = self.clock.now_ms();
        async move {
            loop {
                let report = WorkerReport {
                    worker: options.worker.to_string(),
                    version: options.version.clone(),
                    host: options.host.clone(),
                    queues: options.queues.iter().map(QueueOptions::shown).collect(),
                    running: u32::try_from(handle.in_hand()).unwrap_or(u32::MAX),
                    attempts: handle.figures.attempts(),
                    started_ms,
                };
                if let Err(error) = broker.heartbeat(report).await {
                    tracing::debug!(%error, "report to the broker");
                }
                if slept_until(&stop, options.heartbeat_every).await {
                    break;
                }
            }
        }
    }

    async fn wind_down(&self, lanes: &[Lane]) -> StopReport {
        let mut report = StopReport::default();
        for lane in lanes {
            lane.ready.close();
            report.released += lane.ready.release_all(&lane.in_hand);
        }
        let all_ended = futures_util::future::join_all(lanes.iter().map(|lane| lane.in_hand.all_ended()));
        if tokio::time::timeout(self.options.stop_grace, all_ended).await.is_err() {
            report.cancelled = lanes.iter().map(|lane| lane.in_hand.stop_all(StopReason::Shutdown)).sum();
            tracing::warn!(attempts = report.cancelled, "the grace period is over: running attempts are told to stop");
            let all_ended = futures_util::future::join_all(lanes.iter().map(|lane| lane.in_hand.all_ended()));
            // The time limit layer drops what does not stop by itself within the grace; a second is for the scheduler.
            let patience = self.options.cancel_grace + Duration::from_secs(1);
            drop(tokio::time::timeout(patience, all_ended).await);
        }
        for lane in lanes {
            if lane.worker.stop().is_err() {
                lane.running.abort();
            }
            report.released += lane.ready.release_all(&lane.in_hand);
            // What blocks its thread cannot be stopped; its job goes back all the same.
            lane.in_hand.end_the_rest();
        }
        report
    }
}

/// Waits; `true` when `stop` fired.
async fn slept_until(stop: &CancellationToken, time: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(time) => false,
    }
}

/// Whether something was said already.
#[derive(Debug, Default)]
pub(crate) struct Once(AtomicBool);

impl Once {
    pub(crate) fn is_first(&self) -> bool {
        !self.0.swap(true, std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn reset(&self) {
        self.0.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}
