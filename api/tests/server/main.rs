//! The real listener on a free port, spoken to as clients do, with the parts behind it in memory.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod annotations;
mod client;
mod conformance;
mod limits;
mod memory_store;
mod metadata;
mod names;
mod paths;
mod put_http;
mod put_telnet;
mod query;
mod started;
mod uid;
