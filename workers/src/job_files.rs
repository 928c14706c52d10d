//! Files that jobs read and write: what was uploaded for them, and what they made.
//!
//! Both lie in one folder of the server, under names that are checked and can name nothing outside of it: no separator, no
//! leading dot, and no link is followed. A file is written under a name that nobody can ask for and gets its own when it is
//! whole. All files together have a limit, a share of the disk stays free for the store, and old files go by themselves.
//!
//! Everything here blocks; call it where that is allowed.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::fs::OFlags;
use tidemark_model::{Clock, TimestampMs};

/// Longest name of a file in bytes.
pub const FILE_NAME_BYTES_MAX: usize = 128;
/// Bytes of the disk that stay free, since a store without room takes no points.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// How many bytes are written between two looks at the room that there is.
const ROOM_BYTES: u64 = 16 << 20;
/// What unfinished files begin with.
const UNFINISHED: &str = ".unfinished-";

/// What an operator can set about the files of jobs.
#[derive(Clone, Debug)]
pub struct JobFileOptions {
    /// Where they lie. Processes on several hosts see each other's files only if it is one folder for all of them.
    pub folder: PathBuf,
    /// Most bytes of all files (`jobs.folder_bytes`).
    pub bytes_max: u64,
    /// After how long a file goes (`jobs.keep`).
    pub keep: Duration,
}

/// Which of the two kinds a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFileKind {
    /// It was uploaded, for a job to read.
    Upload,
    /// A job made it.
    Output,
}

/// The files of jobs.
pub struct JobFiles {
    options: JobFileOptions,
    clock: Arc<dyn Clock>,
    /// Makes names of unfinished files of this process differ.
    next: AtomicU64,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFileEntry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// When it was last written, in milliseconds since the epoch.
    pub written_ms: TimestampMs,
}

/// Why a file is not there, or not written.
#[derive(Debug, thiserror::Error)]
pub enum JobFileError {
    /// The name could be that of something else, or of nothing.
    #[error(
        "`{0}` is no name of a file: 1 to {FILE_NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`, and no `.` first"
    )]
    Name(String),
    /// There is no file of this name.
    #[error("there is no file `{0}`")]
    Missing(String),
    /// The files of jobs have as many bytes as they may have.
    #[error(
        "the files of jobs have {bytes} bytes and may not have more than {limit}; see `jobs.folder_bytes`, or delete some"
    )]
    Full {
        /// Bytes of all files.
        bytes: u64,
        /// Most that they may have.
        limit: u64,
    },
    /// What is left of the disk is for the store.
    #[error("the disk has {0} bytes left, and {FREE_BYTES_MIN} of them are kept for the store")]
    DiskFull(u64),
    /// The disk does not do what it should.
    #[error("{what}: {source}")]
    Disk {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl JobFiles {
    /// Files in a folder that is made when the first file comes.
    #[must_use]
    pub fn new(options: JobFileOptions, clock: Arc<dyn Clock>) -> Self {
        Self { options, clock, next: AtomicU64::new(0) }
    }

    /// Whether a file may have this name.
    ///
    /// # Errors
    /// [`JobFileError::Name`].
    pub fn check_name(name: &str) -> Result<(), JobFileError> {
        checked(name).map(drop)
    }

    /// Begins a file that takes the place of the one of this name once it is whole. Old files go first.
    ///
    /// # Errors
    /// For a bad name, and when there is no room.
    pub fn create(self: &Arc<Self>, kind: JobFileKind, name: &str) -> Result<UnfinishedFile, JobFileError> {
        let name = checked(name)?.to_owned();
        let folder = self.folder(kind);
        fs::create_dir_all(&folder).map_err(|error| disk("make the folder", &folder, error))?;
        // Exports hold points that not everybody on the host may read.
        fs::set_permissions(&self.options.folder, Permissions::from_mode(0o700))
            .map_err(|error| disk("protect the folder", &self.options.folder, error))?;
        self.sweep();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unfinished = folder.join(format!("{UNFINISHED}{}-{number}", std::process::id()));
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).custom_flags(no_follow()).open(&unfinished);
        let file = file.map_err(|error| disk("write", &unfinished, error))?;
        let files = Arc::clone(self);
        let mut begun = UnfinishedFile { files, path: unfinished, wanted: folder.join(name), file, bytes: 0, room: 0 };
        begun.look_for_room()?;
        Ok(begun)
    }

    /// Opens a file and tells its length.
    ///
    /// # Errors
    /// For a bad name, and when there is no such file.
    pub fn open(&self, kind: JobFileKind, name: &str) -> Result<(File, u64), JobFileError> {
        let path = self.folder(kind).join(checked(name)?);
        let missing = || JobFileError::Missing(name.to_owned());
        let opened = OpenOptions::new().read(true).custom_flags(no_follow()).open(&path);
        let file = opened.map_err(|error| {
            let is_link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
            if is_link || error.kind() == io::ErrorKind::NotFound { missing() } else { disk("read", &path, error) }
        })?;
        let metadata = file.metadata().map_err(|error| disk("read", &path, error))?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(missing()) }
    }

    /// The files of a kind, by name.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self, kind: JobFileKind) -> Result<Vec<JobFileEntry>, JobFileError> {
        let folder = self.folder(kind);
        let entries = entries(&folder).map_err(|error| disk("read", &folder, error))?;
        let mut files: Vec<_> = entries.into_iter().filter(|entry| checked(&entry.name).is_ok()).collect();
        files.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(files)
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// For a bad name, and when there is no such file.
    pub fn delete(&self, kind: JobFileKind, name: &str) -> Result<(), JobFileError> {
        let path = self.folder(kind).join(checked(name)?);
        fs::remove_file(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => JobFileError::Missing(name.to_owned()),
            _ => disk("delete", &path, error),
        })
    }

    fn folder(&self, kind: JobFileKind) -> PathBuf {
        self.options.folder.join(match kind {
            JobFileKind::Upload => "uploads",
            JobFileKind::Output => "outputs",
        })
    }

    /// Deletes old files, also those that were never finished. What cannot be deleted stays for the next time.
    fn sweep(&self) {
        let keep_ms = i64::try_from(self.options.keep.as_millis()).unwrap_or(i64::MAX);
        let old_ms = self.clock.now_ms().saturating_sub(keep_ms);
        for kind in [JobFileKind::Upload, JobFileKind::Output] {
            let folder = self.folder(kind);
            for entry in entries(&folder).unwrap_or_default().iter().filter(|entry| entry.written_ms < old_ms) {
                match fs::remove_file(folder.join(&entry.name)) {
                    Ok(()) => tracing::info!(file = entry.name, "deleted an old file of a job"),
                    Err(error) => tracing::debug!(file = entry.name, %error, "delete an old file of a job"),
                }
            }
        }
    }

    fn full(&self) -> JobFileError {
        JobFileError::Full { bytes: self.bytes(), limit: self.options.bytes_max }
    }

    /// Bytes of all files.
    fn bytes(&self) -> u64 {
        let bytes = |kind| entries(&self.folder(kind)).unwrap_or_default().iter().map(|entry| entry.bytes).sum::<u64>();
        bytes(JobFileKind::Upload).saturating_add(bytes(JobFileKind::Output))
    }
}

