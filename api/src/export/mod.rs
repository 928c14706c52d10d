//! What is in a store as lines of text, in bounded memory: points, and where the form of lines has a place for them,
//! histograms and what others aggregated.
//!
//! Series are read a few hundred at a time and their points window by window. How long a window is follows from how much
//! there was in the last one: a window that holds too much is halved, one that holds little is followed by a longer one, so
//! that years without a point cost nothing and a second with a million points is no problem.

mod exporter;
mod handler;
mod held;
mod histograms;
mod job;
mod reading;
#[cfg(test)]
mod tests;
mod windows;

pub use exporter::{ALL_TIMES, Export, ExportError, LineSink, left_out_text};
pub use job::ExportHandler;

pub(crate) use handler::get;
pub(crate) use job::{export_of, file_name};
