//! Arithmetic over the results of sub-queries: what OpenTSDB answers at `/api/query/exp` and `/api/query/gexp`.
//!
//! Both kinds name sub-queries, say what somebody has to read for them ([`ShiftedSubQuery`]), and evaluate what was read.
//! An [`ExpressionQuery`] has metrics with ids and [`Formula`]s over these ids; series of different metrics meet by their
//! tags ([`Join`]), instants that one of them lacks are filled ([`FillPolicy`]), and the answer is one table for each
//! output. A [`FunctionQuery`] has functions in Graphite's manner, whose results look like those of a plain query.
//!
//! A formula becomes a program for a small stack machine and no tree: its depth is bounded by the parser alone, nothing
//! recurses while it is evaluated, and it cannot fail over any values. The rules of its arithmetic are those of JEXL 2.1,
//! the library that OpenTSDB hands expressions to.

mod alias;
mod budget;
mod combination;
mod error;
mod evaluation;
mod fill_policy;
mod formula;
mod formula_parser;
mod formula_print;
mod formula_token;
mod formula_value;
mod function;
mod function_parser;
mod function_query;
mod highest;
mod join;
mod moving_average;
mod names;
mod output_table;
mod query;
mod series;
mod shifted;

pub use error::ExpressionError;
pub use fill_policy::FillPolicy;
pub use formula::{FORMULA_BYTES_MAX, FORMULA_DEPTH_MAX, Formula};
pub use function_parser::{FUNCTION_DEPTH_MAX, FUNCTION_TEXT_BYTES_MAX};
pub use function_query::{FunctionQuery, SHARED_ARGUMENTS_MAX};
pub use join::{Join, JoinOperator};
pub use names::check_id;
pub use output_table::{OutputColumn, OutputTable};
pub use query::{ExpressionQuery, MetricVariable, NamedFormula, Output};
pub use shifted::{ShiftedSubQuery, parse_time_offset};
