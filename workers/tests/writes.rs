//! Writing points through the direct queue and through a broker.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use support::{RunningPool, broker, eventually};
use tidemark_model::{
    BoxFuture, PointBatch, PointBatchBuilder, PointSink, RefusalReason, SystemClock, Value, WriteOutcome, WriteReceipt,
    WriteRefusal,
};
use tidemark_queue::{Broker, BrokerOptions, JobKind, JobState, MemoryBroker, NewJob, Payload, WorkerId, WritePayload};
use tidemark_workers::{
    AttemptEnd, BrokerPointSink, DirectOptions, DirectPointSink, Handlers, PoolOptions, QueueOptions, WorkFigures,
    WriteAnswer, WriteHandler, direct_writes,
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A store that keeps batches, refuses the points of a metric, and can be held up.
struct Store {
    batches: Mutex<Vec<PointBatch>>,
    open: Semaphore,
    failures: AtomicUsize,
}

impl Store {
    fn new(open: usize) -> Arc<Self> {
        Arc::new(Self { batches: Mutex::default(), open: Semaphore::new(open), failures: AtomicUsize::new(0) })
    }
}

impl PointSink for Store {
    fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
        Box::pin(async move {
            self.open.acquire().await.unwrap().forget();
            if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                return WriteOutcome::Unknown("the commit was lost".to_owned());
            }
            assert!(!batch.series_text(0).starts_with("panic"), "asked to");
            let refusal = || WriteRefusal::new(RefusalReason::Limit, "series limit reached");
            let is_new = |series| batch.series_text(series).starts_with("new");
            let refused: Vec<_> = batch
                .points()
                .enumerate()
                .filter(|(_, point)| is_new(point.series))
                .map(|(at, _)| (at, refusal()))
                .collect();
            let stored = batch.len() - refused.len();
            self.batches.lock().push(batch);
            WriteOutcome::Done(WriteReceipt { stored, refused })
        })
    }
}

fn batch(metrics: &[&str]) -> PointBatch {
    let mut builder = PointBatchBuilder::default();
    for (at, metric) in metrics.iter().enumerate() {
        builder.push(metric, &mut [("host", "a")], 1_000 + at as i64, Value::Int(7)).unwrap();
    }
    builder.finish()
}

