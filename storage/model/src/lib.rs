//! The words that every part of Tidemark shares, and the seams between the parts.
//!
//! A **series** is a metric name and a set of tags; a **point** is a timestamp in milliseconds and a [`Value`].
//! Points travel upwards through [`PointSink`] in a columnar [`PointBatch`] and come back through
//! [`SeriesReader`] as [`PointColumns`]; a [`PointDeleter`] takes them away. This crate does no I/O, knows no runtime and no other crate of ours:
//! a trait that must be asynchronous returns a [`BoxFuture`].

mod annotation;
mod batch;
mod batch_builder;
mod cardinality;
mod catalog;
mod clock;
mod columns;
mod deleter;
mod document;
mod histogram;
mod metadata;
mod metric_space;
mod name_ids;
mod names;
mod point_rules;
mod reader;
mod rollup;
mod selector;
mod series_key;
mod sink;
mod time_range;
mod timestamp;
mod value;
mod value_fields;

use std::{future::Future, pin::Pin};

pub use annotation::{Annotation, AnnotationChange, AnnotationStore, AnnotationWrite, AnnotationsOf};
pub use batch::{BatchError, PointBatch, PointRef};
pub use batch_builder::{PointBatchBuilder, PointError};
pub use cardinality::{Cardinality, MetricCardinality, TagCardinality, TagKeyCardinality};
pub use catalog::{CatalogError, LastPoint, SeriesCatalog, SeriesPage};
pub use clock::{Clock, ManualClock, SystemClock};
pub use columns::{PointColumns, ValueColumn};
pub use deleter::{DeleteOutcome, DeleteReceipt, DeleteRefusal, DeleteRequest, PointDeleter};
pub use document::{Document, DocumentError, DocumentStore, ExpectedVersion};
pub use histogram::{
    BucketBounds, HISTOGRAM_BUCKETS_MAX, HISTOGRAM_PART_KEY, Histogram, HistogramBucket, HistogramError, HistogramPart,
};
pub use metadata::{DescribedMetric, MetadataCatalog, MetadataStore, MetricMetadata, RateKind, TagMetadata};
pub use metric_space::{
    AGGREGATE_KEY, MetricSpace, RESERVED, WrittenRollup, check_stored_name, is_reserved, written_metric,
};
pub use name_ids::{NameIds, RenameRefusal};
pub use names::{NAME_BYTES_MAX, NameCharacters, NameError, NameKind, SpecialCharacterError, check_name};
pub use point_rules::PointRules;
pub use reader::{NoSeries, ReadError, ReadLimits, ReadRequest, ReadStatistics, SeriesReader, SeriesSet};
pub use rollup::{RollupBuckets, RollupFunction, RollupRequest, RollupRows};
pub use selector::{SeriesSelector, TagMatch, TagPredicate};
pub use series_key::{SeriesId, SeriesInfo, SeriesKey, Tags, Tsuid, TsuidError};
pub use sink::{PointSink, RefusalReason, WriteOutcome, WriteReceipt, WriteRefusal};
pub use time_range::TimeRange;
pub use timestamp::{TIMESTAMP_MAX, timestamp_ms};
pub use value::{Point, TimestampMs, Value};

/// A future that a seam returns: boxed, so that the trait can be an object, and sendable between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
