//! `rollup` jobs over a store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{sync::Arc, time::Duration};

use support::{RunningPool, broker, eventually};
use tidemark_kv::MemoryKv;
use tidemark_model::{Clock, PointBatchBuilder, PointSink, SystemClock, Value, WriteOutcome};
use tidemark_queue::{
    Broker, Completion, JobKind, JobResult, JobState, NewJob, RollupPayload, RollupRange, RollupStep, TimeWindow,
    WorkerCommand, WorkerId,
};
use tidemark_tsdb::{Store, StoreOptions};
use tidemark_workers::{Handlers, PoolOptions, QueueOptions, RollupHandler};

const LEASE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(30);
const DAY: i64 = 86_400_000;
const START: i64 = 1_767_225_600_000;

/// A store with three days of a point a minute, of two metrics.
async fn store() -> Store {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = Store::open(Arc::new(MemoryKv::new()), clock, StoreOptions::default()).await.unwrap();
    for metric in ["a", "b"] {
        let mut builder = PointBatchBuilder::default();
        for at in (START..START + 3 * DAY).step_by(60_000) {
            builder.push(metric, &mut [("host", "a")], at, Value::Int(at / 60_000 % 1_000)).unwrap();
        }
        assert!(matches!(store.write(builder.finish()).await, WriteOutcome::Done(_)));
    }
    store
}

fn pool(store: &Store, queues: &[(&str, usize)]) -> (Arc<dyn Broker>, RunningPool) {
    let broker: Arc<dyn Broker> = broker(LEASE);
    let handlers = Handlers::new().with(JobKind::Rollup, Arc::new(RollupHandler::new(store.clone())));
    let mut options = PoolOptions::new(WorkerId::new("w"));
    options.heartbeat_every = Duration::from_millis(20);
    for (queue, jobs) in queues {
        let queue = QueueOptions::new(queue.parse().unwrap(), *jobs);
        options = options.with_queue(QueueOptions { scale_max: *jobs, ..queue });
    }
    let pool = RunningPool::start_with(options, Arc::clone(&broker), handlers);
    (broker, pool)
}

async fn ended(broker: &dyn Broker, job: NewJob) -> JobResult {
    let id = broker.push(vec![job.with_result(LEASE)]).await.unwrap()[0].id();
    match broker.completion(id, PATIENCE).await.unwrap() {
        Completion::Ended(ended) => ended,
        other => panic!("{other:?}"),
    }
}

fn range(from: i64, to: i64, metric: Option<&str>) -> NewJob {
    let window = TimeWindow { from: Some(from.to_string()), to: Some(to.to_string()) };
    let step = RollupStep::Range(RollupRange { window, metric: metric.map(str::to_owned) });
    NewJob::new(&RollupPayload { step }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rollups_of_a_range_are_made_again_and_say_how_many() {
    let store = store().await;
    let (broker, pool) = pool(&store, &[("rollup", 1)]);
    for (job, days) in [(range(START, START + 2 * DAY, Some("a")), 2), (range(START + DAY, START + DAY + 1, None), 2)] {
        let ended = ended(broker.as_ref(), job).await;
        let told = String::from_utf8_lossy(&ended.result.unwrap()).into_owned();
        assert!(told.contains(&format!("made {days} days of metrics anew: {} points", days * 1_440)), "{told}");
    }
    let wrong = ended(broker.as_ref(), range(START, START, None)).await;
    assert_eq!(wrong.state, JobState::Discarded, "{wrong:?}");
    pool.stop().await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn seals_compactions_and_ranges_at_the_same_time_do_each_other_no_harm() {
    let store = store().await;
    let (broker, pool) = pool(&store, &[("rollup", 8)]);
    let steps = [RollupStep::Seal, RollupStep::SealShard(0), RollupStep::Compact];
    let mut jobs: Vec<NewJob> = Vec::new();
    for _ in 0..4 {
        jobs.extend(steps.iter().map(|step| NewJob::new(&RollupPayload { step: step.clone() }).unwrap()));
        jobs.push(range(START, START + 3 * DAY, None));
    }
    let jobs = jobs.into_iter().map(|job| job.with_result(LEASE)).collect();
    for pushed in broker.push(jobs).await.unwrap() {
        let Completion::Ended(ended) = broker.completion(pushed.id(), PATIENCE).await.unwrap() else { panic!() };
        assert_eq!((ended.state, ended.error), (JobState::Completed, None));
        assert_eq!(broker.job(pushed.id()).await.unwrap().unwrap().attempt, 1);
    }
    pool.stop().await;
    let figures = store.figures();
    assert_eq!((figures.block_points, figures.head_points), (2 * 3 * 1_440, 0));
    assert_eq!(figures.rollup_rows, 2 * 3 * 24);
    store.close().await;
}

#[tokio::test]
async fn nobody_can_scale_a_queue_beyond_what_it_bears() {
    let store = store().await;
    let (broker, pool) = pool(&store, &[("rollup", 1)]);
    let limit = || async {
        let workers = broker.workers().await.unwrap();
        workers.first().map(|worker| (worker.report.last_command, worker.report.queues.clone()))
    };
    eventually("a report", || async { limit().await.is_some() }).await;
    let command = WorkerCommand::Scale { queue: "rollup".to_owned(), concurrency: 8 };
    assert!(broker.command_worker(&WorkerId::new("w"), command).await.unwrap());
    eventually("the command is done", || async { limit().await.is_some_and(|(number, _)| number > 0) }).await;
    assert_eq!(limit().await.unwrap().1, [("rollup".to_owned(), 1)]);
    pool.stop().await;
    store.close().await;
}
