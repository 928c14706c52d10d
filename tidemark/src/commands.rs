//! The commands but `serve`. Data go to standard output, everything else to standard error.

pub(crate) mod agent;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod cardinality;
pub(crate) mod check;
mod client;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod export;
mod findings;
pub(crate) mod import;
pub(crate) mod jobs;
mod offline;
mod print;
pub(crate) mod put;
pub(crate) mod queries;
pub(crate) mod query;
pub(crate) mod queues;
mod report;
pub(crate) mod rules;
pub(crate) mod schedules;
pub(crate) mod token;
mod upload;
pub(crate) mod version;
pub(crate) mod workers;
pub(crate) mod workflows;
