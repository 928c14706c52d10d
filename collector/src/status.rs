//! What each collector is doing, as plain data for pages and for `agent list`.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    time::Duration,
};

use parking_lot::Mutex;
use tidemark_model::TimestampMs;

/// A collector and how it fares.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectorStatus {
    /// Its name, unique in the agent.
    pub name: String,
    /// Where it comes from.
    pub source: CollectorSource,
    /// How often it runs; `None` for one that runs all the time.
    pub interval: Option<Duration>,
    /// What it does now.
    pub activity: Activity,
    /// When its latest run began.
    pub last_run: Option<TimestampMs>,
    /// How long its latest finished run took.
    pub took: Option<Duration>,
    /// Points of its latest run so far.
    pub points: u64,
    /// Points since the agent was started.
    pub points_total: u64,
    /// Failed runs and refused lines since the agent was started.
    pub errors_total: u64,
    /// The same within the last hour, at most 1000.
    pub errors_last_hour: usize,
    /// The latest of them.
    pub last_error: Option<String>,
    /// When it runs next, unless it runs now.
    pub next_run: Option<TimestampMs>,
}

/// Where a collector comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectorSource {
    /// Built into the agent.
    Builtin,
    /// A program.
    External(PathBuf),
}

/// What a collector does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It waits for its next run.
    Waiting,
    /// It runs.
    Running,
    /// It failed and is left alone for longer than its interval.
    BackingOff,
    /// It said that there is nothing for it to do on this host (exit status 13) and is left alone for an hour.
    NothingToDo,
}

const HOUR_MS: i64 = 3_600_000;
const RECENT_ERRORS_MAX: usize = 1000;
const ERROR_CHARS_MAX: usize = 500;

/// The status of all collectors of an agent.
#[derive(Debug, Default)]
pub(crate) struct StatusBoard {
    entries: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    status: CollectorStatus,
    recent_errors: VecDeque<TimestampMs>,
}

impl StatusBoard {
    pub(crate) fn register(&self, name: &str, source: CollectorSource, interval: Option<Duration>) {
        let status = CollectorStatus {
            name: name.to_owned(),
            source,
            interval,
            activity: Activity::Waiting,
            last_run: None,
            took: None,
            points: 0,
            points_total: 0,
            errors_total: 0,
            errors_last_hour: 0,
            last_error: None,
            next_run: None,
        };
        self.entries.lock().insert(name.to_owned(), Entry { status, recent_errors: VecDeque::new() });
    }

    pub(crate) fn forget(&self, name: &str) {
        self.entries.lock().remove(name);
    }

    pub(crate) fn started(&self, name: &str, now: TimestampMs) {
        self.change(name, |entry| {
            entry.status.activity = Activity::Running;
            entry.status.last_run = Some(now);
            entry.status.next_run = None;
            entry.status.points = 0;
        });
    }

    pub(crate) fn gathered(&self, name: &str, points: usize) {
        self.change(name, |entry| {
            entry.status.points = entry.status.points.saturating_add(points as u64);
            entry.status.points_total = entry.status.points_total.saturating_add(points as u64);
        });
    }

    pub(crate) fn failed(&self, name: &str, now: TimestampMs, error: &str) {
        self.change(name, |entry| {
            entry.status.errors_total = entry.status.errors_total.saturating_add(1);
            entry.status.last_error = Some(error.chars().take(ERROR_CHARS_MAX).collect());
            entry.recent_errors.push_back(now);
            if entry.recent_errors.len() > RECENT_ERRORS_MAX {
                entry.recent_errors.pop_front();
            }
        });
    }

    pub(crate) fn finished(&self, name: &str, took: Duration) {
        self.change(name, |entry| entry.status.took = Some(took));
    }

    pub(crate) fn waits(&self, name: &str, activity: Activity, next_run: TimestampMs) {
        self.change(name, |entry| {
            entry.status.activity = activity;
            entry.status.next_run = Some(next_run);
        });
    }

    /// All collectors by name.
    pub(crate) fn snapshot(&self, now: TimestampMs) -> Vec<CollectorStatus> {
        let entries = self.entries.lock();
        entries
            .values()
            .map(|entry| {
                let recent = entry.recent_errors.iter().filter(|&&at| now.saturating_sub(at) < HOUR_MS).count();
                CollectorStatus { errors_last_hour: recent, ..entry.status.clone() }
            })
            .collect()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.lock().get_mut(name) {
            change(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_for_an_hour_and_for_ever() {
        let board = StatusBoard::default();
        board.register("cpu", CollectorSource::Builtin, Some(Duration::from_secs(10)));
        board.failed("cpu", 1_000, "first");
        board.failed("cpu", 2_000, "second");
        board.failed("nobody", 2_000, "not registered");
        let [status] = &board.snapshot(1_500 + HOUR_MS)[..] else { panic!() };
        assert_eq!((status.errors_total, status.errors_last_hour), (2, 1));
        assert_eq!(status.last_error.as_deref(), Some("second"));
    }

    #[test]
    fn points_are_those_of_the_latest_run() {
        let board = StatusBoard::default();
        board.register("cpu", CollectorSource::Builtin, None);
        for now in [1_000, 2_000] {
            board.started("cpu", now);
            board.gathered("cpu", 7);
        }
        board.finished("cpu", Duration::from_millis(3));
        board.waits("cpu", Activity::Waiting, 12_000);
        let [status] = &board.snapshot(2_000)[..] else { panic!() };
        assert_eq!((status.points, status.points_total, status.last_run), (7, 14, Some(2_000)));
        assert_eq!((status.took, status.next_run), (Some(Duration::from_millis(3)), Some(12_000)));
    }
}
