//! The task system, as the broker tells it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidemark_dashboards::{
    GraphQuery, JobRow, JobTable, QueueRow, QueueTable, ScheduleRow, ScheduleTable, TasksPage, WorkerRow, WorkerTable,
    WorkflowRow, WorkflowTable,
};
use tidemark_queue::{
    BrokerError, BrokerHealth, JobFilter, JobId, JobState, JobView, QueueSettings, QueueStats, Schedule, Timing,
    WorkerView, WorkflowView,
};
use tidemark_scheduler::{SchedulerHandle, next_times};

use super::{Console, JobSearch};

/// Jobs of one page.
const JOBS_LISTED: usize = 100;
/// Workflows of the page.
const WORKFLOWS_LISTED: usize = 20;
/// Slots that are shown of each schedule.
const SLOTS_SHOWN: usize = 5;
/// Jobs done over the last minutes, of each queue; every process of a broker counts the same.
const DONE: &str = "max:30s-max:rate{dropcounter}:tidemark.queue.completed{queue=*}";
const DONE_FROM: &str = "20m-ago";
/// How long that is good for: so often our own figures come.
const DONE_FRESH: Duration = Duration::from_secs(10);
/// Width of the picture in pixels.
const DONE_PX: u32 = 72;

/// What is listed of the jobs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JobsWanted<'a> {
    /// One state, or all.
    pub(crate) state: &'a str,
    /// Text of the search.
    pub(crate) search: &'a str,
    /// Only jobs before this one.
    pub(crate) before: &'a str,
}

/// Jobs done a minute over time, by queue.
pub(super) type DoneOverTime = Arc<HashMap<String, Vec<Option<f64>>>>;

impl Console {
    /// The page `/tasks`.
    pub(crate) async fn tasks_page(&self, wanted: JobsWanted<'_>) -> Result<TasksPage, BrokerError> {
        Ok(TasksPage {
            queues: self.queue_table().await?,
            jobs: self.job_table(wanted).await?,
            workflows: self.workflow_table().await?,
            workers: self.worker_table().await?,
            schedules: self.schedule_table().await?,
        })
    }

    async fn queue_table(&self) -> Result<QueueTable, BrokerError> {
        let queues = self.seams.broker.queues().await?;
        let BrokerHealth { description: broker, warnings, .. } = self.seams.broker.health().await;
        let done = self.done_over_time().await;
        Ok(QueueTable { broker, warnings, queues: queues.iter().map(|stats| queue_row(stats, &done)).collect() })
    }

    /// From our own store, so that a restart forgets nothing. A page without these pictures is better than none.
    async fn done_over_time(&self) -> DoneOverTime {
        let now = self.seams.clock.monotonic();
        let mut known = self.done_over_time.lock().await;
        if let Some((_, done)) = known.as_ref().filter(|(at, _)| now.saturating_sub(*at) < DONE_FRESH) {
            return Arc::clone(done);
        }
        let query = GraphQuery { m: DONE.to_owned(), label_tag: Some("queue".to_owned()) };
        let asked = match self.asker.window(DONE_FROM, "") {
            Ok(window) => self.asker.graph_or_empty(&[query], window, DONE_PX).await,
            Err(error) => Err(error),
        };
        let data = asked.unwrap_or_else(|error| {
            tracing::debug!(%error, "what queues did lately cannot be read");
            tidemark_dashboards::GraphData::default()
        });
        let per_minute = |values: Vec<Option<f64>>| values.into_iter().map(|value| Some(value? * 60.0)).collect();
        let done: HashMap<_, _> =
            data.series.into_iter().map(|series| (series.label, per_minute(series.values))).collect();
        let done = Arc::new(done);
        *known = Some((now, Arc::clone(&done)));
        done
    }

    async fn job_table(&self, wanted: JobsWanted<'_>) -> Result<JobTable, BrokerError> {
        let filter = JobFilter { state: JobState::from_name(wanted.state), ..JobFilter::default() };
        let mut table = JobTable {
            state: filter.state.map_or("", JobState::name).to_owned(),
            search: wanted.search.to_owned(),
            is_older: !wanted.before.is_empty(),
            ..JobTable::default()
        };
        let before = wanted.before.parse::<JobId>().ok();
        match JobSearch::parse(wanted.search, filter) {
            Err(wrong) => table.wrong = wrong,
            Ok(search) => {
                let page = search.run(self.seams.broker.as_ref(), before, JOBS_LISTED).await?;
                table.jobs = page.jobs.iter().map(job_row).collect();
                table.older = page.next.map(|id| id.to_string()).unwrap_or_default();
            }
        }
        Ok(table)
    }

    async fn workflow_table(&self) -> Result<WorkflowTable, BrokerError> {
        let page = self.seams.broker.workflows(None, WORKFLOWS_LISTED).await?;
        Ok(WorkflowTable { workflows: page.workflows.iter().map(workflow_row).collect(), more: page.next.is_some() })
    }

