//! Producer, schedulers and workers as processes of their own, killed at random moments with the Redis that they share,
//! which makes its file durable once a second.
//!
//! A process is this test program again, told by a variable to run `process`. A producer notes what was acknowledged in the
//! file `acknowledged`, a worker each attempt in the file `runs` before its job counts as done.
//!
//! `TIDEMARK_LEDGER_SECONDS` says how long the kills go on (5), `TIDEMARK_LEDGER_SEED` which they are,
//! `TIDEMARK_KILL_CYCLES` how often the test of Redis alone kills it (3).

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
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use brokers::{RedisServer, padded};
use test_process::{TestProcess, eventually, with_the_test};
use tidemark_model::{BoxFuture, Clock, SystemClock};
use tidemark_queue::{
    Broker, BrokerError, BrokerOptions, CatchUp, JobFilter, JobIdSource, JobKind, JobState, JobTemplate, NewJob,
    NotifyPayload, Page, Priority, QueueStats, RedisBroker, RedisOptions, ScheduleExpect, Timing, WorkerId,
};
use tidemark_scheduler::{Scheduler, SchedulerOptions, new_schedule};
use tidemark_workers::{
    Attempted, Handler, Handlers, JobContext, JobOutput, PoolOptions, QueueOptions, WorkFigures, WorkerPool,
};
use tokio_util::sync::CancellationToken;

/// Role, address of the broker, name of the process, folder of the files.
const PROCESS: &str = "TIDEMARK_KILLED_PROCESS";
const LEASE: Duration = Duration::from_secs(1);
/// Jobs of one push.
const BATCH: usize = 20;
/// Schedules, and the time between the slots of each.
const SCHEDULES: usize = 10;
const EVERY_MS: u64 = 1_000;

fn number_of(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn broker(url: &str, rescues_max: u32) -> RedisBroker {
    let options = BrokerOptions { lease: LEASE, rescues_max, ..BrokerOptions::default() };
    RedisBroker::new(RedisOptions::new(url), options, Arc::new(SystemClock::new())).unwrap()
}

/// Most rescues: no job is poison where it is the test that kills.
fn rescues_max(role: &str) -> u32 {
    if role == "fragile" { 3 } else { 1_000 }
}

/// Writes a line for each attempt: payload, unique key, id.
struct Noting(File);

impl Handler for Noting {
    fn run(&self, job: JobContext) -> BoxFuture<'_, Attempted> {
        Box::pin(async move {
            let text = String::from_utf8_lossy(&job.job.payload);
            let text = text.trim_end_matches('\0').chars().take(40).collect::<String>();
            assert_ne!(text, "panic");
            if text == "abort" {
                std::process::abort();
            }
            if text == "unreadable" {
                return job.payload::<NotifyPayload>().map(|_| JobOutput::default());
            }
            let key = job.job.unique.as_ref().map_or("-", |unique| unique.key.as_str());
            // One write of a file that is appended to: lines of several processes do not mix.
            (&self.0).write_all(format!("{text} {key} {}\n", job.job.id).as_bytes()).unwrap();
            Ok(JobOutput::default())
        })
    }
}

async fn work(url: &str, role: &str, name: &str, folder: &Path, stop: CancellationToken) {
    let runs = OpenOptions::new().append(true).open(folder.join("runs")).unwrap();
    let handler: Arc<dyn Handler> = Arc::new(Noting(runs));
    let handlers = Handlers::new().with(JobKind::Notify, handler.clone()).with(JobKind::Write, handler);
    let queue = |kind: JobKind| QueueOptions::new(kind.default_queue(), 8);
    let options = PoolOptions {
        sweep_every: Duration::from_millis(100),
        ..PoolOptions::new(WorkerId::new(name)).with_queue(queue(JobKind::Notify)).with_queue(queue(JobKind::Write))
    };
    let (broker, clock) = (Arc::new(broker(url, rescues_max(role))), Arc::new(SystemClock::new()));
    WorkerPool::new(options, broker, clock, handlers, Arc::new(WorkFigures::new())).run(stop).await;
}

async fn schedule(url: &str, name: &str, stop: CancellationToken) {
    let options = SchedulerOptions { lease: LEASE, every: Duration::from_millis(50), ..SchedulerOptions::new(name) };
    Scheduler::new(options, Arc::new(broker(url, 1_000)), Arc::new(SystemClock::new())).run(stop).await;
}

