//! Measures brokers with the worker pool: `cargo bench -p tidemark-workers --bench queue -- --broker URL --jobs N`.
//!
//! `--broker` is `embedded` (in a temporary folder), `memory`, `direct`, or an address of Redis. `--bytes` is the size of a
//! payload (32), `--kind` the kind of job (write, whose jobs share frames in Redis), `--spawn` gives each attempt a task
//! of its own. Prints enqueue alone, execute alone, the latency of single jobs on the idle system, and as its last line
//! `both N jobs/s`: enqueue and execute at the same time. N times the size must fit the queue's limit of 512 MiB.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement may fail and prints"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidemark_model::{BoxFuture, Clock, SystemClock};
use tidemark_queue::{
    Broker, BrokerError, BrokerOptions, EmbeddedBroker, JobKind, MemoryBroker, NewJob, RedisBroker, RedisOptions,
    WorkerId,
};
use tidemark_workers::{
    Attempted, DirectOptions, DirectQueue, Handler, Handlers, JobContext, JobOutput, PoolOptions, QueueOptions,
    WorkFigures, WorkerPool,
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const PUSH_JOBS: usize = 1_000;
const PRODUCERS: usize = 4;

struct Arguments {
    broker: String,
    jobs: usize,
    bytes: usize,
    kind: JobKind,
    spawn: bool,
}

#[derive(Default)]
struct Counter {
    done: AtomicUsize,
    wanted: AtomicUsize,
    reached: Notify,
}

struct Count(Arc<Counter>);

impl Handler for Count {
    fn run(&self, _job: JobContext) -> BoxFuture<'_, Attempted> {
        Box::pin(async {
            if self.0.done.fetch_add(1, Ordering::SeqCst) + 1 == self.0.wanted.load(Ordering::SeqCst) {
                self.0.reached.notify_one();
            }
            Ok(JobOutput::default())
        })
    }
}

fn main() {
    let arguments = arguments();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("start a runtime").block_on(run(arguments));
}

fn arguments() -> Arguments {
    let given: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let place = given.iter().position(|argument| argument == name)?;
        given.get(place + 1).cloned()
    };
    let number = |name: &str, default| value(name).map_or(default, |text| text.parse().expect("a number"));
    Arguments {
        broker: value("--broker").unwrap_or_else(|| "embedded".to_owned()),
        jobs: number("--jobs", 300_000),
        bytes: number("--bytes", 32),
        kind: value("--kind").map_or(JobKind::Write, |kind| kind.parse().expect("a kind of job")),
        spawn: given.iter().any(|argument| argument == "--spawn"),
    }
}

async fn run(arguments: Arguments) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    if arguments.broker == "direct" {
        return direct(&arguments, clock).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broker: Arc<dyn Broker> = match arguments.broker.as_str() {
        "memory" => Arc::new(MemoryBroker::new(BrokerOptions::default(), clock.clone(), 1)),
        "embedded" => {
            let opened = EmbeddedBroker::open(folder.path(), BrokerOptions::default(), clock.clone());
            Arc::new(opened.expect("open the embedded broker"))
        }
        url => {
            let redis = RedisOptions { prefix: "tidemark-bench".to_owned(), ..RedisOptions::new(url) };
            Arc::new(RedisBroker::new(redis, BrokerOptions::default(), clock.clone()).expect("an address of Redis"))
        }
    };
    let bench = Bench { arguments, broker, clock, counter: Arc::default() };
    bench.enqueue_then_execute().await;
    bench.latency().await;
    bench.both().await;
    bench.broker.close().await;
}

struct Bench {
    arguments: Arguments,
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
    counter: Arc<Counter>,
}

impl Bench {
    fn rate(&self, what: &str, jobs: usize, since: Duration) {
        let seconds = (self.clock.monotonic() - since).as_secs_f64();
        let megabytes = (jobs * self.arguments.bytes) as f64 / seconds / 1e6;
        println!("{what} {:.0} jobs/s ({megabytes:.0} MB/s)", jobs as f64 / seconds);
    }

