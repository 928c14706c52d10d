//! `tidemark workflows`.

use std::{
    io::{Read, stdin},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use serde_json::{Value, json};
use tidemark_egress::Method;

use super::{
    client::Server,
    print,
    report::{age, cell, duration, fields, json_or, rows_of},
};
use crate::{
    cli::{AskOptions, Output, WorkflowsCommand},
    usage::UsageError,
};

const COLUMNS: [&str; 6] = ["ID", "NAME", "STATE", "ENDED", "AGE", "TOOK"];
/// Largest file of a workflow in bytes; the server takes no larger one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Asks and prints.
pub(crate) fn run(command: &WorkflowsCommand) -> anyhow::Result<ExitCode> {
    match command {
        WorkflowsCommand::Ls { before, limit, ask } => list(before.as_deref(), *limit, ask),
        WorkflowsCommand::Show { id, wait, ask } => show(id, wait.as_deref(), ask),
        WorkflowsCommand::Start { file, ask } => start(file, ask),
        WorkflowsCommand::Cancel { ids, ask } => cancel(ids, ask),
    }
}

fn list(before: Option<&str>, limit: u32, ask: &AskOptions) -> anyhow::Result<ExitCode> {
    let limit = limit.to_string();
    let wanted = [("before", before), ("limit", Some(limit.as_str()))];
    let parameters: Vec<(&str, &str)> = wanted.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let text = Server::new(&ask.server)?.own(Method::GET, &["workflows"]).parameters(&parameters).send()?;
    json_or(&text, &ask.output, |answer| {
        print::table(&COLUMNS, &rows_of(answer, "workflows", row))?;
        match answer.get("next").and_then(Value::as_str) {
            Some(next) => print::note(&format!("there may be more: --before {next}")),
            None => Ok(()),
        }
    })
}

fn row(workflow: &Value) -> Vec<String> {
    let field = |name: &str| cell(workflow.get(name));
    let number = |name: &str| workflow.get(name).and_then(Value::as_i64);
    let took = number("ended_ms").zip(number("created_ms")).map(|(end, start)| end - start);
    let ended = format!("{}/{}", field("nodes_ended"), field("nodes_total"));
    vec![field("id"), field("name"), field("state"), ended, age(number("created_ms")), duration(took)]
}

fn show(id: &str, wait: Option<&str>, ask: &AskOptions) -> anyhow::Result<ExitCode> {
    let parameters: Vec<_> = wait.map(|wait| ("wait", wait)).into_iter().collect();
    let text = Server::new(&ask.server)?.own(Method::GET, &["workflows", id]).parameters(&parameters).send()?;
    json_or(&text, &ask.output, |workflow| {
        print::facts(&fields(workflow, &["nodes"]))?;
        print::out("\n")?;
        let nodes = rows_of(workflow, "nodes", |node| {
            let after = node.get("after").and_then(Value::as_array).into_iter().flatten();
            let after: Vec<String> = after.map(Value::to_string).collect();
            let mut row: Vec<String> = ["node", "job", "kind", "state"].map(|name| cell(node.get(name))).to_vec();
            row.extend([after.join(","), cell(node.get("error"))]);
            row
        });
        print::table(&["NODE", "JOB", "KIND", "STATE", "AFTER", "ERROR"], &nodes)
    })
}

fn start(file: &Path, ask: &AskOptions) -> anyhow::Result<ExitCode> {
    let context = || format!("read {}", file.display());
    let mut text = String::new();
    let source: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(stdin()),
        false => Box::new(std::fs::File::open(file).with_context(context)?),
    };
    source.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(context)?;
    let body: Value = serde_json::from_str(&text)
        .map_err(|error| UsageError(format!("{} is no workflow in JSON: {error}", file.display())))?;
    let text = Server::new(&ask.server)?.own(Method::POST, &["workflows"]).body(&body).send()?;
    json_or(&text, &ask.output, |answer| print::out(&format!("{} started\n", cell(answer.get("workflow")))))
}

/// Calls each off, and fails in the end if one of them could not be.
fn cancel(ids: &[String], ask: &AskOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&ask.server)?;
    let (mut done, mut failed) = (Vec::new(), false);
    for id in ids {
        match server.own(Method::POST, &["workflows", id, "cancel"]).send() {
            Ok(text) => {
                let answer: Value = serde_json::from_str(&text).context("the server's answer is no JSON")?;
                done.push(json!({"workflow": id, "state": answer.get("state")}));
            }
            Err(error) => {
                failed = true;
                eprintln!("tidemark: cancel {id}: {error:#}");
            }
        }
    }
    match ask.output.output {
        Output::Json => print::out(&format!("{}\n", Value::Array(done)))?,
        Output::Table => {
            for workflow in &done {
                print::out(&format!("{} {}\n", cell(workflow.get("workflow")), cell(workflow.get("state"))))?;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_is_one_line() {
        let workflow = json!({"id": "w", "name": "nightly", "state": "completed", "created_ms": 1_000,
            "ended_ms": 3_500, "nodes_total": 3, "nodes_ended": 3});
        let shown = row(&workflow);
        assert_eq!((shown[..4].join(" "), shown[5].as_str()), ("w nightly completed 3/3".to_owned(), "2.5s"));
    }
}
