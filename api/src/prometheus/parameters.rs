//! Parameters of requests: in the query string, or in a form.

use actix_web::{HttpRequest, http::Method, web::Payload};
use chrono::DateTime;
use tidemark_promql::{Matcher, parse_duration, parse_series_selector};

use super::error::PrometheusError;
use crate::{http::query_string::QueryString, opentsdb::wire, state::AppState};

/// Seconds from the epoch that a moment may be away.
const SECONDS_MAX: f64 = 1e12;
/// The first and the last moment that clients of Prometheus know, which stand for "whenever".
const FOREVER: [(&str, i64); 2] = [
    ("-292273086-05-16T16:47:06Z", -1_000_000_000_000_000),
    ("292277025-08-18T07:12:54.999999999Z", 1_000_000_000_000_000),
];

/// Parameters of a request.
#[derive(Debug)]
pub(super) struct Parameters(QueryString);

impl Parameters {
    /// Those of the query string and, of a POST, those of the form, which count before the others.
    pub(super) async fn read(
        request: &HttpRequest,
        payload: Payload,
        state: &AppState,
    ) -> Result<Self, PrometheusError> {
        if request.method() == Method::POST {
            let body = wire::read_short(request, payload, state).await?;
            return Self::of_form(request, body.text()?);
        }
        Ok(Self(QueryString::parse(request.query_string())?))
    }

    /// Those of the query string and of a form that was read already.
    pub(super) fn of_form(request: &HttpRequest, form: &str) -> Result<Self, PrometheusError> {
        Ok(Self(QueryString::parse(&format!("{}&{}", request.query_string(), form.trim()))?))
    }

    /// A parameter that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).filter(|value| !value.is_empty())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, PrometheusError> {
        self.get(name).ok_or_else(|| missing(name))
    }

    /// A moment in milliseconds since the epoch.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, PrometheusError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let time = parse_time(text);
        time.map(Some).ok_or_else(|| {
            PrometheusError::parameter(name, format!("cannot parse {:?} to a valid timestamp", excerpt(text)))
        })
    }

    pub(super) fn required_time(&self, name: &str) -> Result<i64, PrometheusError> {
        self.time(name)?.ok_or_else(|| missing(name))
    }

    /// A duration in milliseconds: `5m`, or a number of seconds.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, PrometheusError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.abs() <= SECONDS_MAX);
        let duration = seconds.map(|seconds| (seconds * 1000.0).round() as i64).or_else(|| parse_duration(text));
        duration.map(Some).ok_or_else(|| {
            PrometheusError::parameter(name, format!("cannot parse {:?} to a valid duration", excerpt(text)))
        })
    }

    /// How many at most; `None` when there is no such limit.
    pub(super) fn limit(&self, name: &str) -> Result<Option<usize>, PrometheusError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let limit: usize = text
            .parse()
            .map_err(|_| PrometheusError::parameter(name, format!("{:?} is no number of 0 or more", excerpt(text))))?;
        Ok(Some(limit).filter(|limit| *limit > 0))
    }

    /// The selectors of `match[]`, of which there may be so many.
    pub(super) fn selectors(&self, most: usize) -> Result<Vec<Vec<Matcher>>, PrometheusError> {
        let found = self.0.all("match[]").count();
        if found > most {
            let text = format!("there are {found}, at most {most} are allowed; see `limits.query_parts`");
            return Err(PrometheusError::parameter("match[]", text));
        }
        let parse = |text| parse_series_selector(text).map_err(|error| PrometheusError::parameter("match[]", error));
        self.0.all("match[]").map(parse).collect()
    }
}

fn missing(name: &str) -> PrometheusError {
    PrometheusError::parameter(name, "it is missing or empty")
}

/// The beginning of a text.
fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Seconds since the epoch, or a date after RFC 3339.
fn parse_time(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.abs() <= SECONDS_MAX).then(|| (seconds * 1000.0).round() as i64);
    }
    if let Some((_, time)) = FOREVER.iter().find(|(known, _)| *known == text) {
        return Some(*time);
    }
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(text: &str) -> Parameters {
        Parameters(QueryString::parse(text).unwrap())
    }

    #[test]
    fn times_are_seconds_or_dates() {
        let check = |text: &str, expect: Option<i64>| assert_eq!(parse_time(text), expect, "{text}");
        check("1767225600", Some(1_767_225_600_000));
        check("1767225600.1234", Some(1_767_225_600_123));
        check("-1", Some(-1_000));
        check("1.7672256e9", Some(1_767_225_600_000));
        check("2026-01-01T00:00:00Z", Some(1_767_225_600_000));
        check("2026-01-01T01:00:00.5+01:00", Some(1_767_225_600_500));
        check("-292273086-05-16T16:47:06Z", Some(-1_000_000_000_000_000));
        for wrong in ["", "now", "1h-ago", "NaN", "inf", "1e300", "2026-01-01", "2026-01-01 00:00:00"] {
            check(wrong, None);
        }
    }

    #[test]
    fn durations_are_seconds_or_have_units() {
        let duration = |text: &str| parameters(&format!("step={text}")).duration("step").ok().flatten();
        assert_eq!((duration("15"), duration("0.5"), duration("1m30s")), (Some(15_000), Some(500), Some(90_000)));
        assert_eq!(
            (duration("-1"), duration("x"), duration("1e300"), duration("NaN")),
            (Some(-1_000), None, None, None)
        );
    }

    #[test]
    fn what_is_wrong_names_its_parameter() {
        let parameters = parameters("time=x&limit=-1&match[]=%7B&step=1&empty=");
        let text = |error: PrometheusError| error.to_string();
        assert_eq!(
            text(parameters.time("time").unwrap_err()),
            "bad_data: invalid parameter \"time\": cannot parse \"x\" to a valid timestamp"
        );
        assert_eq!(
            text(parameters.limit("limit").unwrap_err()),
            "bad_data: invalid parameter \"limit\": \"-1\" is no number of 0 or more"
        );
        assert!(text(parameters.selectors(1).unwrap_err()).contains("\"match[]\": 1:2: parse error"));
        assert!(text(parameters.selectors(0).unwrap_err()).contains("at most 0 are allowed; see `limits.query_parts`"));
        assert!(parameters.required("empty").is_err());
        assert_eq!(parameters.limit("none"), Ok(None));
    }
}
