//! How much an export holds in memory.

use tidemark_model::ReadLimits;

/// How much is held at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Of one window.
    pub(super) window: ReadLimits,
    /// Counts of histograms that are being put together.
    pub(super) counts: usize,
    /// Sets of buckets that are looked for.
    pub(super) shapes: usize,
    /// Series of counts that are listed.
    pub(super) parts_listed: usize,
    /// Series of counts that are read.
    pub(super) parts: usize,
}

impl Default for Held {
    /// About 100 MB of points, and 32 MB of counts.
    fn default() -> Self {
        Self {
            window: ReadLimits { series_max: 2_000, points_max: 5_000_000, bytes_max: 64 << 20 },
            counts: 2_000_000,
            shapes: 500,
            parts_listed: 50_000,
            // As many as one histogram may have.
            parts: 1_003,
        }
    }
}
