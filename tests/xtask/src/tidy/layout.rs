//! What lies at the top of the tree and what every crate has.

use std::path::Path;

use super::manifests::Manifest;
use crate::command;

const FOLDERS: [&str; 14] = [
    ".cargo",
    ".ci",
    "alert",
    "api",
    "changelog.d",
    "collector",
    "dashboards",
    "deploy",
    "scheduler",
    "storage",
    "tests",
    "tidemark",
    "workers",
    "docs",
];
const FILES: [&str; 13] = [
    ".dockerignore",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
    "rustfmt.toml",
];
const REQUIRED: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "deny.toml"];

/// The broken rules, one sentence each.
pub(crate) fn check(root: &Path, manifests: &[Manifest]) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for manifest in manifests.iter().filter(|manifest| !manifest.inherits_lints) {
        problems.push(format!("{}: add `[lints] workspace = true`", manifest.folder.join("Cargo.toml").display()));
    }
    let tracked = command::output(root, &["git", "ls-files", "-z"])?;
    for top in tops(&tracked) {
        let allowed = if top.ends_with('/') { &FOLDERS[..] } else { &FILES[..] };
        if !allowed.contains(&top.trim_end_matches('/')) {
            problems.push(format!("{top} does not belong at the top of the tree"));
        }
    }
    for file in REQUIRED.iter().filter(|file| !root.join(file).is_file()) {
        problems.push(format!("{file} is missing"));
    }
    Ok(problems)
}

/// What lies at the top, folders with a trailing slash, once each.
fn tops(tracked: &str) -> Vec<String> {
    let mut tops: Vec<String> = tracked
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(|path| path.split_once('/').map_or_else(|| path.to_owned(), |(folder, _)| format!("{folder}/")))
        .collect();
    tops.sort_unstable();
    tops.dedup();
    tops
}

#[cfg(test)]
mod tests {
    #[test]
    fn tops_are_folders_and_files() {
        assert_eq!(super::tops("a/b\0a/c/d\0x\0"), ["a/", "x"]);
    }
}