    async fn push_all(&self, jobs: usize) {
        let tracker = TaskTracker::new();
        for _ in 0..PRODUCERS {
            let (broker, kind, bytes) = (self.broker.clone(), self.arguments.kind, self.arguments.bytes);
            tracker.spawn(async move {
                for _ in 0..jobs / PRODUCERS / PUSH_JOBS {
                    let job = || NewJob::from_bytes(kind, vec![7; bytes].into());
                    let batch: Vec<NewJob> = (0..PUSH_JOBS).map(|_| job()).collect();
                    // A producer that is refused because the queue is full comes again.
                    while let Err(error) = broker.push(batch.clone()).await {
                        assert!(matches!(error, BrokerError::Full { .. }), "push: {error}");
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            });
        }
        tracker.close();
        tracker.wait().await;
    }

    fn start_pool(&self) -> (CancellationToken, tokio::task::JoinHandle<tidemark_workers::StopReport>) {
        let queue = QueueOptions {
            concurrency: 512,
            prefetch: 4_096,
            parallel: self.arguments.spawn,
            ..QueueOptions::new(self.arguments.kind.default_queue(), 512)
        };
        let options = PoolOptions::new(WorkerId::new("bench")).with_queue(queue);
        let handlers = Handlers::new().with(self.arguments.kind, Arc::new(Count(self.counter.clone())));
        let figures = Arc::new(WorkFigures::new());
        let pool = WorkerPool::new(options, self.broker.clone(), self.clock.clone(), handlers, figures);
        let stop = CancellationToken::new();
        let running = TaskTracker::new().spawn(pool.run(stop.clone()));
        (stop, running)
    }

    fn want(&self, jobs: usize) {
        self.counter.done.store(0, Ordering::SeqCst);
        self.counter.wanted.store(jobs, Ordering::SeqCst);
    }

    async fn enqueue_then_execute(&self) {
        let jobs = self.arguments.jobs / (PRODUCERS * PUSH_JOBS) * PRODUCERS * PUSH_JOBS;
        let since = self.clock.monotonic();
        self.push_all(jobs).await;
        self.rate("enqueue", jobs, since);
        self.want(jobs);
        let since = self.clock.monotonic();
        let (stop, running) = self.start_pool();
        self.counter.reached.notified().await;
        self.rate("execute", jobs, since);
        stop.cancel();
        running.await.expect("the pool ends");
    }

    async fn latency(&self) {
        let (stop, running) = self.start_pool();
        let mut took = Vec::new();
        for _ in 0..300 {
            self.want(1);
            tokio::time::sleep(Duration::from_millis(2)).await;
            let since = self.clock.monotonic();
            let job = NewJob::from_bytes(self.arguments.kind, vec![7; self.arguments.bytes].into());
            self.broker.push(vec![job]).await.expect("push");
            self.counter.reached.notified().await;
            took.push(self.clock.monotonic() - since);
        }
        took.sort();
        println!("latency p50 {:?} p99 {:?}", took[took.len() / 2], took[took.len() * 99 / 100]);
        stop.cancel();
        running.await.expect("the pool ends");
    }

    async fn both(&self) {
        let jobs = self.arguments.jobs / (PRODUCERS * PUSH_JOBS) * PRODUCERS * PUSH_JOBS;
        self.want(jobs);
        let (stop, running) = self.start_pool();
        let since = self.clock.monotonic();
        self.push_all(jobs).await;
        self.counter.reached.notified().await;
        let seconds = (self.clock.monotonic() - since).as_secs_f64();
        stop.cancel();
        running.await.expect("the pool ends");
        println!("both {:.0} jobs/s", jobs as f64 / seconds);
    }
}

async fn direct(arguments: &Arguments, clock: Arc<dyn Clock>) {
    let figures = Arc::new(WorkFigures::new());
    let (queue, worker) = DirectQueue::new(DirectOptions::writes(), clock.clone(), figures, |value: usize| {
        Box::pin(std::future::ready(value)) as BoxFuture<'static, usize>
    });
    let stop = CancellationToken::new();
    let running = TaskTracker::new().spawn(worker.run(stop.clone()));
    let tracker = TaskTracker::new();
    let since = clock.monotonic();
    for _ in 0..64 {
        let (queue, jobs) = (queue.clone(), arguments.jobs / 64);
        tracker.spawn(async move {
            for value in 0..jobs {
                queue.submit(value, 100).await.expect("done");
            }
        });
    }
    tracker.close();
    tracker.wait().await;
    let seconds = (clock.monotonic() - since).as_secs_f64();
    stop.cancel();
    running.await.expect("the worker ends");
    println!("both {:.0} jobs/s", arguments.jobs as f64 / seconds);
}
