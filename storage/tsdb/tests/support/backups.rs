//! Backups as tests take and restore them.

use std::sync::Arc;

use tidemark_kv::{BoxFuture, Kv};
use tidemark_model::ManualClock;
use tidemark_tsdb::backup::{
    BackupCursor, BackupError, BackupFile, BackupHeader, BackupOptions, BackupSink, BackupSummary, BackupVerifier,
    Existing, Restore, TakenChunk, take_backup,
};

use super::START;

const HEADER: BackupHeader = BackupHeader { id: [9; 16], created_ms: START };
/// Small, so that a small store has many chunks.
const OPTIONS: BackupOptions =
    BackupOptions { chunk_bytes: 300, snapshot_age_max: std::time::Duration::from_secs(600) };

/// Keeps the chunks, as many as it is told to.
struct Kept {
    chunks: Vec<TakenChunk>,
    chunks_max: usize,
}

impl BackupSink for Kept {
    fn take(&mut self, chunk: TakenChunk) -> BoxFuture<'_, Result<(), BackupError>> {
        Box::pin(async move {
            if self.chunks.len() == self.chunks_max {
                return Err(BackupError::Gone);
            }
            self.chunks.push(chunk);
            // So that those who write meanwhile get on.
            tokio::task::yield_now().await;
            Ok(())
        })
    }
}

pub(crate) async fn take(kv: &dyn Kv, cursor: BackupCursor, chunks_max: usize) -> Vec<TakenChunk> {
    let mut kept = Kept { chunks: Vec::new(), chunks_max };
    let taken = take_backup(kv, &ManualClock::new(START), cursor, OPTIONS, &mut kept).await;
    assert!(matches!(taken, Ok(()) | Err(BackupError::Gone)), "{taken:?}");
    kept.chunks
}

pub(crate) fn file_of(chunks: &[TakenChunk]) -> Vec<u8> {
    let mut file = HEADER.encode().to_vec();
    chunks.iter().for_each(|chunk| file.extend_from_slice(&chunk.bytes));
    file
}

pub(crate) fn verify(mut file: &[u8]) -> Result<BackupSummary, BackupError> {
    let mut file = BackupFile::open(&mut file)?;
    let mut verifier = BackupVerifier::default();
    while let Some(chunk) = file.next_chunk()? {
        verifier.chunk(&chunk)?;
    }
    Ok(verifier.finish())
}

/// Restores so many chunks; all of them makes the store whole.
pub(crate) async fn restore(kv: &Arc<dyn Kv>, mut bytes: &[u8], chunks_max: usize) -> Result<(), BackupError> {
    let summary = verify(bytes)?;
    assert!(summary.report.is_sound(), "{:#?}", summary.report.findings);
    let mut file = BackupFile::open(&mut bytes)?;
    let mut restore = Restore::begin(Arc::clone(kv), file.header(), summary, Existing::Refuse).await?;
    for _ in 0..chunks_max {
        let Some(chunk) = file.next_chunk()? else { return restore.finish().await };
        restore.chunk(&chunk).await?;
    }
    Ok(())
}

/// Where a backup of these chunks goes on.
pub(crate) fn cursor_behind(chunks: &[TakenChunk]) -> BackupCursor {
    let bytes = file_of(chunks);
    let mut source = bytes.as_slice();
    let mut file = BackupFile::open(&mut source).unwrap();
    let mut cursor = BackupCursor::start();
    while let Some(chunk) = file.next_chunk().unwrap() {
        cursor = chunk.cursor;
    }
    cursor
}
