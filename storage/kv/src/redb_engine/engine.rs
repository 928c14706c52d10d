//! The handle.

use std::{
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use tokio::sync::{
    Semaphore,
    mpsc::{self, error::TrySendError},
    oneshot,
};

use super::{
    RedbOptions,
    backend::Disk,
    committer::{Committer, Request, Waiting},
    database::DatabaseFile,
    failure::Failure,
    snapshot::{RedbSnapshot, no_panic},
};
use crate::{BoxFuture, COMMIT_BYTES_MAX, Commit, CommitOutcome, Kv, KvError, KvSnapshot};

/// Slots of the queue beside those of the commits. Commits wait for their share of the queue's bytes and then always find
/// a slot.
const COMPACTIONS_MAX: usize = 4;

/// An ordered key-value store in one file. See the [module](super) for how it works.
pub struct RedbKv {
    database: Arc<DatabaseFile>,
    /// `None` once it is closed.
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    queued_bytes: Arc<Semaphore>,
    queue_bytes_max: usize,
    /// Least share of the queue's bytes that a commit takes, so that the queue's slots cannot run out.
    share_bytes_min: usize,
    committer: Mutex<Option<JoinHandle<()>>>,
    poison: Arc<Mutex<Option<String>>>,
}

impl RedbKv {
    /// Opens the file at `path`, or creates it, and starts the committer. Takes milliseconds, also after a crash.
    ///
    /// # Errors
    /// [`KvError::InUse`] when another process has the file open, [`KvError::Corrupt`] when it is no store, is damaged
    /// or of another version, [`KvError::Full`], or [`KvError::Unavailable`] when the file cannot be read or written.
    pub fn open(path: &Path, options: RedbOptions) -> Result<Self, KvError> {
        Self::open_on(path, options, Arc::default())
    }

    pub(super) fn open_on(path: &Path, options: RedbOptions, disk: Arc<Disk>) -> Result<Self, KvError> {
        let database = Arc::new(DatabaseFile::open(path, options, Arc::clone(&disk))?);
        let queue_commits_max = options.queue_commits_max.clamp(1, 1 << 20);
        let (sender, receiver) = mpsc::channel(queue_commits_max + COMPACTIONS_MAX);
        let poison = Arc::default();
        let (file, bytes) = (Arc::clone(&database), options.group_bytes_max);
        let committer = Committer::new(file, disk, receiver, bytes, Arc::clone(&poison))?;
        let thread = thread::Builder::new().name("store-committer".into()).spawn(|| committer.run());
        let thread = thread.map_err(|error| KvError::Unavailable(format!("start the committer: {error}")))?;
        let queue_bytes_max = options.queue_bytes_max.clamp(2 * COMMIT_BYTES_MAX, Semaphore::MAX_PERMITS);
        let share_bytes_min = queue_bytes_max.div_ceil(queue_commits_max);
        Ok(Self {
            database,
            requests: Mutex::new(Some(sender)),
            queued_bytes: Arc::new(Semaphore::new(queue_bytes_max)),
            queue_bytes_max,
            share_bytes_min,
            committer: Mutex::new(Some(thread)),
            poison,
        })
    }

    /// Why the store takes no more writes, if it failed to write: check the disk and restart the process.
    #[must_use]
    pub fn poisoned(&self) -> Option<String> {
        self.poison.lock().clone()
    }

    /// Bytes of commits that wait or are under way.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue_bytes_max.saturating_sub(self.queued_bytes.available_permits())
    }

    /// Gives free pages inside the file back to the file system; false when there was nothing to gain. Commits wait for
    /// it, and it takes about as long as reading and writing the whole file.
    ///
    /// # Errors
    /// [`KvError::Unavailable`] while a snapshot is open, or when several compactions wait already.
    pub async fn compact(&self) -> Result<bool, KvError> {
        let (answer, compacted) = oneshot::channel();
        self.send(Request::Compact(answer))?;
        compacted.await.map_err(|_| KvError::Closed)?
    }

    /// Finishes the commits that wait, closes the file and waits for the committer to end. Blocks the thread for as long
    /// as these commits take. Commits and snapshots that come later find the store closed. Dropping does the same.
    pub fn close(&self) {
        drop(self.requests.lock().take());
        self.queued_bytes.close();
        let committer = self.committer.lock().take();
        if let Some(Err(_)) = committer.map(JoinHandle::join) {
            tracing::error!("the committer of the store panicked");
        }
    }

    /// Hands a request to the committer without waiting, so that nobody holds the queue open while it is being closed.
    fn send(&self, request: Request) -> Result<(), KvError> {
        match self.requests.lock().as_ref().map(|requests| requests.try_send(request)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => Err(KvError::Unavailable("the committer's queue is full".into())),
            Some(Err(TrySendError::Closed(_))) | None => Err(KvError::Closed),
        }
    }

    /// Where the next frame of the journal goes.
    #[cfg(test)]
    pub(super) fn journal_position(&self) -> usize {
        self.database.journal().position()
    }

    async fn queue(&self, commit: Commit) -> CommitOutcome {
        if let Err(error) = commit.check_limits() {
            return CommitOutcome::Refused(error);
        }
        let share = commit.bytes().max(self.share_bytes_min);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let Ok(queued_bytes) = Arc::clone(&self.queued_bytes).acquire_many_owned(share).await else {
            return CommitOutcome::Refused(KvError::Closed);
        };
        let (answer, outcome) = oneshot::channel();
        if let Err(error) = self.send(Request::Commit(Waiting { commit, answer, _queued_bytes: queued_bytes })) {
            return CommitOutcome::Refused(error);
        }
        outcome.await.unwrap_or(CommitOutcome::Unknown(KvError::Closed))
    }
}

impl Kv for RedbKv {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn KvSnapshot>, KvError>> {
        Box::pin(async move {
            let open = || RedbSnapshot::new(&self.database.begin_read()?);
            let snapshot = no_panic(open);
            match snapshot {
                Ok(snapshot) => Ok(Arc::new(snapshot) as Arc<dyn KvSnapshot>),
                Err(Failure::Closed) => Err(KvError::Closed),
                Err(failure) => Err(failure.into_read_error()),
            }
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome> {
        Box::pin(self.queue(commit))
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn trouble(&self) -> Option<String> {
        self.poisoned()
    }

    fn disk_bytes(&self) -> Option<u64> {
        self.database.disk_bytes()
    }
}

impl Drop for RedbKv {
    fn drop(&mut self) {
        self.close();
    }
}
