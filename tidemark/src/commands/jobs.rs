//! `tidemark jobs`.

use std::{
    fs::File,
    io::{Write, stdout},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tidemark_egress::Method;
use tidemark_queue::JobId;

use super::{
    client::Server,
    export::is_broken_pipe,
    offline, print,
    report::{age, cell, duration, fields, json_or, rows_of},
    upload,
};
use crate::{
    cli::{
        AskOptions, DeadLetterOptions, JobsCommand, JobsLsOptions, JobsRunOptions, Output, ServerOptions, WorkKind,
        WorkOptions,
    },
    usage::UsageError,
};

/// What is done to a job by DELETE.
const DISCARD: &str = "discard";
const COLUMNS: [&str; 8] = ["ID", "KIND", "QUEUE", "STATE", "ATTEMPT", "AGE", "TOOK", "ERROR"];

/// Asks and prints.
pub(crate) fn run(command: &JobsCommand) -> anyhow::Result<ExitCode> {
    match command {
        JobsCommand::Ls(options) => list(options),
        JobsCommand::Show { id, wait, ask } => show(id, wait.as_deref(), ask),
        JobsCommand::Run(options) => enqueue(options),
        JobsCommand::Retry { all: true, which, ask, .. } => act_on_all(which, "retry", ask),
        JobsCommand::Retry { ids, ask, .. } => act_on_each(ids, "retry", ask),
        JobsCommand::Output { id, to_file, server } => output(id, to_file.as_deref(), server),
        JobsCommand::Cancel { ids, ask } => act_on_each(ids, "cancel", ask),
        JobsCommand::Discard { ids, ask } => act_on_each(ids, DISCARD, ask),
        JobsCommand::Purge { which, ask, .. } => act_on_all(which, "purge", ask),
    }
}

fn list(options: &JobsLsOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.ask.server)?;
    let search = options.search.join(" ");
    let limit = options.limit.to_string();
    let wanted = [
        ("kind", options.kind.as_deref()),
        ("queue", options.queue.as_deref()),
        ("state", options.state.as_deref()),
        ("key", options.key.as_deref()),
        ("since", options.since.as_deref()),
        ("until", options.until.as_deref()),
        ("before", options.before.as_deref()),
        ("q", Some(search.as_str()).filter(|search| !search.is_empty())),
        ("limit", Some(limit.as_str())),
    ];
    let parameters: Vec<(&str, &str)> = wanted.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let text = server.own(Method::GET, &["jobs"]).parameters(&parameters).send()?;
    json_or(&text, &options.ask.output, |answer| {
        print::table(&COLUMNS, &rows_of(answer, "jobs", job_row))?;
        match answer.get("next").and_then(Value::as_str) {
            Some(next) => print::note(&format!("there may be more: --before {next}")),
            None => Ok(()),
        }
    })
}

fn job_row(job: &Value) -> Vec<String> {
    let number = |name: &str| job.get(name).and_then(Value::as_i64);
    let took = number("finished_ms").zip(number("started_ms")).map(|(end, start)| end - start);
    let field = |name: &str| cell(job.get(name));
    let attempt = format!("{}/{}", field("attempt"), field("attempts_max"));
    vec![
        field("id"),
        field("kind"),
        field("queue"),
        field("state"),
        attempt,
        age(number("created_ms")),
        duration(took),
        field("error"),
    ]
}

fn show(id: &str, wait: Option<&str>, ask: &AskOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&ask.server)?;
    let parameters: Vec<_> = wait.map(|wait| ("wait", wait)).into_iter().collect();
    let text = server.own(Method::GET, &["jobs", id]).parameters(&parameters).send()?;
    json_or(&text, &ask.output, print_job)
}

