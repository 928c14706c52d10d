//! Which endpoint a path means: OpenTSDB's paths are case-insensitive, may have a version and a slash at the end.
//!
//! Only the paths of OpenTSDB's own endpoints are rewritten. Our own paths (`/api/tidemark/v1/…`, pages, files) may
//! have parts in which case matters, so they stay as they are.

use std::num::IntErrorKind;

/// First segments below `/api` that are OpenTSDB's, and Bosun's that sit beside them.
const API_SEGMENTS: [&str; 18] = [
    "aggregators",
    "annotation",
    "annotations",
    "config",
    "dropcaches",
    "histogram",
    "metadata",
    "put",
    "query",
    "rollup",
    "search",
    "serializers",
    "stats",
    "suggest",
    "tree",
    "uid",
    "version",
    "status",
];
/// Paths from before there was an `/api`.
const LEGACY_SEGMENTS: [&str; 7] = ["aggregators", "dropcaches", "logs", "q", "stats", "suggest", "version"];
/// The newest version of OpenTSDB's API.
const API_VERSION_MAX: u32 = 1;

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NormalPath {
    /// Already as the routes have it, or none of OpenTSDB's.
    AsItIs,
    /// Route this path instead.
    Rewritten(String),
    /// The version is higher than ours.
    VersionTooHigh(u32),
    /// The version is no number.
    BadVersion,
}

/// Whether a path, in its normal form, is one of OpenTSDB's endpoints below `/api`.
pub(crate) fn is_opentsdb_api(path: &str) -> bool {
    let segment = path.strip_prefix("/api/").and_then(|rest| rest.split('/').next());
    segment.is_some_and(|segment| API_SEGMENTS.contains(&segment))
}

/// Whether a path, in its normal form, is one of OpenTSDB's from before there was an `/api`.
pub(crate) fn is_opentsdb_legacy(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|segment| LEGACY_SEGMENTS.contains(&segment))
}

/// Finds out what a path means.
pub(crate) fn normal_path(path: &str) -> NormalPath {
    let mut segments = path.split('/').skip(1).filter(|segment| !segment.is_empty());
    let Some(first) = segments.next() else { return NormalPath::AsItIs };
    let rest: Vec<String> = segments.map(str::to_ascii_lowercase).collect();
    let first = first.to_ascii_lowercase();
    if first != "api" {
        let legacy = rest.is_empty() && LEGACY_SEGMENTS.contains(&first.as_str());
        return if legacy { rewritten(path, format!("/{first}")) } else { NormalPath::AsItIs };
    }
    let mut rest = rest.as_slice();
    if let [version, after @ ..] = rest
        && let Some(number) = version.strip_prefix('v')
        && !number.is_empty()
    {
        match number.parse::<u32>() {
            Ok(number) if number > API_VERSION_MAX => return NormalPath::VersionTooHigh(number),
            Ok(_) => rest = after,
            Err(_) if API_SEGMENTS.contains(&version.as_str()) => {}
            Err(error) if *error.kind() == IntErrorKind::PosOverflow => return NormalPath::VersionTooHigh(u32::MAX),
            Err(_) => return NormalPath::BadVersion,
        }
    }
    match rest {
        [endpoint, ..] if API_SEGMENTS.contains(&endpoint.as_str()) => {
            rewritten(path, format!("/api/{}", rest.join("/")))
        }
        _ => NormalPath::AsItIs,
    }
}

fn rewritten(path: &str, normal: String) -> NormalPath {
    if path == normal { NormalPath::AsItIs } else { NormalPath::Rewritten(normal) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expect: &str) {
        match normal_path(path) {
            NormalPath::AsItIs => assert_eq!(path, expect),
            NormalPath::Rewritten(normal) => assert_eq!(normal, expect, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn opentsdbs_paths_are_brought_to_one_form() {
        check("/api/put", "/api/put");
        check("/API/Put/", "/api/put");
        check("/api/v1/query/last", "/api/query/last");
        check("/api/V1/Search/Lookup/", "/api/search/lookup");
        check("/api/version", "/api/version");
        check("/Version", "/version");
        check("//api//config/filters", "/api/config/filters");
    }

    #[test]
    fn other_paths_stay_as_they_are() {
        for path in ["/", "/api/tidemark/v1/Rules/CPU", "/static/App.js", "/api/ws", "/hosts/Web01", "/version/x"] {
            check(path, path);
        }
    }

    #[test]
    fn opentsdbs_paths_are_told_from_ours() {
        for path in ["/api/put", "/api/query/last", "/api/config/filters"] {
            assert!(is_opentsdb_api(path), "{path}");
        }
        for path in ["/api/tidemark/v1/jobs", "/bosun/api/expr", "/api/expr", "/api/ws", "/api/", "/put", "/version"] {
            assert!(!is_opentsdb_api(path), "{path}");
        }
        assert!(is_opentsdb_legacy("/version") && !is_opentsdb_legacy("/hosts") && !is_opentsdb_legacy("/"));
    }

    #[test]
    fn versions_are_checked() {
        assert_eq!(normal_path("/api/v2/version"), NormalPath::VersionTooHigh(2));
        assert_eq!(normal_path("/api/v99999999999/version"), NormalPath::VersionTooHigh(u32::MAX));
        assert_eq!(normal_path("/api/vX/version"), NormalPath::BadVersion);
    }
}
