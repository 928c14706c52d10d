//! `tidemark rules`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Map, Value};
use tidemark_egress::Method;

use super::{
    client::Server,
    jobs::given,
    print,
    report::{cell, fields, json_or, rows_of},
};
use crate::cli::{BacktestOptions, RulesCommand};

/// How long the server waits for the job each time that it is asked.
const WAIT: &str = "30s";
/// States in which a job stays.
const ENDED: [&str; 3] = ["completed", "cancelled", "discarded"];

/// Asks and prints.
pub(crate) fn run(command: &RulesCommand) -> anyhow::Result<ExitCode> {
    match command {
        RulesCommand::Backtest(options) => backtest(options),
    }
}

fn backtest(options: &BacktestOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.ask.server)?;
    let mut body = Map::new();
    body.insert("kind".to_owned(), "backtest".into());
    body.insert("rule".to_owned(), options.name.as_str().into());
    body.insert("from".to_owned(), options.from.as_str().into());
    body.extend(given([("to", &options.to), ("every", &options.every)]));
    if let Some(path) = &options.file {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        body.insert("text".to_owned(), text.into());
    }
    let enqueued = server.own(Method::POST, &["jobs"]).body(&Value::Object(body)).send()?;
    let enqueued: Value = serde_json::from_str(&enqueued).context("the server's answer is no JSON")?;
    let id = cell(enqueued.get("job"));
    let job = ended(&server, &id)?;
    match job.get("result") {
        Some(result) if !result.is_null() => {
            json_or(&result.to_string(), &options.ask.output, |result| print_result(&id, result))
        }
        _ => bail!("job {id} is {}: {}", cell(job.get("state")), cell(job.get("error"))),
    }
}

/// The job once it has ended; says on standard error how far it is until then.
fn ended(server: &Server, id: &str) -> anyhow::Result<Value> {
    loop {
        let text = server.own(Method::GET, &["jobs", id]).parameters(&[("wait", WAIT)]).send()?;
        let job: Value = serde_json::from_str(&text).context("the server's answer is no JSON")?;
        let state = job.get("state").and_then(Value::as_str).unwrap_or_default();
        if ENDED.contains(&state) {
            return Ok(job);
        }
        let of = |name: &str| cell(job.pointer(&format!("/progress/{name}")));
        print::note(&format!("job {id} is {state}: {} of {} evaluations", of("done"), of("total")))?;
    }
}

fn print_result(id: &str, result: &Value) -> anyhow::Result<()> {
    let changes = rows_of(result, "changes", change);
    print::table(&["TIME", "KEY", "BEFORE", "STATE", "VALUE"], &changes)?;
    print::out("\n")?;
    print::facts(&fields(result, &["changes"]))?;
    match result.get("changes_left_out").and_then(Value::as_u64) {
        None | Some(0) => Ok(()),
        Some(left_out) => print::note(&format!("job {id} found {left_out} changes more; take a shorter range")),
    }
}

fn change(change: &Value) -> Vec<String> {
    let at = change.get("at_ms").and_then(Value::as_i64).map_or_else(|| "-".to_owned(), tidemark_dashboards::date_time);
    let mut row = vec![at];
    row.extend(["key", "before", "state", "value"].map(|name| cell(change.get(name))));
    row
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_one_line() {
        let shown = change(&json!({"at_ms": 1_767_225_600_000_i64, "key": "{host=a}", "before": "normal",
            "state": "critical", "value": 7.5}));
        assert_eq!(shown.join(" "), "2026-01-01 00:00:00 {host=a} normal critical 7.5");
    }
}
