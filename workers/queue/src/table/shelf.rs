//! Finished jobs that are kept for a while.

use std::{collections::BTreeMap, sync::Arc};

use foldhash::{HashMap, HashMapExt};

use crate::{AttemptNote, JobId, JobRecord, JobState, JobView, LogLine};

/// Which shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShelfKind {
    /// Completed and cancelled jobs.
    History,
    /// Dead letters.
    Discarded,
}

/// A job that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) view: JobView,
    /// Without the payload when the job completed.
    pub(crate) record: Arc<JobRecord>,
    /// What its handlers said.
    pub(crate) log: Vec<LogLine>,
}

impl Finished {
    pub(crate) fn can_be_retried(&self) -> bool {
        self.view.state != JobState::Completed
    }

    /// Whether it should have a payload that is lost.
    pub(crate) fn has_lost_payload(&self) -> bool {
        self.can_be_retried() && self.record.payload.len() != self.view.payload_bytes
    }

    fn bytes(&self) -> u64 {
        let payload = self.record.data_bytes();
        let result = self.view.result.as_ref().map_or(0, bytes::Bytes::len);
        let log: usize = self.log.iter().map(|line| line.text.len() + 32).sum();
        let text = |attempt: &AttemptNote| attempt.error.as_ref().map_or(0, String::len) + 96;
        let attempts: usize = self.view.attempts.iter().map(text).sum();
        (payload + result + log + attempts + 400) as u64
    }

    /// The job with everything that is known of it.
    pub(crate) fn full_view(&self) -> JobView {
        JobView { payload: self.record.payload.clone(), log: self.log.clone(), ..self.view.clone() }
    }
}

/// Keeps the newest finished jobs within a number and a size.
pub(crate) struct Shelf {
    jobs: BTreeMap<u64, Arc<Finished>>,
    by_id: HashMap<JobId, u64>,
    bytes: u64,
    jobs_max: usize,
    bytes_max: u64,
    next_number: u64,
}

impl Shelf {
    pub(crate) fn new(jobs_max: usize, bytes_max: u64) -> Self {
        Self { jobs: BTreeMap::new(), by_id: HashMap::new(), bytes: 0, jobs_max, bytes_max, next_number: 1 }
    }

    /// Keeps a job under a new number.
    pub(crate) fn add(&mut self, finished: Arc<Finished>) -> u64 {
        let number = self.next_number;
        self.restore(number, finished);
        number
    }

    /// Keeps a job under the number it had.
    pub(crate) fn restore(&mut self, number: u64, finished: Arc<Finished>) {
        self.next_number = self.next_number.max(number + 1);
        self.bytes += finished.bytes();
        self.by_id.insert(finished.view.id, number);
        self.jobs.insert(number, finished);
    }

    /// Takes the oldest job off when there are too many or they are too large.
    pub(crate) fn pop_excess(&mut self) -> Option<(u64, Arc<Finished>)> {
        let over = self.jobs.len() > self.jobs_max || (self.bytes > self.bytes_max && self.jobs.len() > 1);
        if over { self.pop_oldest() } else { None }
    }

    /// The oldest job.
    pub(crate) fn oldest(&self) -> Option<&Finished> {
        self.jobs.first_key_value().map(|(_, finished)| &**finished)
    }

    pub(crate) fn pop_oldest(&mut self) -> Option<(u64, Arc<Finished>)> {
        let number = *self.jobs.first_key_value()?.0;
        self.remove(number).map(|finished| (number, finished))
    }

    pub(crate) fn get(&self, job: JobId) -> Option<&Arc<Finished>> {
        self.jobs.get(self.by_id.get(&job)?)
    }

    pub(crate) fn take(&mut self, job: JobId) -> Option<(u64, Arc<Finished>)> {
        let number = *self.by_id.get(&job)?;
        self.remove(number).map(|finished| (number, finished))
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Finished>> {
        let finished = self.jobs.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(finished.bytes());
        self.by_id.remove(&finished.view.id);
        Some(finished)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Finished> {
        self.jobs.values().map(|finished| &**finished)
    }
}
