//! Deletions on their way into the log, in the order of commits with the points.

use tidemark_model::{RefusalReason, WriteRefusal};

use super::{Flusher, entries::Entries};
use crate::shard::{Flushed, PendingDelete};

/// Deletions of one commit. Each is in it twice, with at most 31,000 bytes.
const COMMIT_DELETIONS: usize = 12;

impl Flusher {
    /// Commits deletions and tells who waits. Rows that came before them are in the log already.
    pub(super) async fn delete(&mut self, pending: PendingDelete) {
        let PendingDelete { deletions, reply } = pending;
        let mut flushed = self.admit(deletions.len());
        let mut partly_stored = false;
        for some in deletions.chunks(COMMIT_DELETIONS) {
            if flushed != Flushed::Stored {
                break;
            }
            flushed = match self.segments.encode_deletions(some) {
                Ok(segments) => self.commit_entries(&Entries::Deletions(some.to_vec()), &segments).await,
                Err(refusal) => Flushed::Refused(refusal),
            }
            .after(partly_stored);
            partly_stored = true;
        }
        reply.send(flushed).ok();
    }

    /// Whether there is room for so many more tombstones.
    fn admit(&self, more: usize) -> Flushed {
        let limit = self.tombstones_max;
        let live = self.shard.state.read().tombstones.len();
        if live.saturating_add(more) <= limit {
            return Flushed::Stored;
        }
        let message = format!(
            "{live} deletions wait to be applied to the blocks and this one needs {more} more, at most {limit} are allowed; see `limits.tombstones`"
        );
        Flushed::Refused(WriteRefusal::new(RefusalReason::Busy, message))
    }
}
