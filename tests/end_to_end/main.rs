//! End-to-end tests: the real binary, real Redis, a real browser. One binary, so that they link once.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod agent;
mod alerting;
mod authorisation;
mod auto_create;
mod bad_input;
mod broker;
mod browser;
mod clock_steps;
mod cluster;
mod cluster_operations;
mod cluster_outage;
mod command_line;
mod conformance;
mod deletes;
mod disk_full;
mod expressions;
#[path = "../../storage/kv/tests/support/fdb_processes.rs"]
mod fdb_processes;
mod grafana;
mod histograms;
mod http_writers;
mod index;
mod jobs_api;
mod jobs_command;
mod kill_nine;
mod long_jobs;
mod many_hosts;
mod opentsdb_bodies;
mod opentsdb_surface;
mod operation_modes;
mod operations;
mod prometheus;
mod prometheus_limits;
mod queries;
mod remote_write;
mod renames;
mod rollups_written;
mod running_queries;
mod shutdown;
mod special_names;
mod telnet_writers;
mod value_lines;
mod whole_way;
