//! `tidemark completions`.

use std::process::ExitCode;

use clap::CommandFactory;

use super::print;
use crate::cli::Cli;

/// Prints the completion script of a shell.
pub(crate) fn run(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tidemark", &mut script);
    print::out(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}
