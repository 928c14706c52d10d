//! Prometheus' query language over the [`SeriesSet`](tidemark_model::SeriesSet)s of a reader, as pure code.
//!
//! [`parse`] makes an [`Expression`] of a text. [`Query::reads`] says what to read of which series. Somebody else reads.
//! [`Query::evaluate`] computes the [`Answer`]. Nothing here does input or output, knows a runtime or looks at a clock.
//!
//! ```
//! use tidemark_model::{ReadError, ReadLimits, ReadRequest, SeriesReader};
//! use tidemark_promql::{Answer, Control, LOOKBACK_DEFAULT_MS, MetricChoice, Query, QueryError, SelectedSeries, parse};
//!
//! async fn busiest_hosts(reader: &dyn SeriesReader, now_ms: i64) -> Result<Answer, QueryError> {
//!     let text = r#"topk(3, sum by (host) (rate({"os.cpu", type!="idle"}[5m])))"#;
//!     let expression = parse(text).map_err(|error| QueryError::Execution(error.to_string()))?;
//!     let query = Query::instant(expression, now_ms, LOOKBACK_DEFAULT_MS);
//!     let (reads, mut sets) = (query.reads(), Vec::new());
//!     for read in &reads {
//!         let metric = match read.metrics() {
//!             MetricChoice::One(metric) => Some(metric),
//!             MetricChoice::Every | MetricChoice::Some => None,
//!         };
//!         let request =
//!             ReadRequest { selector: read.selector(metric), range: read.range, limits: ReadLimits::default(), rollup: None };
//!         sets.push(match reader.open(request).await {
//!             Ok(set) => vec![set],
//!             Err(ReadError::UnknownName { .. }) => Vec::new(),
//!             Err(error) => return Err(error.into()),
//!         });
//!     }
//!     // On a blocking thread when there is much to decode.
//!     let selected: Vec<_> = sets.iter().zip(&reads).map(|(sets, read)| SelectedSeries::new(sets, read)).collect();
//!     query.evaluate(&selected, &Control::default()).map(|(answer, _)| answer)
//! }
//! ```
//!
//! The rules are those of Prometheus 3, but for native histograms and staleness markers. Some of what it calls experiments
//! is here; the rest, as everything that is not, is refused by name.

mod control;
mod duration;
mod error;
mod eval;
mod functions;
mod labels;
mod lexer;
mod matcher;
mod parser;
mod print;
mod query;
mod selected;
mod steps;
mod syntax;
mod text;

pub use control::{Control, Statistics};
pub use duration::{format_duration, parse_duration};
pub use error::{ParseError, QueryError};
pub use functions::{FUNCTIONS, Function};
pub use labels::{Labels, METRIC_NAME};
pub use matcher::{MatchKind, Matcher};
pub use parser::{HEIGHT_MAX, QUERY_BYTES_MAX, parse, parse_series_selector};
pub use query::{Answer, LOOKBACK_DEFAULT_MS, MetricChoice, PointSeries, Query, SeriesRead};
pub use selected::SelectedSeries;
pub use steps::Steps;
pub use syntax::{
    Aggregate, AggregateOperator, At, Binary, BinaryOperator, Expression, Grouping, Many, Matching, Selector, Subquery,
    ValueType, When,
};
pub use text::{format_number, format_value};
