//! `tidemark backup restore`.

use std::{fs::File, io::BufReader, process::ExitCode, sync::Arc};

use anyhow::Context;
use tidemark_kv::RedbOptions;
use tidemark_model::SystemClock;
use tidemark_tsdb::backup::{BackupFile, Existing, Restore};

use super::verify;
use crate::{
    cli::BackupRestoreOptions,
    commands::offline::{self, Wanted},
    config::Settings,
    progress_bar::{Counted, Progress, ProgressBar},
};

/// Verifies a backup and puts it into an empty store, or goes on with that.
pub(super) fn run(options: &BackupRestoreOptions, settings: &Settings) -> anyhow::Result<ExitCode> {
    let (header, summary) = verify::read(&options.file)?;
    let series = summary.report.series;
    offline::runtime()?.block_on(async {
        let store = offline::open(settings, Wanted::ExistingOrNew, RedbOptions::default()).await?;
        let context = || format!("restore {} into {}", options.file.display(), store.shown);
        let existing = if options.overwrite { Existing::Delete } else { Existing::Refuse };
        let restore = Restore::begin(Arc::clone(&store.kv), header, summary, existing).await;
        let mut restore = restore.with_context(context)?;
        if restore.done() > 0 {
            eprintln!("going on with a restore that was broken off behind chunk {}", restore.done());
        }
        let source = File::open(&options.file).with_context(context)?;
        let total = source.metadata().with_context(context)?.len();
        let mut file = BackupFile::open(BufReader::new(source)).with_context(context)?;
        let mut bar = ProgressBar::on_stderr(Arc::new(SystemClock::new()), "restore", Counted::Bytes);
        while let Some(chunk) = file.next_chunk().with_context(context)? {
            restore.chunk(&chunk).await.with_context(context)?;
            bar.show(Progress { done: file.offset(), total });
        }
        restore.finish().await.with_context(context)?;
        eprintln!("{series} series are restored into {}; the first start turns the log into blocks", store.shown);
        Ok(ExitCode::SUCCESS)
    })
}
