//! OpenTSDB's query semantics over the [`SeriesSet`](tidemark_model::SeriesSet) of a reader, as pure code.
//!
//! A query goes through four stages. Its texts become a [`Query`]. [`Query::plan`] makes a [`SubQueryPlan`] of each
//! sub-query, which says what to read. Somebody else reads. [`SubQueryPlan::evaluate`] takes the series that were read
//! through downsampling, rates, grouping, interpolation and aggregation, and hands out one [`GroupResult`] after the
//! other. Nothing here does input or output, knows a runtime or looks at a clock.
//!
//! ```
//! use std::ops::ControlFlow;
//! use tidemark_model::{ReadLimits, SeriesReader};
//! use tidemark_query::{EvaluationControl, GroupResult, Query, QueryError, SubQuery};
//!
//! async fn busiest_hosts(reader: &dyn SeriesReader, now_ms: i64) -> Result<Vec<GroupResult>, QueryError> {
//!     let sub_query = SubQuery::parse("sum:5m-avg:rate:os.cpu{host=*}")?;
//!     let query = Query::new(now_ms - 3_600_000, now_ms, vec![sub_query]);
//!     let mut results = Vec::new();
//!     for plan in query.plan()? {
//!         let set = reader.open(plan.read_request(ReadLimits::default())).await?;
//!         // On a blocking thread when there is much to decode.
//!         plan.evaluate(set.as_ref(), &EvaluationControl::default(), |group| {
//!             results.push(group);
//!             ControlFlow::Continue(())
//!         })?;
//!     }
//!     Ok(results)
//! }
//! ```
//!
//! The rules are those of OpenTSDB 2.4 as it was observed to run; where we deviate on purpose, the place says so.

mod accumulator;
mod aggregator;
mod bucket_kernels;
mod calendar;
mod common_tags;
mod control;
mod downsample;
mod evaluate;
pub mod expression;
mod filter;
mod filter_kind;
mod grid;
mod group;
mod group_result;
mod histogram_query;
mod histograms;
mod interpolation;
mod interval;
mod java_float;
mod member;
mod metric_expression;
mod mixed_rows;
mod parse_error;
mod percentile;
mod plan;
mod query;
mod query_error;
mod rate;
mod rollup_buckets;
mod rollup_intervals;
mod row;
mod space_catalog;
mod space_deleter;
mod space_reader;
mod tag_list;
mod time_expression;
mod timeline;
mod wildcard;
mod written_rollups;

pub use aggregator::{Aggregator, Interpolation};
pub use chrono::Weekday;
pub use chrono_tz::Tz;
pub use control::{EvaluationControl, EvaluationLimits};
pub use downsample::{Buckets, Downsample, Fill};
pub use filter::{FILTER_TEXT_BYTES_MAX, Filter};
pub use filter_kind::FilterKind;
pub use group_result::{EvaluationStatistics, GroupResult};
pub use histogram_query::{HistogramQuery, PERCENTILES_MAX};
pub use interval::{Interval, TimeUnit};
pub use metric_expression::QUERY_TEXT_BYTES_MAX;
pub use parse_error::ParseError;
pub use percentile::{Estimation, Percentile};
pub use plan::{SubQueryPlan, are_long_to_plan, plan_together};
pub use query::{FILTERS_MAX, Query, RollupUsage, Source, SubQuery};
pub use query_error::QueryError;
pub use rate::RateOptions;
pub use rollup_intervals::{ROLLUP_AGGREGATORS, RollupIntervals};
pub use space_catalog::SpaceCatalog;
pub use space_deleter::SpaceDeleter;
pub use space_reader::SpaceReader;
pub use tag_list::parse_selector;
pub use time_expression::{parse_time, parse_time_zone};