    async fn worker_table(&self) -> Result<WorkerTable, BrokerError> {
        let now_ms = self.seams.clock.now_ms();
        let workers = self.seams.broker.workers().await?;
        Ok(WorkerTable { workers: workers.iter().map(|worker| worker_row(worker, now_ms)).collect() })
    }

    async fn schedule_table(&self) -> Result<ScheduleTable, BrokerError> {
        let now_ms = self.seams.clock.now_ms();
        let schedules = self.seams.broker.schedules().await?;
        let rows = schedules.iter().map(|schedule| schedule_row(schedule, now_ms)).collect();
        // The broker tells nobody but the leader who leads, so that of other processes nothing is known here.
        let leads = self.seams.scheduler.as_ref().is_some_and(SchedulerHandle::leads);
        let leader = if leads { self.seams.scheduler_name.clone() } else { String::new() };
        Ok(ScheduleTable { leader, schedules: rows })
    }
}

fn queue_row(stats: &QueueStats, done: &DoneOverTime) -> QueueRow {
    QueueRow {
        name: stats.queue.to_string(),
        paused: stats.settings.paused,
        draining: stats.settings.draining,
        limits: limits(&stats.settings),
        available: stats.ready,
        running: stats.running,
        scheduled: stats.scheduled,
        retryable: stats.retryable,
        discarded: stats.discarded,
        oldest_age_ms: stats.oldest_age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
        completed_per_minute: Some(stats.ended_per_second * 60.0),
        recent_completed_per_minute: done.get(stats.queue.as_str()).cloned().unwrap_or_default(),
    }
}

/// What is limited, in a few words.
fn limits(settings: &QueueSettings) -> String {
    let rate = settings.rate.map(|rate| rate.to_string());
    let running = settings.running_max.map(|jobs| format!("at most {jobs} at a time"));
    let waiting = settings.jobs_max.map(|jobs| format!("at most {jobs} waiting"));
    [rate, running, waiting].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A job as lists show it.
pub(super) fn job_row(job: &JobView) -> JobRow {
    let progress = job.progress.as_ref();
    let share = progress.filter(|progress| progress.total > 0);
    JobRow {
        id: job.id.to_string(),
        kind: job.kind.to_string(),
        queue: job.queue.to_string(),
        state: job.state.name().to_owned(),
        attempt: job.attempt,
        attempts_max: job.attempts_max,
        enqueued_ms: job.created_ms,
        not_before_ms: job.not_before_ms,
        started_ms: job.started_ms,
        finished_ms: job.finished_ms,
        worker: job.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
        progress: share.map(|progress| (progress.done as f64 / progress.total as f64).clamp(0.0, 1.0)),
        doing: progress.and_then(|progress| progress.message.clone()).unwrap_or_default(),
        error: job.error.clone().unwrap_or_default(),
        can_retry: matches!(job.state, JobState::Discarded | JobState::Cancelled | JobState::Retryable),
        can_cancel: !job.state.is_final(),
    }
}

fn workflow_row(workflow: &WorkflowView) -> WorkflowRow {
    WorkflowRow {
        id: workflow.id.to_string(),
        name: workflow.name.clone(),
        state: workflow.state.name().to_owned(),
        created_ms: workflow.created_ms,
        nodes_total: workflow.nodes_total as u64,
        nodes_ended: workflow.nodes_ended as u64,
    }
}

fn worker_row(worker: &WorkerView, now_ms: i64) -> WorkerRow {
    let report = &worker.report;
    WorkerRow {
        id: report.worker.clone(),
        host: report.host.clone(),
        version: report.version.clone(),
        queues: report.queues.iter().map(|(queue, _)| queue.clone()).collect(),
        concurrency: report.queues.iter().map(|(_, jobs)| *jobs).sum(),
        running: report.running,
        heartbeat_ms: heartbeat_ms(worker, now_ms),
        started_ms: Some(report.started_ms),
        attempts: report.attempts,
    }
}

/// When a worker was last heard of.
pub(super) fn heartbeat_ms(worker: &WorkerView, now_ms: i64) -> i64 {
    now_ms.saturating_sub(i64::try_from(worker.silent_for.as_millis()).unwrap_or(i64::MAX))
}

fn schedule_row(schedule: &Schedule, now_ms: i64) -> ScheduleRow {
    let when = match &schedule.timing {
        Timing::Every(every_ms) => format!("every {}", tidemark_dashboards::format_duration(*every_ms as f64)),
        Timing::Cron { line, zone } => format!("{line} ({zone})"),
        Timing::Once(_) if schedule.is_done() => "once, done".to_owned(),
        Timing::Once(_) => "once".to_owned(),
    };
    let slots = next_times(&schedule.timing, now_ms, SLOTS_SHOWN).unwrap_or_default();
    ScheduleRow {
        name: schedule.name.clone(),
        kind: schedule.job.kind.to_string(),
        when,
        paused: schedule.paused,
        next_ms: if schedule.paused { Vec::new() } else { slots },
        last_ms: schedule.last_due_ms,
    }
}
