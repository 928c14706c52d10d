//! The `tidemark` binary: command line, configuration, wiring, signals and the order of shutdown. It holds no rule of
//! the business; those live in the crates it puts together.

mod allocator;
mod build_info;
mod cli;
mod commands;
mod config;
mod demo;
mod logging;
mod progress_bar;
mod serve;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    usage::UsageError,
};

/// The command line asks for something that there is not.
const EXIT_USAGE: u8 = 2;
/// A check found problems; `--help` lists the exit codes.
const EXIT_PROBLEMS: u8 = 3;

fn main() -> ExitCode {
    allocator::limit_arenas();
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tidemark: {error:#}");
            if error.is::<UsageError>() { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let settings = || config::load(&cli.sources());
    match &cli.command {
        Command::Serve(options) => serve::run(settings()?, options.demo),
        Command::Api(_) | Command::Worker(_) | Command::Scheduler(_) => serve::run(settings()?, false),
        Command::Agent(options) => commands::agent::run(options, settings()?),
        Command::Put(options) => commands::put::run(options),
        Command::Query(options) => commands::query::run(options),
        Command::Cardinality(options) => commands::cardinality::run(options),
        Command::Jobs(command) => commands::jobs::run(command),
        Command::Queries(command) => commands::queries::run(command),
        Command::Queues(command) => commands::queues::run(command),
        Command::Workers(command) => commands::workers::run(command),
        Command::Schedules(command) => commands::schedules::run(command),
        Command::Workflows(command) => commands::workflows::run(command),
        Command::Rules(command) => commands::rules::run(command),
        Command::Backup(command) => commands::backup::run(command, settings()?),
        Command::Export(options) => commands::export::run(options, settings()?),
        Command::Import(options) => commands::import::run(options, settings()?),
        Command::Doctor(options) => commands::doctor::run(options, settings()?),
        Command::Bench(command) => commands::bench::run(command, settings()?),
        Command::Check(options) => commands::check::run(options, settings()),
        Command::Token(command) => commands::token::run(command),
        Command::Version(options) => commands::version::run(options),
        Command::Completions { shell } => commands::completions::run(*shell),
    }
}
