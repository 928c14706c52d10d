//! The time-series layer: series index, log, heads, sealed blocks, documents and metadata over an ordered key-value store.
//!
//! A [`Store`] takes points through [`tidemark_model::PointSink`]: each batch becomes segments of the log of a shard, and
//! is acknowledged when they are durable. The points are in memory in **heads** at once. A **seal** turns the head of a
//! closed epoch into **blocks** and clears its log; late points simply become one more generation of an old bucket.
//! Readers take heads and blocks together and let the last write of a timestamp win. A
//! deletion is an entry of the log, too, and hides what is before it.
//!
//! The layer knows neither the engine under it nor the wall clock. All stored formats have a page in `docs/format/`.

pub mod backup;
pub mod codec;
pub mod inspect;

mod annotations;
mod bucket;
mod bytes_io;
mod cardinality;
mod catalog;
mod change_log;
mod commits;
mod compaction;
mod creation;
mod creation_limits;
mod creation_rate;
mod day_again;
mod deleter;
mod dictionary;
mod directory;
mod documents;
mod error;
mod expiry;
mod expiry_clock;
mod fence;
mod figures;
mod flusher;
mod follower;
mod future;
mod generation;
mod group;
mod group_commit;
mod group_purge;
mod growth;
mod head;
mod index;
mod index_counts;
mod index_log;
mod index_rows;
mod keys;
mod merge;
mod merger;
mod metadata;
mod name_ids;
mod new_generation;
mod options;
mod packed;
mod point_stream;
mod presence;
mod purge;
mod range_set;
mod reader;
mod refusal;
mod renewing_snapshot;
mod replacement;
mod replay;
mod restore_mark;
mod retention;
mod rollup;
mod scan;
mod sealer;
mod selection;
mod series_set;
mod shard;
mod sharing;
mod store;
mod store_version;
mod stored_value;
mod tag_conditions;
mod tag_metadata;
mod tombstones;
mod writer;

pub use day_again::MetricDay;
pub use error::StoreError;
pub use expiry::ExpiryReport;
pub use figures::{FLUSH_LATENCY_BOUNDS, FlushFigures, SealFigures, StoreFigures};
pub use options::StoreOptions;
pub use purge::PurgeReport;
pub use retention::{Retention, RetentionRule};
pub use rollup::{RollupInterval, RollupIntervalError};
pub use sealer::{CompactionReport, SealReason, SealReport};
pub use sharing::Sharing;
pub use store::Store;

use bucket::{Bucket, Tier};
use bytes_io::{ByteReader, put_text, put_varint, unzigzag, zigzag};
use codec::CodecError;
use dictionary::{Dictionary, NAME_ID_MAX};
use directory::BlockCatalogue;
use fence::Fence;
use generation::Generation;
use head::Head;
use index::{Index, SeriesEntry, TagPostings, Target};
use keys::{DirectoryKey, GroupKey};
use point_stream::PointStream;
use range_set::RangeSet;
use scan::Scan;
use shard::Shard;
use tombstones::Tombstones;
