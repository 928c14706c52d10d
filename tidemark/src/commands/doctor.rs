//! `tidemark doctor`.

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use tidemark_kv::{KvError, RedbOptions};
use tidemark_model::SystemClock;
use tidemark_tsdb::inspect::{CheckReport, FindingKind, check_store, remove_orphans};

use super::{
    backup,
    findings::{self, Outcome},
    offline::{self, OfflineStore, Wanted},
};
use crate::{
    EXIT_PROBLEMS,
    cli::DoctorOptions,
    config::Settings,
    logging,
    progress_bar::{Counted, Progress, ProgressBar},
};

/// Checks a store that no server has open, or a backup.
pub(crate) fn run(options: &DoctorOptions, settings: Settings) -> anyhow::Result<ExitCode> {
    logging::start(&settings)?;
    if let Some(file) = &options.backup {
        return backup::verify_file(file, &options.output);
    }
    offline::runtime()?.block_on(examine(options, &settings))
}

async fn examine(options: &DoctorOptions, settings: &Settings) -> anyhow::Result<ExitCode> {
    // The engine's own checksums too.
    let redb = RedbOptions { verify_on_open: true, ..RedbOptions::default() };
    let store = match offline::open(settings, Wanted::Existing, redb).await {
        Ok(store) => store,
        Err(error) => return refused_to_open(options, error),
    };
    let mut report = check(&store).await?;
    let mut removed = None;
    if options.repair && report.count(FindingKind::Orphan) > 0 {
        removed = Some(remove_orphans(store.kv.as_ref(), &report).await.context("take orphans away")?);
        report = check(&store).await?;
    }
    let compacted = if options.compact { Some(compact(&store).await?) } else { None };
    let outcome = Outcome { place: &store.shown, removed, compacted };
    findings::print_store(&options.output, &outcome, &report)?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_PROBLEMS) })
}

async fn check(store: &OfflineStore) -> anyhow::Result<CheckReport> {
    let mut bar = ProgressBar::on_stderr(Arc::new(SystemClock::new()), "doctor", Counted::Bytes);
    let estimate = store.kv.disk_bytes().unwrap_or(0);
    let mut done = 0;
    let mut show = |totals: tidemark_tsdb::inspect::KindTotals| {
        done = totals.bytes;
        bar.show(Progress { done, total: estimate.max(done + 1) });
    };
    let report = check_store(store.kv.as_ref(), &mut show).await.with_context(|| format!("check {}", store.shown))?;
    bar.show(Progress { done, total: done });
    Ok(report)
}

async fn compact(store: &OfflineStore) -> anyhow::Result<(u64, u64)> {
    let Some(file) = &store.file else { bail!("{} looks after its space by itself; leave --compact out", store.shown) };
    let bytes = || store.kv.disk_bytes().unwrap_or(0);
    let before = bytes();
    file.compact().await.with_context(|| format!("compact {}", store.shown))?;
    Ok((before, bytes()))
}

/// A file that the engine refuses for what is in it is a finding; that somebody else has it open is none.
fn refused_to_open(options: &DoctorOptions, error: anyhow::Error) -> anyhow::Result<ExitCode> {
    if !matches!(error.downcast_ref(), Some(KvError::Corrupt(_))) {
        return Err(error);
    }
    findings::print_refusal(&options.output, &format!("{error:#}"))?;
    Ok(ExitCode::from(EXIT_PROBLEMS))
}