fn print_job(job: &Value) -> anyhow::Result<()> {
    let mut facts = fields(job, &["attempts", "log"]);
    for (name, value) in &mut facts {
        if let Some(time) = name.strip_suffix("_ms").filter(|_| value != "-" && !name.contains("limit")) {
            let ago = age(value.parse().ok());
            (*name, *value) = (time.to_owned(), format!("{ago} ({value})"));
        }
    }
    print::facts(&facts)?;
    let number = |of: &Value, name: &str| of.get(name).and_then(Value::as_i64);
    let attempts = rows_of(job, "attempts", |attempt| {
        let run = number(attempt, "ended_ms").zip(number(attempt, "started_ms")).map(|(end, start)| end - start);
        let field = |name: &str| cell(attempt.get(name));
        vec![field("number"), field("worker"), age(number(attempt, "started_ms")), duration(run), field("error")]
    });
    if !attempts.is_empty() {
        print::out("\n")?;
        print::table(&["ATTEMPT", "WORKER", "BEGAN", "TOOK", "ERROR"], &attempts)?;
    }
    let lines = rows_of(job, "log", |line| vec![age(number(line, "at_ms")), cell(line.get("text"))]);
    if !lines.is_empty() {
        print::out("\n")?;
        print::table(&["SAID", "LINE"], &lines)?;
    }
    Ok(())
}

fn enqueue(options: &JobsRunOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.ask.server)?;
    let subject = match &options.file {
        Some(path) => bring(&server, path, options)?,
        None => options.work.subject()?.to_owned(),
    };
    let mut body = work(&options.work, &subject);
    body.extend(given([("not_before", &options.not_before), ("expires", &options.expires)]));
    let parameters: Vec<_> = options.wait.as_deref().map(|wait| ("wait", wait)).into_iter().collect();
    let mut call = server.own(Method::POST, &["jobs"]).parameters(&parameters).body(&Value::Object(body));
    if let Some(key) = &options.idempotency_key {
        call = call.header("idempotency-key", key);
    }
    let text = call.send()?;
    let answer: Value = serde_json::from_str(&text)?;
    json_or(&text, &options.ask.output, |answer| {
        let field = |name: &str| answer.get(name).filter(|value| !value.is_null()).map(|value| cell(Some(value)));
        let state = field("state").unwrap_or_else(|| "queued".to_owned());
        let more = field("error").or_else(|| field("result")).map(|more| format!(": {more}")).unwrap_or_default();
        print::out(&format!("{} {state}{more}\n", cell(answer.get("job"))))
    })?;
    let completed = answer.get("state").and_then(Value::as_str) == Some("completed");
    Ok(if options.wait.is_none() || completed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Brings the file of an import to the server; its name there.
fn bring(server: &Server, path: &Path, options: &JobsRunOptions) -> anyhow::Result<String> {
    if options.work.kind != WorkKind::Import {
        bail!(UsageError("option --file: only `import` reads a file".to_owned()));
    }
    let name = match &options.work.subject {
        Some(name) => name.clone(),
        None => upload::name_of(path)?,
    };
    upload::upload(server, path, &name)?;
    Ok(name)
}

/// Writes what a job made to a file or to standard output.
fn output(id: &str, to_file: Option<&Path>, server: &ServerOptions) -> anyhow::Result<ExitCode> {
    let id: JobId = id.parse().map_err(|error| UsageError(format!("job `{id}`: {error}")))?;
    let server = Server::new(server)?;
    let fetched = offline::runtime()?.block_on(async {
        let path = format!("/api/tidemark/v1/jobs/{id}/output");
        let mut answer = server.open(Method::GET, &path, &[]).await.map_err(|failed| failed.error)?;
        let mut out: Box<dyn Write> = match to_file {
            Some(path) => Box::new(File::create(path).with_context(|| format!("write {}", path.display()))?),
            None => Box::new(stdout()),
        };
        while let Some(piece) = answer.chunk().await.context("the file was broken off")? {
            out.write_all(&piece)?;
        }
        Ok(out.flush()?)
    });
    match fetched {
        // A reader that has gone, such as `head`, is no error.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        fetched => fetched.map(|()| ExitCode::SUCCESS),
    }
}

/// The fields of a request that say what to do.
pub(super) fn work(options: &WorkOptions, subject: &str) -> serde_json::Map<String, Value> {
    let (kind, field) = match options.kind {
        WorkKind::Collect => ("collect", "target"),
        WorkKind::Evaluate => ("evaluate", "rule"),
        WorkKind::Rollup => ("rollup", "step"),
        WorkKind::Import => ("import", "file"),
        WorkKind::Export => ("export", "format"),
        WorkKind::Backtest => ("backtest", "rule"),
    };
    let mut body = serde_json::Map::new();
    body.insert("kind".to_owned(), kind.into());
    if !options.series.is_empty() {
        body.insert("series".to_owned(), options.series.as_slice().into());
    }
    body.extend(given([
        ("format", &options.format),
        ("from", &options.from),
        ("to", &options.to),
        ("metric", &options.metric),
        ("every", &options.evaluate_every),
        ("priority", &options.priority),
        ("time_limit", &options.time_limit),
    ]));
    // What the kind is about stands before an option of the same name.
    body.insert(field.to_owned(), subject.into());
    body
}

/// The fields of options that were given.
pub(super) fn given<'a>(
    options: impl IntoIterator<Item = (&'a str, &'a Option<String>)>,
) -> impl Iterator<Item = (String, Value)> {
    options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_deref()?.into())))
}

