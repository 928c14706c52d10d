//! The commands but `serve`. Data go to standard output, everything else to standard error.

pub(crate) mod agent;
pub(crate) mod check;
mod client;
pub(crate) mod completions;
mod print;
pub(crate) mod put;
pub(crate) mod query;
pub(crate) mod token;
pub(crate) mod version;
