//! The demo has a data folder of its own, and no other.

use std::{fs, io, path::Path};

use anyhow::{Context, bail};

/// A file that says that everything beside it is a demo's. Its text counts too: a file of that name alone must not
/// cost anybody the folder.
const MARK: &str = "tidemark-demo";
const MARK_TEXT: &str = "`tidemark serve --demo` filled this folder and empties it when it is started again.\n";
/// The lock of the process that uses the folder; it stays.
const LOCK: &str = "lock";

/// Empties a data folder that an earlier demo filled, or takes an empty one: a history ends when its demo starts, so
/// the one of yesterday is of no use. The caller holds the lock of the folder.
///
/// # Errors
/// Refuses a folder with data that no demo wrote, and leaves it as it is.
pub(crate) fn make_anew(folder: &Path) -> anyhow::Result<()> {
    let context = || format!("make the data folder of the demo, {}", folder.display());
    let is_marked = is_marked(folder).with_context(context)?;
    let kept = if is_marked { [LOCK, MARK].as_slice() } else { &[LOCK] };
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).with_context(context)?;
    let others: Vec<_> = entries.iter().filter(|entry| !kept.iter().any(|name| entry.file_name() == *name)).collect();
    if !is_marked {
        if !others.is_empty() {
            bail!(
                "the folder {} has data that are not a demo's; name another with --data, or start without --demo",
                folder.display()
            );
        }
        // IMPORTANT: the mark comes before the first file, so that a demo that was killed can be made anew.
        fs::write(folder.join(MARK), MARK_TEXT).with_context(context)?;
    }
    for entry in others {
        let is_folder = entry.file_type().with_context(context)?.is_dir();
        let path = entry.path();
        let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.with_context(context)?;
    }
    Ok(())
}

/// Takes the mark off a folder that is used without `--demo`: what is written from now on is worth keeping. Does
/// nothing to other folders.
///
/// # Errors
/// The folder cannot be read or the mark not removed.
pub(crate) fn keep(folder: &Path) -> anyhow::Result<()> {
    let context = || format!("take the mark of the demo off the folder {}", folder.display());
    if is_marked(folder).with_context(context)? {
        fs::remove_file(folder.join(MARK)).with_context(context)?;
    }
    Ok(())
}

fn is_marked(folder: &Path) -> io::Result<bool> {
    let mark = folder.join(MARK);
    let is_there = match fs::symlink_metadata(&mark) {
        Ok(metadata) => metadata.is_file() && metadata.len() == MARK_TEXT.len() as u64,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    Ok(is_there && fs::read(mark)? == MARK_TEXT.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_folder_of_an_earlier_demo_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(LOCK), "1").unwrap();
        make_anew(folder.path()).unwrap();
        fs::write(folder.path().join("store.redb"), "points").unwrap();
        fs::create_dir(folder.path().join("spool")).unwrap();
        fs::write(folder.path().join("spool/1"), "points").unwrap();
        make_anew(folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["lock", "tidemark-demo"]);
    }

    #[test]
    fn a_folder_with_real_data_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for name in [LOCK, "store.redb"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let error = make_anew(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not a demo's"), "{error}");
        assert_eq!(names(folder.path()), ["lock", "store.redb"]);
    }

    #[test]
    fn a_file_with_the_name_of_the_mark_is_no_mark() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(MARK)).unwrap();
        assert!(make_anew(folder.path()).is_err());
        fs::remove_dir(folder.path().join(MARK)).unwrap();
        fs::write(folder.path().join(MARK), "x".repeat(MARK_TEXT.len())).unwrap();
        assert!(make_anew(folder.path()).is_err());
        assert_eq!(names(folder.path()), [MARK]);
    }

    #[test]
    fn a_folder_that_was_used_without_the_demo_is_no_longer_emptied() {
        let folder = tempfile::tempdir().unwrap();
        keep(folder.path()).unwrap();
        make_anew(folder.path()).unwrap();
        fs::write(folder.path().join("store.redb"), "points").unwrap();
        keep(folder.path()).unwrap();
        assert!(make_anew(folder.path()).is_err());
        assert_eq!(names(folder.path()), ["store.redb"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = make_anew(Path::new("/nonexistent/demo")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/demo"), "{error}");
    }
}
