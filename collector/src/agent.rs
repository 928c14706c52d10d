//! The agent as a service.

use std::{fmt, sync::Arc};

use tidemark_model::{Clock, MetadataStore, MetricMetadata, PointSink};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    AgentCounts, AgentError, AgentOptions, CollectorStatus, Delivery, DeliveryHandle, Preview, builtin,
    builtin_runner::{BuiltinRunner, Maker},
    context::{Context, Triggers},
    counts::Counters,
    external::Supervisor,
    host_files::HostFiles,
    metadata_book::MetadataBook,
    own_metrics::OwnMetrics,
    status::StatusBoard,
};

/// Gathers, batches and delivers until it is told to stop.
pub struct Agent {
    options: Arc<AgentOptions>,
    parts: Parts,
    delivery: Delivery,
    out: DeliveryHandle,
}

/// What the service and its handle share.
#[derive(Clone)]
struct Parts {
    clock: Arc<dyn Clock>,
    board: Arc<StatusBoard>,
    counters: Arc<Counters>,
    triggers: Arc<Triggers>,
    book: Arc<MetadataBook>,
}

/// Looks into a running agent and wakes its collectors. Cheap to clone.
#[derive(Clone)]
pub struct AgentHandle {
    options: Arc<AgentOptions>,
    parts: Parts,
}

impl Agent {
    /// An agent that delivers to `sink` and tells `metadata` what its metrics mean. Opens the spool, which blocks
    /// for as long as it takes to read the headers of its frames.
    ///
    /// # Errors
    /// Says which option cannot be used, or that another process uses the spool.
    pub fn new(
        options: AgentOptions,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn PointSink>,
        metadata: Arc<dyn MetadataStore>,
    ) -> Result<(Self, AgentHandle), AgentError> {
        options.check()?;
        let (delivery, out) = Delivery::new(options.delivery(), Arc::clone(&clock), sink, metadata)?;
        let parts = Parts {
            clock,
            board: Arc::default(),
            counters: out.counters(),
            triggers: Arc::default(),
            book: out.book(),
        };
        let options = Arc::new(options);
        let handle = AgentHandle { options: Arc::clone(&options), parts: parts.clone() };
        Ok((Self { options, parts, delivery, out }, handle))
    }

    /// Runs until `stop` fires: collectors end first (programs within [`crate::ExternalOptions::stop_grace`]), then what they gathered is delivered within
    /// [`AgentOptions::farewell`]; the rest goes to the spool, or is counted and lost without one.
    pub async fn run(self, stop: CancellationToken) {
        let Self { options, parts, delivery, out } = self;
        let (collectors, deliveries) = (TaskTracker::new(), TaskTracker::new());
        deliveries.spawn(delivery.run(stop.clone()));
        deliveries.close();
        let context = Arc::new(context(&options, &parts, collectors.clone(), out));
        spawn_builtins(&options, &context, &stop);
        if let Some(external) = options.external.clone() {
            collectors.spawn(Supervisor::new(Arc::clone(&context), external).run(stop.clone()));
        }
        drop(context);
        collectors.close();
        stop.cancelled().await;
        // The delivery ends when the last collector, and with it the last handle, is gone.
        collectors.wait().await;
        deliveries.wait().await;
    }
}

impl AgentHandle {
    /// Every collector and how it fares, by name.
    #[must_use]
    pub fn collectors(&self) -> Vec<CollectorStatus> {
        self.parts.board.snapshot(self.parts.clock.now_ms())
    }

    /// What became of the points.
    #[must_use]
    pub fn counts(&self) -> AgentCounts {
        self.parts.counters.snapshot()
    }

    /// What is known of a metric that this agent gathers.
    #[must_use]
    pub fn metadata(&self, metric: &str) -> Option<MetricMetadata> {
        self.parts.book.of(metric)
    }

    /// Runs a collector now instead of at its time. Whether there is one of this name that waits for its time.
    #[must_use]
    pub fn run_now(&self, name: &str) -> bool {
        self.parts.triggers.pull(name)
    }

    /// Runs a collector apart from the agent and returns what it would send; see [`crate::preview`].
    ///
    /// # Errors
    /// There is no such collector.
    pub async fn preview(&self, name: &str) -> Result<Preview, AgentError> {
        crate::preview(&self.options, &self.parts.clock, name).await
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Agent").field("options", &self.options).finish_non_exhaustive()
    }
}

impl fmt::Debug for AgentHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AgentHandle").field("options", &self.options).finish_non_exhaustive()
    }
}

fn context(options: &AgentOptions, parts: &Parts, tracker: TaskTracker, out: DeliveryHandle) -> Context {
    Context {
        host_tags: options.host_tags.clone(),
        files: HostFiles::system(),
        clock: Arc::clone(&parts.clock),
        board: Arc::clone(&parts.board),
        triggers: Arc::clone(&parts.triggers),
        tracker,
        out,
        seed: options.seed,
    }
}

fn spawn_builtins(options: &AgentOptions, context: &Arc<Context>, stop: &CancellationToken) {
    let mut makers: Vec<Maker> = builtin::MAKERS.iter().map(|make| Arc::new(make) as Maker).collect();
    let (counters, board, clock) = (context.out.counters(), Arc::clone(&context.board), Arc::clone(&context.clock));
    makers.push(Arc::new(move || {
        let (counters, board, clock) = (Arc::clone(&counters), Arc::clone(&board), Arc::clone(&clock));
        Box::new(OwnMetrics { counters, board, clock })
    }));
    for make in makers {
        if options.is_enabled(make().name()) {
            let runner = BuiltinRunner::new(Arc::clone(context), make, options.interval);
            context.tracker.spawn(runner.run(stop.clone()));
        }
    }
}
