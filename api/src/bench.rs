//! The inner parts that the benchmarks measure and the fuzz targets feed; no part of the interface.

use tidemark_model::{PointBatch, TimestampMs};
use tidemark_query::Query;

use crate::{
    http::query_string::QueryString,
    opentsdb::query_request::{Moment, QueryBody, from_query_string},
    put,
    telnet::put_line::PutLines,
};

/// Sub-queries that a request may have.
const PARTS_MAX: usize = 20;

/// The points of a body of `/api/put`; empty when it is wrong.
#[must_use]
pub fn read_body_of_points(text: &str) -> PointBatch {
    put::parse(text, 8).unwrap_or_default().batch
}

/// The points of `put` lines; wrong lines are left out.
#[must_use]
pub fn read_lines_of_points(lines: &str) -> PointBatch {
    let mut put = PutLines::new(8);
    put.reserve(lines.len());
    for words in lines.split_terminator('\n').filter_map(|line| line.strip_prefix("put ")) {
        if let Err(error) = put.add(words) {
            tracing::trace!(error, "a line was left out");
        }
    }
    put.take()
}

/// The queries that a text is: as a query string and as a body of `/api/query`, for whichever it is. `now` is in
/// milliseconds since the epoch.
#[must_use]
pub fn read_query(text: &str, now: TimestampMs) -> Vec<Query> {
    let moment = Moment { now, time_zone: "UTC" };
    let flags = QueryString::parse(text).unwrap_or_default();
    let of_string = from_query_string(&flags, moment, PARTS_MAX);
    let of_body = serde_json::from_str::<QueryBody>(text).ok();
    let of_body = of_body.map(|body| body.into_request(moment, &QueryString::default(), PARTS_MAX));
    [Some(of_string), of_body].into_iter().flatten().flatten().map(|asked| asked.query).collect()
}
