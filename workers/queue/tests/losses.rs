//! Which jobs a Redis lost that was emptied or restored, and which it has again: from the journal that two processes share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "../src/test_documents.rs"]
#[allow(dead_code, reason = "the crate's own tests use the rest")]
mod documents;
mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use documents::Documents;
use support::{RedisServer, job, options, padded, request};
use tidemark_model::{Clock, DocumentStore, ManualClock, SystemClock};
use tidemark_queue::{
    Broker, JobId, JobJournal, JobKind, LossFound, LossKind, NewJob, Outcome, QueueLoss, RedisBroker,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

/// A process with a journal of its own in documents that it shares.
struct Process {
    broker: RedisBroker,
    stop: CancellationToken,
    keeping: AbortOnDropHandle<()>,
}

impl Process {
    fn start(server: &RedisServer, clock: &Arc<ManualClock>, documents: &Arc<Documents>) -> Self {
        let journal = JobJournal::new(documents.clone(), clock.clone()).flushing_every(Duration::from_millis(50));
        let broker = RedisBroker::with_journal(server.options.clone(), options(), clock.clone(), journal).unwrap();
        let (keeping, stop) = (broker.clone(), CancellationToken::new());
        let stopping = stop.clone();
        let task = TaskTracker::new().spawn(async move { keeping.keep_journal(stopping).await });
        Self { broker, stop, keeping: AbortOnDropHandle::new(task) }
    }

    async fn end(self) {
        self.stop.cancel();
        self.keeping.await.unwrap();
        self.broker.close().await;
    }
}

struct Setting {
    server: RedisServer,
    clock: Arc<ManualClock>,
    documents: Arc<Documents>,
    producer: Process,
    worker: Process,
}

impl Setting {
    async fn start(settings: &[&str]) -> Option<Self> {
        let server = RedisServer::start_with(settings).await?;
        let clock = Arc::new(ManualClock::new(SystemClock::new().now_ms()));
        let documents = Arc::new(Documents::default());
        let process = || Process::start(&server, &clock, &documents);
        let (producer, worker) = (process(), process());
        Some(Self { server, clock, documents, producer, worker })
    }

    /// What is remembered of the generations.
    async fn remembered(&self) -> Option<Vec<u8>> {
        let found = self.documents.list("queue_generations", None, 2).await.unwrap();
        assert!(found.len() <= 1, "there is one broker");
        found.into_iter().next().map(|document| document.bytes)
    }

    /// Waits until something else is remembered than `before`.
    async fn remembers_more_than(&self, before: Option<Vec<u8>>) {
        for _ in 0..2_000 {
            if self.remembered().await != before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("waited in vain");
    }

    /// Both processes end, something happens to the server, and two others start.
    async fn while_nobody_runs(self, happens: impl AsyncFnOnce(&mut RedisServer)) -> Self {
        let Self { mut server, clock, documents, producer, worker } = self;
        producer.end().await;
        worker.end().await;
        happens(&mut server).await;
        let process = || Process::start(&server, &clock, &documents);
        let (producer, worker) = (process(), process());
        Self { server, clock, documents, producer, worker }
    }

    async fn push(&self, texts: impl Iterator<Item = String>) -> BTreeSet<JobId> {
        let pushed = self.producer.broker.push(texts.map(|text| padded(job(&text))).collect()).await.unwrap();
        pushed.into_iter().map(tidemark_queue::Pushed::id).collect()
    }

    /// Fetches jobs and ends them; which they were.
    async fn complete(&self, jobs: usize) -> BTreeSet<JobId> {
        let fetched = self.worker.broker.fetch(request("w", jobs, Duration::from_secs(5))).await.unwrap();
        let ids = fetched.iter().map(|delivery| delivery.job.id).collect();
        let settle = |delivery: tidemark_queue::Delivery| (delivery.receipt, Outcome::Completed { result: None });
        self.worker.broker.settle(fetched.into_iter().map(settle).collect()).await.unwrap();
        ids
    }

    /// Lets both processes look at the generations, and see them.
    async fn look(&self) {
        self.clock.advance(Duration::from_secs(10));
        for process in [&self.producer, &self.worker] {
            // The queues are known by sweeping them.
            process.broker.tick().await.unwrap();
            self.clock.advance(Duration::from_secs(10));
            process.broker.queues().await.unwrap();
        }
    }

    /// Waits until it is known what became of the jobs of so many queues.
    async fn found(&self, queues: usize) -> Vec<QueueLoss> {
        for _ in 0..2_000 {
            self.clock.advance(Duration::from_millis(200));
            let losses = self.producer.broker.losses().await.unwrap();
            if losses.len() >= queues && losses.iter().all(|loss| loss.found.is_some()) {
                return losses;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("waited in vain: {:?}", self.producer.broker.losses().await);
    }
}

fn of<'a>(losses: &'a [QueueLoss], queue: &str) -> &'a LossFound {
    let of_queue: Vec<_> = losses.iter().filter(|loss| loss.queue.as_str() == queue).collect();
    assert_eq!(of_queue.len(), 1, "told once by all processes together: {losses:?}");
    of_queue[0].found.as_ref().unwrap()
}

fn set(jobs: &[JobId]) -> BTreeSet<JobId> {
    jobs.iter().copied().collect()
}

#[tokio::test]
async fn an_emptied_server_lost_exactly_what_waited_and_ran() {
    let Some(setting) = Setting::start(&[]).await else { return };
    let mut open = setting.push((0..60).map(|number| format!("j{number}"))).await;
    let later = setting.clock.now_ms() + 3_600_000;
    let scheduled = setting.producer.broker.push(vec![job("later").not_before(later)]).await.unwrap();
    open.insert(scheduled[0].id());
    let completed = setting.complete(20).await;
    assert_eq!(completed.len(), 20);
    open.retain(|id| !completed.contains(id));
    let running = setting.worker.broker.fetch(request("w", 5, Duration::ZERO)).await.unwrap();
    assert_eq!(running.len(), 5);
    let writes = (0..7).map(|_| NewJob::from_bytes(JobKind::Write, "points".into())).collect();
    setting.producer.broker.push(writes).await.unwrap();
    setting.look().await;

    setting.server.command(&["FLUSHALL"]);
    setting.clock.advance(Duration::from_secs(10));
    // Work goes on: what comes now is not lost.
    setting.push((0..10).map(|number| format!("new{number}"))).await;
    let losses = setting.found(2).await;
    let notify = of(&losses, "notify");
    assert_eq!((set(&notify.lost), notify.lost_jobs), (open, 41));
    assert_eq!((notify.resurrected_jobs, notify.is_counted, notify.is_incomplete), (0, false, false));
    let write = of(&losses, "write");
    assert_eq!((write.lost_jobs, write.is_counted), (7, true));
    assert!(losses.iter().all(|loss| loss.kind == LossKind::Emptied));
    let mut warnings = setting.producer.broker.health().await.warnings;
    warnings.extend(setting.worker.broker.health().await.warnings);
    assert!(warnings.iter().any(|warning| warning.contains("48 jobs are lost and 0 came again")), "{warnings:?}");
}

#[tokio::test]
async fn an_older_state_lost_what_came_since_and_has_again_what_ended_since() {
    let Some(mut setting) = Setting::start(&["--appendonly", "no"]).await else { return };
    setting.push((0..10).map(|number| format!("old{number}"))).await;
    assert_eq!(setting.complete(2).await.len(), 2);
    setting.look().await;
    setting.server.command(&["SAVE"]);
    let ended_since = setting.complete(3).await;
    let came_since = setting.push((0..4).map(|number| format!("new{number}"))).await;
    setting.look().await;
    setting.look().await;

    setting.server.kill();
    setting.server.restart().await;
    let losses = setting.found(1).await;
    let notify = of(&losses, "notify");
    assert_eq!(losses[0].kind, LossKind::WentBack);
    assert_eq!((set(&notify.lost), set(&notify.resurrected)), (came_since, ended_since));
    let told =
        |warnings: &[String]| warnings.iter().any(|warning| warning.contains("4 jobs are lost and 3 came again"));
    let healths = [setting.producer.broker.health().await, setting.worker.broker.health().await];
    assert!(healths.iter().any(|health| told(&health.warnings)), "{healths:?}");
    // Told once, also when everybody looks again.
    setting.look().await;
    assert_eq!(setting.producer.broker.losses().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_was_emptied_while_nobody_ran_is_noticed_by_whoever_starts_next() {
    let Some(setting) = Setting::start(&[]).await else { return };
    let mut open = setting.push((0..10).map(|number| format!("j{number}"))).await;
    let completed = setting.complete(3).await;
    open.retain(|id| !completed.contains(id));
    let writes = (0..7).map(|_| NewJob::from_bytes(JobKind::Write, "points".into())).collect();
    setting.producer.broker.push(writes).await.unwrap();
    setting.look().await;
    setting.remembers_more_than(None).await;
    let setting = setting.while_nobody_runs(async |server| server.command(&["FLUSHALL"])).await;
    // Somebody pushes before anybody looks.
    setting.push((0..2).map(|number| format!("new{number}"))).await;
    setting.look().await;
    let losses = setting.found(2).await;
    assert!(losses.iter().all(|loss| loss.kind == LossKind::Emptied), "{losses:?}");
    assert_eq!((set(&of(&losses, "notify").lost), of(&losses, "notify").lost_jobs), (open, 7));
    assert_eq!((of(&losses, "write").lost_jobs, of(&losses, "write").is_counted), (7, true));
    // It is told once, also when all start again.
    let setting = setting.while_nobody_runs(async |_| {}).await;
    setting.look().await;
    setting.look().await;
    assert_eq!(setting.found(2).await, losses);
}

#[tokio::test]
async fn a_server_that_went_back_while_nobody_ran_is_noticed_by_whoever_starts_next() {
    let Some(setting) = Setting::start(&["--appendonly", "no"]).await else { return };
    setting.push((0..5).map(|number| format!("old{number}"))).await;
    setting.look().await;
    setting.remembers_more_than(None).await;
    setting.server.command(&["SAVE"]);
    let before = setting.remembered().await;
    let ended_since = setting.complete(2).await;
    let came_since = setting.push((0..3).map(|number| format!("new{number}"))).await;
    setting.look().await;
    setting.remembers_more_than(before).await;
    let back = setting.while_nobody_runs(async |server| {
        server.kill();
        server.restart().await;
    });
    let setting = back.await;
    setting.look().await;
    let losses = setting.found(1).await;
    assert_eq!(losses[0].kind, LossKind::WentBack);
    assert_eq!((set(&of(&losses, "notify").lost), set(&of(&losses, "notify").resurrected)), (came_since, ended_since));
}

#[tokio::test]
async fn queues_are_not_looked_at_before_it_is_known_what_was_seen_of_them() {
    let Some(setting) = Setting::start(&[]).await else { return };
    let open = setting.push((0..4).map(|number| format!("j{number}"))).await;
    setting.look().await;
    setting.remembers_more_than(None).await;
    let documents = setting.documents.clone();
    let setting = setting
        .while_nobody_runs(async |server| {
            server.command(&["FLUSHALL"]);
            documents.refuse(true);
        })
        .await;
    // The store is away, and the jobs go on.
    setting.push(std::iter::once("new".to_owned())).await;
    setting.look().await;
    documents.refuse(false);
    setting.look().await;
    let losses = setting.found(1).await;
    assert_eq!(set(&of(&losses, "notify").lost), open);
}
