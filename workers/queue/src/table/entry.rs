//! A job that has not ended.

use std::{sync::Arc, time::Duration};

use tidemark_model::TimestampMs;

use super::Change;
use crate::{AttemptNote, JobNote, JobRecord, JobState, JobView, WorkerId, attempt_note::remember, view::JobFacts};

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
    /// Attempts that are over.
    pub(crate) attempts_made: Vec<AttemptNote>,
    /// What its handlers told.
    pub(crate) told: Option<Box<JobNote>>,
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
            attempts_made: Vec::new(),
            told: None,
        }
    }

    pub(crate) fn attempts_begun(&self) -> u32 {
        self.attempts + u32::from(self.state == JobState::Running)
    }

    /// What a durable broker has to write of an entry that was handed out before.
    pub(crate) fn update(&self, sequence: u64) -> Change {
        Change::Update {
            sequence,
            record: Arc::clone(&self.record),
            attempts: self.attempts,
            rescues: self.rescues,
            run_at_ms: self.run_at_ms,
            error: self.error.clone(),
            attempts_made: self.attempts_made.clone(),
        }
    }

    /// The attempt that runs.
    fn running_attempt(&self) -> Option<AttemptNote> {
        (self.state == JobState::Running).then(|| AttemptNote {
            number: self.attempts + 1,
            worker: self.worker.clone(),
            started_ms: self.started_ms,
            ended_ms: None,
            error: None,
        })
    }

    /// Remembers that the attempt which runs is over.
    pub(crate) fn end_attempt(&mut self, now_ms: TimestampMs, error: Option<&str>) {
        let Some(mut attempt) = self.running_attempt() else { return };
        attempt.end(now_ms, error);
        remember(&mut self.attempts_made, attempt);
    }

    /// What filters look at.
    pub(crate) fn facts(&self) -> JobFacts<'_> {
        JobFacts {
            kind: self.record.kind,
            queue: &self.record.queue,
            state: self.state,
            key: self.record.unique.as_ref().map(|unique| unique.key.as_str()),
            error: self.error.as_deref(),
            created_ms: self.record.created_ms,
        }
    }

    /// As lists show it: without log lines and payload.
    pub(crate) fn view(&self) -> JobView {
        let record = &self.record;
        let waits = matches!(self.state, JobState::Scheduled | JobState::Retryable);
        let mut attempts = self.attempts_made.clone();
        if let Some(running) = self.running_attempt() {
            remember(&mut attempts, running);
        }
        JobView {
            attempts,
            progress: self.told.as_ref().and_then(|told| told.progress.clone()),
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
        workflow: record.workflow,
        trace: record.trace,
        time_limit: record.time_limit,
        soft_limit: record.soft_limit,
        attempts: Vec::new(),
        progress: None,
        log: Vec::new(),
        payload_bytes: record.payload.len(),
        payload: bytes::Bytes::new(),
        result: None,
    }
}
