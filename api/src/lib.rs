//! The server: OpenTSDB's HTTP API and telnet protocol on one port, with limits on everything that a client can send.
//!
//! [`AppState`] holds the parts of the system that handlers speak to. [`ApiServer`] opens the port and serves until
//! [`AppState::shutdown`] fires; other modules add routes with [`ApiServer::configure`]. This is the only crate that
//! knows actix.

pub mod auth;
#[doc(hidden)]
pub mod bench;
mod console;
mod error;
pub mod export;
pub mod figures;
mod first_byte;
mod http;
pub mod import;
mod log_book;
pub mod metrics;
mod number;
mod opentsdb;
mod options;
mod planning;
pub mod point_lines;
mod prometheus;
mod put;
mod queries;
mod rest;
mod server;
mod stalling_stream;
mod state;
mod telnet;

pub use console::{Console, ConsoleError, ConsoleSeams};
pub use error::{ApiError, JSON};
pub use http::{
    body::{Body, read_body, read_body_up_to},
    pipeline::RequestId,
    query_string::QueryString,
};
pub use log_book::LogBook;
pub use opentsdb::OperationMode;
pub use options::{ApiLimits, ApiOptions, AutoCreate, BuildInfo, OpenTsdbOptions, QueryExtras};
pub use prometheus::ApiV1;
pub use rest::{BackupPieces, BackupRefusal, BackupSource, Readiness, Troubles, without_password};
pub use server::{ApiServer, Configure, RunningServer};
pub use state::{ApiSeams, AppState};
