//! `cargo xtask test`: everything that must hold before a change lands. The CI runs this and nothing else.

use std::path::Path;

use clap::Args;

use crate::{command, tidy, tools};

/// The binary with the feature `fdb`, in the target folder, for the tests with a cluster.
const BINARY_WITH_FOUNDATIONDB: &str = "debug/tidemark-fdb";

/// How to run the tests.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Take the machine as it is: install nothing.
    #[arg(long)]
    no_install: bool,
}

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    if !options.no_install {
        tools::ensure(root)?;
    }
    tidy::run(root)?;
    command::run(root, &["cargo", "fmt", "--all", "--check"])?;
    command::run(root, &["cargo", "clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    if command::exists("cargo-deny") {
        command::run(root, &["cargo", "deny", "--offline", "check", "bans", "licenses", "sources"])?;
    }
    with_foundationdb(root)?;
    command::run(root, &["cargo", "build", "--locked", "--package", "tidemark"])?;
    let binary = target_folder(root)?.join("debug/tidemark");
    let binary = binary.to_string_lossy();
    let with_foundationdb = target_folder(root)?.join(BINARY_WITH_FOUNDATIONDB);
    let with_foundationdb = with_foundationdb.to_string_lossy();
    command::run_with(
        root,
        &["cargo", "test", "--locked", "--workspace", "--no-fail-fast"],
        &[("TEST_BINARY", &binary), ("TEST_BINARY_FDB", &with_foundationdb)],
    )?;
    eprintln!("\neverything passed");
    Ok(())
}

/// What only the feature `fdb` builds: linted, linked, tested as far as it goes without a cluster (with one, if
/// `FDB_CLUSTER_FILE` names it), and started, which must need nothing of FoundationDB.
fn with_foundationdb(root: &Path) -> anyhow::Result<()> {
    let packages = ["--locked", "--package", "tidemark-kv", "--package", "tidemark-tsdb", "--package", "tidemark"];
    let features = ["--features", "tidemark-kv/fdb,tidemark-tsdb/fdb,tidemark/fdb"];
    let clippy = [&["cargo", "clippy", "--all-targets"], &packages[..], &features, &["--", "-D", "warnings"]].concat();
    command::run(root, &clippy)?;
    let tests = ["--locked", "--package", "tidemark-kv", "--package", "tidemark-tsdb"];
    let features = ["--features", "tidemark-kv/fdb,tidemark-tsdb/fdb"];
    command::run(root, &[&["cargo", "test"], &tests[..], &features].concat())?;
    command::run(root, &["cargo", "build", "--locked", "--package", "tidemark", "--features", "fdb"])?;
    let binary = target_folder(root)?.join(BINARY_WITH_FOUNDATIONDB);
    std::fs::copy(target_folder(root)?.join("debug/tidemark"), &binary)?;
    command::run(root, &[&binary.to_string_lossy(), "--version"])
}

/// Where cargo puts what it builds; a person may have moved it.
pub(crate) fn target_folder(root: &Path) -> anyhow::Result<std::path::PathBuf> {
    let metadata = command::output(root, &["cargo", "metadata", "--no-deps", "--format-version", "1", "--offline"])?;
    let marker = "\"target_directory\":\"";
    let folder = metadata.split_once(marker).and_then(|(_, rest)| rest.split_once('"')).map(|(folder, _)| folder);
    Ok(folder.map_or_else(|| root.join("target"), std::path::PathBuf::from))
}
