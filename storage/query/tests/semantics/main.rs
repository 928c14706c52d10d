//! The semantics of queries, from their texts to their results.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected fails")]

mod conformance;
mod differential;
mod limits;
mod parsers;
mod reference;
mod store;
