//! The store about itself: space, work, and every figure there is.

use serde::Serialize;

/// The page `/system/storage`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StoragePage {
    /// What takes space.
    pub space: StorageSpace,
    /// What it does.
    pub work: StorageWork,
    /// Which metrics have the most series.
    pub cardinality: StorageCardinality,
    /// Every figure about it.
    pub figures: StorageFigures,
}

/// The fragment `storage-space`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StorageSpace {
    /// Bytes of the whole store on disk.
    pub store_bytes: Option<u64>,
    /// Bytes free on that disk.
    pub disk_free_bytes: Option<u64>,
    /// Series known.
    pub series: Option<u64>,
    /// Points in sealed blocks.
    pub block_points: Option<u64>,
    /// Bytes of these blocks.
    pub block_bytes: Option<u64>,
    /// Bytes of a point in a sealed block, on average.
    pub bytes_per_point: Option<f64>,
    /// Points that are not in blocks yet.
    pub head_points: Option<u64>,
    /// Bytes of memory that these take.
    pub head_bytes: Option<u64>,
    /// Bytes of log that a restart would replay.
    pub log_bytes: Option<u64>,
}

/// The fragment `storage-work`: since the process was started.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StorageWork {
    /// Points made durable per second, lately.
    pub points_per_second: Option<f64>,
    /// The same over time, oldest first.
    pub recent_points_per_second: Vec<Option<f64>>,
    /// Commits of the log.
    pub commits: Option<u64>,
    /// How long one took on average, in milliseconds.
    pub commit_mean_ms: Option<f64>,
    /// Commits that the engine refused.
    pub commits_refused: Option<u64>,
    /// Commits whose outcome was unknown at first.
    pub commits_unknown: Option<u64>,
    /// Epochs sealed.
    pub seals: Option<u64>,
    /// How long a seal took on average, in milliseconds.
    pub seal_mean_ms: Option<f64>,
    /// Seals that failed and were left for the next.
    pub seals_failed: Option<u64>,
    /// Buckets that were merged.
    pub merges: Option<u64>,
    /// How many commits took how long, the fastest first.
    pub latencies: Vec<LatencyRow>,
}

/// Commits that took about as long.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LatencyRow {
    /// Longest that one of them took, in milliseconds; unknown for those slower than all bounds.
    pub at_most_ms: Option<f64>,
    /// Longest that one of the row before took, in milliseconds.
    pub more_than_ms: f64,
    /// How many.
    pub commits: u64,
    /// Their share of all, in percent.
    pub percent: f64,
}

/// The fragment `storage-cardinality`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StorageCardinality {
    /// Minutes that "new" is about.
    pub minutes: u64,
    /// The metrics with the most series, the largest first.
    pub rows: Vec<CardinalityRow>,
}

/// The series of one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CardinalityRow {
    /// The metric.
    pub metric: String,
    /// Its series.
    pub series: u64,
    /// Those that are new.
    pub new_series: u64,
    /// The tag key with the most new values; empty when there are none.
    pub fastest_tag_key: String,
}

/// The fragment `storage-figures`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StorageFigures {
    /// By name.
    pub rows: Vec<FigureRow>,
}

/// One figure, as `/metrics` has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FigureRow {
    /// Its name in dotted words.
    pub name: String,
    /// What it is about, such as `tier=day`; empty for all.
    pub labels: String,
    /// Its value.
    pub value: f64,
    /// Whether it counts bytes.
    pub is_bytes: bool,
    /// A sentence about it.
    pub help: String,
}
