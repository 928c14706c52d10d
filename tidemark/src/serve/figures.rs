//! The figures of all parts, as `/metrics` and the own store show them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tidemark_api::{
    AppState,
    figures::{Figure, FigureSource},
};
use tidemark_model::{BoxFuture, Clock};
use tidemark_queue::Broker;
use tidemark_tsdb::{FLUSH_LATENCY_BOUNDS, FlushFigures, Store};
use tidemark_workers::{DirectPointSink, HistogramSnapshot, QueueFigures, WorkFigures};

use super::jobs::Jobs;

/// How long lost jobs are in the figures.
const LOSSES_TOLD_MS: i64 = 3_600_000;

/// Every part that has figures.
pub(crate) fn sources(
    store: &Store,
    jobs: &Jobs,
    work: &Arc<WorkFigures>,
    state: &Arc<AppState>,
    data: &Path,
    clock: &Arc<dyn Clock>,
) -> Vec<Arc<dyn FigureSource>> {
    vec![
        Arc::new(OfStore { store: store.clone(), folder: data.to_path_buf() }),
        Arc::new(OfBroker { broker: Arc::clone(&jobs.broker), clock: Arc::clone(clock) }),
        Arc::new(OfWork { work: Arc::clone(work), direct: jobs.direct() }),
        Arc::new(OfApi(Arc::clone(state))),
        Arc::new(OfProcess),
    ]
}

struct OfStore {
    store: Store,
    folder: PathBuf,
}

impl FigureSource for OfStore {
    fn figures(&self) -> BoxFuture<'_, Vec<Figure>> {
        Box::pin(async {
            let store = self.store.figures();
            let mut figures = vec![
                Figure::gauge("store.series", "Series in the store.", store.series as f64),
                Figure::gauge(
                    "store.head_points",
                    "Points in memory that are not in blocks yet.",
                    store.head_points as f64,
                ),
                Figure::gauge("store.head_bytes", "Bytes of memory that they take.", store.head_bytes as f64),
                Figure::gauge("store.log_bytes", "Bytes of log that a restart would replay.", store.log_bytes as f64),
                Figure::gauge("store.block_points", "Points in sealed blocks.", store.block_points as f64),
                Figure::gauge("store.block_bytes", "Bytes of sealed blocks.", store.block_bytes as f64),
                Figure::gauge(
                    "store.tombstones",
                    "Deletions whose points are hidden and not gone from the disk yet.",
                    store.tombstones as f64,
                ),
                Figure::counter("store.points_written", "Points made durable since the start.", store.flushes.points),
                Figure::counter("store.commits", "Commits of the log since the start.", store.flushes.commits),
                Figure::counter("store.commits_refused", "Commits that the engine refused.", store.flushes.refused),
                Figure::counter(
                    "store.commits_unknown",
                    "Commits whose outcome was unknown at first.",
                    store.flushes.unknown,
                ),
                Figure::total(
                    "store.commit_seconds",
                    "Seconds that the commits of the log took in all.",
                    store.flushes.duration.as_secs_f64(),
                ),
                Figure::total(
                    "store.seal_seconds",
                    "Seconds that the seals of epochs took in all.",
                    store.seals.duration.as_secs_f64(),
                ),
                Figure::counter("store.merges", "Metrics in buckets whose blocks were merged.", store.seals.merges),
                Figure::counter("store.compactions", "Days of metrics that were compacted.", store.seals.compactions),
                Figure::gauge("store.rollup_rows", "Rows of rollups.", store.rollup_rows as f64),
                Figure::gauge("store.rollup_bytes", "Bytes of rollups.", store.rollup_bytes as f64),
                Figure::counter("store.seals", "Epochs sealed since the start.", store.seals.epochs),
                Figure::counter(
                    "store.seals_failed",
                    "Seals that failed and were left for the next.",
                    store.seals.failed,
                ),
            ];
            figures.extend(commits_within(&store.flushes));
            if store.block_points > 0 {
                let bytes = store.block_bytes as f64 / store.block_points as f64;
                figures.push(Figure::gauge("store.bytes_per_point", "Bytes of a point in a sealed block.", bytes));
            }
            if let Some(bytes) = store.disk_bytes {
                figures.push(Figure::gauge("store.disk_bytes", "Bytes of the store on disk.", bytes as f64));
            }
            if let Ok(disk) = rustix::fs::statvfs(&self.folder) {
                let free = disk.f_bavail * disk.f_frsize;
                figures.push(Figure::gauge("store.disk_free_bytes", "Bytes free on the store's disk.", free as f64));
            }
            figures
        })
    }
}

