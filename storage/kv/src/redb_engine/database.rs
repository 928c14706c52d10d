//! The redb file: opening it, opening it again, closing it, its size.

use std::{
    fs::{File, OpenOptions},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};

use super::{
    ENTRIES, LAYOUT, LAYOUT_VERSION, RedbOptions, SEQUENCE, STATE,
    backend::{Disk, WatchedFile},
    failure::{Failure, open_error},
};
use crate::KvError;

/// A redb database that can be opened again in place, and whose readers then get the new one.
pub(super) struct DatabaseFile {
    path: PathBuf,
    options: RedbOptions,
    disk: Arc<Disk>,
    handle: RwLock<Handle>,
}

enum Handle {
    Open(Database),
    /// It had to be opened again and could not be.
    Failed(KvError),
    Closed,
}

impl Handle {
    fn database(&self) -> Result<&Database, Failure> {
        match self {
            Self::Open(database) => Ok(database),
            Self::Failed(error) => Err(Failure::NotOpen(error.clone())),
            Self::Closed => Err(Failure::Closed),
        }
    }
}

impl DatabaseFile {
    /// Opens or creates the file and its tables.
    pub(super) fn open(path: &Path, options: RedbOptions, disk: Arc<Disk>) -> Result<Self, KvError> {
        let database = open_database(path, options, options.verify_on_open, &disk)?;
        let file = Self { path: path.into(), options, disk, handle: RwLock::new(Handle::Open(database)) };
        file.create_tables().map_err(|failure| file.open_failure(failure))?;
        file.check_layout()?;
        sync_folder(path).map_err(|error| file.open_failure(Failure::Broken(error.to_string())))?;
        Ok(file)
    }

    /// Closes the file and opens it again: redb refuses everything once an access of its file failed.
    ///
    /// # Errors
    /// Says why it cannot be opened; readers are told the same until a later call succeeds.
    pub(super) fn reopen(&self) -> Result<(), KvError> {
        let mut handle = self.handle.write();
        // The lock on the file goes with the old handle.
        *handle = Handle::Closed;
        match open_database(&self.path, self.options, false, &self.disk) {
            Ok(database) => {
                *handle = Handle::Open(database);
                Ok(())
            }
            Err(error) => {
                *handle = Handle::Failed(error.clone());
                Err(error)
            }
        }
    }

    /// Whether the file had to be opened again and could not be.
    pub(super) fn is_failed(&self) -> bool {
        matches!(*self.handle.read(), Handle::Failed(_))
    }

    /// Closes the file; snapshots that are still open cannot read any more.
    pub(super) fn close(&self) {
        let handle = std::mem::replace(&mut *self.handle.write(), Handle::Closed);
        let Handle::Open(database) = handle else { return };
        if let Err(error) = database.close() {
            tracing::warn!(%error, path = %self.path.display(), "closed the store with an error; it repairs itself when opened");
        }
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, Failure> {
        Ok(self.handle.read().database()?.begin_read()?)
    }

    /// Begins a transaction that is durable when its commit returns. Only the committer writes, so this never waits.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, Failure> {
        let mut transaction = self.handle.read().database()?.begin_write()?;
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    /// The sequence number of the newest durable commit.
    pub(super) fn stored_sequence(&self) -> Result<u64, Failure> {
        let state = self.begin_read()?.open_table(STATE)?;
        Ok(ReadableTable::get(&state, SEQUENCE)?.map_or(0, |sequence| sequence.value()))
    }

    /// Gives free pages inside the file back to the file system. Fails while a snapshot is open.
    pub(super) fn compact(&self) -> Result<bool, Failure> {
        match &mut *self.handle.write() {
            Handle::Open(database) => Ok(database.compact()?),
            Handle::Failed(error) => Err(Failure::NotOpen(error.clone())),
            Handle::Closed => Err(Failure::Closed),
        }
    }

    /// Why a commit may not begin now, if the file system has less space left than the options ask for.
    pub(super) fn check_free_space(&self) -> Result<(), KvError> {
        let Some(free) = free_bytes(&self.path) else { return Ok(()) };
        let limit = self.options.free_bytes_min;
        if free >= limit {
            return Ok(());
        }
        let path = self.path.display();
        Err(KvError::Full(format!("{free} bytes are free for `{path}`, and the store stops writing below {limit}")))
    }

    /// Bytes that the file takes on disk; what it has reserved and not yet written does not count.
    pub(super) fn disk_bytes(&self) -> Option<u64> {
        let metadata = std::fs::metadata(&self.path).ok()?;
        #[cfg(unix)]
        let allocated = std::os::unix::fs::MetadataExt::blocks(&metadata).saturating_mul(512);
        #[cfg(not(unix))]
        let allocated = u64::MAX;
        Some(metadata.len().min(allocated))
    }

    pub(super) fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn create_tables(&self) -> Result<(), Failure> {
        if self.begin_read()?.open_table(STATE).is_ok() {
            return Ok(());
        }
        let transaction = self.begin_write()?;
        {
            transaction.open_table(ENTRIES)?;
            let mut state = transaction.open_table(STATE)?;
            state.insert(LAYOUT, LAYOUT_VERSION)?;
            state.insert(SEQUENCE, 0)?;
        }
        Ok(transaction.commit()?)
    }

    fn check_layout(&self) -> Result<(), KvError> {
        let layout = || -> Result<u64, Failure> {
            let state = self.begin_read()?.open_table(STATE)?;
            Ok(ReadableTable::get(&state, LAYOUT)?.map_or(0, |layout| layout.value()))
        };
        match layout() {
            Ok(LAYOUT_VERSION) => Ok(()),
            Ok(other) => Err(KvError::Corrupt(format!(
                "the store `{}` has layout {other}; this version reads layout {LAYOUT_VERSION}",
                self.path()
            ))),
            Err(failure) => Err(self.open_failure(failure)),
        }
    }

    fn open_failure(&self, failure: Failure) -> KvError {
        let path = self.path();
        match failure {
            Failure::Full(text) => KvError::Full(format!("open the store `{path}`: {text}")),
            Failure::Corrupt(text) => KvError::Corrupt(format!("the store `{path}` is damaged: {text}")),
            Failure::Broken(text) => KvError::Unavailable(format!("open the store `{path}`: {text}")),
            Failure::NotOpen(error) => error,
            Failure::Closed => KvError::Closed,
        }
    }
}

fn open_database(path: &Path, options: RedbOptions, verify: bool, disk: &Arc<Disk>) -> Result<Database, KvError> {
    let name = path.display().to_string();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| open_error(&name, error.into()))?;
    let open = || -> Result<Database, redb::DatabaseError> {
        let mut builder = Builder::new();
        builder.set_cache_size(options.cache_bytes).set_check_integrity_on_open(verify);
        builder.create_with_backend(WatchedFile::new(file, Arc::clone(disk))?)
    };
    // redb trusts a file that was closed in order, and panics when somebody else has changed it since.
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => opened.map_err(|error| open_error(&name, error)),
        Err(_) => Err(KvError::Corrupt(format!("the store `{name}` is damaged: its engine cannot make sense of it"))),
    }
}

/// Makes the name of a new file durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(unix)]
fn free_bytes(path: &Path) -> Option<u64> {
    let status = rustix::fs::statvfs(path).ok()?;
    Some(status.f_bavail.saturating_mul(status.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_path: &Path) -> Option<u64> {
    None
}