struct Direct {
    sink: DirectPointSink,
    figures: Arc<WorkFigures>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

fn direct(store: Arc<Store>, options: DirectOptions) -> Direct {
    let figures = Arc::new(WorkFigures::new());
    let (sink, worker) = direct_writes(store, options, Arc::new(SystemClock::new()), figures.clone());
    let stop = CancellationToken::new();
    let running = TaskTracker::new().spawn(worker.run(stop.clone()));
    Direct { sink, figures, stop, running }
}

#[tokio::test]
async fn a_direct_write_answers_what_the_store_answers() {
    let store = Store::new(100);
    let direct = direct(store.clone(), DirectOptions::writes());
    let outcome = direct.sink.write(batch(&["cpu", "new.one", "mem"])).await;
    let WriteOutcome::Done(receipt) = outcome else { panic!("{outcome:?}") };
    assert_eq!((receipt.stored, receipt.refused[0].0), (2, 1));
    assert_eq!(store.batches.lock()[0], batch(&["cpu", "new.one", "mem"]));
    let snapshot = direct.figures.snapshot();
    assert_eq!((snapshot.kinds[0].kind, snapshot.kinds[0].count(AttemptEnd::Completed)), (JobKind::Write, 1));
    direct.stop.cancel();
    direct.running.await.unwrap();
    let outcome = direct.sink.write(batch(&["cpu"])).await;
    assert!(matches!(&outcome, WriteOutcome::Refused(refusal) if refusal.reason == RefusalReason::ShuttingDown));
}

#[tokio::test]
async fn a_full_direct_queue_refuses_as_busy_and_finishes_what_it_has() {
    let store = Store::new(0);
    let options = DirectOptions { jobs_max: 4, concurrency: 2, ..DirectOptions::writes() };
    let direct = direct(store.clone(), options);
    let tracker = TaskTracker::new();
    let writes: Vec<_> = (0..4)
        .map(|_| {
            let sink = direct.sink.clone();
            tracker.spawn(async move { sink.write(batch(&["cpu"])).await })
        })
        .collect();
    eventually("four wait", || async { direct.sink.waiting() == 4 }).await;
    let WriteOutcome::Refused(refusal) = direct.sink.write(batch(&["cpu"])).await else { panic!() };
    assert_eq!(refusal.reason, RefusalReason::Busy);
    assert_eq!(refusal.message, "write queue is full: 4 jobs wait, at most 4 are allowed; see `direct.jobs_max`");
    // The end of the process lets them finish.
    direct.stop.cancel();
    store.open.add_permits(4);
    for write in writes {
        assert!(matches!(write.await.unwrap(), WriteOutcome::Done(_)));
    }
    direct.running.await.unwrap();
    assert_eq!(store.batches.lock().len(), 4);
}

#[tokio::test]
async fn a_direct_write_that_panics_or_hangs_is_unknown_and_others_go_on() {
    let store = Store::new(1);
    let options = DirectOptions { time_limit: Duration::from_millis(40), ..DirectOptions::writes() };
    let direct = direct(store.clone(), options);
    let outcome = direct.sink.write(batch(&["panic.now"])).await;
    assert_eq!(outcome, WriteOutcome::Unknown("write job panicked: asked to".to_owned()));
    let outcome = direct.sink.write(batch(&["cpu"])).await;
    assert_eq!(outcome, WriteOutcome::Unknown("write job exceeded its time limit of 40ms".to_owned()));
    store.open.add_permits(1);
    assert!(matches!(direct.sink.write(batch(&["cpu"])).await, WriteOutcome::Done(_)));
    let figures = &direct.figures.snapshot().kinds[0];
    assert_eq!((figures.panics, figures.timeouts, figures.running), (1, 1, 0));
    direct.stop.cancel();
    direct.running.await.unwrap();
}

/// A pool of writers, and where they count.
fn write_pool(broker: Arc<dyn Broker>, store: Arc<dyn PointSink>) -> (RunningPool, Arc<WorkFigures>) {
    let options = PoolOptions::new(WorkerId::new("w")).with_queue(QueueOptions::new(JobKind::Write.default_queue(), 4));
    let options = PoolOptions { sweep_every: Duration::from_millis(10), ..options };
    let figures = Arc::new(WorkFigures::new());
    let handler = WriteHandler::new(store, figures.clone(), Arc::new(SystemClock::new()));
    let handlers = Handlers::new().with(JobKind::Write, Arc::new(handler));
    (RunningPool::start_with(options, broker, handlers), figures)
}

#[tokio::test]
async fn a_queued_write_is_answered_at_once_and_stored_soon() {
    let broker = broker(Duration::from_secs(30));
    let store = Store::new(100);
    let sink = BrokerPointSink::new(broker.clone(), WriteAnswer::WhenQueued);
    let outcome = sink.write(batch(&["cpu", "mem"])).await;
    assert_eq!(outcome, WriteOutcome::Done(WriteReceipt { stored: 2, refused: Vec::new() }));
    assert!(store.batches.lock().is_empty());
    let (pool, _) = write_pool(broker, store.clone());
    eventually("stored", || async { store.batches.lock().len() == 1 }).await;
    assert_eq!(store.batches.lock()[0], batch(&["cpu", "mem"]));
    pool.stop().await;
}

#[tokio::test]
async fn a_write_that_is_awaited_is_answered_with_the_receipt_of_the_store() {
    let broker = broker(Duration::from_secs(30));
    let store = Store::new(100);
    // The first attempt loses track; writing again is harmless.
    store.failures.store(1, Ordering::SeqCst);
    let (pool, figures) = write_pool(broker.clone(), store.clone());
    let queued = BrokerPointSink::new(broker.clone(), WriteAnswer::WhenQueued);
    let sink = queued.answering(WriteAnswer::WhenDone(Duration::from_secs(10)));
    let WriteOutcome::Done(receipt) = sink.write(batch(&["new.one", "cpu"])).await else { panic!() };
    assert_eq!((receipt.stored, receipt.refused.len()), (1, 1));
    assert_eq!((receipt.refused[0].0, receipt.refused[0].1.message.as_str()), (0, "series limit reached"));
    assert_eq!(figures.snapshot().points_refused, 1);
    pool.stop().await;
    let hasty = queued.answering(WriteAnswer::WhenDone(Duration::from_millis(10)));
    let WriteOutcome::Unknown(reason) = hasty.write(batch(&["cpu"])).await else { panic!() };
    assert!(reason.ends_with("is queued and not done after 10ms"), "{reason}");
}

/// A store that takes nothing.
struct Full;

impl PointSink for Full {
    fn write(&self, _batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
        let refusal = WriteRefusal::new(RefusalReason::Limit, "too many points");
        Box::pin(async { WriteOutcome::Refused(refusal) })
    }
}

#[tokio::test]
async fn a_write_that_is_awaited_and_refused_as_a_whole_is_refused() {
    let broker = broker(Duration::from_secs(30));
    let (pool, figures) = write_pool(broker.clone(), Arc::new(Full));
    let sink = BrokerPointSink::new(broker, WriteAnswer::WhenDone(Duration::from_secs(10)));
    let outcome = sink.write(batch(&["cpu", "mem"])).await;
    assert_eq!(outcome, WriteOutcome::Refused(WriteRefusal::new(RefusalReason::Limit, "too many points")));
    assert_eq!(figures.snapshot().points_refused, 2);
    pool.stop().await;
}

#[tokio::test]
async fn trouble_with_the_broker_is_refused_or_unknown() {
    let options = BrokerOptions { queue_jobs_max: 1, ..BrokerOptions::default() };
    let broker = Arc::new(MemoryBroker::new(options, Arc::new(SystemClock::new()), 1));
    let sink = BrokerPointSink::new(broker.clone(), WriteAnswer::WhenQueued);
    let reason = async || match sink.write(batch(&["cpu"])).await {
        WriteOutcome::Refused(refusal) => Some(refusal.reason),
        _ => None,
    };
    broker.faults().refuse_next(1);
    assert_eq!(reason().await, Some(RefusalReason::Unavailable));
    broker.faults().lose_next_answers(1);
    assert!(matches!(sink.write(batch(&["cpu"])).await, WriteOutcome::Unknown(_)));
    // The one whose answer was lost is there.
    assert_eq!(reason().await, Some(RefusalReason::Busy));
    broker.close().await;
    assert_eq!(reason().await, Some(RefusalReason::ShuttingDown));
}

#[tokio::test]
async fn a_job_with_bytes_that_are_no_batch_is_discarded_and_the_worker_goes_on() {
    let broker = broker(Duration::from_secs(30));
    let store = Store::new(100);
    let mut bytes = WritePayload::from_batch(&batch(&["cpu"])).encode().unwrap();
    let name = bytes.windows(3).position(|window| window == b"cpu").unwrap();
    bytes[name] = b'\n';
    let bad = broker.push(vec![NewJob::from_bytes(JobKind::Write, bytes.into())]).await.unwrap()[0].id();
    let junk = NewJob { attempts_max: 1, ..NewJob::from_bytes(JobKind::Write, "junk".into()) };
    let junk = broker.push(vec![junk]).await.unwrap()[0].id();
    let (pool, _) = write_pool(broker.clone(), store.clone());
    let sink = BrokerPointSink::new(broker.clone(), WriteAnswer::WhenDone(Duration::from_secs(10)));
    assert!(matches!(sink.write(batch(&["cpu"])).await, WriteOutcome::Done(_)));
    for (id, expect) in [(bad, "illegal name"), (junk, "malformed")] {
        eventually("discarded", || async {
            broker.job(id).await.unwrap().is_some_and(|view| view.state == JobState::Discarded)
        })
        .await;
        let error = broker.job(id).await.unwrap().unwrap().error.unwrap();
        assert!(error.contains(expect), "{error}");
    }
    pool.stop().await;
}
