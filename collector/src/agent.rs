//! The agent as a service.

use std::{fmt, sync::Arc};

use tidemark_model::{Clock, MetadataStore, MetricMetadata, PointSink};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    AgentCounts, AgentError, AgentOptions, CollectorStatus, Preview,
    backlog::Backlog,
    backoff::Backoff,
    batcher::Batcher,
    builtin,
    builtin_runner::{BuiltinRunner, Maker},
    context::{Context, Triggers},
    counts::Counters,
    courier::Courier,
    external::Supervisor,
    gathering::Gathered,
    host_files::HostFiles,
    metadata_book::{MetadataBook, MetadataCourier},
    own_metrics::OwnMetrics,
    spool::Spool,
    status::StatusBoard,
};

/// Runs of collectors that wait for the batcher; each is at most a few thousand points.
const GATHERED_MAX: usize = 64;

/// Gathers, batches and delivers until it is told to stop.
pub struct Agent {
    options: Arc<AgentOptions>,
    parts: Parts,
    spool: Option<Spool>,
    sink: Arc<dyn PointSink>,
    metadata: Arc<dyn MetadataStore>,
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
        let spool = options.spool.clone().map(Spool::open).transpose()?;
        if let Some(waiting) = spool.as_ref().map(Spool::points).filter(|&points| points > 0) {
            tracing::info!(points = waiting, "the spool has points of an earlier run, which will be sent first");
        }
        let parts = Parts {
            clock,
            board: Arc::default(),
            counters: Arc::default(),
            triggers: Arc::default(),
            book: Arc::default(),
        };
        let options = Arc::new(options);
        let handle = AgentHandle { options: Arc::clone(&options), parts: parts.clone() };
        Ok((Self { options, parts, spool, sink, metadata }, handle))
    }

    /// Runs until `stop` fires: collectors end first (programs within [`crate::ExternalOptions::stop_grace`]), then what they gathered is delivered within
    /// [`AgentOptions::farewell`]; the rest goes to the spool, or is counted and lost without one.
    pub async fn run(self, stop: CancellationToken) {
        let (options, parts) = (Arc::clone(&self.options), self.parts.clone());
        let collectors = TaskTracker::new();
        let (sender, receiver) = mpsc::channel(GATHERED_MAX);
        let context = Arc::new(context(&options, &parts, collectors.clone(), sender));
        let delivery = self.spawn_delivery(receiver, &stop);
        spawn_builtins(&options, &context, &stop);
        if let Some(external) = options.external.clone() {
            collectors.spawn(Supervisor::new(Arc::clone(&context), external).run(stop.clone()));
        }
        drop(context);
        collectors.close();
        stop.cancelled().await;
        collectors.wait().await;
        delivery.close();
        delivery.wait().await;
    }

    /// Batcher, courier and the courier of metadata: they end once every collector is gone.
    fn spawn_delivery(self, receiver: mpsc::Receiver<Gathered>, stop: &CancellationToken) -> TaskTracker {
        let Self { options, parts, spool, sink, metadata } = self;
        let delivery = TaskTracker::new();
        let backlog =
            Arc::new(Backlog::new(options.backlog_bytes_max, spool, Arc::clone(&parts.counters), delivery.clone()));
        let batcher = Batcher {
            points_max: options.batch_points_max,
            flush_after: options.flush_after,
            backlog: Arc::clone(&backlog),
            book: Arc::clone(&parts.book),
        };
        let courier = Courier {
            sink,
            backlog,
            backoff: Backoff::new(options.retry_first, options.retry_longest, options.seed),
            counters: Arc::clone(&parts.counters),
            clock: Arc::clone(&parts.clock),
            farewell: options.farewell,
            in_flight: None,
        };
        let metadata_courier = MetadataCourier {
            book: parts.book,
            store: metadata,
            repeat_after: options.metadata_repeat_after,
            backoff: Backoff::new(options.retry_first, options.retry_longest, options.seed.wrapping_add(1)),
            counters: parts.counters,
        };
        delivery.spawn(batcher.run(receiver));
        delivery.spawn(courier.run(stop.clone()));
        delivery.spawn(metadata_courier.run(stop.clone()));
        delivery
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

fn context(options: &AgentOptions, parts: &Parts, tracker: TaskTracker, gathered: mpsc::Sender<Gathered>) -> Context {
    Context {
        host_tags: options.host_tags.clone(),
        files: HostFiles::system(),
        clock: Arc::clone(&parts.clock),
        board: Arc::clone(&parts.board),
        counters: Arc::clone(&parts.counters),
        triggers: Arc::clone(&parts.triggers),
        tracker,
        gathered,
        seed: options.seed,
    }
}

fn spawn_builtins(options: &AgentOptions, context: &Arc<Context>, stop: &CancellationToken) {
    let mut makers: Vec<Maker> = builtin::MAKERS.iter().map(|make| Arc::new(make) as Maker).collect();
    let (counters, board, clock) =
        (Arc::clone(&context.counters), Arc::clone(&context.board), Arc::clone(&context.clock));
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
