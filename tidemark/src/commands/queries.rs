//! `tidemark queries`.

use std::process::ExitCode;

use serde_json::Value;
use tidemark_egress::Method;

use super::{
    client::Server,
    print,
    report::{cell, duration, json_or, rows_of},
};
use crate::cli::{NamedOptions, QueriesCommand, QueriesLsOptions};

const COLUMNS: [&str; 9] = ["QUERY", "CLIENT", "STATE", "TIME", "SERIES", "BLOCKS", "POINTS", "RESULT", "ABOUT"];
/// Characters of what a query is about that are shown.
const ABOUT_CHARACTERS_MAX: usize = 60;

/// Asks and prints.
pub(crate) fn run(command: &QueriesCommand) -> anyhow::Result<ExitCode> {
    match command {
        QueriesCommand::Ls(options) => list(options),
        QueriesCommand::Cancel(options) => cancel(options),
    }
}

fn list(options: &QueriesLsOptions) -> anyhow::Result<ExitCode> {
    let text = Server::new(&options.ask.server)?.own(Method::GET, &["queries"]).send()?;
    json_or(&text, &options.ask.output, |answer| {
        let mut rows = rows_of(answer, "running", row);
        if options.all {
            rows.extend(rows_of(answer, "completed", row));
        }
        print::table(&COLUMNS, &rows)
    })
}

fn cancel(options: &NamedOptions) -> anyhow::Result<ExitCode> {
    Server::new(&options.ask.server)?.own(Method::POST, &["queries", &options.name, "cancel"]).send()?;
    print::done(&options.ask.output, "query", &options.name, "cancelled")
}

fn row(query: &Value) -> Vec<String> {
    let field = |name: &str| cell(query.get(name));
    let figure = |name: &str| query.get("stats").and_then(|figures| figures.get(name));
    let client = if query.get("user").is_some_and(Value::is_string) { "user" } else { "remote" };
    let state = match (query.get("phase").and_then(Value::as_str), query.pointer("/httpResponse/code")) {
        (Some(phase), _) => phase.to_owned(),
        (None, Some(status)) => format!("ended {status}"),
        (None, None) => "client left".to_owned(),
    };
    let millis = figure("totalTime").and_then(Value::as_f64).map(|millis| millis as i64);
    let mut row = vec![field("id"), field(client), state, duration(millis)];
    row.extend(["seriesSelected", "blocksFromStorage", "dpsFromStorage", "emittedDPs"].map(|name| cell(figure(name))));
    row.push(about(query));
    row
}

/// The expression, the metrics of its sub-queries, or else its path.
fn about(query: &Value) -> String {
    if let Some(expression) = query.pointer("/query/query").and_then(Value::as_str) {
        return expression.chars().take(ABOUT_CHARACTERS_MAX).collect();
    }
    let parts = query.pointer("/query/queries").and_then(Value::as_array);
    let metrics: Vec<&str> =
        parts.into_iter().flatten().filter_map(|part| part.get("metric").and_then(Value::as_str)).collect();
    let about = if metrics.is_empty() { cell(query.get("endpoint")) } else { metrics.join(" ") };
    about.chars().take(ABOUT_CHARACTERS_MAX).collect()
}