async fn produce(url: &str, name: &str, folder: &Path, stop: CancellationToken) {
    let mut acknowledged = OpenOptions::new().append(true).open(folder.join("acknowledged")).unwrap();
    let broker = broker(url, 1_000);
    let mut round = 0;
    while !stop.is_cancelled() {
        round += 1;
        let kind = if round % 2 == 0 { JobKind::Notify } else { JobKind::Write };
        let texts: Vec<String> = (0..BATCH).map(|number| format!("{name}-{round}-{number}")).collect();
        // Every third one has a payload that is large for Redis.
        let sized = |(number, text): (usize, &String)| {
            let job = job(kind, text);
            if number % 3 == 0 { padded(job) } else { job }
        };
        match broker.push(texts.iter().enumerate().map(sized).collect()).await {
            Ok(_) => acknowledged.write_all(format!("{}\n", texts.join("\n")).as_bytes()).unwrap(),
            Err(BrokerError::Unavailable(_) | BrokerError::Unknown(_)) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn job(kind: JobKind, text: &str) -> NewJob {
    NewJob::from_bytes(kind, text.as_bytes().to_vec().into())
}

/// A process, until its standard input ends: then the test has ended, however it did.
#[test]
#[ignore = "the other tests run it as a process of its own"]
fn process() {
    let given = std::env::var(PROCESS).unwrap();
    let [role, url, name, folder] = given.split(' ').collect::<Vec<_>>()[..] else { panic!("{given}") };
    let stop = with_the_test();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match role {
        "worker" | "fragile" => runtime.block_on(work(url, role, name, Path::new(folder), stop)),
        "scheduler" => runtime.block_on(schedule(url, name, stop)),
        "producer" => runtime.block_on(produce(url, name, Path::new(folder), stop)),
        other => panic!("no role {other}"),
    }
}

/// A process, and what it is.
struct Process {
    role: &'static str,
    child: TestProcess,
}

struct World {
    folder: tempfile::TempDir,
    server: RedisServer,
    broker: RedisBroker,
    started: usize,
}

impl World {
    async fn start() -> Option<Self> {
        let server = RedisServer::start_with_an_fsync_a_second().await?;
        let folder = tempfile::tempdir().unwrap();
        for file in ["runs", "acknowledged"] {
            File::create(folder.path().join(file)).unwrap();
        }
        let broker = broker(&server.url(), 1_000);
        Some(Self { folder, server, broker, started: 0 })
    }

    fn spawn(&mut self, role: &'static str) -> Process {
        self.started += 1;
        let told = format!("{role} {} {role}{} {}", self.server.url(), self.started, self.path("").display());
        Process { role, child: TestProcess::start("process", PROCESS, &told) }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(file)).unwrap();
        // A producer may have been killed within its last line.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    async fn stats(&self) -> Vec<QueueStats> {
        self.broker.queues().await.unwrap_or_default()
    }

    async fn wait_until_empty(&self) {
        eventually("nothing is left to run", || async {
            let stats = self.stats().await;
            let left = |queue: &QueueStats| queue.ready + queue.running + queue.retryable + queue.scheduled;
            !stats.is_empty() && stats.iter().map(left).sum::<u64>() == 0
        })
        .await;
        let mut connection = redis::Client::open(self.server.url()).unwrap().get_connection().unwrap();
        assert_eq!(brokers::payload_check::payloads(&mut connection, "tidemark"), BTreeSet::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_when_producers_schedulers_workers_and_redis_are_killed() {
    let Some(mut world) = World::start().await else { return };
    let (seconds, seed) = (number_of("TIDEMARK_LEDGER_SECONDS", 5), number_of("TIDEMARK_LEDGER_SEED", 11));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let random = JobIdSource::new(clock.clone(), seed);
    for number in 0..SCHEDULES {
        let template = JobTemplate {
            kind: JobKind::Notify,
            queue: None,
            priority: Priority::High,
            payload: b"slot".to_vec(),
            time_limit: None,
            expires_after: None,
            rate_key: None,
        };
        let schedule = new_schedule(&format!("s{number}"), Timing::Every(EVERY_MS), template);
        let schedule = tidemark_queue::Schedule { catch_up: CatchUp::All, ..schedule };
        world.broker.put_schedule(schedule, ScheduleExpect::Absent).await.unwrap().unwrap();
    }
    let roles = ["producer", "scheduler", "scheduler", "worker", "worker"];
    let mut processes: Vec<Process> = roles.map(|role| world.spawn(role)).into();
    let ends = clock.monotonic() + Duration::from_secs(seconds);
    let mut kills: BTreeMap<&str, usize> = BTreeMap::new();
    let mut victims: Vec<usize> = Vec::new();
    while clock.monotonic() < ends {
        tokio::time::sleep(Duration::from_millis(50 + random.next_random() % 250)).await;
        if victims.is_empty() {
            // Each process, Redis, and a worker that is only stopped.
            victims = (0..processes.len() + 2).collect();
            for place in (1..victims.len()).rev() {
                victims.swap(place, usize::try_from(random.next_random() % (place as u64 + 1)).unwrap());
            }
        }
        let victim = victims.pop().unwrap();
        if victim < processes.len() {
            let role = processes[victim].role;
            *kills.entry(role).or_default() += 1;
            processes[victim].child.kill();
            processes[victim] = world.spawn(role);
        } else if victim == processes.len() {
            *kills.entry("redis").or_default() += 1;
            world.server.kill();
            tokio::time::sleep(Duration::from_millis(random.next_random() % 200)).await;
            world.server.restart().await;
        } else {
            let worker = processes.last().unwrap();
            worker.child.stop();
            tokio::time::sleep(LEASE * 3 / 2).await;
            worker.child.go_on();
        }
    }
    // The workers go on, and somebody leads until every slot up to now is dealt with.
    let now_ms = clock.now_ms();
    processes.retain(|process| process.role != "producer");
    eventually("every slot is dealt with", || async {
        let schedules = world.broker.schedules().await.unwrap_or_default();
        let is_behind = |last_ms: Option<i64>| last_ms.is_none_or(|last_ms| last_ms + 1_000 < now_ms);
        schedules.len() == SCHEDULES && !schedules.iter().any(|schedule| is_behind(schedule.last_due_ms))
    })
    .await;
    processes.retain(|process| process.role != "scheduler");
    world.wait_until_empty().await;

    let (runs, acknowledged) = (world.lines("runs"), world.lines("acknowledged"));
    let ran: BTreeSet<&str> = runs.iter().map(|line| line.split(' ').next().unwrap()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|text| !ran.contains(text.as_str())).collect();
    assert!(lost.is_empty(), "seed {seed}: {} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    let mut slots: BTreeMap<&str, BTreeMap<i64, BTreeSet<&str>>> = BTreeMap::new();
    let mut jobs = BTreeSet::new();
    for line in &runs {
        let [text, key, id] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        jobs.insert(id);
        if text == "slot" {
            let (name, due) = key.split_once('@').unwrap();
            slots.entry(name).or_default().entry(due.parse().unwrap()).or_default().insert(id);
        }
    }
    for number in 0..SCHEDULES {
        let of_schedule = &slots[format!("s{number}").as_str()];
        let twice: Vec<_> = of_schedule.iter().filter(|(_, jobs)| jobs.len() != 1).collect();
        assert!(twice.is_empty(), "seed {seed}: slots with several jobs: {twice:?}");
        let due: Vec<i64> = of_schedule.keys().copied().collect();
        let step = i64::try_from(EVERY_MS).unwrap();
        let skipped: Vec<_> = due.windows(2).filter(|pair| pair[1] - pair[0] != step).collect();
        assert!(skipped.is_empty(), "seed {seed}: slots were skipped: {skipped:?}");
    }
    let totals = world.stats().await;
    let sum = |of: fn(&QueueStats) -> u64| totals.iter().map(of).sum::<u64>();
    eprintln!(
        "seed {seed}, {seconds} s: {} acknowledged, {} jobs run {} times, {} slots, {} rescued, killed {kills:?}",
        acknowledged.len(),
        jobs.len(),
        runs.len(),
        slots.values().map(BTreeMap::len).sum::<usize>(),
        sum(|queue| queue.totals.rescued),
    );
    // A job may run twice and ends once: the second end is refused.
    assert_eq!(sum(|queue| queue.totals.completed), jobs.len() as u64, "seed {seed}");
    assert_eq!(sum(|queue| queue.totals.discarded), 0, "seed {seed}");
    assert!(acknowledged.len() > 100 && kills.len() == 4, "seed {seed}: too little was tried: {kills:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_with_an_fsync_a_second_that_is_killed_under_load_keeps_what_it_acknowledged() {
    let Some(mut world) = World::start().await else { return };
    let cycles = number_of("TIDEMARK_KILL_CYCLES", 3);
    let random = JobIdSource::new(Arc::new(SystemClock::new()), number_of("TIDEMARK_LEDGER_SEED", 13));
    let processes = ["producer", "producer", "worker"].map(|role| world.spawn(role));
    for _ in 0..cycles {
        let before = world.lines("acknowledged").len();
        eventually("it takes jobs", || async { world.lines("acknowledged").len() > before + 10 * BATCH }).await;
        tokio::time::sleep(Duration::from_millis(random.next_random() % 200)).await;
        world.server.kill();
        world.server.restart().await;
    }
    let [producer, other, worker] = processes;
    drop((producer, other));
    world.wait_until_empty().await;
    drop(worker);
    let runs = world.lines("runs");
    let ran: BTreeSet<&str> = runs.iter().map(|line| line.split(' ').next().unwrap()).collect();
    let acknowledged = world.lines("acknowledged");
    let lost: Vec<_> = acknowledged.iter().filter(|text| !ran.contains(text.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    eprintln!("{cycles} kills: {} acknowledged, {} runs", acknowledged.len(), runs.len());
    let jobs: BTreeSet<&str> = runs.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    let completed: u64 = world.stats().await.iter().map(|queue| queue.totals.completed).sum();
    assert_eq!(completed, jobs.len() as u64, "completed twice, or not at all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_kills_its_worker_is_poison_after_three_and_the_others_are_done() {
    let Some(mut world) = World::start().await else { return };
    let largest = "x".repeat(1024 * 1024);
    let unreadable = world.broker.push(vec![job(JobKind::Notify, "unreadable")]).await.unwrap()[0].id();
    let panics = NewJob { attempts_max: 1, ..job(JobKind::Notify, "panic") };
    world.broker.push(vec![job(JobKind::Notify, &largest), panics]).await.unwrap();
    let mut worker = world.spawn("fragile");
    eventually("the largest is done", || async { world.lines("runs").len() == 1 }).await;
    eventually("the unreadable one waits for its next attempt", || async {
        let view = world.broker.job(unreadable).await.unwrap().unwrap();
        view.state == JobState::Retryable && view.attempt >= 1
    })
    .await;

    let poison = world.broker.push(vec![job(JobKind::Notify, "abort")]).await.unwrap()[0].id();
    let (clock, mut deaths, mut others) = (SystemClock::new(), 0, 1);
    let gives_up = clock.monotonic() + Duration::from_secs(60);
    while world.broker.job(poison).await.unwrap().is_none_or(|view| view.state != JobState::Discarded) {
        assert!(clock.monotonic() < gives_up, "it is still not poison after {deaths} deaths");
        if worker.child.has_ended() {
            deaths += 1;
            worker = world.spawn("fragile");
            let jobs = (others..others + 50).map(|number| job(JobKind::Notify, &format!("j{number}")));
            world.broker.push(jobs.collect()).await.unwrap();
            others += 50;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually("the others are done", || async { world.lines("runs").len() >= others }).await;
    assert_eq!(deaths, 3);
    let reason = world.broker.job(poison).await.unwrap().unwrap().error.unwrap();
    assert!(reason.starts_with("poison: 3 workers were lost"), "{reason}");
    let filter = JobFilter { state: Some(JobState::Discarded), ..JobFilter::default() };
    let discarded = world.broker.jobs(filter, Page::first(10)).await.unwrap().jobs;
    let reasons: Vec<_> = discarded.iter().filter_map(|view| view.error.as_deref()).collect();
    assert_eq!(discarded.len(), 2, "the poison and the one that panics: {reasons:?}");
    let runs = world.lines("runs");
    let jobs: BTreeSet<&str> = runs.iter().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(jobs.len(), others, "the others and the largest");
    assert!(!worker.child.has_ended(), "the worker still runs");
}
