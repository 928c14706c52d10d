//! What handlers tell about their jobs while they work. It is in memory until the job ends, and then kept with it.

use super::{JobTable, entry::Entry};
use crate::{JobNote, Receipt};

/// Most bytes of what was told about jobs that have not ended; beyond that new log lines are dropped.
const TOLD_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl JobTable {
    /// Adds to what is known of running jobs; `false` for one whose lease is lost.
    pub(crate) fn note(&mut self, notes: Vec<(Receipt, JobNote)>) -> Vec<bool> {
        notes.into_iter().map(|(receipt, note)| self.note_one(&receipt, note)).collect()
    }

    fn note_one(&mut self, receipt: &Receipt, mut note: JobNote) -> bool {
        let is_full = self.told_bytes >= TOLD_BYTES_MAX;
        let Some((_, entry)) = self.held(receipt) else { return false };
        if is_full {
            note.lines.clear();
        }
        let before = entry.told.as_ref().map_or(0, |told| told.bytes());
        let told = entry.told.get_or_insert_default();
        told.append(note);
        let after = told.bytes();
        self.told_bytes = (self.told_bytes + after).saturating_sub(before);
        true
    }

    /// Takes what was told about a job that leaves the table.
    pub(super) fn forget_told(&mut self, entry: &mut Entry) -> JobNote {
        let Some(told) = entry.told.take() else { return JobNote::default() };
        self.told_bytes = self.told_bytes.saturating_sub(told.bytes());
        *told
    }
}
