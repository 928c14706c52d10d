//! End-to-end tests: the real binary, real Redis, a real browser. One binary, so that they link once.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod agent;
mod alerting;
mod authorisation;
mod bad_input;
mod broker;
mod browser;
mod cluster;
mod cluster_operations;
mod command_line;
mod conformance;
mod deletes;
mod disk_full;
mod index;
mod kill_nine;
mod many_hosts;
mod operations;
mod queries;
mod shutdown;
mod whole_way;
