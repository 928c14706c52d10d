//! What clients ask of the server itself. There are no rules, alerts, targets and exemplars of Prometheus here, and it says so
//! by empty lists.

use actix_web::{HttpResponse, web::Data};
use chrono::DateTime;
use serde_json::json;

use super::answer::success;
use crate::state::AppState;

/// The version of Prometheus whose language and API these are: clients decide by it what they may ask.
const LANGUAGE_VERSION: &str = "3.0.0";

pub(super) async fn build_info(state: Data<AppState>) -> HttpResponse {
    let build = &state.options.build;
    let built_at = DateTime::from_timestamp(build.built_at, 0).filter(|_| build.built_at > 0);
    let data = json!({
        "version": LANGUAGE_VERSION,
        "revision": build.revision,
        "branch": format!("tidemark-{}", build.version),
        "buildUser": "",
        "buildDate": built_at.map_or_else(String::new, |time| time.format("%Y%m%d-%H:%M:%S").to_string()),
        "goVersion": "",
    });
    success(data, &[])
}

pub(super) async fn rules() -> HttpResponse {
    success(json!({ "groups": [] }), &[])
}

pub(super) async fn alerts() -> HttpResponse {
    success(json!({ "alerts": [] }), &[])
}

pub(super) async fn targets() -> HttpResponse {
    success(json!({ "activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {} }), &[])
}

pub(super) async fn exemplars() -> HttpResponse {
    success(json!([]), &[])
}
