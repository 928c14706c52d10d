//! The thread that owns all writing.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{
    backend::Disk,
    database::DatabaseFile,
    failure::Failure,
    group::{GroupOutcome, write_group},
};
use crate::{Commit, CommitOutcome, KvError, Versionstamp};

/// What waits for the committer.
pub(super) enum Request {
    Commit(Waiting),
    Compact(oneshot::Sender<Result<bool, KvError>>),
}

/// A commit that waits, with its share of the queue's bytes.
pub(super) struct Waiting {
    pub(super) commit: Commit,
    pub(super) answer: oneshot::Sender<CommitOutcome>,
    pub(super) _queued_bytes: OwnedSemaphorePermit,
}

/// Why commits are not written at the moment.
struct Refusal {
    error: KvError,
    /// When space is low, what deletes goes on, or nothing would ever make space again.
    admits_deletes: bool,
}

impl Refusal {
    fn admits(&self, commit: &Commit) -> bool {
        self.admits_deletes && commit.mostly_deletes()
    }
}

/// Takes requests in groups until the queue is closed and empty, then closes the file.
pub(super) struct Committer {
    database: Arc<DatabaseFile>,
    disk: Arc<Disk>,
    requests: mpsc::Receiver<Request>,
    group_bytes_max: usize,
    /// Number of the newest durable commit.
    sequence: u64,
    /// Why nothing is written any more. Shared with the handles, for figures and readiness.
    poison: Arc<Mutex<Option<String>>>,
}

impl Committer {
    pub(super) fn new(
        database: Arc<DatabaseFile>,
        disk: Arc<Disk>,
        requests: mpsc::Receiver<Request>,
        group_bytes_max: usize,
        poison: Arc<Mutex<Option<String>>>,
    ) -> Result<Self, KvError> {
        let sequence = database.stored_sequence().map_err(Failure::into_read_error)?;
        Ok(Self { database, disk, requests, group_bytes_max, sequence, poison })
    }

