//! What the end-to-end tests share: real processes on free ports and in folders of their own, a small HTTP client, and
//! a ledger of what was acknowledged.
//!
//! Everything a test starts ends when the test does, whatever its outcome.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod connection;
mod http;
mod ledger;
mod long_series;
mod node;
mod receiver;
mod redis;
mod stopping;
mod wait;

pub use connection::Connection;
pub use http::{Client, Response};
pub use ledger::Ledger;
pub use long_series::write_long_series;
pub use node::{Node, NodeOptions, tidemark, tidemark_at};
pub use receiver::Receiver;
pub use redis::RedisServer;
pub use stopping::Stopping;
pub use wait::wait_for;
