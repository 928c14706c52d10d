//! The one way out for points.

use thiserror::Error;

use crate::{BoxFuture, NameKind, PointColumns, RollupRequest, RollupRows, SeriesInfo, SeriesSelector, TimeRange};

/// Reads points of many series at once.
pub trait SeriesReader: Send + Sync {
    /// Selects series and fetches what is needed to decode their points in a range.
    ///
    /// All input and output happens here; [`SeriesSet::read`] only decodes. The set is a snapshot: everything
    /// acknowledged before the call is in it, and later writes are not.
    ///
    /// # Errors
    /// [`ReadError::UnknownName`] when the metric, the key of a predicate or a value of [`crate::TagMatch::OneOf`]
    /// was never written; a `TooMany…` when a limit is reached, without partial results.
    fn open(&self, request: ReadRequest) -> BoxFuture<'_, Result<Box<dyn SeriesSet>, ReadError>>;
}

/// What to read.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// Which series.
    pub selector: SeriesSelector,
    /// Which timestamps.
    pub range: TimeRange,
    /// How much at most.
    pub limits: ReadLimits,
    /// Which buckets may be answered by [`SeriesSet::read_rollups`]; `None` for points alone.
    pub rollup: Option<RollupRequest>,
}

/// How much one read may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Series.
    pub series_max: usize,
    /// Points, and rows of rollups, in the blocks that have to be decoded.
    pub points_max: u64,
    /// Encoded bytes held in memory.
    pub bytes_max: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { series_max: 1_000_000, points_max: 200_000_000, bytes_max: 1 << 30 }
    }
}

impl ReadLimits {
    /// What is left for the reads that follow one that cost so much.
    #[must_use]
    pub fn after(self, used: ReadStatistics) -> Self {
        Self {
            series_max: self.series_max.saturating_sub(used.series),
            points_max: self.points_max.saturating_sub(used.points),
            bytes_max: self.bytes_max.saturating_sub(used.bytes),
        }
    }
}

/// Series with what is needed to decode their points. Any thread may read any of them.
pub trait SeriesSet: Send + Sync {
    /// The series, sorted by canonical key. A series is listed even when it has no point in the range.
    fn series(&self) -> &[SeriesInfo];

    /// Replaces the contents of `columns` by the points of series number `index`, oldest first, one per timestamp.
    /// Costs only CPU; a caller with more than a few series does it on a blocking thread.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] when a stored block is damaged.
    fn read(&self, index: usize, columns: &mut PointColumns) -> Result<(), ReadError>;

    /// As [`SeriesSet::read`], but ends soon after `wanted` says no, with `false` and some of the points. It is asked now and
    /// then; a set that cannot stop in the middle of a series does not ask.
    ///
    /// # Errors
    /// As [`SeriesSet::read`].
    fn read_while(
        &self,
        index: usize,
        columns: &mut PointColumns,
        _wanted: &dyn Fn() -> bool,
    ) -> Result<bool, ReadError> {
        self.read(index, columns).map(|()| true)
    }

    /// Replaces the contents of `rows` by rows of series number `index` that answer some of the buckets of [`ReadRequest::rollup`], and says whether
    /// there are any. Of a bucket that has rows, [`SeriesSet::read`] gives some points or none, and they do not count; of
    /// all others it gives every point.
    ///
    /// # Errors
    /// As [`SeriesSet::read`].
    fn read_rollups(&self, _index: usize, rows: &mut RollupRows) -> Result<bool, ReadError> {
        rows.clear();
        Ok(false)
    }

    /// What it cost so far.
    fn statistics(&self) -> ReadStatistics;
}

/// A set without a series.
#[derive(Clone, Copy, Debug)]
pub struct NoSeries;

impl SeriesSet for NoSeries {
    fn series(&self) -> &[SeriesInfo] {
        &[]
    }

    fn read(&self, _index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
        columns.clear();
        Ok(())
    }

    fn statistics(&self) -> ReadStatistics {
        ReadStatistics::default()
    }
}

/// What a read costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStatistics {
    /// Series selected.
    pub series: usize,
    /// Sealed blocks fetched.
    pub blocks: u64,
    /// Points in those blocks and in the heads.
    pub points: u64,
    /// Encoded bytes fetched.
    pub bytes: u64,
    /// Rows of rollups in the blocks fetched, each in place of the points of an interval.
    pub rollup_rows: u64,
}

impl std::ops::AddAssign for ReadStatistics {
    fn add_assign(&mut self, other: Self) {
        self.series += other.series;
        self.blocks += other.blocks;
        self.points += other.points;
        self.bytes += other.bytes;
        self.rollup_rows += other.rollup_rows;
    }
}

impl std::iter::Sum for ReadStatistics {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut total, part| {
            total += part;
            total
        })
    }
}

/// Why points could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// A name of the selector was never written.
    #[error("no such {kind}: `{name}`")]
    UnknownName {
        /// What it names.
        kind: NameKind,
        /// The name.
        name: String,
    },
    /// The selector matches too many series.
    #[error(
        "the query selects {found} series, at most {limit} are allowed; narrow its filters or raise `limits.query_series`"
    )]
    TooManySeries {
        /// Series selected.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many points would have to be decoded.
    #[error(
        "the query reads {found} points, at most {limit} are allowed; shorten its range or raise `limits.query_points`"
    )]
    TooManyPoints {
        /// Points in the blocks found so far.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Too many bytes would have to be held.
    #[error(
        "the query holds {found} bytes of blocks, at most {limit} are allowed; shorten its range or raise `limits.query_bytes`"
    )]
    TooManyBytes {
        /// Bytes found so far.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The store cannot answer now; safe to try again.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// A stored block is damaged.
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
}
