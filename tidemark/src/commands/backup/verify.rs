//! `tidemark backup verify`, and reading a backup.

use std::{fs::File, io::BufReader, path::Path, process::ExitCode, sync::Arc};

use anyhow::Context;
use tidemark_model::SystemClock;
use tidemark_tsdb::backup::{BackupFile, BackupHeader, BackupSummary, BackupVerifier};

use crate::{
    EXIT_PROBLEMS,
    cli::OutputOptions,
    commands::findings,
    progress_bar::{Counted, Progress, ProgressBar},
};

/// Reads every chunk and every entry.
pub(super) fn run(file: &Path, output: &OutputOptions) -> anyhow::Result<ExitCode> {
    let (header, summary) = read(file)?;
    findings::print_backup(output, file, header, &summary)?;
    let is_whole = summary.is_complete && summary.report.is_sound();
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(EXIT_PROBLEMS) })
}

/// Reads a whole backup, with a bar.
pub(super) fn read(path: &Path) -> anyhow::Result<(BackupHeader, BackupSummary)> {
    let context = || format!("read the backup {}", path.display());
    let source = File::open(path).with_context(context)?;
    let total = source.metadata().with_context(context)?.len();
    let mut file = BackupFile::open(BufReader::new(source)).with_context(context)?;
    let mut bar = ProgressBar::on_stderr(Arc::new(SystemClock::new()), "verify", Counted::Bytes);
    let mut verifier = BackupVerifier::default();
    while let Some(chunk) = file.next_chunk().with_context(context)? {
        verifier.chunk(&chunk).with_context(context)?;
        bar.show(Progress { done: file.offset(), total });
    }
    Ok((file.header(), verifier.finish()))
}
