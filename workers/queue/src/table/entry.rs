//! A job that has not ended.

use std::{sync::Arc, time::Duration};

use tidemark_model::TimestampMs;

use crate::{JobRecord, JobState, JobView, WorkerId};

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: Arc<JobRecord>,
    pub(crate) state: JobState,
    /// Attempts that ended in failure.
    pub(crate) attempts: u32,
    pub(crate) rescues: u32,
    /// When it starts, or since when it could.
    pub(crate) run_at_ms: TimestampMs,
    pub(crate) error: Option<String>,
    /// The lease, while it runs.
    pub(crate) token: u64,
    pub(crate) expires: Duration,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) started_ms: Option<TimestampMs>,
    pub(crate) cancel_requested: bool,
}

impl Entry {
    pub(crate) fn new(record: Arc<JobRecord>, run_at_ms: TimestampMs) -> Self {
        Self {
            record,
            state: JobState::Available,
            attempts: 0,
            rescues: 0,
            run_at_ms,
            error: None,
            token: 0,
            expires: Duration::ZERO,
            worker: None,
            started_ms: None,
            cancel_requested: false,
        }
    }

    pub(crate) fn attempts_begun(&self) -> u32 {
        self.attempts + u32::from(self.state == JobState::Running)
    }

    pub(crate) fn view(&self) -> JobView {
        let record = &self.record;
        let waits = matches!(self.state, JobState::Scheduled | JobState::Retryable);
        JobView {
            not_before_ms: if waits { Some(self.run_at_ms) } else { record.not_before_ms },
            started_ms: self.started_ms,
            worker: self.worker.clone(),
            error: self.error.clone(),
            rescues: self.rescues,
            ..view_of(record, self.state, self.attempts_begun())
        }
    }
}

/// What a record alone tells.
pub(crate) fn view_of(record: &JobRecord, state: JobState, attempt: u32) -> JobView {
    JobView {
        id: record.id,
        kind: record.kind,
        queue: record.queue.clone(),
        priority: record.priority,
        state,
        attempt,
        attempts_max: record.attempts_max,
        rescues: 0,
        created_ms: record.created_ms,
        not_before_ms: record.not_before_ms,
        expires_ms: record.expires_ms,
        started_ms: None,
        finished_ms: None,
        worker: None,
        error: None,
        unique_key: record.unique.as_ref().map(|unique| unique.key.clone()),
        parent: record.parent,
        trace: record.trace,
        time_limit: record.time_limit,
        payload_bytes: record.payload.len(),
        payload: bytes::Bytes::new(),
        result: None,
    }
}
