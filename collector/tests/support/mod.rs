//! A store in memory and a way to wait for it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "each test file uses a part, and all of it is tests"
)]

pub(crate) mod http_server;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidemark_collector::{Agent, AgentHandle, AgentOptions, CollectorStatus, HostTags};
use tidemark_model::{
    BoxFuture, Clock, DocumentError, MetadataStore, MetricMetadata, PointBatch, PointSink, RefusalReason, SeriesKey,
    SystemClock, Value, WriteOutcome, WriteReceipt, WriteRefusal,
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// No condition of these tests takes longer on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps points and metadata, or refuses them while it is told to.
pub(crate) struct MemoryStore {
    contents: watch::Sender<Contents>,
    refusing: Mutex<bool>,
}

#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) points: BTreeMap<(SeriesKey, i64), Value>,
    pub(crate) writes: usize,
    pub(crate) refusals: usize,
    pub(crate) metadata: BTreeMap<String, MetricMetadata>,
}

impl Contents {
    pub(crate) fn of<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = (&'a SeriesKey, i64, Value)> {
        self.points
            .iter()
            .filter(move |((key, _), _)| key.metric() == metric)
            .map(|((key, at), value)| (key, *at, *value))
    }

    pub(crate) fn has(&self, metric: &str) -> bool {
        self.of(metric).next().is_some()
    }
}

impl MemoryStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { contents: watch::Sender::default(), refusing: Mutex::new(false) })
    }

    pub(crate) fn refuse(&self, refusing: bool) {
        *self.refusing.lock() = refusing;
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Contents) -> T) -> T {
        look(&self.contents.borrow())
    }

    /// Waits until the contents are as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl FnMut(&Contents) -> bool) {
        let mut seen = self.contents.subscribe();
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(wanted)).await;
        assert!(waited.is_ok(), "{what} did not happen");
    }
}

impl PointSink for MemoryStore {
    fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
        let refusing = *self.refusing.lock();
        self.contents.send_modify(|contents| {
            if refusing {
                contents.refusals += 1;
                return;
            }
            contents.writes += 1;
            for point in batch.points() {
                contents.points.insert((batch.series_key(point.series), point.timestamp), point.value);
            }
        });
        let outcome = if refusing {
            WriteOutcome::Refused(WriteRefusal::new(RefusalReason::Unavailable, "the store is away"))
        } else {
            WriteOutcome::Done(WriteReceipt { stored: batch.len(), refused: Vec::new() })
        };
        Box::pin(async move { outcome })
    }
}

impl MetadataStore for MemoryStore {
    fn put_metadata(&self, entries: Vec<MetricMetadata>) -> BoxFuture<'_, Result<(), DocumentError>> {
        self.contents.send_modify(|contents| {
            contents.metadata.extend(entries.into_iter().map(|entry| (entry.metric.clone(), entry)));
        });
        Box::pin(async { Ok(()) })
    }

    fn metadata<'a>(&'a self, metric: &'a str) -> BoxFuture<'a, Result<Option<MetricMetadata>, DocumentError>> {
        let found = self.contents.borrow().metadata.get(metric).cloned();
        Box::pin(async move { Ok(found) })
    }
}

/// Options with which nothing takes long.
pub(crate) fn options() -> AgentOptions {
    AgentOptions {
        interval: Duration::from_millis(20),
        flush_after: Duration::from_millis(5),
        retry_first: Duration::from_millis(5),
        retry_longest: Duration::from_millis(20),
        ..AgentOptions::new(HostTags::new("web07", &[("dc".into(), "ams".into())]).unwrap())
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// An agent that runs.
pub(crate) struct Running {
    pub(crate) handle: AgentHandle,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Running {
    pub(crate) fn start(options: AgentOptions, store: &Arc<MemoryStore>) -> Self {
        let (agent, handle) = Agent::new(options, clock(), store.clone(), store.clone()).unwrap();
        Self::start_agent(agent, handle)
    }

    pub(crate) fn start_agent(agent: Agent, handle: AgentHandle) -> Self {
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        tracker.spawn(agent.run(stop.clone()));
        tracker.close();
        Self { handle, stop, tracker }
    }

    /// Waits until the collectors are as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&[CollectorStatus]) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            let mut looks = tokio::time::interval(Duration::from_millis(2));
            while !wanted(&self.handle.collectors()) {
                looks.tick().await;
            }
        });
        assert!(waited.await.is_ok(), "{what} did not happen: {:#?}", self.handle.collectors());
    }

    pub(crate) fn status(&self, name: &str) -> CollectorStatus {
        self.handle.collectors().into_iter().find(|status| status.name == name).unwrap()
    }

    pub(crate) async fn stop(self) -> AgentHandle {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(30), self.tracker.wait()).await.expect("the agent ends");
        self.handle
    }
}
