//! `tidemark queues`.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;
use tidemark_egress::Method;

use super::{
    client::Server,
    print,
    report::{age, cell, duration, fields, json_or, rows_of},
};
use crate::{
    cli::{AskOptions, NamedOptions, QueuesCommand, QueuesSetOptions},
    usage::UsageError,
};

const COLUMNS: [&str; 9] =
    ["QUEUE", "STATE", "READY", "RUNNING", "SCHEDULED", "RETRYABLE", "DISCARDED", "OLDEST", "DONE/S"];

const LOSS_COLUMNS: [&str; 6] = ["QUEUE", "REDIS", "NOTICED", "LOST", "RESURRECTED", ""];

/// Asks and prints.
pub(crate) fn run(command: &QueuesCommand) -> anyhow::Result<ExitCode> {
    match command {
        QueuesCommand::Ls(ask) => list(ask),
        QueuesCommand::Losses(ask) => losses(ask),
        QueuesCommand::Pause(options) => steer(options, "pause", "paused"),
        QueuesCommand::Drain(options) => steer(options, "drain", "draining"),
        QueuesCommand::Resume(options) => steer(options, "resume", "resumed"),
        QueuesCommand::Set(options) => set(options),
    }
}

fn list(ask: &AskOptions) -> anyhow::Result<ExitCode> {
    let text = Server::new(&ask.server)?.own(Method::GET, &["queues"]).send()?;
    json_or(&text, &ask.output, |answer| {
        print::table(&COLUMNS, &rows_of(answer, "queues", row))?;
        for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
            print::note(&format!("warning: {}", cell(Some(warning))))?;
        }
        Ok(())
    })
}

fn losses(ask: &AskOptions) -> anyhow::Result<ExitCode> {
    let text = Server::new(&ask.server)?.own(Method::GET, &["losses"]).send()?;
    json_or(&text, &ask.output, |answer| {
        print::table(&LOSS_COLUMNS, &rows_of(answer, "losses", loss_row))?;
        for loss in answer.get("losses").and_then(Value::as_array).into_iter().flatten() {
            for list in ["lost", "resurrected"] {
                let jobs = loss.get("found").and_then(|found| found.get(list)).and_then(Value::as_array);
                for job in jobs.into_iter().flatten() {
                    print::out(&format!("{list} {} {}\n", cell(loss.get("queue")), cell(Some(job))))?;
                }
            }
        }
        Ok(())
    })
}

fn loss_row(loss: &Value) -> Vec<String> {
    let found = loss.get("found").filter(|found| !found.is_null());
    let of_found = |name: &str| found.map_or_else(|| "?".to_owned(), |found| cell(found.get(name)));
    let is = |name: &str| found.and_then(|found| found.get(name)).and_then(Value::as_bool) == Some(true);
    let remark = match (found, is("is_counted"), is("is_incomplete")) {
        (None, ..) => "being looked for",
        (_, true, _) => "counted at the last look before, not listed",
        (_, _, true) => "the journal has gaps: there may be more",
        _ => "",
    };
    let noticed = age(loss.get("noticed_ms").and_then(Value::as_i64));
    let kind = cell(loss.get("kind")).replace('_', " ");
    vec![cell(loss.get("queue")), kind, noticed, of_found("lost_jobs"), of_found("resurrected_jobs"), remark.to_owned()]
}

fn row(queue: &Value) -> Vec<String> {
    let field = |name: &str| cell(queue.get(name));
    let is = |name: &str| queue.get(name).and_then(Value::as_bool) == Some(true);
    let state = match (is("paused"), is("draining")) {
        (true, _) => "paused",
        (false, true) => "draining",
        (false, false) => "open",
    };
    let rate = queue.get("ended_per_second").and_then(Value::as_f64).unwrap_or_default();
    let mut row = vec![field("name"), state.to_owned()];
    row.extend(["ready", "running", "scheduled", "retryable", "discarded"].map(field));
    row.extend([duration(queue.get("oldest_age_ms").and_then(Value::as_i64)), format!("{rate:.1}")]);
    row
}

fn set(options: &QueuesSetOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.ask.server)?;
    let text = server.own(Method::GET, &["queues"]).send()?;
    let known: Value = serde_json::from_str(&text).context("the server's answer is no JSON")?;
    let mut queues = known.get("queues").and_then(Value::as_array).into_iter().flatten();
    let queue = queues.find(|queue| queue.get("name").and_then(Value::as_str) == Some(options.name.as_str()));
    let settings = queue.and_then(|queue| queue.get("settings")).and_then(Value::as_object).cloned();
    let mut settings = settings.unwrap_or_default();
    settings.extend(given_limit("rate", options.rate.as_deref(), |text| Ok(text.into()))?);
    for (name, limit) in
        [("running_max", &options.running_max), ("jobs_max", &options.jobs_max), ("bytes_max", &options.bytes_max)]
    {
        settings.extend(given_limit(name, limit.as_deref(), |text| {
            let number: u64 =
                text.parse().with_context(|| UsageError(format!("`{text}` is no number and not `none`")))?;
            Ok(number.into())
        })?);
    }
    let call = server.own(Method::PUT, &["queues", &options.name, "settings"]).body(&Value::Object(settings));
    let text = call.send()?;
    json_or(&text, &options.ask.output, |settings| print::facts(&fields(settings, &[])))
}

/// A limit that was given; `none` takes it away.
fn given_limit(
    name: &str,
    given: Option<&str>,
    parse: impl FnOnce(&str) -> anyhow::Result<Value>,
) -> anyhow::Result<Option<(String, Value)>> {
    let value = match given {
        None => return Ok(None),
        Some("none") => Value::Null,
        Some(text) => parse(text)?,
    };
    Ok(Some((name.to_owned(), value)))
}

fn steer(options: &NamedOptions, action: &str, done: &str) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.ask.server)?;
    server.own(Method::POST, &["queues", &options.name, action]).send()?;
    print::done(&options.ask.output, "queue", &options.name, done)
}
