//! OpenTSDB's HTTP API, and the two routes of Bosun's that collectors call.

mod aggregators;
mod annotation;
mod configuration;
mod drop_caches;
mod last;
mod lookup;
mod metadata;
mod query_annotations;
mod query_answer;
mod query_handler;
pub(crate) mod query_request;
mod query_run;
mod routes;
pub(crate) mod statistics;
mod suggest;
pub(crate) mod version;
pub(crate) mod wire;

pub(crate) use routes::configure;
