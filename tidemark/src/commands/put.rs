//! `tidemark put`.

use std::{
    io::{BufRead, BufReader, Read, stdin},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use tidemark_model::{Clock, SystemClock};

use super::client::Server;
use crate::{cli::PutOptions, usage::UsageError};

/// Points of one request.
const BATCH_POINTS: usize = 1_000;
/// Longest line of standard input in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Writes one point, or the lines of standard input.
pub(crate) fn run(options: &PutOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.server)?;
    if options.stdin {
        return put_lines(&server, BufReader::new(stdin()));
    }
    let (Some(metric), Some(value)) = (&options.metric, &options.value) else {
        bail!("a point needs a metric and a value");
    };
    let time = options.time.unwrap_or_else(|| SystemClock::new().now_ms());
    let point = point(metric, time, value, options.tags.iter().map(String::as_str));
    put(&server, &[point.map_err(|error| UsageError(format!("{error:#}")))?])?;
    Ok(ExitCode::SUCCESS)
}

/// Sends what can be parsed, names what cannot, and fails in the end if there was any.
fn put_lines(server: &Server, mut lines: impl BufRead) -> anyhow::Result<ExitCode> {
    let (mut batch, mut number, mut refused) = (Vec::new(), 0_u64, 0_u64);
    let mut line = String::new();
    loop {
        line.clear();
        let bytes = lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line).context("read standard input")?;
        if bytes == 0 {
            break;
        }
        number += 1;
        if line.trim().is_empty() {
            continue;
        }
        match parse_line(&line) {
            Ok(point) => batch.push(point),
            Err(error) => {
                refused += 1;
                eprintln!("line {number}: {error:#}");
            }
        }
        if batch.len() >= BATCH_POINTS {
            put(server, &batch)?;
            batch.clear();
        }
    }
    if !batch.is_empty() {
        put(server, &batch)?;
    }
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line `[put] metric time value key=value …`.
fn parse_line(line: &str) -> anyhow::Result<Value> {
    let mut words = line.split_whitespace().peekable();
    words.next_if_eq(&"put");
    let (Some(metric), Some(time), Some(value)) = (words.next(), words.next(), words.next()) else {
        bail!("expected `metric time value key=value …`");
    };
    let time = time.parse().with_context(|| format!("`{time}` is no timestamp"))?;
    point(metric, time, value, words)
}

fn point<'a>(metric: &str, time: i64, value: &str, tags: impl Iterator<Item = &'a str>) -> anyhow::Result<Value> {
    let mut named = Map::new();
    for tag in tags {
        let (key, value) = tag.split_once('=').with_context(|| format!("`{tag}` is no tag: expected key=value"))?;
        named.insert(key.to_owned(), value.into());
    }
    Ok(json!({"metric": metric, "timestamp": time, "value": value, "tags": named}))
}

fn put(server: &Server, points: &[Value]) -> anyhow::Result<()> {
    let answer = server.post("/api/put?details", "application/json", json!(points).to_string());
    answer.map(|_| ()).with_context(|| format!("write {} points", points.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_point_with_or_without_put() {
        let expect = json!({"metric": "cpu", "timestamp": 1_767_225_600, "value": "1.5", "tags": {"host": "a"}});
        assert_eq!(parse_line("put cpu 1767225600 1.5 host=a\n").unwrap(), expect);
        assert_eq!(parse_line("cpu 1767225600 1.5  host=a").unwrap(), expect);
        for line in ["cpu", "cpu now 1 host=a", "cpu 1 2 host"] {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }
}