/// Commits that took at most as long as each bound, as Prometheus counts them.
fn commits_within(flushes: &FlushFigures) -> Vec<Figure> {
    let bounds = FLUSH_LATENCY_BOUNDS.iter().map(|bound| bound.as_secs_f64().to_string());
    let mut within = 0;
    let counted = bounds.chain(["all".to_owned()]).zip(flushes.latencies).map(|(bound, commits)| {
        within += commits;
        let help = "Commits of the log that took at most so many seconds.";
        Figure::counter("store.commits_within", help, within).of("seconds", bound)
    });
    counted.collect()
}

struct OfBroker {
    broker: Arc<dyn Broker>,
    clock: Arc<dyn Clock>,
}

impl FigureSource for OfBroker {
    fn figures(&self) -> BoxFuture<'_, Vec<Figure>> {
        Box::pin(async {
            let queues = match self.broker.queues().await {
                Ok(queues) => queues,
                Err(error) => {
                    tracing::debug!(%error, "the broker tells no figures");
                    return vec![Figure::gauge("queue.reachable", "Whether the broker answers.", 0.0)];
                }
            };
            let mut figures = vec![Figure::gauge("queue.reachable", "Whether the broker answers.", 1.0)];
            for queue in &queues {
                let name = queue.queue.to_string();
                let oldest = queue.oldest_age.map_or(0.0, |age| age.as_secs_f64());
                let totals = &queue.totals;
                figures.extend(
                    [
                        Figure::gauge("queue.ready", "Jobs that wait for a worker.", queue.ready as f64),
                        Figure::gauge("queue.scheduled", "Jobs that wait for their time.", queue.scheduled as f64),
                        Figure::gauge("queue.running", "Jobs that workers hold.", queue.running as f64),
                        Figure::gauge(
                            "queue.retryable",
                            "Jobs that failed and wait for their next attempt.",
                            queue.retryable as f64,
                        ),
                        Figure::gauge("queue.discarded", "Jobs given up and kept.", queue.discarded as f64),
                        Figure::gauge("queue.oldest_seconds", "Seconds that the oldest job has waited.", oldest),
                        Figure::counter("queue.pushed", "Jobs pushed.", totals.pushed),
                        Figure::counter("queue.completed", "Jobs completed.", totals.completed),
                        Figure::counter("queue.rescued", "Jobs taken back from lost workers.", totals.rescued),
                        Figure::counter(
                            "queue.duplicates",
                            "Jobs not pushed: another had their key.",
                            totals.duplicates,
                        ),
                        Figure::counter(
                            "queue.retried",
                            "Attempts that failed and are followed by another.",
                            totals.retried,
                        ),
                        Figure::counter("queue.cancelled", "Jobs called off.", totals.cancelled),
                        Figure::counter("queue.given_up", "Jobs given up.", totals.discarded),
                        Figure::counter("queue.stale", "Settlements refused: the lease was lost.", totals.stale),
                        Figure::counter(
                            "queue.dropped",
                            "Discarded jobs dropped by the limit.",
                            totals.discarded_dropped,
                        ),
                        Figure::gauge("queue.paused", "Whether workers get nothing.", switch(queue.settings.paused)),
                        Figure::gauge(
                            "queue.draining",
                            "Whether it takes no new jobs.",
                            switch(queue.settings.draining),
                        ),
                    ]
                    .map(|figure| figure.of("queue", name.clone())),
                );
            }
            figures.extend(lost_jobs(self.broker.as_ref(), self.clock.now_ms()).await);
            match self.broker.workers().await {
                Ok(workers) => {
                    let running: u32 = workers.iter().map(|worker| worker.report.running).sum();
                    let count = workers.len() as f64;
                    figures.push(Figure::gauge("queue.workers", "Workers heard of lately.", count));
                    figures.push(Figure::gauge("queue.in_hand", "Jobs that they hold.", f64::from(running)));
                }
                Err(error) => tracing::debug!(%error, "the broker tells no workers"),
            }
            figures
        })
    }
}

