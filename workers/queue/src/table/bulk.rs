//! What people do to many dead letters at once.

use super::{Change, JobTable, Now, ShelfKind};
use crate::{BULK_MAX, JobFilter, JobId};

impl JobTable {
    /// Retries discarded jobs that match, the oldest first; how many.
    pub(crate) fn retry_all(&mut self, now: Now, filter: &JobFilter, limit: usize) -> u64 {
        self.for_discarded(filter, limit, |table, job| table.retry(now, job))
    }

    /// Forgets discarded jobs that match, the oldest first; how many.
    pub(crate) fn purge(&mut self, filter: &JobFilter, limit: usize) -> u64 {
        self.for_discarded(filter, limit, Self::forget)
    }

    /// Forgets a discarded job; `false` when there is none.
    pub(crate) fn forget(&mut self, job: JobId) -> bool {
        let Some((number, _)) = self.discarded.take(job) else { return false };
        self.results.remove(&job);
        self.changes.push(Change::Unshelve { shelf: ShelfKind::Discarded, number });
        true
    }

    fn for_discarded(
        &mut self,
        filter: &JobFilter,
        limit: usize,
        mut act: impl FnMut(&mut Self, JobId) -> bool,
    ) -> u64 {
        let matching = self.discarded.iter().filter(|finished| filter.matches(&finished.view));
        let ids: Vec<JobId> = matching.map(|finished| finished.view.id).collect();
        let mut done = 0;
        for id in ids {
            if done >= limit.min(BULK_MAX) as u64 {
                break;
            }
            done += u64::from(act(self, id));
        }
        done
    }
}
