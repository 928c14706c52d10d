//! `tidemark workers`.

use std::process::ExitCode;

use serde_json::{Value, json};
use tidemark_egress::Method;

use super::{
    client::Server,
    print,
    report::{age, cell, duration, fields, json_or, rows_of},
};
use crate::cli::{AskOptions, NamedOptions, WorkersCommand};

const COLUMNS: [&str; 7] = ["WORKER", "HOST", "VERSION", "RUNNING", "ATTEMPTS", "UP", "SILENT"];

/// Asks and prints.
pub(crate) fn run(command: &WorkersCommand) -> anyhow::Result<ExitCode> {
    match command {
        WorkersCommand::Ls(ask) => list(ask),
        WorkersCommand::Show(options) => show(options),
        WorkersCommand::Stop(options) => {
            let server = Server::new(&options.ask.server)?;
            server.own(Method::POST, &["workers", &options.name, "stop"]).send()?;
            print::done(&options.ask.output, "worker", &options.name, "told to stop")
        }
        WorkersCommand::Scale { name, queue, concurrency, ask } => {
            let server = Server::new(&ask.server)?;
            let body = json!({"queue": queue, "concurrency": concurrency});
            server.own(Method::POST, &["workers", name, "scale"]).body(&body).send()?;
            print::done(&ask.output, "worker", name, &format!("told to run {concurrency} of {queue}"))
        }
    }
}

fn list(ask: &AskOptions) -> anyhow::Result<ExitCode> {
    let text = Server::new(&ask.server)?.own(Method::GET, &["workers"]).send()?;
    json_or(&text, &ask.output, |answer| print::table(&COLUMNS, &rows_of(answer, "workers", row)))
}

fn row(worker: &Value) -> Vec<String> {
    let field = |name: &str| cell(worker.get(name));
    let number = |name: &str| worker.get(name).and_then(Value::as_i64);
    let mut row: Vec<String> = ["worker", "host", "version", "running", "attempts"].map(field).to_vec();
    row.extend([age(number("started_ms")), duration(number("silent_ms"))]);
    row
}

fn show(options: &NamedOptions) -> anyhow::Result<ExitCode> {
    let text = Server::new(&options.ask.server)?.own(Method::GET, &["workers", &options.name]).send()?;
    json_or(&text, &options.ask.output, |worker| {
        print::facts(&fields(worker, &["queues"]))?;
        print::out("\n")?;
        let queues = rows_of(worker, "queues", |queue| vec![cell(queue.get("name")), cell(queue.get("concurrency"))]);
        print::table(&["QUEUE", "CONCURRENCY"], &queues)
    })
}
