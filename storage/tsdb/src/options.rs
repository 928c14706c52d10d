//! How large things may become.

use std::time::Duration;

use crate::{Retention, RollupInterval, Sharing};

/// Limits and sizes of a store. Each limit is named in the refusal that it causes.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Shards, 1 to 1024. Fixed when a store is created: one for an embedded store, 8 to 64 on a cluster.
    pub shards: u16,
    /// Whether other processes use the same store.
    pub sharing: Sharing,
    /// Most series (`limits.series`). Points of existing series are never refused for it.
    pub series_max: usize,
    /// Most series of one metric (`limits.series_per_metric`).
    pub series_per_metric_max: usize,
    /// New series a minute (`limits.new_series_per_minute`), counted by each process; 0 for any number. Points of
    /// existing series are never refused for it.
    pub new_series_per_minute_max: usize,
    /// How far ahead of the clock a point may be (`limits.future`). OpenTSDB takes any time, and people write forecasts
    /// and budgets: the default of a year leaves those alone and refuses what comes of clocks in 2038 and of
    /// microseconds taken for milliseconds, each of which would make buckets that nobody ever looks at.
    pub future_max: Duration,
    /// Points in the open epoch of a shard after which it is sealed without waiting for the schedule. The default is
    /// two hours of 10,000 series at 15 s, which take 20 MB. At most half of `head_points_max` has an effect.
    pub seal_points: u64,
    /// Points that a shard holds in memory (`limits.head_points`): writes beyond it are told to try again later, until
    /// a seal has made room.
    pub head_points_max: u64,
    /// Deletions of a shard that wait until the blocks are rewritten without what they hide (`limits.tombstones`):
    /// further ones are told to try again later. Readers of a metric look at all of its own.
    pub tombstones_max: usize,
    /// How long points are kept (`retention`).
    pub retention: Retention,
    /// Points that wait for a shard's flush (`limits.queued_points`): writes beyond it are told to try again later.
    pub queued_points_max: usize,
    /// Intervals of which count, sum, minimum, maximum, first and last value are computed ahead when a day is compacted
    /// (`rollups.intervals`), for queries of such intervals over old data. None of them: no rollups.
    pub rollup_intervals: Vec<RollupInterval>,
    /// Bytes of blocks that one merge or compaction may hold (`limits.merge_bytes`); it takes twice as much memory. What
    /// a metric has of a bucket or a day beyond it stays in the generations that it has; deleted points are taken out group
    /// by group, and rows that outlive their points are not made of it.
    pub merge_bytes_max: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            shards: 1,
            sharing: Sharing::Alone,
            series_max: 2_000_000,
            series_per_metric_max: 500_000,
            new_series_per_minute_max: 100_000,
            future_max: Duration::from_secs(366 * 24 * 3600),
            seal_points: 5_000_000,
            head_points_max: 25_000_000,
            tombstones_max: 10_000,
            retention: Retention::default(),
            queued_points_max: 2_000_000,
            rollup_intervals: vec![RollupInterval::HOUR],
            merge_bytes_max: 64 << 20,
        }
    }
}
