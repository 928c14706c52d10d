//! Jobs of this process: the broker, the workers, and how points become `write` jobs.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tidemark_model::{Clock, PointSink};
use tidemark_queue::{
    Broker, BrokerError, BrokerOptions, EmbeddedBroker, JobJournal, RedisBroker, RedisOptions, WorkerId,
};
use tidemark_tsdb::Store;
use tidemark_workers::{
    BrokerPointSink, DirectOptions, DirectPointSink, Handlers, JobFileOptions, JobFiles, PoolOptions, WorkFigures,
    WorkerPool, WriteAnswer, direct_writes,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    DataFolder,
    queues::{kind_limits, local_rates, queues, shared_rates},
    redis_options::redis_options,
};
use crate::config::{BrokerUrl, Settings};

/// How long [`Jobs::stop`] may need beyond the time that running jobs get: the pool waits for those that were told to
/// stop, and for the broker to hear of them.
pub(crate) const STOP_EXTRA: Duration = Duration::from_secs(8);
/// How soon a client is told that a broker does not take its points.
const QUEUED_WITHIN: Duration = Duration::from_millis(900);
/// How long `/api/put?sync` waits for its job.
const SYNC_WAIT: Duration = Duration::from_secs(30);

/// The broker and what runs its jobs.
pub(crate) struct Jobs {
    pub(crate) broker: Arc<dyn Broker>,
    /// Files that jobs read and write.
    pub(crate) files: Arc<JobFiles>,
    /// Writes go straight to the store, since their clients wait for it.
    direct: DirectPointSink,
    /// With a broker that others share, writes are jobs of the broker.
    queued: Option<BrokerPointSink>,
    /// The same for clients that are told soon when the broker is late.
    prompt: Option<BrokerPointSink>,
    stop_pool: CancellationToken,
    stop_direct: CancellationToken,
    pool: TaskTracker,
    writers: TaskTracker,
    stop_journal: CancellationToken,
    journal: TaskTracker,
}

impl Jobs {
    /// Opens the broker and starts the direct writers.
    pub(crate) async fn open(
        settings: &Settings,
        folder: Option<&DataFolder>,
        store_id: String,
        clock: &Arc<dyn Clock>,
        store: &Store,
        figures: &Arc<WorkFigures>,
    ) -> anyhow::Result<Self> {
        let (stop_journal, journal) = (CancellationToken::new(), TaskTracker::new());
        let broker = match &settings.broker {
            BrokerUrl::Embedded => open_embedded(settings, folder, clock).await?,
            BrokerUrl::Redis(url) => {
                let documents = JobJournal::new(Arc::new(store.clone()), Arc::clone(clock));
                let broker = open_redis(settings, url, store_id, clock, documents).await?;
                let (keeping, stop) = (broker.clone(), stop_journal.clone());
                journal.spawn(async move { keeping.keep_journal(stop).await });
                Arc::new(broker)
            }
        };
        journal.close();
        let options = DirectOptions {
            jobs_max: settings.direct.jobs_max,
            bytes_max: usize::try_from(settings.direct.bytes_max.0).unwrap_or(usize::MAX),
            ..DirectOptions::writes()
        };
        let (direct, writer) = direct_writes(Arc::new(store.clone()), options, Arc::clone(clock), Arc::clone(figures));
        let (stop_direct, writers) = (CancellationToken::new(), TaskTracker::new());
        writers.spawn(writer.run(stop_direct.clone()));
        writers.close();
        let queued = match settings.broker {
            BrokerUrl::Embedded => None,
            BrokerUrl::Redis(_) => Some(BrokerPointSink::new(Arc::clone(&broker), WriteAnswer::WhenQueued)),
        };
        Ok(Self {
            broker,
            files: Arc::new(JobFiles::new(file_options(settings), Arc::clone(clock))),
            direct,
            prompt: queued.as_ref().map(|queued| queued.queued_within(QUEUED_WITHIN)),
            queued,
            stop_pool: CancellationToken::new(),
            stop_direct,
            pool: TaskTracker::new(),
            writers,
            stop_journal,
            journal,
        })
    }

    /// Where points go: answered as the mode promises.
    pub(crate) fn sink(&self) -> Arc<dyn PointSink> {
        match &self.queued {
            Some(queued) => Arc::new(queued.clone()),
            None => Arc::new(self.direct.clone()),
        }
    }

    /// Where points go whose client is told soon when they cannot be queued.
    pub(crate) fn sink_prompt(&self) -> Arc<dyn PointSink> {
        match &self.prompt {
            Some(queued) => Arc::new(queued.clone()),
            None => Arc::new(self.direct.clone()),
        }
    }

