//! Prometheus' API for queries, and its remote write, under `/prometheus/api/v1` and, where OpenTSDB's paths leave room, under `/api/v1`.

mod answer;
mod error;
mod formatted;
mod listing;
mod metadata;
mod parameters;
mod placing;
mod query_handler;
mod query_run;
pub(crate) mod remote_write;
mod routes;
mod status;

pub use placing::ApiV1;
pub(crate) use placing::{PREFIX, place};
pub(crate) use routes::configure;
