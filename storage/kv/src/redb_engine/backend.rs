//! The file under redb, watched: whether an fsync ever failed, and a place where tests make the disk fail.

use std::{
    fs::File,
    io,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{BackendError, DatabaseError, StorageBackend, backends::FileBackend};

/// What is known about the disk, and what a test wants it to do. Shared by all handles of one store.
#[derive(Debug, Default)]
pub(super) struct Disk {
    sync_failed: AtomicBool,
    /// Writes that end beyond this offset find the disk full, if it is not zero: what has blocks can be overwritten.
    #[cfg(test)]
    pub(super) full_beyond: std::sync::atomic::AtomicU64,
    #[cfg(test)]
    pub(super) fail_syncs: AtomicBool,
}

impl Disk {
    /// Whether an fsync failed. What it should have written may be lost, whatever later calls say.
    pub(super) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::SeqCst)
    }

    #[cfg(test)]
    fn check_write(&self, end: u64) -> io::Result<()> {
        let limit = self.full_beyond.load(Ordering::SeqCst);
        if limit > 0 && end > limit { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "only tests make the disk fail")]
    fn check_write(&self, _end: u64) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn check_sync(&self) -> io::Result<()> {
        let broken = self.fail_syncs.load(Ordering::SeqCst);
        if broken { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "only tests make the disk fail")]
    fn check_sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// redb's own file backend, with an eye on its errors.
#[derive(Debug)]
pub(super) struct WatchedFile {
    file: FileBackend,
    disk: Arc<Disk>,
}

impl WatchedFile {
    pub(super) fn new(file: File, disk: Arc<Disk>) -> Result<Self, DatabaseError> {
        Ok(Self { file: FileBackend::new(file)?, disk })
    }
}

impl StorageBackend for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.disk.check_sync().and_then(|()| self.file.sync_data());
        if synced.is_err() {
            self.disk.sync_failed.store(true, Ordering::SeqCst);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.check_write(offset.saturating_add(data.len() as u64))?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
