//! What people see: the pages and what keeps them live, filled from the other parts.
//!
//! Everything here reads. What a person does (acknowledge, retry, pause) goes through the REST API, as a script's would.

mod asking;
mod hosts;
mod incident_graph;
mod incidents;
mod job_events;
mod job_search;
mod live;
mod overview;
mod routes;
mod silence;
mod storage;
mod task;
mod tasks;
mod topics;

use std::{fmt, sync::Arc, time::Duration};

use actix_web::web::Data;
use tidemark_alert::{IncidentBook, RuleSet};
use tidemark_dashboards::{Assets, Pages, RenderError, TemplateSource};
use tidemark_model::{Clock, MetadataStore, ReadLimits, SeriesCatalog, SeriesReader};
use tidemark_queue::Broker;
use tidemark_scheduler::SchedulerHandle;
use tidemark_workers::{JobFiles, NotificationQueue};
use tokio::sync::Semaphore;

use crate::{
    auth::random_text,
    figures::FigureSource,
    rest::{self, BackupSource, Readiness},
    server::Configure,
};

pub(crate) use self::{
    asking::AskError,
    job_search::{JobSearch, parse_state},
};
use self::{asking::Asker, job_events::JobEvents, tasks::DoneOverTime, topics::TopicCache};

/// Graphs that are evaluated at one time for pages.
const ASKING_AT_ONCE: usize = 4;
/// Exports that run at one time, each of which holds about 100 MB.
const EXPORTS_AT_ONCE: usize = 2;

/// The parts that the pages show.
#[derive(Clone)]
pub struct ConsoleSeams {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where graphs read.
    pub reader: Arc<dyn SeriesReader>,
    /// Which hosts and metrics there are.
    pub catalog: Arc<dyn SeriesCatalog>,
    /// What metrics mean.
    pub metadata: Arc<dyn MetadataStore>,
    /// What holds the jobs.
    pub broker: Arc<dyn Broker>,
    /// Files that jobs read and write.
    pub files: Arc<JobFiles>,
    /// When something is wrong.
    pub rules: RuleSet,
    /// What is wrong.
    pub incidents: IncidentBook,
    /// Where notifications of what people do are queued.
    pub notifications: NotificationQueue,
    /// What takes backups; nobody where the store is not this process's.
    pub backups: Option<Arc<dyn BackupSource>>,
    /// Figures about ourselves.
    pub figures: Vec<Arc<dyn FigureSource>>,
    /// Most a graph may read.
    pub read_limits: ReadLimits,
    /// How long a graph may take, `limits.query_time`; waiting for its turn is a part of it.
    pub query_time: Duration,
    /// Name of this process' scheduler; empty when it has none.
    pub scheduler_name: String,
    /// This process' scheduler, if it has one.
    pub scheduler: Option<SchedulerHandle>,
}

/// Fills pages; one for each process.
pub struct Console {
    pub(crate) seams: ConsoleSeams,
    pub(crate) asker: Asker,
    pub(crate) pages: Pages,
    pub(crate) assets: Assets,
    topics: TopicCache,
    /// What happens to jobs.
    job_events: JobEvents,
    /// What queues did lately, and when that was read.
    done_over_time: tokio::sync::Mutex<Option<(Duration, DoneOverTime)>>,
    /// Exports that may run at one time.
    pub(crate) exports: Arc<Semaphore>,
    /// What the pages' scripts must send back with every action, so that no other site can act for a person.
    pub(crate) csrf_token: String,
    /// The address for commands that people copy.
    base_url: String,
}

impl Console {
    /// A console of a server that people reach at `base_url`, such as `http://127.0.0.1:4242`.
    ///
    /// # Errors
    /// When a template does not parse, which the tests rule out, or the system gives no random bytes.
    pub fn new(seams: ConsoleSeams, base_url: String) -> Result<Arc<Self>, ConsoleError> {
        let assets = Assets::embedded();
        let pages = Pages::new(TemplateSource::Embedded, &assets)?;
        let asker = Asker::new(&seams, ASKING_AT_ONCE);
        let csrf_token = random_text().map_err(|error| ConsoleError::Random(error.to_string()))?;
        Ok(Arc::new(Self {
            seams,
            asker,
            pages,
            assets,
            topics: TopicCache::default(),
            job_events: JobEvents::default(),
            done_over_time: tokio::sync::Mutex::default(),
            exports: Arc::new(Semaphore::new(EXPORTS_AT_ONCE)),
            csrf_token,
            base_url,
        }))
    }

    /// The routes of pages, socket and REST API, for [`crate::ApiServer::configure`].
    #[must_use]
    pub fn routes(self: &Arc<Self>, readiness: Arc<dyn Readiness>) -> Configure {
        let console = Arc::clone(self);
        Arc::new(move |config| {
            config.app_data(Data::new(Arc::clone(&readiness)));
            rest::configure(config);
            routes::configure(config, &console);
        })
    }

    /// The address for commands that people copy.
    pub(crate) fn base_url(&self) -> String {
        self.base_url.clone()
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Console").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// A template is broken.
    #[error(transparent)]
    Templates(#[from] RenderError),
    /// The system gives no random bytes.
    #[error("read random bytes from the system: {0}")]
    Random(String),
}
