//! `/api/version`, `/version` and the telnet command.

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde_json::json;

use super::wire;
use crate::{error::ApiError, http::query_string::QueryString, options::BuildInfo, state::AppState};

/// Who built it and in which folder of which host, which builds that can be repeated do not keep.
const USER: &str = "tidemark";
const HOST: &str = "localhost";
const REPOSITORY: &str = "tidemark";
/// Characters of a short revision.
const SHORT_REVISION: usize = 7;

pub(crate) async fn api(state: Data<AppState>) -> HttpResponse {
    wire::json(&object(&state.options.build))
}

pub(crate) async fn legacy(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    if QueryString::parse(request.query_string())?.has("json") {
        return Ok(wire::json(&object(&state.options.build)));
    }
    Ok(HttpResponse::Ok().content_type("text/plain; charset=UTF-8").body(lines(&state.options.build)))
}

fn object(build: &BuildInfo) -> serde_json::Value {
    json!({
        "short_revision": short_revision(build),
        "repo": REPOSITORY,
        "host": HOST,
        "version": build.version,
        "full_revision": build.revision,
        "repo_status": build.status,
        "user": USER,
        "branch": build.branch,
        "timestamp": build.built_at.to_string(),
    })
}

/// The two lines of the telnet command.
pub(crate) fn lines(build: &BuildInfo) -> String {
    let revision = Some(short_revision(build)).filter(|revision| !revision.is_empty()).unwrap_or("unknown");
    format!(
        "net.opentsdb.tools {} built at revision {revision} ({})\nBuilt on {} +0000 by {USER}@{HOST}:{REPOSITORY}\n",
        build.version,
        build.status,
        civil_date(build.built_at)
    )
}

fn short_revision(build: &BuildInfo) -> &str {
    build.revision.get(..SHORT_REVISION).unwrap_or(&build.revision)
}

/// `yyyy/MM/dd HH:mm:ss` in UTC. Days are counted in years that begin in March, so that leap days come last
/// (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil_date(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}/{month:02}/{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(civil_date(0), "1970/01/01 00:00:00");
        assert_eq!(civil_date(1_356_998_399), "2012/12/31 23:59:59");
        assert_eq!(civil_date(1_709_164_800), "2024/02/29 00:00:00");
    }

    #[test]
    fn the_telnet_command_answers_two_lines() {
        let build = BuildInfo {
            version: "0.1.0".into(),
            revision: "0123456789".into(),
            status: "MINT".into(),
            ..BuildInfo::default()
        };
        assert_eq!(
            lines(&build),
            "net.opentsdb.tools 0.1.0 built at revision 0123456 (MINT)\n\
             Built on 1970/01/01 00:00:00 +0000 by tidemark@localhost:tidemark\n"
        );
        let build = BuildInfo { version: "0.1.0".into(), ..BuildInfo::default() };
        assert!(lines(&build).starts_with("net.opentsdb.tools 0.1.0 built at revision unknown (MODIFIED)\n"));
    }
}
