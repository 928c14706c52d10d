//! Which paths below `/api/v1` are Prometheus' and which are OpenTSDB's, whose paths may have that version.

use std::fmt;

use actix_web::http::Method;
use serde::{Deserialize, Serialize};

use crate::http::query_string::QueryString;

/// Where Prometheus' paths always are.
pub(crate) const PREFIX: &str = "/prometheus/api/v1/";
/// Where they are, too, unless OpenTSDB has all of that.
const SHARED: &str = "/api/v1/";
/// The one path that both have.
pub(super) const SHARED_QUERY: &str = "/api/v1/query";
/// Paths that Prometheus alone has, whole or the beginning of them.
const OWN: [&str; 12] = [
    "alerts",
    "format_query",
    "label/",
    "labels",
    "metadata",
    "query_exemplars",
    "query_range",
    "rules",
    "series",
    "status/buildinfo",
    "targets",
    "write",
];
/// Parameters that say whom a query is for.
const OF_OPENTSDB: [&str; 4] = ["start", "m", "tsuid", "tsuids"];

/// Whose paths those below `/api/v1` are, `http.api_v1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiV1 {
    /// Of whoever has a path; of `/api/v1/query` the request decides.
    #[default]
    Auto,
    /// OpenTSDB's, all of them.
    OpenTsdb,
    /// Prometheus', as far as it has them.
    Prometheus,
}

impl fmt::Display for ApiV1 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Auto => "auto",
            Self::OpenTsdb => "opentsdb",
            Self::Prometheus => "prometheus",
        })
    }
}

/// Whom a query is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meant {
    OpenTsdb,
    Prometheus,
    /// Nobody can tell.
    Nobody,
}

/// Whom the parameters of a query mean.
pub(super) fn meant(parameters: &QueryString) -> Meant {
    if OF_OPENTSDB.iter().any(|name| parameters.has(name)) {
        Meant::OpenTsdb
    } else if parameters.has("query") {
        Meant::Prometheus
    } else {
        Meant::Nobody
    }
}

/// The path of ours that a path below `/api/v1` means; `None` when OpenTSDB decides.
pub(crate) fn place(setting: ApiV1, method: &Method, path: &str, query: &str) -> Option<String> {
    let rest = path.strip_prefix(SHARED).filter(|_| setting != ApiV1::OpenTsdb)?;
    let of_prometheus = || Some(format!("{PREFIX}{rest}"));
    if rest == "query" {
        if setting == ApiV1::Prometheus {
            return of_prometheus();
        }
        let parameters = QueryString::parse(query).ok()?;
        let asks = [Method::GET, Method::HEAD, Method::POST].contains(method);
        return match meant(&parameters) {
            Meant::Prometheus if asks => of_prometheus(),
            // The body decides, if there is one.
            Meant::Nobody if asks && !parameters.has("method_override") => Some(SHARED_QUERY.to_owned()),
            _ => None,
        };
    }
    let is_own = |own: &str| if own.ends_with('/') { rest.starts_with(own) } else { rest == own };
    if OWN.into_iter().any(is_own) { of_prometheus() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_the_version_go_to_whom_they_are_meant_for() {
        let check = |setting, method: Method, path: &str, query: &str, expect: Option<&str>| {
            assert_eq!(place(setting, &method, path, query).as_deref(), expect, "{setting} {method} {path}?{query}");
        };
        let ours = Some("/prometheus/api/v1/query");
        check(ApiV1::Auto, Method::GET, "/api/v1/query", "query=up", ours);
        check(ApiV1::Auto, Method::GET, "/api/v1/query", "query=up&start=1h-ago", None);
        check(ApiV1::Auto, Method::GET, "/api/v1/query", "m=sum:x", None);
        check(ApiV1::Auto, Method::GET, "/api/v1/query", "", Some("/api/v1/query"));
        check(ApiV1::Auto, Method::GET, "/api/v1/query", "method_override=post", None);
        check(ApiV1::Auto, Method::POST, "/api/v1/query", "query=up", ours);
        check(ApiV1::Auto, Method::POST, "/api/v1/query", "arrays", Some("/api/v1/query"));
        check(ApiV1::Auto, Method::DELETE, "/api/v1/query", "query=up", None);
        check(ApiV1::Prometheus, Method::GET, "/api/v1/query", "m=sum:x", ours);
        check(ApiV1::OpenTsdb, Method::GET, "/api/v1/query", "query=up", None);
        check(ApiV1::Auto, Method::GET, "/api/v1/label/host/values", "", Some("/prometheus/api/v1/label/host/values"));
        check(ApiV1::Auto, Method::GET, "/api/v1/query_range", "", Some("/prometheus/api/v1/query_range"));
        check(ApiV1::Auto, Method::GET, "/api/v1/status/buildinfo", "", Some("/prometheus/api/v1/status/buildinfo"));
        check(ApiV1::OpenTsdb, Method::GET, "/api/v1/labels", "", None);
        for path in ["/api/query", "/api/v1/put", "/api/v1/metadata/get", "/api/v1/status", "/api/v1/query/last"] {
            check(ApiV1::Prometheus, Method::POST, path, "", None);
        }
    }
}
