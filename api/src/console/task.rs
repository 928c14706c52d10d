//! One job, one worker, one workflow, as the broker tells it.

use serde_json::Value;
use tidemark_dashboards::{
    AttemptRow, LogRow, NodeRow, TaskDetail, TaskPage, WorkerDetail, WorkerPage, WorkerQueueRow, WorkflowDetail,
    WorkflowPage,
};
use tidemark_queue::{
    AttemptNote, BrokerError, FailurePolicy, JobFilter, JobId, JobState, JobView, NodeView, Page, WorkflowId,
};

use super::{
    Console, JobSearch,
    tasks::{heartbeat_ms, job_row},
};
use crate::rest::{payload_json, result_of};

/// Jobs looked at for those that a job has caused.
const CHILDREN_SEARCHED: usize = 1_000;
/// Most of them that are shown.
const CHILDREN_SHOWN: usize = 20;
/// How long after its end a job may have caused another: clocks differ.
const CHILDREN_LATE_MS: i64 = 5_000;
/// Running jobs of a worker that are shown.
const RUNNING_SHOWN: usize = 100;
/// Parts of a workflow that are shown.
const NODES_SHOWN: usize = 500;
/// Longest text of arguments or a result that is shown, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

impl Console {
    /// The page of a job, if there is one.
    pub(crate) async fn task_page(&self, id: &str) -> Result<Option<TaskPage>, BrokerError> {
        let Ok(id) = id.parse::<JobId>() else { return Ok(None) };
        let Some(job) = self.seams.broker.job(id).await? else { return Ok(None) };
        let children = self.children(&job).await?;
        let now_ms = self.seams.clock.now_ms();
        Ok(Some(TaskPage { detail: task_detail(&job, &children, now_ms) }))
    }

    /// Jobs that this one has caused, the newest first: ids sort by time, so only those around its life are looked at.
    async fn children(&self, job: &JobView) -> Result<Vec<JobView>, BrokerError> {
        let before = job.finished_ms.map(|ended_ms| first_id_at(ended_ms.saturating_add(CHILDREN_LATE_MS)));
        let filter =
            JobFilter { since_ms: Some(job.created_ms.saturating_sub(CHILDREN_LATE_MS)), ..JobFilter::default() };
        let page = self.seams.broker.jobs(filter, Page { before, limit: CHILDREN_SEARCHED }).await?;
        let of_this = page.jobs.into_iter().filter(|other| other.parent == Some(job.id));
        Ok(of_this.take(CHILDREN_SHOWN).collect())
    }

    /// The page of a worker, if it was heard of lately.
    pub(crate) async fn worker_page(&self, name: &str) -> Result<Option<WorkerPage>, BrokerError> {
        let workers = self.seams.broker.workers().await?;
        let Some(worker) = workers.into_iter().find(|worker| worker.report.worker == name) else { return Ok(None) };
        let filter = JobFilter { state: Some(JobState::Running), ..JobFilter::default() };
        let running = JobSearch::of_worker(name, filter);
        let running = running.run(self.seams.broker.as_ref(), None, RUNNING_SHOWN).await?;
        let heartbeat_ms = heartbeat_ms(&worker, self.seams.clock.now_ms());
        let report = worker.report;
        let queues = report.queues.into_iter().map(|(name, concurrency)| WorkerQueueRow { name, concurrency });
        Ok(Some(WorkerPage {
            detail: WorkerDetail {
                id: report.worker,
                host: report.host,
                version: report.version,
                heartbeat_ms,
                started_ms: report.started_ms,
                attempts: report.attempts,
                running: report.running,
                queues: queues.collect(),
                jobs: running.jobs.iter().map(job_row).collect(),
            },
        }))
    }

    /// The page of a workflow, if there is one.
    pub(crate) async fn workflow_page(&self, id: &str) -> Result<Option<WorkflowPage>, BrokerError> {
        let Ok(id) = id.parse::<WorkflowId>() else { return Ok(None) };
        let Some(workflow) = self.seams.broker.workflow(id).await? else { return Ok(None) };
        let on_failure = match workflow.policy {
            FailurePolicy::Stop => "the rest is called off",
            FailurePolicy::GoOn => "what waits for it is left out",
        };
        Ok(Some(WorkflowPage {
            detail: WorkflowDetail {
                id: workflow.id.to_string(),
                name: workflow.name,
                state: workflow.state.name().to_owned(),
                on_failure: on_failure.to_owned(),
                created_ms: workflow.created_ms,
                ended_ms: workflow.ended_ms,
                nodes_total: workflow.nodes_total as u64,
                nodes_ended: workflow.nodes_ended as u64,
                left_out: workflow.nodes.len().saturating_sub(NODES_SHOWN) as u64,
                nodes: workflow.nodes.iter().take(NODES_SHOWN).map(node_row).collect(),
            },
        }))
    }
}

