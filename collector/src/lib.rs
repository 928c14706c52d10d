//! The agent: gathers points on a host, batches them and hands them to a [`tidemark_model::PointSink`].
//!
//! An [`Agent`] runs the built-in collectors of this Linux host (scollector's metric names) and the external
//! collectors of a directory (TCollector's and scollector's protocol), each on its own, so that one that fails, hangs
//! or panics stops no other. What they gather goes through a bounded [`AgentOptions::backlog_bytes_max`] backlog, with
//! a disk spool behind it where there is one, into the sink: the store's own in `serve`, or a [`RemoteSink`] that
//! posts to another Tidemark or OpenTSDB. Nothing is dropped without being counted in `tidemark.agent.*`.
//!
//! This crate knows the model and `egress`, never the store.

mod agent;
mod backlog;
mod backoff;
mod batcher;
mod builtin;
mod builtin_runner;
mod collector;
mod context;
mod counts;
mod courier;
mod delivery;
mod external;
mod gathering;
mod host_files;
mod host_tags;
mod listing;
mod meaning;
mod metadata_book;
mod options;
mod own_metrics;
mod preview;
mod probe;
mod remote;
mod schedule;
mod spool;
mod status;

pub use agent::{Agent, AgentHandle};
pub use collector::CollectError;
pub use counts::AgentCounts;
pub use delivery::{Delivery, DeliveryHandle, DeliveryOptions, DeliveryWatch};
pub use external::ExternalOptions;
pub use host_tags::{HostTags, HostTagsError};
pub use listing::{CollectorListing, Listing, list};
pub use options::{AgentError, AgentOptions};
pub use preview::{Preview, PreviewPoint, preview, run_once};
pub use probe::{Probe, ProbeTarget};
pub use remote::{RemoteError, RemoteOptions, RemoteSink};
pub use spool::{SpoolError, SpoolOptions};
pub use status::{Activity, CollectorSource, CollectorStatus};