    pub(super) fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let (group, other) = self.gather(first);
            if !group.is_empty() {
                self.commit_group(group);
            }
            if let Some(answer) = other {
                // Whoever asked may have gone.
                let _gone = answer.send(self.compact());
            }
        }
        self.database.close();
    }

    /// Everything that waits, up to the cap of bytes or the first request of another kind.
    fn gather(&mut self, first: Request) -> (Vec<Waiting>, Option<oneshot::Sender<Result<bool, KvError>>>) {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Commit(waiting) => {
                    bytes += waiting.commit.bytes();
                    group.push(waiting);
                }
                Request::Compact(answer) => return (group, Some(answer)),
            }
            next = if bytes < self.group_bytes_max { self.requests.try_recv().ok() } else { None };
        }
        (group, None)
    }

    fn commit_group(&mut self, group: Vec<Waiting>) {
        let refusal = self.refusal();
        let admitted = |commit: &Commit| refusal.as_ref().is_none_or(|refusal| refusal.admits(commit));
        let commits: Vec<_> = group.iter().map(|waiting| &waiting.commit).filter(|commit| admitted(commit)).collect();
        let mut written =
            if commits.is_empty() { Vec::new() } else { self.write(&commits, refusal.is_none()) }.into_iter();
        for Waiting { commit, answer, .. } in group {
            let outcome = match &refusal {
                Some(refusal) if !refusal.admits(&commit) => CommitOutcome::Refused(refusal.error.clone()),
                _ => written.next().unwrap_or(CommitOutcome::Unknown(KvError::Closed)),
            };
            // Whoever asked may have gone; the commit is as durable without them.
            let _gone = answer.send(outcome);
        }
    }

    /// Why commits are not written at the moment.
    fn refusal(&mut self) -> Option<Refusal> {
        if let Some(reason) = &*self.poison.lock() {
            return Some(Refusal { error: KvError::Unavailable(reason.clone()), admits_deletes: false });
        }
        let open = if self.database.is_failed() { self.reopen() } else { Ok(()) };
        if let Err(error) = open {
            return Some(Refusal { error, admits_deletes: false });
        }
        let error = self.database.check_free_space().err()?;
        Some(Refusal { error, admits_deletes: true })
    }

    /// What deletes while space is low goes past the journal, since only a durable transaction frees pages.
    fn write(&mut self, group: &[&Commit], journal_allowed: bool) -> Vec<CommitOutcome> {
        let written = || write_group(&self.database, group, self.sequence, journal_allowed);
        match catch_unwind(AssertUnwindSafe(written)) {
            Ok(GroupOutcome::Durable(answers, sequence)) => {
                self.sequence = sequence;
                answers.into_iter().map(outcome).collect()
            }
            Ok(GroupOutcome::NotWritten(failure)) => {
                vec![CommitOutcome::Refused(self.after_failure(failure)); group.len()]
            }
            Ok(GroupOutcome::Unclear(failure, answers, sequence)) => self.clear_up(failure, answers, sequence),
            Err(_) => {
                let error = self.poison("its engine panicked");
                vec![CommitOutcome::Unknown(error); group.len()]
            }
        }
    }

    /// Finds out whether a group whose commit failed is in the file.
    fn clear_up(
        &mut self,
        failure: Failure,
        answers: Vec<Result<Versionstamp, KvError>>,
        sequence: u64,
    ) -> Vec<CommitOutcome> {
        let error = self.after_failure(failure);
        if self.poison.lock().is_some() || self.database.is_failed() {
            // A commit with a failed expectation would have been refused either way.
            return answers.into_iter().map(|answer| unknown(answer, &error)).collect();
        }
        if self.sequence == sequence {
            answers.into_iter().map(outcome).collect()
        } else {
            vec![CommitOutcome::Refused(error); answers.len()]
        }
    }

    /// Opens the file again and goes on from the sequence number that is stored in it.
    fn reopen(&mut self) -> Result<(), KvError> {
        self.database.reopen()?;
        self.sequence = self.database.stored_sequence().map_err(Failure::into_read_error)?;
        Ok(())
    }

    /// Brings the file back into use if that is safe, and says what to tell the commits that failed.
    fn after_failure(&mut self, failure: Failure) -> KvError {
        match failure {
            Failure::Full(text) if !self.disk.sync_failed() => match self.reopen() {
                Ok(()) => KvError::Full(text),
                // The next commit tries again.
                Err(error @ KvError::Full(_)) => error,
                Err(error) => self.poison(&error.to_string()),
            },
            Failure::NotOpen(error) => error,
            Failure::Full(text) | Failure::Corrupt(text) | Failure::Broken(text) => self.poison(&text),
            Failure::Closed => KvError::Closed,
        }
    }

    fn poison(&self, reason: &str) -> KvError {
        let path = self.database.path();
        let text = format!(
            "the store `{path}` failed to write ({reason}) and takes no more writes: check the disk and restart"
        );
        tracing::error!(path, reason, "the store failed to write and takes no more writes: check the disk and restart");
        *self.poison.lock() = Some(text.clone());
        KvError::Unavailable(text)
    }

    fn compact(&mut self) -> Result<bool, KvError> {
        if let Some(reason) = &*self.poison.lock() {
            return Err(KvError::Unavailable(reason.clone()));
        }
        match self.database.compact() {
            Ok(compacted) => Ok(compacted),
            Err(Failure::Broken(text)) if !self.disk.sync_failed() => {
                Err(KvError::Unavailable(format!("compact the store: {text}")))
            }
            Err(failure) => Err(self.after_failure(failure)),
        }
    }
}

fn outcome(answer: Result<Versionstamp, KvError>) -> CommitOutcome {
    match answer {
        Ok(stamp) => CommitOutcome::Done(stamp),
        Err(error) => CommitOutcome::Refused(error),
    }
}

fn unknown(answer: Result<Versionstamp, KvError>, error: &KvError) -> CommitOutcome {
    match answer {
        Ok(_) => CommitOutcome::Unknown(error.clone()),
        Err(refusal) => CommitOutcome::Refused(refusal),
    }
}
