//! Outcomes that the engine did not know.

use tidemark_kv::KeyRange;

use super::{Flusher, segments::Segments};
use crate::{Fence, Scan, StoreError, codec, head::Row, keys, stored_value};

/// Rows that are in the log or not.
pub(super) struct Unresolved {
    pub(super) rows: Vec<Row>,
    pub(super) segments: Segments,
    pub(super) epoch: u64,
}

/// What became of rows of an unknown outcome.
pub(super) enum Resolution {
    /// They are in the log, and now in the head.
    Stored,
    /// They are not in the log and never will be.
    NotStored,
    /// The log is gone: another process sealed it.
    Lost,
}

impl Flusher {
    /// Finds out whether rows of an unknown outcome are in the log, and brings the head up to it.
    pub(super) async fn resolve(&mut self) -> Result<Resolution, StoreError> {
        let Some(unresolved) = self.unresolved.take() else { return Ok(Resolution::NotStored) };
        match self.find(&unresolved).await {
            Ok(Resolution::Stored) => {
                if self.known_fence().open == unresolved.epoch {
                    self.add_to_head(&unresolved.rows, &unresolved.segments);
                }
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
        let key = keys::fence(self.shard.number);
        let value = snapshot.get(&key).await?.ok_or_else(|| stored_value::damaged(&key, "it is gone"))?;
        if Fence::decode(self.shard.number, &value)?.sealed >= unresolved.epoch {
            return Ok(Resolution::Lost);
        }
        let mut scan = Scan::new(KeyRange::prefix(&keys::log_prefix(self.shard.number, unresolved.epoch)));
        while let Some(entries) = scan.next(snapshot.as_ref()).await? {
            for (key, value) in entries {
                let header =
                    codec::peek_segment(&value).map_err(|error| stored_value::damaged(&key, error.to_string()))?;
                if (header.writer, header.sequence) == (self.writer, unresolved.segments.first_sequence) {
                    return Ok(Resolution::Stored);
                }
            }
        }
        Ok(Resolution::NotStored)
    }
}
