//! Schedules: when jobs come.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Data, Payload},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemark_queue::{CatchUp, Schedule, Timing};
use tidemark_scheduler::{
    PutCondition, change_schedule, definition_tag, new_schedule, next_times, put_schedule, remove_schedule, run_now,
};

use super::{
    broker_call::{self, look},
    enqueue::{location, path_of},
    guard::guard,
    json_body::read_json,
    moments::{Moment, Span},
    payload_json::payload_json,
    work::WorkBody,
};
use crate::{console::Console, error::ApiError, state::AppState};

/// Largest schedule in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Slots that are shown.
const SLOTS_SHOWN: usize = 5;

/// `GET /schedules`.
pub(super) async fn list(console: Data<Console>) -> Result<HttpResponse, ApiError> {
    let schedules = look(console.seams.broker.schedules()).await?;
    let now_ms = console.seams.clock.now_ms();
    let schedules: Vec<_> = schedules.iter().map(|schedule| schedule_json(schedule, now_ms)).collect();
    Ok(HttpResponse::Ok().json(json!({ "schedules": schedules })))
}

/// `GET /schedules/{name}`.
pub(super) async fn one(console: Data<Console>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    match look(console.seams.broker.schedule(&name)).await? {
        Some(schedule) => Ok(shown(&console, &schedule, StatusCode::OK)),
        None => Err(ApiError::new(StatusCode::NOT_FOUND, format!("there is no schedule `{}`", short(&name)))),
    }
}

/// `PUT /schedules/{name}`, with `If-Match: "…"` only if nobody has changed it, with `If-None-Match: *` only a new one.
pub(super) async fn put(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    console: Data<Console>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let condition = condition(&request)?;
    let body: ScheduleBody = read_json(&request, payload, &state, BODY_BYTES_MAX, "not a schedule").await?;
    body.job.allow(&request)?;
    let schedule = body.schedule(&console, &name).await?;
    let written = put_schedule(console.seams.broker.as_ref(), schedule, &condition);
    let (schedule, is_new) = broker_call::change_schedule(written).await?;
    Ok(shown(&console, &schedule, if is_new { StatusCode::CREATED } else { StatusCode::OK }))
}

/// `DELETE /schedules/{name}`.
pub(super) async fn delete(
    request: HttpRequest,
    console: Data<Console>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let condition = condition(&request)?;
    broker_call::change_schedule(remove_schedule(console.seams.broker.as_ref(), &name, &condition)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /schedules/{name}/{action}`.
pub(super) async fn steer(
    request: HttpRequest,
    console: Data<Console>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let (name, action) = path.into_inner();
    let broker = console.seams.broker.as_ref();
    let set_paused = |paused| change_schedule(broker, &name, move |schedule| schedule.paused = paused);
    let schedule = match action.as_str() {
        "run" => {
            let id = broker_call::change_schedule(run_now(broker, &name, console.seams.clock.now_ms())).await?;
            let queued = json!({"job": id.to_string(), "location": path_of(id)});
            return Ok(HttpResponse::Accepted().insert_header(location(id)).json(queued));
        }
        "pause" => broker_call::change_schedule(set_paused(true)).await?,
        "resume" => broker_call::change_schedule(set_paused(false)).await?,
        other => {
            let text = format!("a schedule can be run, paused and resumed, not `{}`", short(other));
            return Err(ApiError::new(StatusCode::NOT_FOUND, text));
        }
    };
    Ok(shown(&console, &schedule, StatusCode::OK))
}

/// A schedule as somebody writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScheduleBody {
    when: When,
    job: WorkBody,
    #[serde(default)]
    catch_up: Option<String>,
    #[serde(default)]
    paused: bool,
    /// Each job starts up to this much later.
    splay: Option<Span>,
    /// A job that has not started so long after its slot is discarded.
    expires_after: Option<Span>,
}

/// When, in one of the forms that there are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    every: Option<Span>,
    every_ms: Option<u64>,
    cron: Option<String>,
    time_zone: Option<String>,
    once: Option<Moment>,
    once_ms: Option<i64>,
}

impl When {
    fn timing(&self, now_ms: i64) -> Result<Timing, ApiError> {
        let every = self.every.as_ref().map(|span| span.duration("when.every")).transpose()?;
        let every_ms = every.map(|every| u64::try_from(every.as_millis()).unwrap_or(u64::MAX)).or(self.every_ms);
        let once_ms = self.once.as_ref().map(|moment| moment.at("when.once", now_ms)).transpose()?.or(self.once_ms);
        match (every_ms, &self.cron, &self.time_zone, once_ms) {
            (Some(every_ms), None, None, None) => Ok(Timing::Every(every_ms)),
            (None, None, None, Some(at_ms)) => Ok(Timing::Once(at_ms)),
            (None, Some(line), zone, None) => {
                Ok(Timing::Cron { line: line.clone(), zone: zone.clone().unwrap_or_else(|| "UTC".to_owned()) })
            }
            _ => Err(ApiError::bad_request(
                "when: expected `{\"every\":\"60s\"}`, `{\"cron\":\"5 * * * *\",\"time_zone\":\"UTC\"}` or `{\"once\":\"+10m\"}`",
            )),
        }
    }
}

