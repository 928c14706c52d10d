//! OpenTSDB's HTTP API, and the two routes of Bosun's that collectors call.

mod absent;
mod aggregators;
mod annotation;
mod configuration;
mod drop_caches;
pub(crate) mod expression_answer;
mod expression_handler;
pub(crate) mod expression_request;
mod function_handler;
pub(crate) mod function_request;
mod graph_page;
mod last;
mod logs;
mod lookup;
mod metadata;
mod operation_mode;
mod process;
mod query_annotations;
pub(crate) mod query_answer;
pub(crate) mod query_handler;
pub(crate) mod query_request;
pub(crate) mod query_run;
mod query_statistics;
mod routes;
pub(crate) mod statistics;
mod suggest;
mod uid;
mod unresolved;
pub(crate) mod version;
pub(crate) mod wire;

pub use operation_mode::OperationMode;
pub(crate) use operation_mode::{reading, writing};
pub(crate) use routes::configure;
