//! Finds the programs.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{builtin, own_metrics};

/// Most programs of one directory.
const PROGRAMS_MAX: usize = 512;

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// `None` for one that runs all the time.
    pub(crate) interval: Option<Duration>,
    pub(crate) modified: SystemTime,
}

/// The programs by name, and what is wrong with others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) found: BTreeMap<String, Found>,
    pub(crate) problems: Vec<String>,
}

/// Reads a directory. Folders that are no numbers, hidden files, and files that cannot be run are passed over.
pub(crate) fn scan(directory: &Path) -> io::Result<Scan> {
    let mut scan = Scan::default();
    for (seconds, folder) in interval_folders(directory)? {
        match fs::read_dir(&folder) {
            Ok(entries) => entries.filter_map(Result::ok).for_each(|entry| scan.consider(seconds, &entry)),
            Err(error) => scan.problems.push(format!("read `{}`: {error}", folder.display())),
        }
    }
    Ok(scan)
}

fn interval_folders(directory: &Path) -> io::Result<BTreeMap<u64, PathBuf>> {
    let mut folders = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        if let Some(Ok(seconds)) = number.map(str::parse::<u64>)
            && entry.path().is_dir()
        {
            folders.entry(seconds).or_insert_with(|| entry.path());
        }
    }
    Ok(folders)
}

impl Scan {
    fn consider(&mut self, seconds: u64, entry: &fs::DirEntry) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if name.starts_with('.') {
            return;
        }
        // Not the entry's own: users link programs into the folders.
        let Ok(metadata) = fs::metadata(&path) else { return };
        if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            return;
        }
        if let Some(problem) = self.problem_with(&name, &path) {
            self.problems.push(problem);
            return;
        }
        let interval = (seconds > 0).then(|| Duration::from_secs(seconds));
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        self.found.insert(name, Found { path, interval, modified });
    }

    fn problem_with(&self, name: &str, path: &Path) -> Option<String> {
        if let Some(other) = self.found.get(name) {
            return Some(format!("ignore `{}`: `{}` has the same name", path.display(), other.path.display()));
        }
        if name == own_metrics::NAME || builtin::MAKERS.iter().any(|make| make().name() == name) {
            return Some(format!("ignore `{}`: a built-in collector has the same name", path.display()));
        }
        (self.found.len() >= PROGRAMS_MAX)
            .then(|| format!("ignore `{}`: at most {PROGRAMS_MAX} external collectors are run", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, path: &str, mode: u32) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_executable_files_in_numbered_folders_are_programs() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "0/iostat.py", 0o755);
        write(folder.path(), "15/df", 0o755);
        write(folder.path(), "15/README", 0o644);
        write(folder.path(), "15/.hidden", 0o755);
        write(folder.path(), "etc/config.py", 0o755);
        write(folder.path(), "top.sh", 0o755);
        fs::create_dir(folder.path().join("15/folder")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("top.sh"), folder.path().join("0/linked.sh")).unwrap();
        let scan = scan(folder.path()).unwrap();
        let found: Vec<_> = scan.found.iter().map(|(name, found)| (name.as_str(), found.interval)).collect();
        let every = Some(Duration::from_secs(15));
        assert_eq!(found, [("df", every), ("iostat.py", None), ("linked.sh", None)]);
        assert_eq!(scan.problems, Vec::<String>::new());
    }

    #[test]
    fn of_two_programs_with_one_name_the_one_of_the_shorter_interval_runs() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "60/df", 0o755);
        write(folder.path(), "15/df", 0o755);
        write(folder.path(), "15/cpu", 0o755);
        let scan = scan(folder.path()).unwrap();
        assert_eq!(scan.found["df"].interval, Some(Duration::from_secs(15)));
        assert_eq!(scan.problems.len(), 2);
        assert!(scan.problems.iter().any(|problem| problem.contains("60/df` has") || problem.contains("15/df` has")));
        assert!(scan.problems.iter().any(|problem| problem.contains("built-in")));
    }

    #[test]
    fn an_absent_directory_is_an_error() {
        assert!(scan(Path::new("/nowhere/at/all")).is_err());
    }
}