impl ScheduleBody {
    async fn schedule(&self, console: &Console, name: &str) -> Result<Schedule, ApiError> {
        if self.job.not_before.is_some() || self.job.expires.is_some() {
            let text =
                "job: the jobs of a schedule have no `not_before` and no `expires`, but `expires_after` beside `job`";
            return Err(ApiError::bad_request(text));
        }
        let mut job = self.job.template(console).await?;
        job.expires_after = self.expires_after.as_ref().map(|span| span.duration("expires_after")).transpose()?;
        let mut schedule = new_schedule(name, self.when.timing(console.seams.clock.now_ms())?, job);
        schedule.paused = self.paused;
        schedule.splay = self.splay.as_ref().map(|span| span.duration("splay")).transpose()?.unwrap_or_default();
        schedule.catch_up = match self.catch_up.as_deref() {
            None => CatchUp::default(),
            Some(word) => catch_up_of(word)?,
        };
        Ok(schedule)
    }
}

/// The words for what to do about slots that passed.
const CATCH_UPS: [(&str, CatchUp); 3] = [("skip", CatchUp::Skip), ("one", CatchUp::One), ("all", CatchUp::All)];

fn catch_up_of(word: &str) -> Result<CatchUp, ApiError> {
    let known = CATCH_UPS.iter().find(|(name, _)| *name == word);
    known.map(|(_, catch_up)| *catch_up).ok_or_else(|| {
        let names: Vec<_> = CATCH_UPS.iter().map(|(name, _)| *name).collect();
        ApiError::bad_request(format!("catch_up: no such policy: `{}`; there are {}", short(word), names.join(", ")))
    })
}

/// What the request says must hold.
fn condition(request: &HttpRequest) -> Result<PutCondition, ApiError> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    match (header(header::IF_MATCH), header(header::IF_NONE_MATCH)) {
        (None, None) => Ok(PutCondition::Any),
        (None, Some("*")) => Ok(PutCondition::Absent),
        (Some(tag), None) if tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"') => {
            Ok(PutCondition::Tag(tag.trim_matches('"').to_owned()))
        }
        _ => Err(ApiError::bad_request("expected `If-Match` with the `ETag` of the schedule, or `If-None-Match: *`")),
    }
}

fn shown(console: &Console, schedule: &Schedule, status: StatusCode) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::ETAG, format!("\"{}\"", definition_tag(schedule))))
        .json(schedule_json(schedule, console.seams.clock.now_ms()))
}

fn schedule_json(schedule: &Schedule, now_ms: i64) -> Value {
    let when = match &schedule.timing {
        Timing::Every(every_ms) => json!({"every_ms": every_ms}),
        Timing::Cron { line, zone } => json!({"cron": line, "time_zone": zone}),
        Timing::Once(at_ms) => json!({"once_ms": at_ms}),
    };
    let slots = next_times(&schedule.timing, now_ms, SLOTS_SHOWN).unwrap_or_default();
    json!({
        "name": schedule.name,
        "kind": schedule.job.kind.to_string(),
        "payload": payload_json(schedule.job.kind, &schedule.job.payload),
        "queue": schedule.job.queue,
        "priority": schedule.job.priority.name(),
        "time_limit_ms": schedule.job.time_limit.map(|limit| limit.as_millis() as u64),
        "expires_after_ms": schedule.job.expires_after.map(|after| after.as_millis() as u64),
        "when": when,
        "catch_up": CATCH_UPS.iter().find(|(_, catch_up)| *catch_up == schedule.catch_up).map(|(name, _)| *name),
        "splay_ms": schedule.splay.as_millis() as u64,
        "paused": schedule.paused,
        "done": schedule.is_done(),
        "last_due_ms": schedule.last_due_ms,
        "next_ms": if schedule.paused { Vec::new() } else { slots },
        "etag": definition_tag(schedule),
    })
}

fn short(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_schedule_says_when_in_one_way() {
        let timing = |text: &str| {
            serde_json::from_str::<When>(text)
                .map_err(|error| error.to_string())
                .and_then(|when| when.timing(7_000).map_err(|error| error.to_string()))
        };
        assert_eq!(timing(r#"{"every":"60s"}"#), Ok(Timing::Every(60_000)));
        assert_eq!(timing(r#"{"every_ms":5000}"#), Ok(Timing::Every(5_000)));
        let cron = Timing::Cron { line: "5 * * * *".to_owned(), zone: "UTC".to_owned() };
        assert_eq!(timing(r#"{"cron":"5 * * * *"}"#), Ok(cron));
        assert_eq!(timing(r#"{"once":"+5s"}"#), Ok(Timing::Once(12_000)));
        for wrong in ["{}", r#"{"every":"60s","cron":"* * * * *"}"#, r#"{"time_zone":"UTC"}"#, r#"{"hourly":1}"#] {
            assert!(timing(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_condition_is_a_tag_or_absence() {
        let of = |name: &str, value: &str| {
            condition(&TestRequest::default().insert_header((name, value)).to_http_request()).ok()
        };
        assert_eq!(of("if-match", "\"ab\""), Some(PutCondition::Tag("ab".to_owned())));
        assert_eq!(of("if-none-match", "*"), Some(PutCondition::Absent));
        for (name, value) in [("if-match", "ab"), ("if-match", "*"), ("if-none-match", "\"ab\"")] {
            assert_eq!(of(name, value), None, "{name}: {value}");
        }
        assert_eq!(condition(&TestRequest::default().to_http_request()).ok(), Some(PutCondition::Any));
    }
}
