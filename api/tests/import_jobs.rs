//! `import` jobs on a pool of workers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidemark_api::import::{ImportHandler, LineRules};
use tidemark_model::{
    BoxFuture, Clock, PointBatch, PointRules, PointSink, RefusalReason, SystemClock, WriteOutcome, WriteReceipt,
    WriteRefusal,
};
use tidemark_queue::{
    Broker, BrokerOptions, Cancelled, Completion, ImportPayload, JobId, JobKind, JobState, JobView, MemoryBroker,
    NewJob, WorkerId,
};
use tidemark_workers::{
    Handlers, JobFileKind, JobFileOptions, JobFiles, PoolOptions, QueueOptions, WorkFigures, WorkerPool,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const PATIENCE: Duration = Duration::from_secs(20);

/// Takes so many batches; the next one is refused once, if it says so, and else never answered.
struct Sink {
    batches: AtomicUsize,
    taken: usize,
    refuses: bool,
}

impl PointSink for Sink {
    fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
        let number = self.batches.fetch_add(1, Ordering::SeqCst);
        let stored = WriteOutcome::Done(WriteReceipt { stored: batch.len(), refused: Vec::new() });
        if number != self.taken {
            return Box::pin(std::future::ready(stored));
        }
        if self.refuses {
            let full = WriteRefusal::new(RefusalReason::DiskFull, "the disk is full");
            return Box::pin(std::future::ready(WriteOutcome::Refused(full)));
        }
        Box::pin(std::future::pending())
    }
}

struct Importing {
    broker: Arc<MemoryBroker>,
    job: JobId,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

/// Imports so many lines into a sink.
async fn import(lines: usize, taken: usize, refuses: bool) -> Importing {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let keep = Duration::from_secs(86_400);
    let options = JobFileOptions { folder: folder.path().join("jobs"), bytes_max: 64 << 20, keep };
    let files = Arc::new(JobFiles::new(options, Arc::clone(&clock)));
    let mut file = files.create(JobFileKind::Upload, "points").unwrap();
    let text: String = (0..lines).map(|line| format!("depth {} 1 host=a\n", 1_767_225_600 + line)).collect();
    file.append(text.as_bytes()).unwrap();
    file.finish().unwrap();
    let sink = Arc::new(Sink { batches: AtomicUsize::new(0), taken, refuses });
    let handler = ImportHandler::new(files, sink, LineRules { points: PointRules::default(), rollups: None });
    let broker = Arc::new(MemoryBroker::new(
        BrokerOptions { lease: Duration::from_secs(2), ..BrokerOptions::default() },
        Arc::clone(&clock),
        1,
    ));
    let pool_options = PoolOptions::new(WorkerId::new("w"))
        .with_queue(QueueOptions { prefetch: 0, ..QueueOptions::new(JobKind::Import.default_queue(), 1) });
    let handlers = Handlers::new().with(JobKind::Import, Arc::new(handler));
    let figures = Arc::new(WorkFigures::new());
    let pool = WorkerPool::new(pool_options, broker.clone(), clock, handlers, figures);
    let stop = CancellationToken::new();
    TaskTracker::new().spawn(pool.run(stop.clone()));
    let job = NewJob::new(&ImportPayload { file: "points".to_owned(), format: None }).unwrap().with_result(keep);
    let job = broker.push(vec![job]).await.unwrap()[0].id();
    Importing { broker, job, stop, _folder: folder }
}

impl Importing {
    async fn view(&self) -> JobView {
        self.broker.job(self.job).await.unwrap().unwrap()
    }

    async fn wait_until(&self, holds: impl Fn(&JobView) -> bool) -> JobView {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let view = self.view().await;
                if holds(&view) {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_says_how_far_it_is_and_can_be_called_off() {
    let importing = import(12_000, 2, false).await;
    let view = importing.wait_until(|view| view.progress.as_ref().is_some_and(|progress| progress.done > 0)).await;
    let progress = view.progress.unwrap();
    assert!(progress.done <= progress.total && progress.message.unwrap().ends_with("points are stored"));
    assert_eq!(importing.broker.cancel(importing.job).await.unwrap(), Cancelled::Requested);
    importing.wait_until(|view| view.state == JobState::Cancelled).await;
    importing.stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_failed_begins_again_and_counts_anew() {
    let importing = import(12_000, 1, true).await;
    let failed = importing.wait_until(|view| view.state == JobState::Retryable).await;
    assert!(failed.error.unwrap().contains("the disk is full"));
    assert!(importing.broker.retry(importing.job).await.unwrap());
    let Completion::Ended(ended) = importing.broker.completion(importing.job, PATIENCE).await.unwrap() else {
        panic!()
    };
    assert_eq!(ended.state, JobState::Completed);
    let result = String::from_utf8(ended.result.unwrap().to_vec()).unwrap();
    assert_eq!(result, r#"{"file":"points","points":12000,"refused":0}"#);
    importing.stop.cancel();
}
