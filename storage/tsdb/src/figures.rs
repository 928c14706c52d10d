//! What the store counts about itself.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets of [`FlushFigures::latencies`]; slower flushes count in one more bucket.
pub const FLUSH_LATENCY_BOUNDS: [Duration; 12] = [
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// The state of a store at one moment, and what it did since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreFigures {
    /// Series.
    pub series: u64,
    /// Points in memory that are not in blocks yet, counting overwritten ones.
    pub head_points: u64,
    /// Bytes of memory that they take.
    pub head_bytes: u64,
    /// Bytes of log that a restart would replay.
    pub log_bytes: u64,
    /// Points in visible blocks.
    pub block_points: u64,
    /// Bytes of the groups of visible blocks.
    pub block_bytes: u64,
    /// Deletions whose points are hidden and may still be on the disk.
    pub tombstones: u64,
    /// Rows of rollups, those that are out of date included.
    pub rollup_rows: u64,
    /// Bytes of their groups.
    pub rollup_bytes: u64,
    /// Bytes on disk of the whole store; `None` when the engine cannot tell.
    pub disk_bytes: Option<u64>,
    /// Flushes since the store was opened.
    pub flushes: FlushFigures,
    /// Seals since the store was opened.
    pub seals: SealFigures,
}

/// Flushes of points into the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushFigures {
    /// Commits that were acknowledged.
    pub commits: u64,
    /// Points in them.
    pub points: u64,
    /// Bytes of their segments.
    pub bytes: u64,
    /// Time that their commits took, in all.
    pub duration: Duration,
    /// How many took at most each of [`FLUSH_LATENCY_BOUNDS`] (and more than the bound before), then the slower ones.
    pub latencies: [u64; FLUSH_LATENCY_BOUNDS.len() + 1],
    /// Commits that were refused.
    pub refused: u64,
    /// Commits whose outcome the engine did not know.
    pub unknown: u64,
    /// Commits that were repeated because the fence had moved.
    pub fence_moves: u64,
}

/// Seals of epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealFigures {
    /// Epochs that were published.
    pub epochs: u64,
    /// Points in their blocks.
    pub points: u64,
    /// Bytes of their groups.
    pub bytes: u64,
    /// Time from bump to publication, in all.
    pub duration: Duration,
    /// Metrics in buckets whose generations were merged.
    pub merges: u64,
    /// Days of metrics that were compacted.
    pub compactions: u64,
    /// Seals that ended with an error and were left for the next.
    pub failed: u64,
}

/// The counters behind the figures.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: Counter,
    pub(crate) points: Counter,
    pub(crate) bytes: Counter,
    commit_micros: Counter,
    latencies: [Counter; FLUSH_LATENCY_BOUNDS.len() + 1],
    pub(crate) refused: Counter,
    pub(crate) unknown: Counter,
    pub(crate) fence_moves: Counter,
    pub(crate) seals: Counter,
    pub(crate) sealed_points: Counter,
    pub(crate) sealed_bytes: Counter,
    seal_micros: Counter,
    pub(crate) seals_failed: Counter,
    pub(crate) merges: Counter,
    pub(crate) compactions: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Notes how long an acknowledged commit took.
    pub(crate) fn note_commit(&self, took: Duration) {
        self.commits.add(1);
        self.commit_micros.add(micros(took));
        let bucket = FLUSH_LATENCY_BOUNDS.partition_point(|&bound| bound < took);
        if let Some(counter) = self.latencies.get(bucket) {
            counter.add(1);
        }
    }

    /// Notes how long a seal took.
    pub(crate) fn note_seal(&self, took: Duration) {
        self.seals.add(1);
        self.seal_micros.add(micros(took));
    }

    pub(crate) fn flushes(&self) -> FlushFigures {
        FlushFigures {
            commits: self.commits.get(),
            points: self.points.get(),
            bytes: self.bytes.get(),
            duration: Duration::from_micros(self.commit_micros.get()),
            latencies: std::array::from_fn(|bucket| self.latencies.get(bucket).map_or(0, Counter::get)),
            refused: self.refused.get(),
            unknown: self.unknown.get(),
            fence_moves: self.fence_moves.get(),
        }
    }

    pub(crate) fn seals(&self) -> SealFigures {
        SealFigures {
            epochs: self.seals.get(),
            points: self.sealed_points.get(),
            bytes: self.sealed_bytes.get(),
            duration: Duration::from_micros(self.seal_micros.get()),
            failed: self.seals_failed.get(),
            merges: self.merges.get(),
            compactions: self.compactions.get(),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_land_in_the_bucket_of_their_bound() {
        let counters = Counters::default();
        for micros in [1, 250, 251, 9_999_999] {
            counters.note_commit(Duration::from_micros(micros));
        }
        let figures = counters.flushes();
        assert_eq!((figures.latencies[0], figures.latencies[1], figures.latencies[12]), (2, 1, 1));
        assert_eq!(figures.commits, 4);
    }
}