impl std::fmt::Debug for JobFiles {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("JobFiles").field("options", &self.options).finish_non_exhaustive()
    }
}

/// A file that is being written; dropping it before [`UnfinishedFile::finish`] deletes it.
#[derive(Debug)]
pub struct UnfinishedFile {
    files: Arc<JobFiles>,
    path: PathBuf,
    /// Where it goes when it is whole.
    wanted: PathBuf,
    file: File,
    bytes: u64,
    /// Bytes that may be written before the next look.
    room: u64,
}

impl UnfinishedFile {
    /// Appends bytes.
    ///
    /// # Errors
    /// When there is no room, or the disk fails.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), JobFileError> {
        let wanted = bytes.len() as u64;
        if wanted > self.room {
            self.look_for_room()?;
            if wanted > self.room {
                return Err(self.files.full());
            }
        }
        self.file.write_all(bytes).map_err(|error| disk("write", &self.path, error))?;
        self.bytes += wanted;
        self.room -= wanted;
        Ok(())
    }

    /// Makes the file durable and gives it its name; its length.
    ///
    /// # Errors
    /// The disk fails; the file is then deleted.
    pub fn finish(self) -> Result<u64, JobFileError> {
        self.file.sync_all().map_err(|error| disk("write", &self.path, error))?;
        fs::rename(&self.path, &self.wanted).map_err(|error| disk("write", &self.wanted, error))?;
        // IMPORTANT: the name has to outlive a failure of the machine as well, before anybody is told of it.
        let folder =
            self.wanted.parent().map_or(Ok(()), |folder| File::open(folder).and_then(|folder| folder.sync_all()));
        folder.map_err(|error| disk("write", &self.wanted, error))?;
        Ok(self.bytes)
    }

    fn look_for_room(&mut self) -> Result<(), JobFileError> {
        let of_limit = self.files.options.bytes_max.saturating_sub(self.files.bytes());
        if of_limit == 0 {
            return Err(self.files.full());
        }
        let statistics = rustix::fs::fstatvfs(&self.file).map_err(|error| disk("look at", &self.path, error.into()))?;
        let free = statistics.f_bavail.saturating_mul(statistics.f_frsize);
        let of_disk = free.saturating_sub(FREE_BYTES_MIN);
        if of_disk == 0 {
            return Err(JobFileError::DiskFull(free));
        }
        self.room = of_limit.min(of_disk).min(ROOM_BYTES);
        Ok(())
    }
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        // Once it is finished, nothing has this name any more.
        fs::remove_file(&self.path).ok();
    }
}

/// The files of a folder; none when there is no folder.
fn entries(folder: &Path) -> io::Result<Vec<JobFileEntry>> {
    let read = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let mut entries = Vec::new();
    for entry in read {
        let entry = entry?;
        let metadata = match entry.metadata() {
            // It went in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        if metadata.is_file() {
            let since_epoch = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let written_ms = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(JobFileEntry { name, bytes: metadata.len(), written_ms });
        }
    }
    Ok(entries)
}

