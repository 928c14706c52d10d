//! `tidemark backup create|verify|restore`.

mod create;
mod partial_file;
mod restore;
mod verify;

use std::{path::Path, process::ExitCode};

use crate::{
    cli::{BackupCommand, OutputOptions},
    config::Settings,
    logging,
};

/// Runs one of the commands.
pub(crate) fn run(command: &BackupCommand, settings: Settings) -> anyhow::Result<ExitCode> {
    logging::start(&settings)?;
    match command {
        BackupCommand::Create(options) => create::run(options, &settings),
        BackupCommand::Verify(options) => verify::run(&options.file, &options.output),
        BackupCommand::Restore(options) => restore::run(options, &settings),
    }
}

/// Verifies a backup, for whoever calls it a patient.
pub(crate) fn verify_file(file: &Path, output: &OutputOptions) -> anyhow::Result<ExitCode> {
    verify::run(file, output)
}
