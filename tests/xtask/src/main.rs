//! `cargo xtask`: what a person or the CI does with the repository.

mod bench;
mod command;
mod nightly;
mod test_run;
mod tidy;
mod tools;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// What to do with the repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what the tests need, then run formatting, clippy, every test and the browser tests.
    Test(test_run::Options),
    /// Check crate boundaries, inherited lints and the top-level layout.
    Tidy,
    /// Measure ingest and queries of a release build, beside VictoriaMetrics where it is installed.
    Bench(bench::Options),
    /// Run random histories of the store with many seeds, and the fuzz targets.
    Nightly(nightly::Options),
}

fn main() -> ExitCode {
    let root = repository_root();
    let done = match Arguments::parse().task {
        Task::Test(options) => test_run::run(&root, &options),
        Task::Tidy => tidy::run(&root),
        Task::Bench(options) => bench::run(&root, &options),
        Task::Nightly(options) => nightly::run(&root, &options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace: two above this crate.
fn repository_root() -> PathBuf {
    let this = Path::new(env!("CARGO_MANIFEST_DIR"));
    this.ancestors().nth(2).unwrap_or(this).to_path_buf()
}
