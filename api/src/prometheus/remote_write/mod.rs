//! `POST /prometheus/api/v1/write`: samples that Prometheus and others push, by remote write 1.0.
//!
//! The body is a protobuf message in a block of snappy. It is read where it lies, series by series, by a reader of our own:
//! structures that are derived from the message would make thirty bytes of each empty sample, which takes two in a body.

mod handler;
mod message;
mod wire_reader;

pub(super) use handler::post;
pub(crate) use message::read;
