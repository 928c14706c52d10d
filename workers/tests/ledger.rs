//! Workers as processes of their own, killed and stopped in the middle of their jobs, against a list of what was
//! acknowledged.
//!
//! A worker process is this test program again, told by a variable to run `worker_process`. Each attempt is a line of the
//! file `runs` before its job counts as done, so a job without a line was lost and one with two was run twice.
//!
//! `TIDEMARK_LEDGER_SECONDS` says how long the long test goes on (8), `TIDEMARK_LEDGER_SEED` what it does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]
#![expect(clippy::disallowed_methods, reason = "the process is told by variables what to be, as whoever runs it says")]

#[path = "../queue/tests/support/mod.rs"]
mod brokers;
#[path = "support/test_process.rs"]
mod test_process;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use brokers::RedisServer;
use test_process::{TestProcess, eventually, with_the_test};
use tidemark_model::{BoxFuture, Clock, SystemClock};
use tidemark_queue::{
    Broker, BrokerError, BrokerOptions, JobIdSource, JobKind, NewJob, QueueStats, RedisBroker, RedisOptions, WorkerId,
    WorkerView,
};
use tidemark_workers::{
    Attempted, Handler, Handlers, JobContext, JobOutput, PoolOptions, QueueOptions, WorkFigures, WorkerPool,
};

/// Address of the broker, its lease in ms, jobs at one time, name of the worker, folder of the files.
const WORKER: &str = "TIDEMARK_LEDGER_WORKER";
const SHORT_LEASE: Duration = Duration::from_secs(1);
/// So long that no worker loses one by a busy machine alone.
const LONG_LEASE: Duration = Duration::from_secs(4);
/// Jobs of each queue that a worker runs at one time.
const CONCURRENCY: usize = 16;

fn broker(url: &str, lease: Duration) -> RedisBroker {
    // No job is poison here: it is the test that kills.
    let options = BrokerOptions { lease, rescues_max: 1_000, ..BrokerOptions::default() };
    RedisBroker::new(RedisOptions::new(url), options, Arc::new(SystemClock::new())).unwrap()
}

/// Writes a line for each attempt. A job whose text begins with `wait` goes on until there is a file `go`.
struct Noting {
    runs: File,
    folder: PathBuf,
}

impl Handler for Noting {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Attempted> {
        Box::pin(async move {
            let text = String::from_utf8_lossy(&job.job.payload).into_owned();
            // One write of a file that is appended to: lines of several processes do not mix.
            (&self.runs).write_all(format!("{text} {}\n", job.worker).as_bytes()).unwrap();
            while text.starts_with("wait") && !self.folder.join("go").exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(JobOutput::default())
        })
    }
}

