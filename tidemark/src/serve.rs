//! `tidemark serve`: puts the parts together, waits for a signal, and takes them apart in order.

mod agent_options;
mod api_options;
mod backups;
mod cluster;
mod data_folder;
mod exposure;
mod figures;
mod handlers;
mod jobs;
mod problems;
mod queues;
mod readers;
mod readiness;
mod redis_options;
mod scheduling;
mod self_metrics;
mod signals;
mod store;

use std::{io::Write, net::SocketAddr, num::NonZeroUsize, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tidemark_api::{ApiOptions, ApiSeams, ApiServer, AppState, Console, ConsoleSeams, LogBook, figures::FigureSource};
use tidemark_collector::Agent;
use tidemark_kv::Kv;
use tidemark_model::{Clock, MetadataStore, SystemClock};
use tidemark_scheduler::{Scheduler, SchedulerOptions};
use tidemark_tsdb::Store;
use tidemark_workers::WorkFigures;
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::{
    agent_options::agent_options,
    api_options::{line_rules, point_rules},
    cluster::open as open_cluster,
    data_folder::DataFolder,
    problems::{problems, refuse},
    redis_options::redis_options,
    signals::EndSignals,
    store::{FILE as STORE_FILE, open as open_store},
};
use self::{
    api_options::{api_options, read_limits},
    handlers::Alerting,
    jobs::{Jobs, STOP_EXTRA},
    readers::{space_catalog, space_deleter, space_reader},
    self_metrics::SelfMetrics,
};
use crate::{
    config::{Role, Settings},
    demo, logging,
    progress_bar::{Counted, ProgressBar},
};

/// How long the broker may take to finish what is on its way.
const BROKER_CLOSE: Duration = Duration::from_secs(1);

/// Serves until told to end.
pub(crate) fn run(settings: Settings, demo: bool) -> anyhow::Result<ExitCode> {
    refuse(&problems(&settings))?;
    let logs = logging::start(&settings)?;
    let threads = std::thread::available_parallelism().map_or(2, NonZeroUsize::get).max(2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("tidemark")
        .enable_all()
        .build()
        .context("start the threads")?;
    runtime.block_on(serve(settings, demo, logs))
}

async fn serve(settings: Settings, demo: bool, logs: Arc<dyn LogBook>) -> anyhow::Result<ExitCode> {
    let mut signals = EndSignals::listen()?;
    let opened = Opened::open(settings, demo, logs).await?;
    let ending = CancellationToken::new();
    let parts = TaskTracker::new();
    let serving = opened.start(&ending, &parts).await?;
    if demo {
        let fleet = fill_demo(&opened, &mut signals).await?;
        parts.spawn(demo::live(fleet, opened.jobs.sink(), Arc::clone(&opened.clock), ending.clone()));
    }
    parts.close();
    announce(serving.address, &opened.settings.roles)?;
    tracing::info!(
        address = serving.address.map(tracing::field::display),
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "ending in order; a second signal goes straight to the flush"),
        () = ending.cancelled() => tracing::error!("the server has ended by itself"),
        () = opened.told_to_end.cancelled() => tracing::info!("told to end through the broker; ending in order"),
    }
    ending.cancel();
    let shutdown = opened.settings.shutdown.clone();
    let orderly = async {
        // The server gives open requests this time, at least a second, and then the work that they left behind.
        let requests = shutdown.requests.0.max(Duration::from_secs(1)) + shutdown.requests.0;
        step("requests, scheduler and agent", requests, parts.wait()).await;
        step("jobs", shutdown.jobs.0 + STOP_EXTRA, opened.jobs.stop()).await;
    };
    tokio::select! {
        () = orderly => {}
        signal = signals.next() => tracing::warn!(signal, "hurried: requests and jobs may be unfinished"),
    }
    step("the end of the broker", BROKER_CLOSE, opened.jobs.close()).await;
    step("the flush of the store", shutdown.flush.0, opened.store.close()).await;
    if serving.task.is_finished() {
        serving.task.await?.context("serve requests")?;
    }
    tracing::info!("ended");
    Ok(ExitCode::SUCCESS)
}

/// What is open: from here on, everything can be started, and has to be closed.
struct Opened {
    settings: Settings,
    logs: Arc<dyn LogBook>,
    clock: Arc<dyn Clock>,
    store: Store,
    engine: Arc<dyn Kv>,
    work: Arc<WorkFigures>,
    jobs: Jobs,
    alerting: Alerting,
    /// Value of the tag `host` of what this process says about itself.
    host: String,
    /// Fires when somebody told this process to end, through the broker.
    told_to_end: CancellationToken,
    _folder: Option<DataFolder>,
}

/// The server, on its way, or what stands in for it in a process that serves no requests.
struct Serving {
    address: Option<SocketAddr>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Opened {
    async fn open(settings: Settings, demo: bool, logs: Arc<dyn LogBook>) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let folder = take_folder(&settings, demo)?;
        let (store, engine) = store::open(&settings, folder.as_ref(), &clock).await?;
        let work = Arc::new(WorkFigures::new());
        let store_id = store::id(folder.as_ref(), &store).await?;
        let jobs = Jobs::open(&settings, folder.as_ref(), store_id, &clock, &store, &work).await?;
        let alerting = Alerting::open(&settings, &store, &jobs.broker, &clock).await?;
        let host = agent_options(&settings)?.host_tags.host().to_owned();
        let told_to_end = CancellationToken::new();
        Ok(Self { settings, logs, clock, store, engine, work, jobs, alerting, host, told_to_end, _folder: folder })
    }

    /// Starts everything that the roles ask for, the server last.
    async fn start(&self, ending: &CancellationToken, parts: &TaskTracker) -> anyhow::Result<Serving> {
        let Self { settings, clock, store, work, jobs, alerting, host, .. } = self;
        let telnet_from = exposure::networks("auth.telnet_from", &settings.auth.telnet_from)?;
        let trusted_proxies = exposure::networks("auth.trusted_proxies", &settings.auth.trusted_proxies)?;
        let tokens = exposure::tokens(&settings.auth)?;
        let options = api_options(settings, tokens, Some(Arc::clone(&self.logs)))?;
        let options = ApiOptions { telnet_from, trusted_proxies, host: host.clone(), ..options };
        let state = AppState::new(self.api_seams(), options, ending.clone());
        let server = match settings.roles.contains(&Role::Api) {
            true => {
                let server = ApiServer::bind(settings.listen, Arc::clone(&state));
                Some(server.with_context(|| format!("listen on {}", settings.listen))?)
            }
            false => None,
        };
        let address = server.as_ref().map(ApiServer::address);
        let sources = figures::sources(store, jobs, work, &state, &settings.data, clock);
        let base_url = match (settings.public_url.as_str(), address) {
            ("", Some(address)) => format!("http://{address}"),
            (url, _) => url.trim_end_matches('/').to_owned(),
        };
        let scheduler = settings.roles.contains(&Role::Scheduler).then(|| {
            let options = SchedulerOptions::new(&self.scheduler_name());
            Scheduler::new(options, Arc::clone(&jobs.broker), Arc::clone(clock))
        });
        let console = self.console_seams(&sources, scheduler.as_ref());
        let readiness = readiness::OfProcess { broker: Arc::clone(&jobs.broker), engine: Arc::clone(&self.engine) };
        if settings.roles.contains(&Role::Worker) {
            let handlers = handlers::of(settings, store, jobs, alerting, clock, work)?;
            let told_to_stop = jobs.work(settings, host, clock, handlers, work)?;
            if settings.roles == [Role::Worker] {
                // A process that does nothing else ends with its workers.
                let (told_to_end, ending) = (self.told_to_end.clone(), ending.clone());
                parts.spawn(async move {
                    tokio::select! {
                        () = told_to_stop.cancelled() => told_to_end.cancel(),
                        () = ending.cancelled() => {}
                    }
                });
            }
        }
        if let Some(scheduler) = scheduler {
            let schedules = scheduling::wanted(settings, &alerting.rules, store.shards())?;
            let (broker, ending) = (Arc::clone(&jobs.broker), ending.clone());
            parts.spawn(async move {
                if scheduling::ensure(broker.as_ref(), &schedules, &ending).await {
                    let kept = scheduling::keep(broker.as_ref(), &schedules, &ending);
                    tokio::join!(scheduler.run(ending.clone()), kept);
                }
            });
        }
        if settings.roles.contains(&Role::Agent) {
            let metadata = Arc::new(store.clone());
            let (agent, _) = Agent::new(agent_options(settings)?, Arc::clone(clock), jobs.sink(), metadata)?;
            parts.spawn(agent.run(ending.clone()));
        }
        let metrics = SelfMetrics {
            sources,
            sink: jobs.sink(),
            metadata: Arc::new(store.clone()),
            clock: Arc::clone(clock),
            host: host.clone(),
            process: settings.process(),
        };
        parts.spawn(metrics.run(ending.clone()));
        let task = match server {
            Some(server) => {
                let console = Console::new(console, base_url)?;
                let server = server.configure(console.routes(Arc::new(readiness))).start()?;
                parts.spawn(server.run())
            }
            None => {
                let ending = ending.clone();
                parts.spawn(async move {
                    ending.cancelled().await;
                    Ok(())
                })
            }
        };
        Ok(Serving { address, task })
    }

    fn api_seams(&self) -> ApiSeams {
        ApiSeams {
            clock: Arc::clone(&self.clock),
            sink: self.jobs.sink_prompt(),
            sink_telnet: self.jobs.sink(),
            sink_sync: self.jobs.sink_sync(),
            reader: space_reader(&self.settings, &self.store),
            deleter: space_deleter(&self.settings, &self.store),
            catalog: space_catalog(&self.settings, &self.store),
            metadata: Arc::new(self.store.clone()),
            described: Arc::new(self.store.clone()),
            names: Arc::new(self.store.clone()),
            documents: Arc::new(self.store.clone()),
            annotations: Arc::new(self.store.clone()),
        }
    }

    fn console_seams(&self, figures: &[Arc<dyn FigureSource>], scheduler: Option<&Scheduler>) -> ConsoleSeams {
        ConsoleSeams {
            clock: Arc::clone(&self.clock),
            reader: space_reader(&self.settings, &self.store),
            catalog: space_catalog(&self.settings, &self.store),
            metadata: Arc::new(self.store.clone()),
            broker: Arc::clone(&self.jobs.broker),
            files: Arc::clone(&self.jobs.files),
            rules: self.alerting.rules.clone(),
            incidents: self.alerting.book.clone(),
            notifications: self.alerting.notifications.clone(),
            backups: Some(Arc::new(backups::OfStore::new(Arc::clone(&self.engine), Arc::clone(&self.clock)))),
            figures: figures.to_vec(),
            read_limits: read_limits(&self.settings.limits),
            query_time: self.settings.limits.query_time.0,
            scheduler_name: self.scheduler_name(),
            scheduler: scheduler.map(Scheduler::handle),
        }
    }

    /// Name of this process' scheduler; empty when it has none.
    fn scheduler_name(&self) -> String {
        if !self.settings.roles.contains(&Role::Scheduler) {
            return String::new();
        }
        format!("{}-{}", self.host, std::process::id())
    }
}

/// The data folder, if this process keeps anything in one.
pub(crate) fn take_folder(settings: &Settings, demo: bool) -> anyhow::Result<Option<DataFolder>> {
    if !settings.uses_data_folder() {
        return Ok(None);
    }
    let folder = DataFolder::take(&settings.data)?;
    // A folder that a demo made may be emptied by the next demo, unless it is used for something else.
    if demo {
        demo::make_anew(&settings.data)?
    } else {
        demo::keep(&settings.data)?
    }
    Ok(Some(folder))
}

/// Writes the week of a made-up fleet.
async fn fill_demo(opened: &Opened, signals: &mut EndSignals) -> anyhow::Result<demo::Fleet> {
    let mut fleet = demo::Fleet::new(1, opened.clock.now_ms());
    let mut bar = ProgressBar::on_stderr(Arc::clone(&opened.clock), "demo", Counted::Points);
    let sink = opened.jobs.sink_sync();
    let mut show = |progress| bar.show(progress);
    let filled = tokio::select! {
        filled = demo::fill(&mut fleet, sink.as_ref(), &mut show) => filled?,
        signal = signals.next() => bail!("ended by {signal} while the demo was being filled"),
    };
    if let Some(reason) = &filled.first_refusal {
        tracing::warn!(refused = filled.refused, ?reason, "points of the demo were refused");
    }
    opened.store.put_metadata(demo::meanings()).await.context("say what the demo's metrics mean")?;
    Ok(fleet)
}

/// The ready line, for whoever started the process.
fn announce(address: Option<SocketAddr>, roles: &[Role]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = match address {
        Some(address) => writeln!(out, "tidemark ready on http://{address}"),
        None => {
            let roles: Vec<_> = roles.iter().map(|role| role.name()).collect();
            writeln!(out, "tidemark ready as {}", roles.join(", "))
        }
    };
    written.and_then(|()| out.flush()).context("write the ready line")
}

/// Waits for a part to end, at most for so long, and says who is late.
async fn step(name: &str, longest: Duration, ending: impl Future<Output = ()>) {
    // The parts have deadlines of their own, which are to be noticed first.
    if tokio::time::timeout(longest + Duration::from_secs(1), ending).await.is_err() {
        tracing::warn!(?longest, "late at the end: {name}");
    }
}
