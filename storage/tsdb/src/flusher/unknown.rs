//! Outcomes that the engine did not know.

use tidemark_kv::KeyRange;

use super::{Flusher, entries::Entries, segments::Segments};
use crate::{Scan, StoreError, codec, codec::LogIdentity, follower::read_fence, keys, stored_value};

/// Entries that are in the log or not.
pub(super) struct Unresolved {
    pub(super) entries: Entries,
    pub(super) segments: Segments,
    pub(super) epoch: u64,
}

/// What became of entries of an unknown outcome.
pub(super) enum Resolution {
    /// They are in the log, and now in the head.
    Stored,
    /// They are not in the log and never will be.
    NotStored,
    /// The log is gone: another process sealed it.
    Lost,
}

impl Flusher {
    /// Finds out whether entries of an unknown outcome are in the log, and brings the head up to it.
    pub(super) async fn resolve(&mut self) -> Result<Resolution, StoreError> {
        let Some(unresolved) = self.unresolved.take() else { return Ok(Resolution::NotStored) };
        match self.find(&unresolved).await {
            Ok(Resolution::Stored) => {
                self.apply(&unresolved.entries, &unresolved.segments, unresolved.epoch).await;
                Ok(Resolution::Stored)
            }
            Ok(other) => Ok(other),
            Err(error) => {
                self.unresolved = Some(unresolved);
                Err(error)
            }
        }
    }

    async fn find(&self, unresolved: &Unresolved) -> Result<Resolution, StoreError> {
        let snapshot = self.kv.snapshot().await?;
        if read_fence(snapshot.as_ref(), self.shard.number).await?.sealed >= unresolved.epoch {
            return Ok(Resolution::Lost);
        }
        let wanted = LogIdentity { writer: self.writer, sequence: unresolved.segments.first_sequence };
        let mut scan = Scan::new(KeyRange::prefix(&keys::log_prefix(self.shard.number, unresolved.epoch)));
        while let Some(entries) = scan.next(snapshot.as_ref()).await? {
            for (key, value) in entries {
                let identity =
                    codec::peek_log_entry(&value).map_err(|error| stored_value::damaged(&key, error.to_string()))?;
                if identity == wanted {
                    return Ok(Resolution::Stored);
                }
            }
        }
        Ok(Resolution::NotStored)
    }
}
