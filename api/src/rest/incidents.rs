//! Incidents and rules.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data, Payload},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemark_alert::{
    IncidentId,
    book::{BookError, IncidentFilter},
    incident::{ActionKind, ActionRequest},
    rules::RuleOrigin,
};

use super::{guard::guard, json_body::read_json};
use crate::{auth::Visitor, console::Console, error::ApiError, state::AppState};

/// Incidents of one answer unless the request says otherwise, and at most.
const LISTED: usize = 100;
const LISTED_MAX: usize = 1_000;
/// Largest action in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Which incidents to list.
#[derive(Debug, Deserialize)]
pub(super) struct IncidentParameters {
    state: Option<String>,
    rule: Option<String>,
    before: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn list(
    console: Data<Console>,
    parameters: web::Query<IncidentParameters>,
) -> Result<HttpResponse, ApiError> {
    let mut filter = IncidentFilter {
        rule: parameters.rule.clone(),
        before: parameters.before.map(IncidentId),
        ..IncidentFilter::default()
    };
    match parameters.state.as_deref() {
        None | Some("all") => {}
        Some("open") => filter.open = Some(true),
        Some("closed") => filter.open = Some(false),
        Some("needs_ack") => (filter.open, filter.needs_acknowledgement) = (Some(true), Some(true)),
        Some("acknowledged") => (filter.open, filter.needs_acknowledgement) = (Some(true), Some(false)),
        Some(other) => {
            let known = "all, open, needs_ack, acknowledged, closed";
            return Err(ApiError::bad_request(format!("state: no such state: `{other}`; there are {known}")));
        }
    }
    let limit = parameters.limit.unwrap_or(LISTED).min(LISTED_MAX);
    let page = console.seams.incidents.list(&filter, limit).await.map_err(book_failed)?;
    let incidents: Vec<_> = page.incidents.iter().map(|incident| json!(incident)).collect();
    Ok(HttpResponse::Ok().json(json!({"incidents": incidents, "next": page.next})))
}

pub(super) async fn one(console: Data<Console>, id: web::Path<u64>) -> Result<HttpResponse, ApiError> {
    match console.seams.incidents.get(IncidentId(*id)).await.map_err(book_failed)? {
        Some(incident) => Ok(HttpResponse::Ok().json(incident)),
        None => Err(book_failed(BookError::NoSuchIncident(IncidentId(*id)))),
    }
}

/// What somebody wants to do.
#[derive(Debug, Deserialize)]
struct Wanted {
    action: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    message: String,
    deadline_ms: Option<i64>,
}

pub(super) async fn act(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    console: Data<Console>,
    id: web::Path<u64>,
) -> Result<HttpResponse, ApiError> {
    guard(&request, &console)?;
    let wanted: Wanted = read_json(&request, payload, &state, BODY_BYTES_MAX, "not an action").await?;
    let action = ActionRequest {
        kind: kind_of(&wanted.action)?,
        user: user(&request, wanted.user),
        message: wanted.message,
        deadline: wanted.deadline_ms,
    };
    let now_ms = console.seams.clock.now_ms();
    let acted = console.seams.incidents.act(&console.seams.rules, IncidentId(*id), &action, now_ms).await;
    let (requests, incident) = acted.map_err(book_failed)?;
    // What cannot be queued now is queued by the next evaluation.
    if let Err(error) = console.seams.notifications.push(&console.seams.incidents, &requests).await {
        tracing::warn!(%error, incident = *id, "notifications of an action are late");
    }
    Ok(match incident {
        Some(incident) => HttpResponse::Ok().json(incident),
        None => HttpResponse::NoContent().finish(),
    })
}

fn kind_of(word: &str) -> Result<ActionKind, ApiError> {
    if word == "ack" {
        return Ok(ActionKind::Acknowledge);
    }
    ActionKind::from_name(word).ok_or_else(|| {
        let known: Vec<_> = ActionKind::ALL.iter().map(|(name, _)| *name).collect();
        ApiError::bad_request(format!("action: no such action: `{word}`; there are {}", known.join(", ")))
    })
}

/// Who acts: whoever the token belongs to, else who they say they are.
fn user(request: &HttpRequest, said: String) -> String {
    match Visitor::of(request) {
        Some(visitor) => visitor.name,
        None if said.trim().is_empty() => "anonymous".to_owned(),
        None => said,
    }
}

pub(super) async fn rules(console: Data<Console>) -> Result<HttpResponse, ApiError> {
    let states = console.seams.incidents.rule_states(&console.seams.rules).await.map_err(book_failed)?;
    let rules: Vec<Value> = console
        .seams
        .rules
        .rules()
        .map(|rule| {
            let origin = match &rule.origin {
                RuleOrigin::BuiltIn => json!("built in"),
                RuleOrigin::File { file, line } => json!({"file": file, "line": line}),
            };
            json!({
                "name": rule.name,
                "description": rule.description,
                "origin": origin,
                "enabled": rule.enabled,
                "warn": rule.warn.as_ref().map(|expression| expression.text()),
                "crit": rule.crit.as_ref().map(|expression| expression.text()),
                "every_ms": rule.every.as_millis() as u64,
                "for_ms": rule.hold.as_millis() as u64,
                "state": states.iter().find(|state| state.rule == rule.name),
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "rules": rules })))
}

fn book_failed(error: BookError) -> ApiError {
    let text = error.to_string();
    match error {
        BookError::NoSuchIncident(_) => ApiError::new(StatusCode::NOT_FOUND, text),
        BookError::Action(_) => ApiError::new(StatusCode::CONFLICT, text),
        BookError::TooManyKeys { .. } => ApiError::too_large(text),
        BookError::Damaged(_) => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, text),
        BookError::Store(_) | BookError::Contended(_) => ApiError::unavailable(text),
    }
}
