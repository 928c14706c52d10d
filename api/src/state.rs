//! What every handler sees: the seams, the options and the counters.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tidemark_model::{
    AnnotationStore, Clock, DocumentStore, MetadataCatalog, MetadataStore, NameIds, PointDeleter, PointSink,
    SeriesCatalog, SeriesReader,
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    http::{body_budget::BodyBudget, trace_context::TraceIds},
    metrics::ApiCounters,
    options::ApiOptions,
    queries::QueryRegistry,
};

/// The parts of the system that the server speaks to.
#[derive(Clone)]
pub struct ApiSeams {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where points go; its outcome is what the mode of the process calls acknowledged.
    pub sink: Arc<dyn PointSink>,
    /// Where points of telnet connections go: as `sink`, and for as long as it takes, since a connection that is not read
    /// meanwhile is all that its client is told.
    pub sink_telnet: Arc<dyn PointSink>,
    /// Where points of `/api/put?sync` go: its outcome means that the store committed.
    pub sink_sync: Arc<dyn PointSink>,
    /// Where queries read.
    pub reader: Arc<dyn SeriesReader>,
    /// What deletes points.
    pub deleter: Arc<dyn PointDeleter>,
    /// What series there are.
    pub catalog: Arc<dyn SeriesCatalog>,
    /// What metrics mean.
    pub metadata: Arc<dyn MetadataStore>,
    /// What is known of metrics and of the things that tags name.
    pub described: Arc<dyn MetadataCatalog>,
    /// The ids of names.
    pub names: Arc<dyn NameIds>,
    /// Where notes about names and series are kept.
    pub documents: Arc<dyn DocumentStore>,
    /// Notes about moments.
    pub annotations: Arc<dyn AnnotationStore>,
}

/// What every handler sees. Handlers get it as `actix_web::web::Data<AppState>`.
pub struct AppState {
    /// The parts of the system that the server speaks to.
    pub seams: ApiSeams,
    /// Limits and switches.
    pub options: ApiOptions,
    /// What the server counted so far.
    pub counters: ApiCounters,
    /// Fires when the server is to stop.
    pub shutdown: CancellationToken,
    /// The tasks that the server waits for when it stops.
    pub tasks: TaskTracker,
    /// Fires when open requests have had their time to finish after [`AppState::shutdown`].
    pub(crate) abandon: CancellationToken,
    pub(crate) body_budget: Arc<BodyBudget>,
    pub(crate) query_slots: Arc<Semaphore>,
    pub(crate) queries: Arc<QueryRegistry>,
    pub(crate) traces: TraceIds,
    request_prefix: i64,
    requests: AtomicU64,
}

impl AppState {
    /// Puts the state together. `shutdown` stops the server that serves it.
    #[must_use]
    pub fn new(seams: ApiSeams, options: ApiOptions, shutdown: CancellationToken) -> Arc<Self> {
        let request_prefix = seams.clock.now_ms();
        Arc::new(Self {
            body_budget: Arc::new(BodyBudget::new(options.limits.body_bytes_in_flight)),
            query_slots: Arc::new(Semaphore::new(options.limits.queries)),
            queries: Arc::new(QueryRegistry::new(Arc::clone(&seams.clock), options.limits.queries_per_client)),
            seams,
            options,
            counters: ApiCounters::default(),
            shutdown,
            abandon: CancellationToken::new(),
            tasks: TaskTracker::new(),
            traces: TraceIds::default(),
            request_prefix,
            requests: AtomicU64::new(0),
        })
    }

    /// When this process began to serve, in milliseconds since the epoch.
    pub(crate) fn started_ms(&self) -> i64 {
        self.request_prefix
    }

    /// A new id for a request: when this process began and which request since.
    pub(crate) fn next_request_id(&self) -> String {
        format!("{:x}-{:x}", self.request_prefix, self.requests.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AppState").field("options", &self.options).finish_non_exhaustive()
    }
}
