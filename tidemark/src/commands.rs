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
mod offline;
mod print;
pub(crate) mod put;
pub(crate) mod query;
pub(crate) mod token;
pub(crate) mod version;
