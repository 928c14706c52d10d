//! The task system, as the broker tells it.

use tidemark_dashboards::{
    JobRow, JobTable, QueueRow, QueueTable, ScheduleRow, ScheduleTable, TasksPage, WorkerRow, WorkerTable,
};
use tidemark_queue::{BrokerError, JobFilter, JobState, JobView, Page, QueueStats, Schedule, Timing, WorkerView};

use tidemark_scheduler::{SchedulerHandle, next_times};

use super::Console;

/// Jobs of one page.
const JOBS_LISTED: usize = 100;
/// Jobs that a search looks through.
const JOBS_SEARCHED: usize = Page::LIMIT_MAX;

impl Console {
    /// The page `/tasks`.
    pub(crate) async fn tasks_page(&self, state: &str, search: &str) -> Result<TasksPage, BrokerError> {
        Ok(TasksPage {
            queues: self.queue_table().await?,
            jobs: self.job_table(state, search).await?,
            workers: self.worker_table().await?,
            schedules: self.schedule_table().await?,
        })
    }

    pub(crate) async fn queue_table(&self) -> Result<QueueTable, BrokerError> {
        let queues = self.seams.broker.queues().await?;
        let broker = self.seams.broker.health().await.description;
        Ok(QueueTable { broker, queues: queues.iter().map(queue_row).collect() })
    }

    pub(crate) async fn job_table(&self, state: &str, search: &str) -> Result<JobTable, BrokerError> {
        let filter = JobFilter { state: JobState::from_name(state), ..JobFilter::default() };
        let wanted = if search.is_empty() { JOBS_LISTED } else { JOBS_SEARCHED };
        let page = self.seams.broker.jobs(filter, Page::first(wanted)).await?;
        let rows = page.jobs.iter().map(job_row);
        let fits = |row: &JobRow| [&row.id, &row.kind, &row.error].iter().any(|text| text.contains(search));
        let mut jobs: Vec<JobRow> = rows.filter(fits).collect();
        let left_out = jobs.len().saturating_sub(JOBS_LISTED) + usize::from(page.next.is_some());
        jobs.truncate(JOBS_LISTED);
        Ok(JobTable { state: state.to_owned(), search: search.to_owned(), jobs, left_out: left_out as u64 })
    }

    pub(crate) async fn worker_table(&self) -> Result<WorkerTable, BrokerError> {
        let now_ms = self.seams.clock.now_ms();
        let workers = self.seams.broker.workers().await?;
        Ok(WorkerTable { workers: workers.iter().map(|worker| worker_row(worker, now_ms)).collect() })
    }

    pub(crate) async fn schedule_table(&self) -> Result<ScheduleTable, BrokerError> {
        let now_ms = self.seams.clock.now_ms();
        let schedules = self.seams.broker.schedules().await?;
        let rows = schedules.iter().map(|schedule| schedule_row(schedule, now_ms)).collect();
        // The broker tells nobody but the leader who leads, so that of other processes nothing is known here.
        let leads = self.seams.scheduler.as_ref().is_some_and(SchedulerHandle::leads);
        let leader = if leads { self.seams.scheduler_name.clone() } else { String::new() };
        Ok(ScheduleTable { leader, schedules: rows })
    }
}

fn queue_row(stats: &QueueStats) -> QueueRow {
    QueueRow {
        name: stats.queue.to_string(),
        paused: stats.settings.paused,
        available: stats.ready,
        running: stats.running,
        scheduled: stats.scheduled,
        retryable: stats.retryable,
        discarded: stats.discarded,
        oldest_age_ms: stats.oldest_age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
        completed_per_minute: Some(stats.ended_per_second * 60.0),
        recent_completed_per_minute: Vec::new(),
    }
}

fn job_row(job: &JobView) -> JobRow {
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
        progress: None,
        error: job.error.clone().unwrap_or_default(),
        can_retry: matches!(job.state, JobState::Discarded | JobState::Cancelled | JobState::Retryable),
        can_cancel: !job.state.is_final(),
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
        heartbeat_ms: now_ms - i64::try_from(worker.silent_for.as_millis()).unwrap_or(i64::MAX),
        started_ms: Some(report.started_ms),
        completed: None,
        failed: None,
    }
}

fn schedule_row(schedule: &Schedule, now_ms: i64) -> ScheduleRow {
    let when = match &schedule.timing {
        Timing::Every(every_ms) => format!("every {}", tidemark_dashboards::format_duration(*every_ms as f64)),
        Timing::Cron { line, zone } => format!("{line} ({zone})"),
        Timing::Once(_) if schedule.is_done() => "once, done".to_owned(),
        Timing::Once(_) => "once".to_owned(),
    };
    ScheduleRow {
        name: schedule.name.clone(),
        kind: schedule.job.kind.to_string(),
        when: if schedule.paused { format!("{when}, paused") } else { when },
        next_ms: next_times(&schedule.timing, now_ms, 1)
            .ok()
            .and_then(|times| times.first().copied())
            .filter(|_| !schedule.paused),
        last_ms: schedule.last_due_ms,
    }
}