/// Jobs that the broker lost and has again, by queue, for as long as its health tells of it.
async fn lost_jobs(broker: &dyn Broker, now_ms: i64) -> Vec<Figure> {
    let losses = match broker.losses().await {
        Ok(losses) => losses,
        Err(error) => {
            tracing::debug!(%error, "the broker tells no losses");
            return Vec::new();
        }
    };
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for loss in losses {
        let Some(found) = &loss.found else { continue };
        let sum = sums.entry(loss.queue.to_string()).or_default();
        // A queue that lost jobs once has a figure from then on, so that a rule sees it go back to 0.
        if now_ms.saturating_sub(loss.noticed_ms) < LOSSES_TOLD_MS {
            sum.0 = sum.0.saturating_add(found.lost_jobs);
            sum.1 = sum.1.saturating_add(found.resurrected_jobs);
        }
    }
    let figures = sums.into_iter().flat_map(|(queue, (lost, resurrected))| {
        [
            Figure::gauge("queue.lost_jobs", "Acknowledged jobs that the broker lost in the last hour.", lost as f64),
            Figure::gauge(
                "queue.resurrected_jobs",
                "Jobs that had ended and that the broker had again in the last hour.",
                resurrected as f64,
            ),
        ]
        .map(|figure| figure.of("queue", queue.clone()))
    });
    figures.collect()
}

fn switch(on: bool) -> f64 {
    f64::from(u8::from(on))
}

/// How many durations took at most so many seconds; every other bound will do.
fn within(name: &'static str, help: &'static str, times: &HistogramSnapshot) -> Vec<Figure> {
    let last = times.cumulative.len().saturating_sub(1);
    let bounds = times.cumulative.iter().enumerate().filter(|(place, _)| place.is_multiple_of(2) || *place == last);
    let figure = |(_, (bound, count)): (usize, &(Option<Duration>, u64))| {
        let bound = bound.map_or("all".to_owned(), |bound| bound.as_secs_f64().to_string());
        Figure::counter(name, help, *count).of("seconds", bound)
    };
    bounds.map(figure).collect()
}

struct OfWork {
    work: Arc<WorkFigures>,
    direct: DirectPointSink,
}

