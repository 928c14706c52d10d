//! The file of a backup that is being taken: `FILE.partial` until its end is in it.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tidemark_tsdb::backup::{BackupCursor, BackupError, BackupFile, BackupHeader, ChunkKind};
use uuid::Uuid;

/// A file that whole chunks are appended to.
#[derive(Debug)]
pub(super) struct PartialFile {
    partial: PathBuf,
    whole: PathBuf,
    file: File,
}

/// How much of a backup a file has.
#[derive(Debug)]
pub(super) struct Reached {
    /// Where to go on.
    pub(super) cursor: BackupCursor,
    /// Chunks so far.
    pub(super) chunks: u64,
    /// Whether the end is in it.
    pub(super) is_complete: bool,
}

impl PartialFile {
    /// Opens or makes the file beside `whole`, which must not be there yet.
    pub(super) fn open(whole: &Path, now_ms: i64) -> anyhow::Result<Self> {
        if whole.exists() {
            bail!("{} is there already; name another file", whole.display());
        }
        let mut name = whole.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let context = || format!("write {}", partial.display());
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&partial).with_context(context)?;
        if file.metadata()?.len() == 0 {
            let header = BackupHeader { id: *Uuid::now_v7().as_bytes(), created_ms: now_ms };
            file.write_all(&header.encode()).with_context(context)?;
        }
        Ok(Self { partial, whole: whole.to_path_buf(), file })
    }

    /// Reads what is there and cuts off what is no whole chunk, since that is taken again.
    pub(super) fn reached(&mut self) -> anyhow::Result<Reached> {
        let context = || format!("go on with {}; delete it to begin anew", self.partial.display());
        self.file.seek(SeekFrom::Start(0)).with_context(context)?;
        let mut backup = BackupFile::open(BufReader::new(&self.file)).with_context(context)?;
        let mut reached = Reached { cursor: BackupCursor::start(), chunks: 0, is_complete: false };
        loop {
            match backup.next_chunk() {
                Ok(Some(chunk)) => {
                    reached.chunks += 1;
                    reached.is_complete = chunk.kind == ChunkKind::End;
                    reached.cursor = chunk.cursor;
                }
                Ok(None) | Err(BackupError::Torn { .. } | BackupError::Damaged { .. }) => break,
                Err(error) => return Err(error).with_context(context),
            }
        }
        let end = backup.offset();
        self.file.set_len(end).with_context(context)?;
        self.file.seek(SeekFrom::Start(end)).with_context(context)?;
        Ok(reached)
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Gives the file its name, once everything in it is on the disk.
    pub(super) fn complete(self) -> anyhow::Result<()> {
        let context = || format!("finish {}", self.whole.display());
        self.file.sync_all().with_context(context)?;
        fs::rename(&self.partial, &self.whole).with_context(context)?;
        let folder = self.whole.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(context)
    }
}
