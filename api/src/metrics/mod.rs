//! What the server counts about itself, as plain data for `/metrics`, `/api/stats` and the pages.

mod api_counters;
mod count;
mod gauge;
mod point_counters;
mod rejected_lines;
mod request_counters;

pub use api_counters::ApiCounters;
pub use count::Count;
pub use gauge::Gauge;
pub use point_counters::{PointCounters, PointCounts, Protocol, RejectReason};
pub(crate) use rejected_lines::printable;
pub use rejected_lines::{RejectedLine, RejectedLines};
pub use request_counters::{RequestCount, RequestCounters, RequestLabel};
