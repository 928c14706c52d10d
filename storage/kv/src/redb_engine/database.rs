//! The redb file: opening it, opening it again, closing it, its size.

use std::{
    collections::hash_map::RandomState,
    fs::{File, OpenOptions},
    hash::{BuildHasher, Hasher},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard, RwLock};
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};

use super::{
    ENTRIES, JOURNAL, JOURNAL_BYTES, LAYOUT, LAYOUT_VERSION, LAYOUT_WITHOUT_JOURNAL, RedbOptions, SEQUENCE, STATE,
    backend::{Disk, WatchedFile},
    failure::{Failure, open_error},
    group::replay,
    journal::Journal,
};
use crate::KvError;

/// A redb database that can be opened again in place, and whose readers then get the new one.
pub(super) struct DatabaseFile {
    path: PathBuf,
    options: RedbOptions,
    disk: Arc<Disk>,
    handle: RwLock<Handle>,
    journal: Mutex<Journal>,
}

/// What makes a transaction durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// Its own commit, together with everything before it.
    InFile,
    /// The journal, where it has to be before its commit.
    InJournal,
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
        // Before the journal is there, its id has to be: a crash between the two leaves an id without a journal.
        let Prepared { journal_id, journal_bytes: promised_bytes } = prepare(path, &database)?;
        let RedbOptions { journal_bytes, journal_group_bytes, .. } = options;
        let journal = Journal::open(path, journal_id, journal_bytes, journal_group_bytes, &disk)?;
        journal.check_length(promised_bytes)?;
        let handle = RwLock::new(Handle::Open(database));
        let file = Self { path: path.into(), options, disk, handle, journal: Mutex::new(journal) };
        file.replay().map_err(|failure| open_failure(path, failure))?;
        file.reserve_journal(promised_bytes)?;
        sync_folder(path).map_err(|error| open_failure(path, Failure::Broken(error.to_string())))?;
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
            Ok(database) => *handle = Handle::Open(database),
            Err(error) => {
                *handle = Handle::Failed(error.clone());
                return Err(error);
            }
        }
        drop(handle);
        self.replay().map_err(|failure| {
            let error = open_failure(&self.path, failure);
            // Nobody may read the store without what was acknowledged.
            *self.handle.write() = Handle::Failed(error.clone());
            error
        })
    }

    /// The journal; only the committer asks for it.
    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock()
    }

    /// Gives the journal its length, and notes that it has it, unless `noted` says so already: from here on, a shorter one
    /// has lost something. Without room on the disk there is no journal.
    fn reserve_journal(&self, noted: u64) -> Result<(), KvError> {
        match self.try_to_reserve_journal(noted) {
            Ok(()) => Ok(()),
            Err(Failure::Full(reason)) => {
                let path = self.path.with_extension("journal");
                tracing::warn!(reason, journal = %path.display(), "no room for the journal: writes take longer");
                self.journal.lock().give_up();
                // redb refuses everything once an access of its file failed.
                self.reopen()
            }
            Err(failure) => Err(open_failure(&self.path, failure)),
        }
    }

    fn try_to_reserve_journal(&self, noted: u64) -> Result<(), Failure> {
        let mut journal = self.journal.lock();
        let bytes = journal.reserve()?;
        if bytes == noted {
            return Ok(());
        }
        sync_folder(&self.path).map_err(|error| Failure::Broken(error.to_string()))?;
        note_journal_bytes(self.handle.read().database()?, bytes)?;
        // That was durable, and so is everything before it.
        journal.start_over();
        Ok(())
    }

    fn replay(&self) -> Result<(), Failure> {
        replay(self, &mut self.journal.lock(), self.stored_sequence()?)
    }

    /// Whether the file had to be opened again and could not be.
    pub(super) fn is_failed(&self) -> bool {
        matches!(*self.handle.read(), Handle::Failed(_))
    }

    /// Closes the file; snapshots that are still open cannot read any more.
    pub(super) fn close(&self) {
        let handle = std::mem::replace(&mut *self.handle.write(), Handle::Closed);
        let Handle::Open(database) = handle else { return };
        let mut journal = self.journal.lock();
        let close = || -> Result<(), String> {
            // Also what the journal holds: the transaction is durable.
            note_journal_bytes(&database, 0).map_err(|failure| format!("{failure:?}"))?;
            database.close().map_err(|error| error.to_string())?;
            journal.empty().map_err(|error| error.to_string())
        };
        if let Err(error) = close() {
            tracing::warn!(%error, path = %self.path.display(), "closed the store with an error; it repairs itself when opened");
        }
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, Failure> {
        Ok(self.handle.read().database()?.begin_read()?)
    }

    /// Begins a transaction. Only the committer writes, so this never waits.
    pub(super) fn begin_write(&self, durability: Durability) -> Result<WriteTransaction, Failure> {
        let handle = self.handle.read();
        let database = handle.database()?;
        match durability {
            Durability::InFile => begin_durable(database),
            Durability::InJournal => {
                let mut transaction = database.begin_write()?;
                let set = transaction.set_durability(redb::Durability::None);
                set.map_err(|error| Failure::Broken(error.to_string()))?;
                Ok(transaction)
            }
        }
    }

    /// The sequence number of the newest durable commit.
    pub(super) fn stored_sequence(&self) -> Result<u64, Failure> {
        let state = self.begin_read()?.open_table(STATE)?;
        Ok(ReadableTable::get(&state, SEQUENCE)?.map_or(0, |sequence| sequence.value()))
    }

    /// Gives free pages inside the file back to the file system. Fails while a snapshot is open.
    pub(super) fn compact(&self) -> Result<bool, Failure> {
        match &mut *self.handle.write() {
            Handle::Open(database) => {
                begin_durable(database)?.commit()?;
                self.journal.lock().start_over();
                Ok(database.compact()?)
            }
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

    /// Bytes that the file and its journal take on disk; what is reserved and not yet written does not count.
    pub(super) fn disk_bytes(&self) -> Option<u64> {
        let journal = disk_bytes(&self.path.with_extension("journal")).unwrap_or(0);
        Some(disk_bytes(&self.path)? + journal)
    }

    pub(super) fn path(&self) -> String {
        self.path.display().to_string()
    }
}

/// What a file says of its journal.
struct Prepared {
    journal_id: u64,
    /// How long it is at least.
    journal_bytes: u64,
}

/// Creates the tables of a new file, and makes an older layout ours.
fn prepare(path: &Path, database: &Database) -> Result<Prepared, KvError> {
    let state = || -> Result<Option<(u64, Prepared)>, Failure> {
        let Ok(state) = database.begin_read()?.open_table(STATE) else { return Ok(None) };
        let field = |name: &str| -> Result<u64, Failure> {
            Ok(ReadableTable::get(&state, name)?.map_or(0, |value| value.value()))
        };
        let prepared = Prepared { journal_id: field(JOURNAL)?, journal_bytes: field(JOURNAL_BYTES)? };
        Ok(Some((field(LAYOUT)?, prepared)))
    };
    let found = state().map_err(|failure| open_failure(path, failure))?;
    match found {
        Some((LAYOUT_VERSION, prepared)) => Ok(prepared),
        None | Some((LAYOUT_WITHOUT_JOURNAL, _)) => {
            let journal_id = new_journal_id();
            create_tables(database, journal_id).map_err(|failure| open_failure(path, failure))?;
            Ok(Prepared { journal_id, journal_bytes: 0 })
        }
        Some((other, _)) => Err(KvError::Corrupt(format!(
            "the store `{}` has layout {other}; this version reads layout {LAYOUT_VERSION}",
            path.display()
        ))),
    }
}

/// Tells journals of different stores apart, which is all that it is for: so the seed of a hash map will do.
fn new_journal_id() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn create_tables(database: &Database, journal: u64) -> Result<(), Failure> {
    let transaction = begin_durable(database)?;
    {
        transaction.open_table(ENTRIES)?;
        let mut state = transaction.open_table(STATE)?;
        state.insert(LAYOUT, LAYOUT_VERSION)?;
        state.insert(JOURNAL, journal)?;
        if state.get(SEQUENCE)?.is_none() {
            state.insert(SEQUENCE, 0)?;
        }
    }
    Ok(transaction.commit()?)
}

/// Notes how long the journal is at least, and makes everything durable in the file.
fn note_journal_bytes(database: &Database, bytes: u64) -> Result<(), Failure> {
    let transaction = begin_durable(database)?;
    transaction.open_table(STATE)?.insert(JOURNAL_BYTES, bytes)?;
    Ok(transaction.commit()?)
}

/// Begins a transaction whose commit makes everything before it durable in the file as well.
fn begin_durable(database: &Database) -> Result<WriteTransaction, Failure> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn open_failure(path: &Path, failure: Failure) -> KvError {
    let path = path.display();
    match failure {
        Failure::Full(text) => KvError::Full(format!("open the store `{path}`: {text}")),
        Failure::Corrupt(text) => KvError::Corrupt(format!("the store `{path}` is damaged: {text}")),
        Failure::Broken(text) => KvError::Unavailable(format!("open the store `{path}`: {text}")),
        Failure::NotOpen(error) => error,
        Failure::Closed => KvError::Closed,
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

fn disk_bytes(path: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let allocated = std::os::unix::fs::MetadataExt::blocks(&metadata).saturating_mul(512);
    #[cfg(not(unix))]
    let allocated = u64::MAX;
    Some(metadata.len().min(allocated))
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
