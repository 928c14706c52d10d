//! Bounded reading of the kernel's files.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::collector::CollectError;

/// `/proc/interrupts` of a machine with 256 processors has about 1 MB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Most entries of a folder that are looked at.
const FOLDER_ENTRIES_MAX: usize = 4096;

/// Files below the root of the host, or of a folder with captured files in tests.
#[derive(Clone, Debug)]
pub(crate) struct HostFiles {
    root: PathBuf,
}

impl HostFiles {
    /// The files of this host.
    pub(crate) fn system() -> Self {
        Self { root: PathBuf::from("/") }
    }

    /// The text of a file, such as `proc/stat`. Bytes that are no UTF-8 are replaced.
    pub(crate) fn read(&self, path: &str) -> Result<String, CollectError> {
        self.read_bounded(path).map_err(|error| error.into_collect_error(path))
    }

    /// The text of a file that some kernels do not have; `None` without it.
    pub(crate) fn read_optional(&self, path: &str) -> Result<Option<String>, CollectError> {
        match self.read_bounded(path) {
            Ok(text) => Ok(Some(text)),
            Err(ReadProblem::Io(error)) if is_absent(&error) => Ok(None),
            Err(error) => Err(error.into_collect_error(path)),
        }
    }

    /// Whether there is a file or folder at `path`.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Names of the entries of a folder; none when there is no such folder.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.root.join(path)) else { return Vec::new() };
        entries
            .take(FOLDER_ENTRIES_MAX)
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    fn read_bounded(&self, path: &str) -> Result<String, ReadProblem> {
        read_text(&self.root.join(path), FILE_BYTES_MAX)
    }
}

enum ReadProblem {
    Io(io::Error),
    TooLarge,
}

impl ReadProblem {
    fn into_collect_error(self, path: &str) -> CollectError {
        match self {
            Self::Io(source) => CollectError::Read { path: path.to_owned(), source },
            Self::TooLarge => CollectError::TooLarge { path: path.to_owned(), limit: FILE_BYTES_MAX },
        }
    }
}

fn read_text(path: &Path, bytes_max: u64) -> Result<String, ReadProblem> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes)).map_err(ReadProblem::Io)?;
    if bytes.len() as u64 > bytes_max {
        return Err(ReadProblem::TooLarge);
    }
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Kernels answer `EINVAL`, `ENODEV` or `EOPNOTSUPP` where a device or feature is there but has nothing to say.
fn is_absent(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    error.kind() == io::ErrorKind::NotFound
        || matches!(code, Some(rustix::io::Errno::INVAL | rustix::io::Errno::NODEV | rustix::io::Errno::OPNOTSUPP))
}

#[cfg(test)]
impl HostFiles {
    pub(crate) fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_the_limit_is_refused_rather_than_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stat");
        std::fs::write(&path, "12345").unwrap();
        assert!(read_text(&path, 5).is_ok_and(|text| text == "12345"));
        assert!(matches!(read_text(&path, 4), Err(ReadProblem::TooLarge)));
    }

    #[test]
    fn an_absent_file_is_an_error_only_where_it_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let files = HostFiles::below(folder.path());
        assert!(matches!(files.read_optional("proc/pressure/cpu"), Ok(None)));
        let error = files.read("proc/stat").unwrap_err();
        assert!(error.to_string().starts_with("read `proc/stat`"), "{error}");
    }
}