/// An id that sorts before those of all jobs made from this time on.
fn first_id_at(at_ms: i64) -> JobId {
    let millis = u128::try_from(at_ms).unwrap_or(0).min((1 << 48) - 1);
    JobId::from_bytes((millis << 80).to_be_bytes())
}

fn task_detail(job: &JobView, children: &[JobView], now_ms: i64) -> TaskDetail {
    let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    TaskDetail {
        job: job_row(job),
        priority: job.priority.name().to_owned(),
        unique_key: job.unique_key.clone().unwrap_or_default(),
        trace: job.trace.map(|trace| trace.to_string()).unwrap_or_default(),
        time_limit_ms: millis(job.time_limit),
        soft_limit_ms: job.soft_limit.map(millis),
        expires_ms: job.expires_ms,
        rescues: job.rescues,
        attempts: attempt_rows(&job.attempts, now_ms),
        log: job.log.iter().map(|line| LogRow { at_ms: line.at_ms, text: line.text.clone() }).collect(),
        payload: pretty(&payload_json(job.kind, &job.payload)),
        result: job.result.as_ref().map(|bytes| pretty(&result_of(job.kind, bytes))).unwrap_or_default(),
        parent: job.parent.map(|id| id.to_string()).unwrap_or_default(),
        children: children.iter().map(job_row).collect(),
        workflow: job.workflow.map(|node| node.workflow.to_string()).unwrap_or_default(),
    }
}

/// The attempts on one line of time, from the begin of the first to the end of the last.
fn attempt_rows(attempts: &[AttemptNote], now_ms: i64) -> Vec<AttemptRow> {
    let end_of = |attempt: &AttemptNote| attempt.ended_ms.unwrap_or(now_ms);
    let first_ms = attempts.iter().filter_map(|attempt| attempt.started_ms).min().unwrap_or(now_ms);
    let last_ms = attempts.iter().map(end_of).max().unwrap_or(now_ms);
    let span = last_ms.saturating_sub(first_ms).max(1) as f64;
    let percent = |millis: i64| (millis as f64 / span * 100.0).clamp(0.0, 100.0);
    let row = |attempt: &AttemptNote| {
        let started_ms = attempt.started_ms.unwrap_or_else(|| end_of(attempt));
        AttemptRow {
            number: attempt.number,
            worker: attempt.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
            started_ms: attempt.started_ms,
            ended_ms: attempt.ended_ms,
            error: attempt.error.clone().unwrap_or_default(),
            from_percent: percent(started_ms.saturating_sub(first_ms)),
            width_percent: percent(end_of(attempt).saturating_sub(started_ms)),
        }
    };
    attempts.iter().map(row).collect()
}

fn node_row(node: &NodeView) -> NodeRow {
    NodeRow {
        number: node.node.number(),
        job: node.job.to_string(),
        kind: node.kind.to_string(),
        state: node.state.name().to_owned(),
        after: node.after.iter().map(|before| before.number()).collect(),
        always: node.always,
        error: node.error.clone().unwrap_or_default(),
    }
}

/// Indented JSON; nothing for nothing.
fn pretty(value: &Value) -> String {
    if value.is_null() {
        return String::new();
    }
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    match text.char_indices().find(|(place, _)| *place >= TEXT_BYTES_MAX) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn attempts_share_a_line_of_time() {
        let attempt =
            |number, started_ms, ended_ms| AttemptNote { number, worker: None, started_ms, ended_ms, error: None };
        let rows = attempt_rows(&[attempt(1, Some(1_000), Some(2_000)), attempt(2, Some(4_000), None)], 5_000);
        let bars: Vec<_> = rows.iter().map(|row| (row.from_percent, row.width_percent)).collect();
        assert_eq!(bars, [(0.0, 25.0), (75.0, 25.0)]);
        let unknown = attempt_rows(&[attempt(1, None, Some(7))], 5_000);
        assert_eq!((unknown[0].from_percent, unknown[0].width_percent), (0.0, 0.0));
        assert!(attempt_rows(&[], 5_000).is_empty());
    }

    #[test]
    fn an_id_of_a_time_sorts_between_those_of_jobs() {
        let id = |text: &str| text.parse::<JobId>().unwrap();
        let at = first_id_at(1_700_000_000_000);
        assert!(at < id("018bcfe5-6800-7000-8000-000000000000"), "{at}");
        assert!(at > id("018bcfe5-67ff-7fff-bfff-ffffffffffff"), "{at}");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(pretty(&Value::Null), "");
        assert_eq!(pretty(&json!({"a": 1})), "{\n  \"a\": 1\n}");
        let cut = pretty(&json!("é".repeat(TEXT_BYTES_MAX)));
        assert!(cut.len() < TEXT_BYTES_MAX + 10 && cut.ends_with(" …"));
    }
}
