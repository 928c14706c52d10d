//! The queries of this process: which run or wait, for whom, what each cost so far, and the newest that ended.
//!
//! A query is entered before it waits for its turn and leaves when its last byte was handed over or its client has gone,
//! whichever part of it is dropped last. Anybody who may steer the server can end one by its number.

mod client_identity;
mod ended_query;
mod query_entry;
mod query_figures;
mod query_registry;

pub(crate) use client_identity::ClientIdentity;
pub(crate) use query_entry::{Asked, Phase, QueryEntry};
pub(crate) use query_figures::QueryFigures;
pub(crate) use query_registry::QueryRegistry;
