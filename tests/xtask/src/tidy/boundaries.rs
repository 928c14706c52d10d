//! Which crate may know which: arrows point down only.

use super::manifests::Manifest;

/// A crate of ours and those of ours that it may stand on.
const MAY_USE: [(&str, &[&str]); 17] = [
    ("tidemark-model", &[]),
    ("tidemark-kv", &[]),
    ("tidemark-tsdb", &["tidemark-model", "tidemark-kv"]),
    ("tidemark-query", &["tidemark-model"]),
    ("tidemark-promql", &["tidemark-model"]),
    ("tidemark-queue", &["tidemark-model"]),
    (
        "tidemark-workers",
        &[
            "tidemark-model",
            "tidemark-queue",
            "tidemark-tsdb",
            "tidemark-query",
            "tidemark-collector",
            "tidemark-alert",
        ],
    ),
    ("tidemark-scheduler", &["tidemark-model", "tidemark-queue"]),
    // The agent sends through the one outbound client, so that proxies and addresses are handled in one place.
    ("tidemark-collector", &["tidemark-model", "tidemark-egress"]),
    ("tidemark-reporter", &["tidemark-model", "tidemark-collector"]),
    ("tidemark-egress", &[]),
    ("tidemark-alert", &["tidemark-model", "tidemark-query", "tidemark-egress"]),
    ("tidemark-dashboards", &["tidemark-model", "tidemark-query"]),
    (
        "tidemark-api",
        &[
            "tidemark-model",
            "tidemark-tsdb",
            "tidemark-query",
            "tidemark-promql",
            "tidemark-queue",
            "tidemark-workers",
            "tidemark-scheduler",
            "tidemark-collector",
            "tidemark-alert",
            "tidemark-dashboards",
        ],
    ),
    (
        "tidemark",
        &[
            "tidemark-model",
            "tidemark-kv",
            "tidemark-tsdb",
            "tidemark-query",
            "tidemark-queue",
            "tidemark-workers",
            "tidemark-scheduler",
            "tidemark-collector",
            "tidemark-alert",
            "tidemark-egress",
            "tidemark-dashboards",
            "tidemark-api",
        ],
    ),
    ("tidemark-tests", &["tidemark-model"]),
    ("xtask", &[]),
];

/// A crate from outside (or the start of its name) and the crates of ours that may know it.
const KNOWN_ONLY_TO: [(&str, &[&str]); 10] = [
    ("actix", &["tidemark-api"]),
    ("redis", &["tidemark-queue"]),
    ("rusqlite", &["tidemark-queue"]),
    ("redb", &["tidemark-kv"]),
    ("foundationdb", &["tidemark-kv"]),
    ("reqwest", &["tidemark-egress"]),
    ("lettre", &["tidemark-egress"]),
    ("apalis", &["tidemark-queue", "tidemark-workers"]),
    ("minijinja", &["tidemark-alert", "tidemark-dashboards"]),
    ("anyhow", &["tidemark", "xtask"]),
];

/// The broken rules, one sentence each.
pub(crate) fn check(manifests: &[Manifest]) -> Vec<String> {
    manifests.iter().flat_map(check_one).collect()
}

fn check_one(manifest: &Manifest) -> Vec<String> {
    let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == manifest.name) else {
        return vec![format!("{}: not in the table of boundaries; say what it may use", manifest.name)];
    };
    let mut problems = Vec::new();
    for dependency in &manifest.dependencies {
        if is_ours(dependency) && !may_use.contains(&dependency.as_str()) {
            problems.push(format!("{} must not know {dependency}", manifest.name));
        }
        let known_to = KNOWN_ONLY_TO.iter().find(|(start, _)| dependency.starts_with(start));
        if let Some((_, names)) = known_to
            && !names.contains(&manifest.name.as_str())
        {
            problems.push(format!("{} must not know {dependency}, only {} may", manifest.name, names.join(" and ")));
        }
    }
    let up = ["tidemark-api", "tidemark", "tidemark-tests"];
    for dependency in &manifest.test_dependencies {
        if up.contains(&dependency.as_str()) {
            problems.push(format!("the tests of {} must not know {dependency}", manifest.name));
        }
    }
    problems
}

fn is_ours(dependency: &str) -> bool {
    MAY_USE.iter().any(|(name, _)| *name == dependency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_reaches_up_is_named() {
        let manifest = Manifest {
            name: "tidemark-query".to_owned(),
            dependencies: ["tidemark-api", "redb", "regex"].map(str::to_owned).into(),
            ..Manifest::default()
        };
        let problems = check(&[manifest]);
        assert_eq!(
            problems,
            ["tidemark-query must not know redb, only tidemark-kv may", "tidemark-query must not know tidemark-api"]
        );
    }

    #[test]
    fn a_crate_without_a_row_is_named() {
        let manifest = Manifest { name: "tidemark-new".to_owned(), ..Manifest::default() };
        assert_eq!(check(&[manifest]).len(), 1);
    }
}
