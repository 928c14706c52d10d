//! `cargo xtask nightly`: what takes too long for every change. Random histories of the store and random queries with many
//! seeds, the ledgers of the queue with many kills, then every fuzz target for a while, where a nightly compiler and
//! `cargo fuzz` are installed.

use std::{fs, path::Path};

use anyhow::Context;
use clap::Args;

use crate::command;

/// How long to look.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seeds for each test with random histories or queries; 0 for none of them.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed, when it is not the test's own.
    #[arg(long)]
    first_seed: Option<u64>,
    /// Seconds of random kills in each ledger of the queue; 0 for none of them.
    #[arg(long, default_value_t = 300)]
    ledger_seconds: u32,
    /// Seconds for each fuzz target; 0 for none of them.
    #[arg(long, default_value_t = 60)]
    fuzz_seconds: u32,
    /// Fuzz targets, instead of all of them.
    #[arg(long, value_delimiter = ',')]
    targets: Vec<String>,
}

/// Where the fuzz targets are.
const FUZZ_FOLDER: &str = "tests/fuzz";
/// Files of bytes that were written by some version of the store.
const GOLDEN_FOLDER: &str = "storage/tsdb/tests/golden";
/// Targets whose inputs are such bytes.
const FED_WITH_GOLDEN_FILES: [&str; 4] = ["block", "rollup_block", "log_entry", "backup_chunk"];
/// Starts cargo with the compiler that libFuzzer needs.
const NIGHTLY_CARGO: [&str; 4] = ["rustup", "run", "nightly", "cargo"];
/// An input may take so many seconds, an allocation so many megabytes, and the process so many in all; inputs are short,
/// since what is wrong with long ones is nearly always wrong with short ones.
const LIMITS: [&str; 4] = ["-timeout=10", "-malloc_limit_mb=32", "-rss_limit_mb=2048", "-max_len=8192"];

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    if options.seeds > 0 {
        histories(root, options)?;
    }
    if options.ledger_seconds > 0 {
        ledgers(root, options.ledger_seconds)?;
    }
    if options.fuzz_seconds == 0 {
        return Ok(());
    }
    let version = [&NIGHTLY_CARGO[..], &["fuzz", "--version"]].concat();
    if let Err(error) = command::output(root, &version) {
        eprintln!(
            "\nSKIPPED: the fuzz targets, since they need a nightly compiler and cargo-fuzz ({error:#}).\n\
             To run them: rustup toolchain install nightly && cargo install cargo-fuzz --locked"
        );
        return Ok(());
    }
    // The same versions as those of the program, and what libFuzzer needs besides.
    fs::copy(root.join("Cargo.lock"), root.join(FUZZ_FOLDER).join("Cargo.lock")).context("copy Cargo.lock")?;
    let targets = if options.targets.is_empty() { targets(root)? } else { options.targets.clone() };
    for target in &targets {
        fuzz(root, target, options.fuzz_seconds)?;
    }
    eprintln!("\nnothing was found in {} fuzz targets", targets.len());
    Ok(())
}

/// The tests of the store with random histories, and those of the engines with random queries, in a release build.
fn histories(root: &Path, options: &Options) -> anyhow::Result<()> {
    let test = ["cargo", "test", "--locked", "--release", "--no-fail-fast"];
    let crates = ["-p", "tidemark-tsdb", "-p", "tidemark-query", "-p", "tidemark-promql"];
    let files = ["model", "shared", "renamed_histories", "rollups", "reference"].map(|file| ["--test", file]).concat();
    let seeds = options.seeds.to_string();
    let first = options.first_seed.map(|first| first.to_string());
    let mut variables = vec![("TIDEMARK_MODEL_SEEDS", seeds.as_str())];
    variables.extend(first.as_deref().map(|first| ("TIDEMARK_MODEL_FIRST_SEED", first)));
    command::run_with(root, &[&test[..], &crates, &files].concat(), &variables)
}

/// Kills of Redis in its own test.
const KILL_CYCLES: &str = "50";
/// How long Redis is away, slow or silent.
const OUTAGE_SECONDS: &str = "60";

/// The tests of the queue in which processes and Redis are killed.
fn ledgers(root: &Path, seconds: u32) -> anyhow::Result<()> {
    let test = ["cargo", "test", "--locked", "--package", "tidemark-workers", "--no-fail-fast"];
    let files = ["--test", "ledger", "--test", "everything_killed", "--test", "redis_away", "--", "--nocapture"];
    let seconds = seconds.to_string();
    let variables = [
        ("TIDEMARK_LEDGER_SECONDS", seconds.as_str()),
        ("TIDEMARK_KILL_CYCLES", KILL_CYCLES),
        ("TIDEMARK_OUTAGE_SECONDS", OUTAGE_SECONDS),
    ];
    command::run_with(root, &[&test[..], &files].concat(), &variables)
}

fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let list = [&NIGHTLY_CARGO[..], &["fuzz", "list", "--fuzz-dir", FUZZ_FOLDER]].concat();
    Ok(command::output(root, &list)?.lines().map(str::to_owned).collect())
}

/// Goes on with the corpus of earlier runs, which lies beside the targets and is not committed; the committed seeds and
/// golden files are read and never written.
fn fuzz(root: &Path, target: &str, seconds: u32) -> anyhow::Result<()> {
    let corpus = format!("{FUZZ_FOLDER}/corpus/{target}");
    fs::create_dir_all(root.join(&corpus)).with_context(|| format!("make the folder {corpus}"))?;
    let seeds = format!("{FUZZ_FOLDER}/seeds/{target}");
    let dictionary = format!("{FUZZ_FOLDER}/dictionaries/{target}");
    let (time, words) = (format!("-max_total_time={seconds}"), format!("-dict={dictionary}"));
    let mut line = [&NIGHTLY_CARGO[..], &["fuzz", "run", "--fuzz-dir", FUZZ_FOLDER, target, &corpus]].concat();
    if root.join(&seeds).is_dir() {
        line.push(&seeds);
    }
    if FED_WITH_GOLDEN_FILES.contains(&target) {
        line.push(GOLDEN_FOLDER);
    }
    line.push("--");
    line.extend(LIMITS);
    line.extend([time.as_str(), "-print_final_stats=1", "-verbosity=0"]);
    if root.join(&dictionary).is_file() {
        line.push(&words);
    }
    command::run(root, &line)
}
