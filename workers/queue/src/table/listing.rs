//! What people and pages see.

use std::collections::BTreeMap;

use super::{JobTable, Now, Worker};
use crate::{JobFilter, JobId, JobPage, JobState, JobView, Page, QueueStats, WorkerView};

impl JobTable {
    pub(crate) fn queue_stats(&self, now: Now) -> Vec<QueueStats> {
        let age = |since_ms: i64| {
            let millis = now.wall_ms.saturating_sub(since_ms);
            std::time::Duration::from_millis(u64::try_from(millis).unwrap_or(0))
        };
        let run_at = |sequence| {
            let entry = self.entries.get(&sequence)?;
            (entry.state == JobState::Available).then_some(entry.run_at_ms)
        };
        let mut discarded: BTreeMap<&str, u64> = BTreeMap::new();
        for finished in self.discarded.iter() {
            *discarded.entry(finished.view.queue.as_str()).or_default() += 1;
        }
        let stats = self.queues.iter().map(|(queue, state)| QueueStats {
            queue: queue.clone(),
            settings: state.settings.clone(),
            ready: state.ready,
            scheduled: state.scheduled,
            running: state.running,
            retryable: state.retryable,
            discarded: discarded.get(queue.as_str()).copied().unwrap_or(0),
            oldest_age: if state.ready > 0 { state.oldest_ms(run_at).map(age) } else { None },
            totals: state.totals,
            pushed_per_second: state.pushed.per_second(now.monotonic),
            ended_per_second: state.ended.per_second(now.monotonic),
        });
        stats.collect()
    }

    /// The newest jobs that match. Ids sort by time, so a page is what is below an id; a job that is too old for the
    /// page is passed over before a view of it is made.
    pub(crate) fn list(&self, filter: &JobFilter, page: &Page) -> JobPage {
        let mut newest = Newest { page, found: BTreeMap::new() };
        for finished in self.discarded.iter().chain(self.history.iter()) {
            newest.offer(finished.view.id, || filter.matches(&finished.view).then(|| finished.view.clone()));
        }
        if !filter.state.is_some_and(JobState::is_final) {
            for entry in self.entries.values() {
                newest.offer(entry.record.id, || filter.wants(&entry.facts()).then(|| entry.view()));
            }
        }
        newest.finish()
    }

    pub(crate) fn view(&self, job: JobId) -> Option<JobView> {
        if let Some(entry) = self.entries.find(job).and_then(|sequence| self.entries.get(&sequence)) {
            let told = entry.told.as_ref();
            let log = told.map(|told| told.lines.iter().cloned().collect()).unwrap_or_default();
            return Some(JobView { payload: entry.record.payload.clone(), log, ..entry.view() });
        }
        let finished = self.discarded.get(job).or_else(|| self.history.get(job))?;
        Some(finished.full_view())
    }

    pub(crate) fn worker_views(&self, now: Now) -> Vec<WorkerView> {
        let view = |worker: &Worker| WorkerView {
            report: worker.report.clone(),
            silent_for: now.monotonic.saturating_sub(worker.seen),
        };
        self.workers.values().map(view).collect()
    }
}

/// Gathers the newest jobs that match.
struct Newest<'a> {
    page: &'a Page,
    found: BTreeMap<JobId, JobView>,
}

impl Newest<'_> {
    fn offer(&mut self, id: JobId, view_if_wanted: impl FnOnce() -> Option<JobView>) {
        let limit = self.page.limit_capped();
        let is_full = self.found.len() >= limit;
        let is_too_old = is_full && self.found.first_key_value().is_none_or(|(oldest, _)| id < *oldest);
        if is_too_old || self.page.before.is_some_and(|before| id >= before) {
            return;
        }
        let Some(view) = view_if_wanted() else { return };
        self.found.insert(id, view);
        if self.found.len() > limit {
            self.found.pop_first();
        }
    }

    fn finish(self) -> JobPage {
        let is_full = self.found.len() == self.page.limit_capped();
        let oldest = self.found.first_key_value().map(|(id, _)| *id);
        let jobs = self.found.into_values().rev().map(JobView::for_list);
        JobPage { next: oldest.filter(|_| is_full), jobs: jobs.collect() }
    }
}
