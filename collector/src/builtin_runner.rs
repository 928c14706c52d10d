//! Runs one built-in collector on its schedule.

use std::{sync::Arc, time::Duration};

use tidemark_model::TimestampMs;
use tokio::{task::JoinError, time};
use tokio_util::sync::CancellationToken;

use crate::{
    collector::{CollectError, Collector},
    context::Context,
    gathering::{Gathered, Gathering},
    schedule::Schedule,
    status::{Activity, CollectorSource},
};

/// A run that takes longer is reported, and waited for all the same.
const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Makes the collector anew after a panic.
pub(crate) type Maker = Arc<dyn Fn() -> Box<dyn Collector> + Send + Sync>;

pub(crate) struct BuiltinRunner {
    context: Arc<Context>,
    make: Maker,
    name: &'static str,
    schedule: Schedule,
}

/// What comes back from the blocking pool.
struct Run {
    collector: Box<dyn Collector>,
    gathered: Gathered,
    result: Result<(), CollectError>,
    took: Duration,
}

impl BuiltinRunner {
    /// A runner whose collector shows in the status at once.
    pub(crate) fn new(context: Arc<Context>, make: Maker, interval: Duration) -> Self {
        let collector = make();
        let (name, every) = (collector.name(), collector.every());
        let interval = interval.saturating_mul(every);
        context.board.register(name, CollectorSource::Builtin, Some(interval));
        let schedule = Schedule::new(interval, context.seed);
        Self { context, make, name, schedule }
    }

    /// Runs at once and then on the schedule until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut collector = (self.make)();
        let trigger = self.context.triggers.register(self.name);
        loop {
            let Some(next) = stop.run_until_cancelled(self.run_once(collector)).await else { return };
            collector = next;
            let (at, wait) = self.schedule.next(self.context.clock.now_ms());
            self.context.board.waits(self.name, Activity::Waiting, at);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = trigger.notified() => {}
                () = time::sleep(wait) => {}
            }
        }
    }

    async fn run_once(&self, collector: Box<dyn Collector>) -> Box<dyn Collector> {
        let now = self.context.clock.now_ms();
        self.context.board.started(self.name, now);
        let timestamp = self.schedule.timestamp(now);
        let context = Arc::clone(&self.context);
        let running = self.context.tracker.spawn_blocking(move || collect(&context, collector, timestamp));
        match self.wait_for(running).await {
            Ok(run) => {
                self.context.board.finished(self.name, run.took);
                if let Err(error) = run.result {
                    self.context.fail(self.name, &error.to_string());
                }
                self.context.hand_on(self.name, run.gathered).await;
                run.collector
            }
            Err(error) => {
                self.context.fail(self.name, &format!("the collector panicked: {error}"));
                (self.make)()
            }
        }
    }

    /// A file system that does not answer blocks its collector, and only that.
    async fn wait_for(&self, mut running: tokio::task::JoinHandle<Run>) -> Result<Run, JoinError> {
        loop {
            match time::timeout(STUCK_AFTER, &mut running).await {
                Ok(joined) => return joined,
                Err(_) => self.context.fail(self.name, &format!("the collector did not end within {STUCK_AFTER:?}")),
            }
        }
    }
}

fn collect(context: &Context, mut collector: Box<dyn Collector>, timestamp: TimestampMs) -> Run {
    let started = context.clock.monotonic();
    let mut out = Gathering::new(&context.host_tags, timestamp);
    let result = collector.collect(&context.files, &mut out);
    let took = context.clock.monotonic().saturating_sub(started);
    Run { collector, gathered: out.finish(), result, took }
}