/// A worker, until its standard input ends: then the test has ended, however it did.
#[test]
#[ignore = "the other tests run it as a process of its own"]
fn worker_process() {
    let given = std::env::var(WORKER).unwrap();
    let [url, lease_ms, concurrency, name, folder] = given.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{given}")
    };
    let (folder, lease) = (PathBuf::from(folder), Duration::from_millis(lease_ms.parse().unwrap()));
    let runs = OpenOptions::new().append(true).open(folder.join("runs")).unwrap();
    let handler: Arc<dyn Handler> = Arc::new(Noting { runs, folder });
    let handlers = Handlers::new().with(JobKind::Notify, handler.clone()).with(JobKind::Write, handler);
    let concurrency = concurrency.parse().unwrap();
    let queue = |kind: JobKind| {
        let options = QueueOptions::new(kind.default_queue(), concurrency);
        // Where it is about what a worker runs, it holds nothing besides.
        let prefetch = if concurrency > CONCURRENCY { 0 } else { options.prefetch };
        QueueOptions { prefetch, ..options }
    };
    let options = PoolOptions {
        sweep_every: Duration::from_millis(100),
        ..PoolOptions::new(WorkerId::new(name)).with_queue(queue(JobKind::Notify)).with_queue(queue(JobKind::Write))
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let pool = WorkerPool::new(options, Arc::new(broker(url, lease)), clock, handlers, Arc::new(WorkFigures::new()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(pool.run(with_the_test()));
}

struct Ledger {
    folder: tempfile::TempDir,
    server: RedisServer,
    broker: RedisBroker,
    lease: Duration,
}

impl Ledger {
    async fn start(lease: Duration) -> Option<Self> {
        let server = RedisServer::start().await?;
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join("runs")).unwrap();
        let broker = broker(&server.url(), lease);
        Some(Self { folder, server, broker, lease })
    }

    fn worker(&self, name: &str) -> TestProcess {
        self.worker_of(name, CONCURRENCY)
    }

    fn worker_of(&self, name: &str, concurrency: usize) -> TestProcess {
        let (url, lease_ms, folder) = (self.server.url(), self.lease.as_millis(), self.folder.path().display());
        TestProcess::start("worker_process", WORKER, &format!("{url} {lease_ms} {concurrency} {name} {folder}"))
    }

    /// How many attempts each worker began.
    fn begun(&self) -> BTreeMap<String, usize> {
        let mut begun = BTreeMap::new();
        let text = std::fs::read_to_string(self.folder.path().join("runs")).unwrap();
        for worker in text.lines().filter_map(|line| line.split(' ').nth(1)) {
            *begun.entry(worker.to_owned()).or_default() += 1;
        }
        begun
    }

    /// Attempts by job.
    fn runs(&self) -> BTreeMap<String, usize> {
        let mut runs = BTreeMap::new();
        let text = std::fs::read_to_string(self.folder.path().join("runs")).unwrap();
        for line in text.lines() {
            let job = line.split(' ').next().unwrap();
            *runs.entry(job.to_owned()).or_default() += 1;
        }
        runs
    }

    async fn stats(&self) -> Vec<QueueStats> {
        self.broker.queues().await.unwrap_or_default()
    }

    /// Waits until nothing is left to run.
    async fn wait_until_empty(&self) {
        eventually("nothing is left to run", || async {
            let stats = self.stats().await;
            let left = |queue: &QueueStats| queue.ready + queue.running + queue.retryable + queue.scheduled;
            !stats.is_empty() && stats.iter().map(left).sum::<u64>() == 0
        })
        .await;
    }
}

fn job(kind: JobKind, text: &str) -> NewJob {
    NewJob::from_bytes(kind, text.as_bytes().to_vec().into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_loses_no_job_and_few_are_run_twice() {
    let Some(ledger) = Ledger::start(SHORT_LEASE).await else { return };
    let texts: Vec<String> = (0..20_000).map(|number| format!("j{number}")).collect();
    for texts in texts.chunks(1_000) {
        ledger.broker.push(texts.iter().map(|text| job(JobKind::Write, text)).collect()).await.unwrap();
    }
    let mut first = ledger.worker("first");
    eventually("a part has run", || async { ledger.runs().len() > 5_000 }).await;
    first.kill();
    assert!(ledger.runs().len() < texts.len(), "it was killed too late");
    let _second = ledger.worker("second");
    ledger.wait_until_empty().await;
    let runs = ledger.runs();
    assert_eq!(runs.len(), texts.len(), "jobs were lost");
    let twice = runs.values().filter(|times| **times > 1).count();
    assert!(twice * 50 <= texts.len(), "{twice} of {} were run twice", texts.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_stopped_past_its_lease_completes_nothing_of_what_others_took_over() {
    let Some(ledger) = Ledger::start(LONG_LEASE).await else { return };
    let jobs = (0..16).map(|number| job(JobKind::Notify, &format!("wait{number}"))).collect();
    ledger.broker.push(jobs).await.unwrap();
    let stopped = ledger.worker("stopped");
    eventually("all are running", || async { ledger.runs().len() == 16 }).await;
    stopped.stop();
    std::fs::write(ledger.folder.path().join("go"), "").unwrap();
    let _other = ledger.worker("other");
    ledger.wait_until_empty().await;
    assert!(ledger.runs().values().all(|times| *times == 2), "{:?}", ledger.runs());
    stopped.go_on();
    // It wakes up with sixteen jobs that are done now: it is told so when it extends its leases or when it settles.
    eventually("it has given them up", || async {
        let workers = ledger.broker.workers().await.unwrap();
        let has_none = |worker: &WorkerView| worker.report.worker == "stopped" && worker.report.running == 0;
        workers.iter().any(|worker| has_none(worker) && worker.silent_for < LONG_LEASE)
    })
    .await;
    let totals = ledger.stats().await[0].totals;
    assert_eq!((totals.completed, totals.rescued), (16, 16), "{totals:?}");
}

/// A thousand jobs that three workers hold, of which one is killed and one is stopped past its lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_jobs_have_one_effect_each_although_two_of_three_workers_are_lost() {
    const JOBS: usize = 1_000;
    let Some(ledger) = Ledger::start(LONG_LEASE).await else { return };
    // Each holds a third, and the one that is left has room for all.
    let mut killed = ledger.worker_of("killed", 300);
    let stopped = ledger.worker_of("stopped", 300);
    let texts: Vec<String> = (0..JOBS).map(|number| format!("wait{number}")).collect();
    ledger.broker.push(texts[..600].iter().map(|text| job(JobKind::Notify, text)).collect()).await.unwrap();
    eventually("two of them hold their part", || async { ledger.runs().len() == 600 }).await;
    let _left = ledger.worker_of("left", JOBS);
    ledger.broker.push(texts[600..].iter().map(|text| job(JobKind::Notify, text)).collect()).await.unwrap();
    eventually("all of them run", || async { ledger.runs().len() == JOBS }).await;
    let begun = ledger.begun();
    let lost = begun["killed"] + begun["stopped"];
    assert_eq!((begun["killed"] > 0, begun["stopped"] > 0, lost), (true, true, 600), "{begun:?}");
    let clock = SystemClock::new();
    let since = clock.monotonic();
    killed.kill();
    stopped.stop();
    eventually("what they held is rescued", || async {
        ledger.stats().await.iter().map(|queue| queue.totals.rescued).sum::<u64>() == lost as u64
    })
    .await;
    let rescued_after = clock.monotonic() - since;
    std::fs::write(ledger.folder.path().join("go"), "").unwrap();
    ledger.wait_until_empty().await;
    stopped.go_on();
    eventually("the stopped one has given up what it held", || async {
        let workers = ledger.broker.workers().await.unwrap();
        let has_none = |worker: &WorkerView| worker.report.worker == "stopped" && worker.report.running == 0;
        workers.iter().any(|worker| has_none(worker) && worker.silent_for < LONG_LEASE)
    })
    .await;
    // None is lost, none ended twice, and only what was lost was begun twice.
    let runs = ledger.runs();
    assert_eq!(runs.len(), JOBS);
    assert_eq!(runs.values().filter(|times| **times > 1).count(), lost);
    let totals = ledger.stats().await[0].totals;
    assert_eq!((totals.completed, totals.discarded, totals.retried), (JOBS as u64, 0, 0), "{totals:?}");
    eprintln!("{lost} jobs of two lost workers rescued after {rescued_after:?} with a lease of {LONG_LEASE:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_is_run_while_workers_and_redis_are_killed_at_random() {
    let Some(mut ledger) = Ledger::start(SHORT_LEASE).await else { return };
    let number_of = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let seconds = number_of("TIDEMARK_LEDGER_SECONDS", 8);
    let seed = number_of("TIDEMARK_LEDGER_SEED", 7);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let random = JobIdSource::new(clock.clone(), seed);
    let mut workers: Vec<TestProcess> = (0..3).map(|number| ledger.worker(&format!("w{number}"))).collect();
    let (mut acknowledged, mut unknown, mut killed) = (BTreeSet::new(), BTreeSet::new(), 0);
    let ends = clock.monotonic() + Duration::from_secs(seconds);
    let mut round = 0;
    while clock.monotonic() < ends {
        round += 1;
        let kind = if round % 3 == 0 { JobKind::Notify } else { JobKind::Write };
        let texts: Vec<String> = (0..40).map(|number| format!("r{round}-{number}")).collect();
        match ledger.broker.push(texts.iter().map(|text| job(kind, text)).collect()).await {
            Ok(_) => acknowledged.extend(texts),
            Err(BrokerError::Unknown(_)) => unknown.extend(texts),
            Err(BrokerError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("seed {seed}: {error}"),
        }
        let place = usize::try_from(random.next_random() % 3).unwrap();
        match random.next_random() % 200 {
            0..6 => {
                killed += 1;
                workers[place].kill();
                workers[place] = ledger.worker(&format!("w{place}-{round}"));
            }
            6..9 => {
                workers[place].stop();
                tokio::time::sleep(SHORT_LEASE * 3 / 2).await;
                workers[place].go_on();
            }
            9..11 => {
                ledger.server.kill();
                tokio::time::sleep(Duration::from_millis(random.next_random() % 300)).await;
                ledger.server.restart().await;
            }
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    ledger.wait_until_empty().await;
    let runs = ledger.runs();
    let lost: Vec<_> = acknowledged.iter().filter(|text| !runs.contains_key(*text)).collect();
    assert!(lost.is_empty(), "seed {seed}: {} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    let made_up: Vec<_> =
        runs.keys().filter(|text| !acknowledged.contains(*text) && !unknown.contains(*text)).collect();
    assert!(made_up.is_empty(), "seed {seed}: run though refused: {made_up:?}");
    let discarded: u64 = ledger.stats().await.iter().map(|queue| queue.discarded).sum();
    let twice = runs.values().filter(|times| **times > 1).count();
    eprintln!(
        "seed {seed}, {seconds} s: {} acknowledged, {} unknown, {killed} workers killed, {twice} run twice",
        acknowledged.len(),
        unknown.len(),
    );
    assert!(acknowledged.len() > 500 && killed > 0, "seed {seed}: nothing was tried");
    assert_eq!(discarded, 0, "seed {seed}");
}
