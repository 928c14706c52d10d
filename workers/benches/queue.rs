//! Measures brokers with the worker pool: `cargo bench -p tidemark-workers --bench queue -- --broker URL --jobs N`.
//!
//! `--broker` is `embedded` (in a temporary folder), `memory`, `direct`, or an address of Redis. `--bytes` is the size of a
//! payload (32), `--kind` the kind of job (write, whose jobs share frames in Redis), `--spawn` gives each attempt a task
//! of its own. As its last line it prints `both N jobs/s`: enqueue and execute at the same time. `tidemark bench queue`
//! does the same from the binary.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a measurement may fail and prints")]

use std::sync::Arc;

use tidemark_model::{BoxFuture, Clock, SystemClock};
use tidemark_queue::{Broker, BrokerOptions, EmbeddedBroker, MemoryBroker, RedisBroker, RedisOptions};
use tidemark_workers::{DirectOptions, DirectQueue, QueueMeasure, WorkFigures};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

fn main() {
    let given: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let place = given.iter().position(|argument| argument == name)?;
        given.get(place + 1).cloned()
    };
    let broker = value("--broker").unwrap_or_else(|| "embedded".to_owned());
    let mut measure = QueueMeasure::default();
    measure.jobs = value("--jobs").map_or(measure.jobs, |text| text.parse().expect("a number"));
    measure.bytes = value("--bytes").map_or(measure.bytes, |text| text.parse().expect("a number"));
    measure.kind = value("--kind").map_or(measure.kind, |text| text.parse().expect("a kind of job"));
    measure.spawn = given.iter().any(|argument| argument == "--spawn");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("start a runtime").block_on(run(&broker, measure));
}

async fn run(broker: &str, measure: QueueMeasure) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    if broker == "direct" {
        return direct(measure.jobs, clock).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker: Arc<dyn Broker> = match broker {
        "memory" => Arc::new(MemoryBroker::new(BrokerOptions::default(), clock.clone(), 1)),
        "embedded" => {
            let opened = EmbeddedBroker::open(folder.path(), BrokerOptions::default(), clock.clone());
            Arc::new(opened.expect("open the embedded broker"))
        }
        url => {
            let redis = RedisOptions { prefix: "tidemark:bench".to_owned(), ..RedisOptions::new(url) };
            Arc::new(RedisBroker::new(redis, BrokerOptions::default(), clock.clone()).expect("an address of Redis"))
        }
    };
    let rates = measure.run(broker.clone(), clock).await.expect("the broker takes the jobs");
    println!("enqueue {:.0} jobs/s, execute {:.0} jobs/s", rates.enqueue, rates.execute);
    println!("latency p50 {:?} p99 {:?}", rates.latency_p50, rates.latency_p99);
    println!("both {:.0} jobs/s", rates.both);
    broker.close().await;
}

async fn direct(jobs: usize, clock: Arc<dyn Clock>) {
    let figures = Arc::new(WorkFigures::new());
    let (queue, worker) = DirectQueue::new(DirectOptions::writes(), clock.clone(), figures, |value: usize| {
        Box::pin(std::future::ready(value)) as BoxFuture<'static, usize>
    });
    let stop = CancellationToken::new();
    let running = TaskTracker::new().spawn(worker.run(stop.clone()));
    let tracker = TaskTracker::new();
    let since = clock.monotonic();
    for _ in 0..64 {
        let (queue, share) = (queue.clone(), jobs / 64);
        tracker.spawn(async move {
            for value in 0..share {
                queue.submit(value, 100).await.expect("done");
            }
        });
    }
    tracker.close();
    tracker.wait().await;
    let seconds = (clock.monotonic() - since).as_secs_f64();
    stop.cancel();
    running.await.expect("the worker ends");
    println!("both {:.0} jobs/s", jobs as f64 / seconds);
}
