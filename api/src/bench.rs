//! The inner parts that the benchmarks measure; no part of the interface.

use tidemark_model::PointBatch;

use crate::{put, telnet::put_line::PutLines};

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
