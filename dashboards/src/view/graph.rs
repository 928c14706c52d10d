//! Graphs, as the pages and the browser share them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::Unit;

/// A graph of a page: the first picture is drawn by the server from `data`, then the browser asks for `queries` itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// Unique on the page, such as `cpu`; letters, digits and dashes.
    pub id: String,
    /// Such as `CPU`.
    pub title: String,
    /// What the values count.
    pub unit: Unit,
    /// What is drawn.
    pub queries: Vec<GraphQuery>,
    /// Start of the range as in a query of OpenTSDB, such as `1h-ago`.
    pub from: String,
    /// End of the range; `now` follows the clock.
    pub to: String,
    /// Start of the range in milliseconds since the epoch.
    pub start_ms: i64,
    /// End of the range.
    pub end_ms: i64,
    /// Whether series are piled on each other as areas, for parts of a whole.
    pub stacked: bool,
    /// Lower end of the value axis, when it must not follow the data.
    pub minimum: Option<f64>,
    /// Upper end of the value axis, when it must not follow the data.
    pub maximum: Option<f64>,
    /// Values for the first picture; may be empty.
    pub data: GraphData,
}

/// One query of a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphQuery {
    /// An `m=` of OpenTSDB, where the downsampling interval may be `auto`: `sum:auto-avg:rate:os.cpu{host=web01,type=*}`.
    pub m: String,
    /// The tag whose value names each series; nothing uses all tags.
    pub label_tag: Option<String>,
}

/// The answer to a graph's queries: the body of `POST /api/tidemark/v1/graph` and of the live event `data`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GraphData {
    /// Timestamps in milliseconds since the epoch, ascending, shared by all series.
    #[serde(rename = "t")]
    pub times_ms: Vec<i64>,
    /// The series, in order of query, then of label.
    pub series: Vec<GraphSeries>,
}

/// One series of an answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GraphSeries {
    /// Which query it answers, from 0.
    pub query: usize,
    /// Its metric.
    pub metric: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// What to call it.
    pub label: String,
    /// What its values count, from the metric's metadata and whether the query takes a rate. Explore's axis follows it.
    #[serde(default)]
    pub unit: Unit,
    /// One value for each timestamp; nothing where there is none, which is drawn as a gap.
    #[serde(rename = "v")]
    pub values: Vec<Option<f64>>,
}
