//! The semantics of queries, from their texts to their results.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected fails")]

mod conformance;
mod limits;
mod parsers;
#[path = "../support/store.rs"]
mod store;
mod worked_examples;
