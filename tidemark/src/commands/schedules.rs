//! `tidemark schedules`.

use std::process::ExitCode;

use serde_json::{Map, Value, json};
use tidemark_egress::Method;

use super::{
    client::Server,
    jobs::{given, work},
    print,
    report::{age, cell, duration, fields, json_or, rows_of},
};
use crate::cli::{AskOptions, NamedOptions, SchedulesCommand, SchedulesSetOptions};

const COLUMNS: [&str; 6] = ["SCHEDULE", "KIND", "WHEN", "STATE", "LAST", "NEXT"];

/// Asks and prints.
pub(crate) fn run(command: &SchedulesCommand) -> anyhow::Result<ExitCode> {
    match command {
        SchedulesCommand::Ls(ask) => list(ask),
        SchedulesCommand::Show(options) => show(options),
        SchedulesCommand::Set(options) => set(options),
        SchedulesCommand::Rm(options) => {
            let server = Server::new(&options.ask.server)?;
            server.own(Method::DELETE, &["schedules", &options.name]).send()?;
            print::done(&options.ask.output, "schedule", &options.name, "removed")
        }
        SchedulesCommand::Pause(options) => steer(options, "pause", print_schedule),
        SchedulesCommand::Resume(options) => steer(options, "resume", print_schedule),
        SchedulesCommand::Run(options) => {
            steer(options, "run", |answer| print::out(&format!("{} queued\n", cell(answer.get("job")))))
        }
    }
}

fn list(ask: &AskOptions) -> anyhow::Result<ExitCode> {
    let text = Server::new(&ask.server)?.own(Method::GET, &["schedules"]).send()?;
    json_or(&text, &ask.output, |answer| print::table(&COLUMNS, &rows_of(answer, "schedules", row)))
}

fn row(schedule: &Value) -> Vec<String> {
    let field = |name: &str| cell(schedule.get(name));
    let is = |name: &str| schedule.get(name).and_then(Value::as_bool) == Some(true);
    let state = match (is("paused"), is("done")) {
        (true, _) => "paused",
        (false, true) => "done",
        (false, false) => "on",
    };
    let last = age(schedule.get("last_due_ms").and_then(Value::as_i64));
    let next = age(schedule.pointer("/next_ms/0").and_then(Value::as_i64));
    vec![field("name"), field("kind"), when(schedule.get("when")), state.to_owned(), last, next]
}

fn when(when: Option<&Value>) -> String {
    let field = |name: &str| when.and_then(|when| when.get(name));
    match (field("every_ms").and_then(Value::as_i64), field("cron"), field("once_ms").and_then(Value::as_i64)) {
        (Some(every_ms), _, _) => format!("every {}", duration(Some(every_ms))),
        (None, Some(line), _) => format!("{} ({})", cell(Some(line)), cell(field("time_zone"))),
        (None, None, Some(at_ms)) => format!("once, {}", age(Some(at_ms))),
        (None, None, None) => "-".to_owned(),
    }
}

fn show(options: &NamedOptions) -> anyhow::Result<ExitCode> {
    let text = Server::new(&options.ask.server)?.own(Method::GET, &["schedules", &options.name]).send()?;
    json_or(&text, &options.ask.output, print_schedule)
}

fn print_schedule(schedule: &Value) -> anyhow::Result<()> {
    let mut facts = fields(schedule, &["when", "next_ms"]);
    facts.push(("when".to_owned(), when(schedule.get("when"))));
    let next = schedule.get("next_ms").and_then(Value::as_array).into_iter().flatten();
    let next: Vec<String> = next.map(|at_ms| age(at_ms.as_i64())).collect();
    facts.push(("next".to_owned(), if next.is_empty() { "-".to_owned() } else { next.join(", ") }));
    print::facts(&facts)
}

fn set(options: &SchedulesSetOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.ask.server)?;
    let text = server.own(Method::PUT, &["schedules", &options.name]).body(&body(options)?);
    let text = if options.new { text.header("if-none-match", "*") } else { text }.send()?;
    json_or(&text, &options.ask.output, print_schedule)
}

fn body(options: &SchedulesSetOptions) -> anyhow::Result<Value> {
    let mut when = Map::new();
    when.extend(given([
        ("every", &options.every),
        ("cron", &options.cron),
        ("time_zone", &options.time_zone),
        ("once", &options.once),
    ]));
    let mut body = Map::new();
    body.insert("when".to_owned(), Value::Object(when));
    body.insert("job".to_owned(), Value::Object(work(&options.work, options.work.subject()?)));
    body.insert("paused".to_owned(), json!(options.paused));
    body.extend(given([
        ("catch_up", &options.catch_up),
        ("splay", &options.splay),
        ("expires_after", &options.expires_after),
    ]));
    Ok(Value::Object(body))
}

fn steer(
    options: &NamedOptions,
    action: &str,
    for_people: impl FnOnce(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.ask.server)?;
    let text = server.own(Method::POST, &["schedules", &options.name, action]).send()?;
    json_or(&text, &options.ask.output, for_people)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_says_when_in_one_cell() {
        assert_eq!(when(Some(&json!({"every_ms": 60_000}))), "every 1m0s");
        assert_eq!(when(Some(&json!({"cron": "5 * * * *", "time_zone": "UTC"}))), "5 * * * * (UTC)");
        assert!(when(Some(&json!({"once_ms": 0}))).starts_with("once, "));
        assert_eq!(when(None), "-");
    }

    #[test]
    fn a_schedule_is_on_paused_or_done() {
        let state = |schedule: Value| row(&schedule)[3].clone();
        assert_eq!(state(json!({"paused": false})), "on");
        assert_eq!(state(json!({"paused": true, "done": true})), "paused");
        assert_eq!(state(json!({"done": true})), "done");
    }
}
