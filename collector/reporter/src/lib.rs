//! Metrics of an application, reported to Tidemark: the part of BosunReporter.NET, in Rust.
//!
//! An application registers its counters, gauges and aggregates once, changes them from any thread without waiting,
//! and a [`Reporter`] takes a snapshot of all of them every 30 s. What happens to the points then (batches, backlog,
//! disk spool, retries, metadata) is the agent's delivery, so a server that is away costs the application nothing and
//! loses nothing within the limits of the spool.
//!
//! | instrument | reports at every snapshot |
//! |---|---|
//! | [`Counter`] | the total since the start of the process |
//! | [`Gauge`] | the value that was set last |
//! | [`Aggregate`] | average, median, percentiles, smallest, largest, last and number of the values since the snapshot before |
//! | [`Events`] | every value, with the moment at which it was recorded |
//! | a function ([`ReporterHandle::snapshot_gauge`], [`ReporterHandle::snapshot_counter`]) | what it returns |
//!
//! ```
//! use std::sync::Arc;
//! use tidemark_collector::{HostTags, RemoteOptions, RemoteSink};
//! use tidemark_model::SystemClock;
//! use tidemark_reporter::{About, Reporter, ReporterOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Arc::new(RemoteSink::new(RemoteOptions::new("http://127.0.0.1:4242".parse()?))?);
//! let options = ReporterOptions::new(HostTags::new(&HostTags::short_hostname(), &[])?);
//! let (reporter, metrics) = Reporter::new(options, Arc::new(SystemClock::new()), server.clone(), server)?;
//!
//! let served = metrics.counter("shop.requests", &[("page", "cart")], About::new("requests", "Requests served."))?;
//! served.add(1);
//! # drop(reporter);
//! # Ok(())
//! # }
//! ```
//! `reporter.run(stop)` is spawned on the application's `TaskTracker`; it ends with a last snapshot when `stop` fires.

mod aggregate;
mod counter;
mod events;
mod gauge;
mod options;
mod registry;
mod reporter;

pub use aggregate::{Aggregate, Statistic};
pub use counter::Counter;
pub use events::Events;
pub use gauge::Gauge;
pub use options::{About, ReporterOptions};
pub use registry::RegisterError;
pub use reporter::{Reporter, ReporterHandle};