/// Does the same to all discarded jobs that fit.
fn act_on_all(which: &DeadLetterOptions, action: &str, ask: &AskOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&ask.server)?;
    let mut body = serde_json::Map::new();
    body.extend(given([
        ("kind", &which.kind),
        ("queue", &which.queue),
        ("key", &which.key),
        ("text", &which.text),
        ("since", &which.since),
        ("until", &which.until),
    ]));
    body.extend(which.limit.map(|limit| ("limit".to_owned(), limit.into())));
    let text = server.own(Method::POST, &["jobs", action]).body(&Value::Object(body)).send()?;
    json_or(&text, &ask.output, |answer| {
        let count = answer.as_object().and_then(|fields| fields.values().next());
        print::out(&format!("{} jobs\n", cell(count)))
    })
}

/// Does the same to each job, and fails in the end if one of them could not.
fn act_on_each(ids: &[String], action: &str, ask: &AskOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&ask.server)?;
    let (mut done, mut failed) = (Vec::new(), false);
    for id in ids {
        let call = match action {
            DISCARD => server.own(Method::DELETE, &["jobs", id]),
            _ => server.own(Method::POST, &["jobs", id, action]),
        };
        match call.send() {
            Ok(text) => {
                let answer: Value = serde_json::from_str(&text).unwrap_or_default();
                let state = answer.get("state").cloned().unwrap_or_else(|| "forgotten".into());
                done.push(json!({"job": id, "state": state}));
            }
            Err(error) => {
                failed = true;
                eprintln!("tidemark: {action} {id}: {error:#}");
            }
        }
    }
    if ask.output.output == Output::Json {
        print::out(&format!("{}\n", Value::Array(done)))?;
    } else {
        for job in &done {
            print::out(&format!("{} {}\n", cell(job.get("job")), cell(job.get("state"))))?;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_one_line() {
        let job = json!({"id": "j", "kind": "notify", "queue": "notify", "state": "discarded", "attempt": 3,
            "attempts_max": 8, "started_ms": 1_000, "finished_ms": 3_500, "created_ms": null, "error": "timeout"});
        assert_eq!(job_row(&job), ["j", "notify", "notify", "discarded", "3/8", "-", "2.5s", "timeout"]);
    }

    #[test]
    fn only_what_was_given_is_sent() {
        let (none, some) = (None, Some("high".to_owned()));
        let sent: Vec<_> = given([("expires", &none), ("priority", &some)]).collect();
        assert_eq!(sent, [("priority".to_owned(), json!("high"))]);
    }
}
