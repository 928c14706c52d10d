//! The worker pool: apalis workers over a [`Broker`].
//!
//! For each queue there is one apalis worker whose backend hands out jobs that a *fetcher* got from the broker, and whose
//! innermost service is our handlers behind the layers of [`crate::layers`]. What ends goes to a *settler*, which tells
//! the broker in batches and tries again until the broker has answered; a *keeper* extends the leases of everything in
//! hand. A job counts as in hand from its fetch to its settlement, and a fetcher asks for no more than fits, so memory is
//! bounded also when the broker is away.
//!
//! Its steward reports that the pool lives, does what it is told (stop, run so many at one time), and lets the number of
//! attempts at one time follow the backlog where it may.
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

mod autoscaler;
mod backend;
mod fetcher;
mod held;
mod in_hand;
mod keeper;
mod note_book;
mod note_sender;
mod options;
mod rate_gate;
mod settler;
mod shares;
mod slots;
mod steward;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use apalis_core::worker::{builder::WorkerBuilder, context::WorkerContext};
use tidemark_model::Clock;
use tidemark_queue::{Broker, BrokerError, JobIdSource};
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use held::HeldJob;
pub(crate) use in_hand::{Ended, InHand};
pub(crate) use note_book::NoteWriter;
pub use options::{PoolOptions, QueueOptions};
pub(crate) use shares::ShareOfLane;
pub(crate) use slots::Slots;

use crate::{
    Handlers, WorkFigures,
    layers::{
        dispatch::Dispatch, kind_limit::KindLimit, panic_capture::PanicCapture, rate_limit::RateLimit,
        settle::SettleLayer, slot_limit::SlotLimit, spawn::Spawn, surround::SurroundLayer, time_limit::TimeLimit,
    },
};
use backend::{BrokerBackend, ReadyQueue};
use fetcher::Fetcher;
use in_hand::StopReason;
use keeper::LeaseKeeper;
use note_sender::NoteSender;
use rate_gate::RateGate;
use settler::Settler;
use shares::Shares;
use steward::Steward;

/// Runs jobs of some queues until it is told to stop.
pub struct WorkerPool {
    options: PoolOptions,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    handlers: Handlers,
    handle: PoolHandle,
    random: Arc<JobIdSource>,
    /// Layers that all queues share.
    rates: RateLimit,
    kinds: KindLimit,
    /// Slots of all queues, if there are fewer than those of the queues.
    shares: Option<Arc<Shares>>,
}

/// What others see of a pool.
#[derive(Clone, Debug)]
pub struct PoolHandle {
    figures: Arc<WorkFigures>,
    in_hand: Arc<[Arc<InHand>]>,
    slots: Arc<[Arc<Slots>]>,
    /// Fired when somebody told the worker to stop, through the broker.
    told_to_stop: CancellationToken,
}

impl PoolHandle {
    /// What the pool has done.
    #[must_use]
    pub fn figures(&self) -> &Arc<WorkFigures> {
        &self.figures
    }

    /// Fires when somebody told the worker to stop, through the broker. The pool stops by itself then.
    #[must_use]
    pub fn told_to_stop(&self) -> &CancellationToken {
        &self.told_to_stop
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
        let slots = options.queues.iter().map(|queue| Arc::new(Slots::new(queue.concurrency))).collect();
        let handle = PoolHandle { figures, in_hand, slots, told_to_stop: CancellationToken::new() };
        let random = Arc::new(JobIdSource::random(clock.clone()));
        let rates = RateLimit::new(&options.rates, clock.clone());
        let kinds = KindLimit::new(&options.kind_limits);
        let weights = options.queues.iter().map(|queue| queue.weight);
        let shares = options.total.map(|slots| Shares::new(slots, weights));
        Self { options, broker, clock, handlers, handle, random, rates, kinds, shares }
    }

    /// To look at the pool while it runs.
    #[must_use]
    pub fn handle(&self) -> PoolHandle {
        self.handle.clone()
    }

    /// Runs jobs until `stop` fires or somebody tells the worker to stop through the broker; then stops fetching, gives back what was not started, lets running attempts finish
    /// for [`PoolOptions::stop_grace`], tells the others to stop and gives them back, and returns once the broker has
    /// heard of everything.
    pub async fn run(self, stop: CancellationToken) -> StopReport {
        let tracker = TaskTracker::new();
        let fetching = CancellationToken::new();
        let settling = CancellationToken::new();
        let queues = self.options.queues.iter().zip(self.handle.in_hand.iter()).zip(self.handle.slots.iter());
        let lanes: Vec<Lane> = queues
            .enumerate()
            .map(|(lane, ((queue, in_hand), slots))| {
                let share = self.shares.clone().map(|shares| ShareOfLane { shares, lane });
                let limit = SlotLimit { slots: slots.clone(), share };
                self.start_lane(queue, in_hand.clone(), limit, &tracker, &fetching, &settling)
            })
            .collect();
        tracker.spawn(self.sweep(settling.clone()));
        let steward = Steward::new(&self, lanes.iter().map(|lane| lane.ready.clone()).collect());
        tracker.spawn(steward.run(settling.clone()));

        tokio::select! {
            () = stop.cancelled() => {}
            () = self.handle.told_to_stop.cancelled() => tracing::info!("the worker was told to stop"),
        }
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
        limit: SlotLimit,
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
            slots: limit.slots.clone(),
            gate: RateGate {
                broker: self.broker.clone(),
                rates: self.options.shared_rates.clone(),
                in_hand: in_hand.clone(),
                figures: self.handle.figures.clone(),
                said: Once::default(),
            },
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
        let running = tracker.spawn(self.apalis_worker(queue, &in_hand, limit, &ready, worker.clone(), tracker));
        Lane { in_hand, ready, worker, running }
    }

    fn apalis_worker(
        &self,
        queue: &QueueOptions,
        in_hand: &Arc<InHand>,
        limit: SlotLimit,
        ready: &Arc<ReadyQueue>,
        context: WorkerContext,
        tracker: &TaskTracker,
    ) -> impl Future<Output = ()> + Send + 'static {
        let figures = self.handle.figures.clone();
        let settle = SettleLayer {
            in_hand: in_hand.clone(),
            times: figures.of_queue(&queue.queue),
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
            .layer(SurroundLayer(limit))
            .layer(SurroundLayer(self.rates.clone()))
            .layer(SurroundLayer(self.kinds.clone()))
            .layer(SurroundLayer(Spawn { tracker: spawn }))
            .layer(SurroundLayer(PanicCapture { figures: figures.clone() }))
            .layer(SurroundLayer(TimeLimit { figures, cancel_grace }))
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