impl FigureSource for OfWork {
    fn figures(&self) -> BoxFuture<'_, Vec<Figure>> {
        Box::pin(async {
            let work = self.work.snapshot();
            let mut figures = vec![
                Figure::gauge("work.direct_waiting", "Batches that wait for the store.", self.direct.waiting() as f64),
                Figure::counter("work.stale", "Attempts whose lease was lost before they ended.", work.stale),
                Figure::counter("work.broker_failures", "Calls to the broker that failed.", work.broker_failures),
                Figure::counter(
                    "work.points_refused",
                    "Points of queued writes that the store refused for good.",
                    work.points_refused,
                ),
            ];
            for kind in &work.kinds {
                let name = kind.kind.name();
                figures.push(Figure::gauge("work.running", "Attempts that run.", kind.running as f64).of("kind", name));
                figures.push(Figure::counter("work.panics", "Attempts that panicked.", kind.panics).of("kind", name));
                figures.push(
                    Figure::counter("work.timeouts", "Attempts that took too long.", kind.timeouts).of("kind", name),
                );
                figures.push(
                    Figure::counter("work.put_off", "Jobs put off by a rate of all workers.", kind.put_off)
                        .of("kind", name),
                );
                let waited = within("work.wait_within", WAIT_HELP, &kind.wait);
                let ran = within("work.run_within", RUN_HELP, &kind.run);
                figures.extend(waited.into_iter().chain(ran).map(|figure| figure.of("kind", name)));
                for (end, count) in &kind.ends {
                    let figure = Figure::counter("work.attempts", "Attempts by how they ended.", *count);
                    figures.push(figure.of("kind", name).of("end", end.name()));
                }
            }
            for QueueFigures { queue, wait, run } in &work.queues {
                let waited = within("queue.wait_within", WAIT_HELP, wait);
                let ran = within("queue.run_within", RUN_HELP, run);
                let totals = [
                    Figure::total("queue.wait_seconds", "Seconds that jobs waited in all.", wait.sum.as_secs_f64()),
                    Figure::total("queue.run_seconds", "Seconds that attempts ran in all.", run.sum.as_secs_f64()),
                ];
                let all = waited.into_iter().chain(ran).chain(totals);
                figures.extend(all.map(|figure| figure.of("queue", queue.to_string())));
            }
            figures
        })
    }
}

const WAIT_HELP: &str = "Attempts that began at most so many seconds after they could, in this process.";
const RUN_HELP: &str = "Attempts that took at most so many seconds, in this process.";

struct OfApi(Arc<AppState>);

impl FigureSource for OfApi {
    fn figures(&self) -> BoxFuture<'_, Vec<Figure>> {
        Box::pin(async {
            let counters = &self.0.counters;
            let mut figures = vec![
                Figure::gauge("api.connections", "Open connections.", counters.connections.get() as f64),
                Figure::gauge("api.queries", "Queries under evaluation.", counters.queries.get() as f64),
            ];
            let help = "Samples of Prometheus that are no number or infinite and were left out.";
            figures.push(Figure::counter("api.samples_not_finite", help, counters.not_finite.get()));
            for points in counters.points.snapshot() {
                let protocol = points.protocol.as_str();
                figures.push(
                    Figure::counter("api.points_accepted", "Points taken.", points.accepted).of("protocol", protocol),
                );
                for (reason, count) in &points.rejected {
                    let figure = Figure::counter("api.points_rejected", "Points refused.", *count);
                    figures.push(figure.of("protocol", protocol).of("reason", reason.as_str()));
                }
            }
            for (label, count) in counters.requests.snapshot() {
                let of = |figure: Figure| {
                    figure.of("endpoint", label.endpoint.clone()).of("status", label.status.to_string())
                };
                figures.push(of(Figure::counter("api.requests", "Requests answered.", count.requests)));
                figures.push(of(Figure::total(
                    "api.request_seconds",
                    "Seconds that they took in all.",
                    count.time.as_secs_f64(),
                )));
            }
            figures
        })
    }
}

/// What the operating system knows of this process.
struct OfProcess;

impl FigureSource for OfProcess {
    fn figures(&self) -> BoxFuture<'_, Vec<Figure>> {
        Box::pin(async {
            let mut figures = Vec::new();
            if let Some(bytes) = resident_bytes() {
                figures.push(Figure::gauge(
                    "process.resident_bytes",
                    "Bytes of memory that the process holds.",
                    bytes as f64,
                ));
            }
            if let Some(seconds) = cpu_seconds() {
                figures.push(Figure::total("process.cpu_seconds", "Seconds of CPU that the process used.", seconds));
            }
            figures
        })
    }
}

fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// User and system time: fields 14 and 15 of `/proc/self/stat`, counted behind the name, which may have blanks.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: Vec<u64> = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    let per_second = rustix::param::clock_ticks_per_second();
    (ticks.len() == 2).then(|| ticks.iter().sum::<u64>() as f64 / per_second as f64)
}
