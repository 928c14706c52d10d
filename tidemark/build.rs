//! Says what a release build is made of, for `/api/version` and `tidemark version`: the commit, its branch, whether files
//! were changed since, and the time.
//!
//! Debug builds say nothing of it unless the environment does: to be right they would have to be compiled and linked again
//! after every commit. `BUILD_REVISION` names the commit where there is no git, as in a package; `SOURCE_DATE_EPOCH` is the
//! time of builds that are to be the same byte by byte.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_release = variable("PROFILE").as_deref() == Some("release");
    let commit = if is_release { Commit::of_git() } else { None };
    let revision = variable("BUILD_REVISION").or(commit.as_ref().map(|commit| commit.revision.clone()));
    let revision = revision.filter(|revision| revision.bytes().all(|byte| byte.is_ascii_hexdigit()));
    tell("REVISION", revision.clone());
    tell("BRANCH", commit.as_ref().map(|commit| commit.branch.clone()));
    // Whoever names the commit builds that; of what nobody knows nobody can say that it is unchanged.
    let named = if revision.is_some() { "MINT" } else { "MODIFIED" };
    tell("STATUS", Some(commit.map_or(named, |commit| commit.status).to_owned()));
    let epoch = variable("SOURCE_DATE_EPOCH").filter(|seconds| seconds.parse::<i64>().is_ok());
    tell("TIME", epoch.or_else(|| is_release.then(now)));
}

/// What git knows of the tree.
struct Commit {
    revision: String,
    branch: String,
    status: &'static str,
}

impl Commit {
    /// `None` without git, or when the tree lies in a repository of something else.
    fn of_git() -> Option<Self> {
        let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).parent()?.canonicalize().ok()?;
        if Path::new(&git(&root, &["rev-parse", "--show-toplevel"])?).canonicalize().ok()? != root {
            return None;
        }
        // Both change with a commit and with a checkout. A file that is not there would be looked for at each build.
        let folder = PathBuf::from(git(&root, &["rev-parse", "--absolute-git-dir"])?);
        for file in [folder.join("HEAD"), folder.join("logs/HEAD")].into_iter().filter(|file| file.exists()) {
            println!("cargo::rerun-if-changed={}", file.display());
        }
        println!("cargo::rerun-if-changed=src");
        let changed = git(&root, &["status", "--porcelain", "--untracked-files=no"])?;
        Some(Self {
            revision: git(&root, &["rev-parse", "HEAD"])?,
            branch: git(&root, &["rev-parse", "--abbrev-ref", "HEAD"])?,
            status: if changed.is_empty() { "MINT" } else { "MODIFIED" },
        })
    }
}

/// What git says; `None` when it fails.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).current_dir(root).output().ok().filter(|it| it.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// A variable of the environment that is not empty. The script runs again when it changes.
#[expect(clippy::disallowed_methods, reason = "the environment is where cargo and packagers tell it")]
fn variable(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "the time of a build is that of the clock")]
fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string()
}

/// Tells the program; nothing when it is unknown.
fn tell(name: &str, text: Option<String>) {
    println!("cargo::rustc-env=TIDEMARK_BUILT_{name}={}", text.unwrap_or_default());
}
