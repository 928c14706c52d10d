//! The data folder belongs to one process.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

/// A data folder that nobody else uses as long as this lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder if it is not there, and takes it.
    pub(crate) fn take(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("make the data folder {}", path.display()))?;
        let name = path.join("lock");
        let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&name);
        let mut lock = lock.with_context(|| format!("write into the data folder {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut owner = String::new();
            // The number only makes the sentence more helpful.
            let known = Read::by_ref(&mut lock).take(20).read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
            let who = if known { format!("another process ({})", owner.trim()) } else { "another process".to_owned() };
            bail!("{who} uses the data folder {}; stop it, or choose another folder with --data", path.display());
        }
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// The id of the store in this folder, for those who keep something for it elsewhere. Made when it is first asked for.
    pub(crate) fn store_id(&self) -> anyhow::Result<String> {
        let path = self.file("store-id");
        let context = || format!("read or make the id of the store, {}", path.display());
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse::<Uuid>().with_context(context)?.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = Uuid::now_v7().to_string();
                // Whole or not at all, also when the machine fails.
                let unfinished = self.file("store-id.new");
                let mut file = File::create(&unfinished).with_context(context)?;
                file.write_all(format!("{id}\n").as_bytes()).and_then(|()| file.sync_all()).with_context(context)?;
                fs::rename(&unfinished, &path).with_context(context)?;
                File::open(&self.path).and_then(|folder| folder.sync_all()).with_context(context)?;
                Ok(id)
            }
            Err(error) => Err(error).with_context(context),
        }
    }

    /// A file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_keeps_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let id = DataFolder::take(folder.path()).unwrap().store_id().unwrap();
        let again = DataFolder::take(folder.path()).unwrap();
        assert_eq!(again.store_id().unwrap(), id);
        fs::write(again.file("store-id"), "no id").unwrap();
        assert!(format!("{:#}", again.store_id().unwrap_err()).contains("store-id"));
    }

    #[test]
    fn a_folder_is_taken_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let taken = DataFolder::take(&path).unwrap();
        let error = DataFolder::take(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("another process ({})", std::process::id())), "{error}");
        drop(taken);
        assert!(DataFolder::take(&path).is_ok());
    }
}
