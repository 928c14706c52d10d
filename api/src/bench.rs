//! The inner parts that the benchmarks measure and the fuzz targets feed; no part of the interface.

use std::ops::ControlFlow;

use serde_json::Value;
use tidemark_model::{PointBatch, PointRules, TimestampMs};
use tidemark_query::{EvaluationControl, GroupResult, Query, RollupIntervals, Weekday, expression::ExpressionQuery};

use crate::{
    http::query_string::QueryString,
    opentsdb::{
        expression_answer::TableWriter,
        expression_request::ExpressionBody,
        query_answer::{AnswerSink, AnswerWriter, Collected, Gone},
        query_request::{AnswerShape, Moment, QueryBody, from_query_string},
    },
    options::{OpenTsdbOptions, QueryExtras},
    prometheus::remote_write,
    put,
    telnet::{put_line::PutLines, value_line::ValueLines},
};

/// Sub-queries that a request may have.
const PARTS_MAX: usize = 20;

/// The points of a body of `/api/put`; empty when it is wrong.
#[must_use]
pub fn read_body_of_points(text: &str) -> PointBatch {
    put::parse(text, &PointRules::default()).unwrap_or_default().batch
}

/// What a body is of `/api/histogram` and of `/api/rollup`; empty where it is wrong.
#[must_use]
pub fn read_bodies_of_values(text: &str) -> [PointBatch; 2] {
    let histograms = put::parse_histograms(text, &PointRules::default(), None).unwrap_or_default().batch;
    [
        histograms,
        put::parse_rollups(text, &PointRules::default(), &RollupIntervals::default(), None).unwrap_or_default().batch,
    ]
}

/// The samples of a message of Prometheus' remote write; empty when it is damaged.
#[must_use]
pub fn read_samples(message: &[u8]) -> PointBatch {
    remote_write::read(message).map(|received| received.batch).unwrap_or_default()
}

/// The values of `histogram` and `rollup` lines; wrong lines are left out.
#[must_use]
pub fn read_lines_of_values(lines: &str) -> PointBatch {
    let options = OpenTsdbOptions::default();
    let mut values = ValueLines::new(&options);
    for line in lines.split_terminator('\n') {
        let added = match (line.strip_prefix("histogram "), line.strip_prefix("rollup ")) {
            (Some(words), _) => values.add_histogram(words),
            (_, Some(words)) => values.add_rollup(words),
            (None, None) => continue,
        };
        if let Err(error) = added {
            tracing::trace!(?error, "a line was left out");
        }
    }
    values.take().unwrap_or_default()
}

/// The points of `put` lines; wrong lines are left out.
#[must_use]
pub fn read_lines_of_points(lines: &str) -> PointBatch {
    let rules = PointRules::default();
    let mut put = PutLines::new(&rules);
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
    let moment = Moment { now, time_zone: "UTC", week_start: Weekday::Sun, extras: QueryExtras::default() };
    let flags = QueryString::parse(text).unwrap_or_default();
    let of_string = from_query_string(&flags, moment, PARTS_MAX);
    let of_body = serde_json::from_str::<QueryBody>(text).ok();
    let of_body = of_body.map(|body| body.into_request(moment, &QueryString::default(), PARTS_MAX));
    [Some(of_string), of_body].into_iter().flatten().flatten().map(|asked| asked.query).collect()
}

/// The request that a body of `/api/query/exp` is: its window, what to evaluate, and how the answer repeats it. `now` is in
/// milliseconds since the epoch.
#[must_use]
pub fn read_expressions(text: &str, now: TimestampMs) -> Option<(Query, ExpressionQuery, Value)> {
    let body: ExpressionBody = serde_json::from_str(text).ok()?;
    let asked = body
        .into_request(
            Moment { now, time_zone: "UTC", week_start: Weekday::Sun, extras: QueryExtras::default() },
            PARTS_MAX,
        )
        .ok()?;
    Some((asked.window, asked.query, asked.echo))
}

/// The answer to such a request over these results of its sub-queries; empty when it has none.
#[must_use]
pub fn write_tables(
    query: &ExpressionQuery,
    control: &EvaluationControl<'_>,
    groups: impl Fn(usize) -> Vec<GroupResult>,
    echo: &Value,
) -> String {
    let (mut writer, mut sink) = (TableWriter::new(), Collected::default());
    let evaluated = query.evaluate(
        control,
        |source| Ok(groups(source)),
        |table| match writer.table(table, &mut sink) {
            Ok(()) => ControlFlow::Continue(()),
            Err(Gone) => ControlFlow::Break(()),
        },
    );
    if evaluated.is_err() {
        return String::new();
    }
    sink.0.extend(writer.finish(echo));
    String::from_utf8(sink.0).unwrap_or_default()
}

/// How points are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerForm {
    /// `{"SECOND":VALUE}`
    Objects,
    /// `[[SECOND,VALUE]]`
    Arrays,
}

/// Takes pieces away as the sender of an answer does, and counts their bytes.
struct Counted(usize);

impl AnswerSink for Counted {
    fn take(&mut self, out: &mut Vec<u8>) -> Result<(), Gone> {
        const PIECE_BYTES: usize = 64 << 10;
        if out.len() >= PIECE_BYTES {
            self.0 += std::mem::replace(out, Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4)).len();
        }
        Ok(())
    }
}

/// Writes groups as `/api/query` does, and returns the bytes of the answer.
#[must_use]
pub fn write_answer(groups: &[GroupResult], form: AnswerForm) -> usize {
    let shape = AnswerShape { arrays: form == AnswerForm::Arrays, ..AnswerShape::default() };
    let mut writer = AnswerWriter::new(shape, false, std::sync::Arc::default());
    let mut sink = Counted(0);
    for group in groups {
        if writer.group(group, "{}", &mut sink).is_err() {
            break;
        }
    }
    sink.0 + writer.finish().len()
}
