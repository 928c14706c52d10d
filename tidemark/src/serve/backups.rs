//! Backups of the store of this process, for clients of the server.

use std::sync::Arc;

use tidemark_api::{BackupPieces, BackupRefusal, BackupSource};
use tidemark_kv::Kv;
use tidemark_model::{BoxFuture, Clock};
use tidemark_tsdb::backup::{BackupCursor, BackupError, BackupOptions, BackupSink, TakenChunk, take_backup};
use tokio::sync::Semaphore;

/// Takes one backup at a time.
pub(crate) struct OfStore {
    engine: Arc<dyn Kv>,
    clock: Arc<dyn Clock>,
    turn: Arc<Semaphore>,
}

impl OfStore {
    pub(crate) fn new(engine: Arc<dyn Kv>, clock: Arc<dyn Clock>) -> Self {
        Self { engine, clock, turn: Arc::new(Semaphore::new(1)) }
    }
}

impl BackupSource for OfStore {
    fn estimated_bytes(&self) -> Option<u64> {
        self.engine.disk_bytes()
    }

    fn begin(
        &self,
        cursor: Option<&str>,
        pieces: BackupPieces,
    ) -> Result<BoxFuture<'static, Result<(), String>>, BackupRefusal> {
        let cursor = match cursor {
            Some(text) => text.parse().map_err(|error: BackupError| BackupRefusal::Cursor(error.to_string()))?,
            None => BackupCursor::start(),
        };
        let turn = Arc::clone(&self.turn).try_acquire_owned().map_err(|_| BackupRefusal::Busy)?;
        let (engine, clock) = (Arc::clone(&self.engine), Arc::clone(&self.clock));
        Ok(Box::pin(async move {
            let _turn = turn;
            let mut sink = PieceSink(pieces);
            let taken = take_backup(engine.as_ref(), clock.as_ref(), cursor, BackupOptions::default(), &mut sink).await;
            match taken {
                Ok(()) | Err(BackupError::Gone) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        }))
    }
}

/// Hands chunks to the client's connection.
struct PieceSink(BackupPieces);

impl BackupSink for PieceSink {
    fn take(&mut self, chunk: TakenChunk) -> BoxFuture<'_, Result<(), BackupError>> {
        Box::pin(async move { self.0.send(Ok(chunk.bytes)).await.map_err(|_| BackupError::Gone) })
    }
}