    /// Where points go whose client waits for the store; that it has to, is told soon.
    pub(crate) fn sink_sync(&self) -> Arc<dyn PointSink> {
        match &self.prompt {
            Some(queued) => Arc::new(queued.answering(WriteAnswer::WhenDone(SYNC_WAIT))),
            None => Arc::new(self.direct.clone()),
        }
    }

    /// The direct way to the store.
    pub(crate) fn direct(&self) -> DirectPointSink {
        self.direct.clone()
    }

    /// Starts the workers; what fires when somebody told them to stop, through the broker.
    pub(crate) fn work(
        &self,
        settings: &Settings,
        host: &str,
        clock: &Arc<dyn Clock>,
        handlers: Handlers,
        figures: &Arc<WorkFigures>,
    ) -> anyhow::Result<CancellationToken> {
        let mut options = PoolOptions::new(WorkerId::new(&format!("{host}-{}", std::process::id())));
        options.host = host.to_owned();
        options.stop_grace = settings.shutdown.jobs.0;
        options.queues = queues(&settings.worker)?;
        options.total = Some(settings.worker.total).filter(|total| *total > 0);
        if let Some(total) = options.total {
            // More would wait for their turn here, where no other worker can get them.
            options.queues = options.queues.into_iter().map(|queue| queue.at_most(total)).collect();
        }
        options.shared_rates = shared_rates(&settings.worker)?;
        options.rates = local_rates(&settings.worker)?;
        options.kind_limits = kind_limits(&settings.worker)?;
        let broker = Arc::clone(&self.broker);
        let pool = WorkerPool::new(options, broker, Arc::clone(clock), handlers, Arc::clone(figures));
        let told_to_stop = pool.handle().told_to_stop().clone();
        let stop = self.stop_pool.clone();
        self.pool.spawn(async move {
            let report = pool.run(stop).await;
            if report.abandoned > 0 || report.released > 0 {
                tracing::info!(?report, "the workers have ended");
            }
        });
        self.pool.close();
        Ok(told_to_stop)
    }

    /// Lets jobs finish and gives back what does not; [`Jobs::close`] follows in any case.
    pub(crate) async fn stop(&self) {
        self.stop_pool.cancel();
        self.pool.close();
        self.pool.wait().await;
        self.stop_direct.cancel();
        self.writers.wait().await;
    }

    /// Closes the journal of jobs and the broker.
    pub(crate) async fn close(&self) {
        self.stop_journal.cancel();
        self.journal.wait().await;
        self.broker.close().await;
    }
}

fn file_options(settings: &Settings) -> JobFileOptions {
    let folder = match settings.jobs.folder.as_os_str().is_empty() {
        true => settings.data.join("job-files"),
        false => settings.jobs.folder.clone(),
    };
    JobFileOptions { folder, bytes_max: settings.jobs.folder_bytes.0, keep: settings.jobs.keep.0 }
}

fn broker_options(settings: &Settings) -> BrokerOptions {
    BrokerOptions {
        queue_jobs_max: settings.queue.jobs_max,
        queue_bytes_max: settings.queue.bytes_max.0,
        workflows_max: settings.queue.workflows_max,
        lease: settings.queue.lease.0,
        ..BrokerOptions::default()
    }
}

async fn open_embedded(
    settings: &Settings,
    folder: Option<&DataFolder>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn Broker>> {
    let folder = folder.context("the embedded queue needs a data folder")?;
    let (path, options, clock) = (folder.file("queue"), broker_options(settings), Arc::clone(clock));
    let broker = tokio::task::spawn_blocking(move || EmbeddedBroker::open(&path, options, clock)).await?;
    Ok(Arc::new(broker.context("open the embedded queue")?))
}

async fn open_redis(
    settings: &Settings,
    url: &str,
    store_id: String,
    clock: &Arc<dyn Clock>,
    journal: JobJournal,
) -> anyhow::Result<RedisBroker> {
    let redis = RedisOptions { store: Some(store_id), ..redis_options(&settings.redis, url)? };
    let broker = RedisBroker::with_journal(redis, broker_options(settings), Arc::clone(clock), journal);
    let broker = broker.context("setting broker")?;
    // One that does not answer yet is waited for; the claim is made as soon as it does.
    if let Err(BrokerError::OtherStore(reason)) = broker.queues().await {
        bail!("{reason}");
    }
    for warning in broker.health().await.warnings {
        tracing::warn!("the broker may lose jobs: {warning}");
    }
    Ok(broker)
}