/// The name, if it is one.
fn checked(name: &str) -> Result<&str, JobFileError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_name = (1..=FILE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_allowed);
    if is_name && !name.starts_with('.') {
        return Ok(name);
    }
    Err(JobFileError::Name(name.chars().take(FILE_NAME_BYTES_MAX).collect()))
}

fn no_follow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

fn disk(what: &str, path: &Path, source: io::Error) -> JobFileError {
    JobFileError::Disk { what: format!("{what} {}", path.display()), source }
}

#[cfg(test)]
mod tests {
    use tidemark_model::SystemClock;

    use super::*;

    fn files(folder: &Path, bytes_max: u64, keep: Duration) -> Arc<JobFiles> {
        let options = JobFileOptions { folder: folder.join("jobs"), bytes_max, keep };
        Arc::new(JobFiles::new(options, Arc::new(SystemClock::new())))
    }

    fn write(files: &Arc<JobFiles>, name: &str, bytes: &[u8]) -> Result<u64, JobFileError> {
        let mut file = files.create(JobFileKind::Upload, name)?;
        file.append(bytes)?;
        file.finish()
    }

    fn read(files: &JobFiles, name: &str) -> String {
        let (mut file, bytes) = files.open(JobFileKind::Upload, name).unwrap();
        let mut text = String::new();
        io::Read::read_to_string(&mut file, &mut text).unwrap();
        assert_eq!(text.len() as u64, bytes);
        text
    }

    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    #[test]
    fn a_file_has_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 1 << 20, WEEK);
        assert_eq!(write(&files, "a.csv", b"first").unwrap(), 5);
        let mut second = files.create(JobFileKind::Upload, "a.csv").unwrap();
        second.append(b"second").unwrap();
        assert_eq!(read(&files, "a.csv"), "first");
        second.finish().unwrap();
        assert_eq!(read(&files, "a.csv"), "second");
        let mut given_up = files.create(JobFileKind::Upload, "b.csv").unwrap();
        given_up.append(b"half").unwrap();
        drop(given_up);
        assert!(matches!(files.open(JobFileKind::Upload, "b.csv"), Err(JobFileError::Missing(_))));
        let names: Vec<_> = files.list(JobFileKind::Upload).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!((names, files.bytes()), (vec!["a.csv".to_owned()], 6));
        files.delete(JobFileKind::Upload, "a.csv").unwrap();
        assert!(matches!(files.delete(JobFileKind::Upload, "a.csv"), Err(JobFileError::Missing(_))));
        assert_eq!(files.list(JobFileKind::Output).unwrap(), []);
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 1 << 20, WEEK);
        fs::write(folder.path().join("secret"), "secret").unwrap();
        write(&files, "a", b"a").unwrap();
        let uploads = folder.path().join("jobs/uploads");
        std::os::unix::fs::symlink(folder.path().join("secret"), uploads.join("link")).unwrap();
        fs::create_dir(uploads.join("folder")).unwrap();
        for name in ["link", "folder"] {
            assert!(matches!(files.open(JobFileKind::Upload, name), Err(JobFileError::Missing(_))), "{name}");
        }
        for name in ["", ".", "..", "../secret", "/etc/passwd", "a/b", "a\\b", ".hidden", "a\0", "ä", &"x".repeat(129)]
        {
            assert!(matches!(files.open(JobFileKind::Upload, name), Err(JobFileError::Name(_))), "{name}");
            assert!(matches!(write(&files, name, b""), Err(JobFileError::Name(_))), "{name}");
            assert!(matches!(files.delete(JobFileKind::Upload, name), Err(JobFileError::Name(_))), "{name}");
        }
        // What takes the place of a link takes nothing from what it led to.
        write(&files, "link", b"mine").unwrap();
        assert_eq!(read(&files, "link"), "mine");
        assert_eq!(fs::read_to_string(folder.path().join("secret")).unwrap(), "secret");
    }

    #[test]
    fn all_files_together_have_a_limit_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 10, WEEK);
        write(&files, "a", b"12345678").unwrap();
        let error = write(&files, "b", b"123").unwrap_err().to_string();
        assert!(error.contains("`jobs.folder_bytes`"), "{error}");
        write(&files, "b", b"12").unwrap();
        assert!(matches!(files.create(JobFileKind::Output, "c"), Err(JobFileError::Full { bytes: 10, limit: 10 })));
        files.delete(JobFileKind::Upload, "a").unwrap();
        write(&files, "c", b"123").unwrap();
    }

    #[test]
    fn old_files_go_when_a_new_one_comes() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), 1 << 20, WEEK);
        write(&files, "old", b"old").unwrap();
        write(&files, "new", b"new").unwrap();
        let old = File::options().write(true).open(folder.path().join("jobs/uploads/old")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
        write(&files, "newer", b"newer").unwrap();
        let names: Vec<_> = files.list(JobFileKind::Upload).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["new", "newer"]);
    }
}
