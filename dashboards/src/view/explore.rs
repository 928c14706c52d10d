//! Explore: ask anything, see it as a graph.

use serde::Serialize;

use super::graph::Graph;

/// The page `/explore?m=…&m=…&from=…&to=…`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExplorePage {
    /// The `m` of the address, in order, as they stand there (`auto` included).
    pub queries: Vec<String>,
    /// The `from` of the address, or the default `1h-ago`.
    pub from: String,
    /// The `to` of the address, or the default `now`.
    pub to: String,
    /// The names of all aggregators, for the lists.
    pub aggregators: Vec<String>,
    /// The answer, when there is a query and it could be answered.
    pub graph: Option<Graph>,
    /// Why it could not be answered, as a sentence; empty otherwise.
    pub error: String,
    /// Names of metrics to begin with, when there is no query; about twenty. Empty when the store is empty.
    pub some_metrics: Vec<String>,
    /// The address that clients send to, for the command of an empty store.
    pub base_url: String,
}
