//! `tidemark backup create`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tidemark_egress::Method;
use tidemark_kv::RedbOptions;
use tidemark_model::{BoxFuture, Clock, SystemClock};
use tidemark_tsdb::backup::{BackupError, BackupOptions, BackupSink, TakenChunk, take_backup};

use super::partial_file::{PartialFile, Reached};
use crate::{
    cli::BackupCreateOptions,
    commands::{
        client::Server,
        offline::{self, Wanted},
    },
    config::Settings,
    progress_bar::{Counted, Progress, ProgressBar},
};

/// How often the server is asked to go on after it broke off, without a chunk in between.
const ATTEMPTS_MAX: u32 = 5;
/// How long to wait before the second attempt; each time twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Where the server says how much there is.
const ESTIMATE: &str = "x-tidemark-estimated-bytes";

/// Takes a backup, or goes on with one.
pub(super) fn run(options: &BackupCreateOptions, settings: &Settings) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut file = PartialFile::open(&options.to, clock.now_ms())?;
    let reached = file.reached()?;
    if reached.chunks > 0 {
        eprintln!("going on with a backup that was broken off behind chunk {}", reached.chunks);
    }
    let runtime = offline::runtime()?;
    let bar = Bar { bar: ProgressBar::on_stderr(Arc::clone(&clock), "backup", Counted::Bytes), done: 0, estimate: 0 };
    let file = match options.source.is_offline() {
        true => runtime.block_on(from_store(settings, clock.as_ref(), file, reached, bar))?,
        false => runtime.block_on(from_server(&Server::new(&options.source.server)?, file, reached, bar))?,
    };
    file.complete()?;
    eprintln!("{} is a whole backup", options.to.display());
    Ok(ExitCode::SUCCESS)
}

/// The bar and what it knows; how much there is can only be guessed.
struct Bar {
    bar: ProgressBar,
    done: u64,
    estimate: u64,
}

impl Bar {
    fn add(&mut self, bytes: u64, is_last: bool) {
        self.done += bytes;
        let total = if is_last { self.done } else { self.estimate.max(self.done + 1) };
        self.bar.show(Progress { done: self.done, total });
    }
}

/// Writes chunks to the file.
struct FileSink {
    file: PartialFile,
    bar: Bar,
}

impl BackupSink for FileSink {
    fn take(&mut self, chunk: TakenChunk) -> BoxFuture<'_, Result<(), BackupError>> {
        let written = self.file.append(&chunk.bytes).map_err(BackupError::from);
        self.bar.add(chunk.entry_bytes, chunk.is_last);
        Box::pin(std::future::ready(written))
    }
}

async fn from_store(
    settings: &Settings,
    clock: &dyn Clock,
    file: PartialFile,
    reached: Reached,
    mut bar: Bar,
) -> anyhow::Result<PartialFile> {
    if reached.is_complete {
        return Ok(file);
    }
    let store = offline::open(settings, Wanted::Existing, RedbOptions::default()).await?;
    bar.estimate = store.kv.disk_bytes().unwrap_or(0);
    let mut sink = FileSink { file, bar };
    let taken = take_backup(store.kv.as_ref(), clock, reached.cursor, BackupOptions::default(), &mut sink).await;
    taken.with_context(|| format!("take a backup of {}", store.shown))?;
    Ok(sink.file)
}

/// Asks the server for what is missing, again and again as long as it gets further.
async fn from_server(
    server: &Server,
    mut file: PartialFile,
    mut reached: Reached,
    mut bar: Bar,
) -> anyhow::Result<PartialFile> {
    let (mut attempts, mut pause) = (1, RETRY_FIRST);
    while !reached.is_complete {
        let before = reached.chunks;
        let asked = ask(server, &mut file, &reached, &mut bar).await;
        reached = file.reached()?;
        if reached.chunks > before {
            (attempts, pause) = (1, RETRY_FIRST);
        }
        let Err(error) = asked else {
            if reached.is_complete {
                break;
            }
            bail!("the server ended the backup before its end; run the same command again, it goes on from there");
        };
        if attempts == ATTEMPTS_MAX || !error.is_transient {
            let again = "run the same command again to go on from there";
            return Err(error.error.context(format!("take a backup ({} chunks are safe; {again})", reached.chunks)));
        }
        eprintln!("the server broke off ({:#}); going on in {} s", error.error, pause.as_secs());
        tokio::time::sleep(pause).await;
        (attempts, pause) = (attempts + 1, pause * 2);
    }
    bar.add(0, true);
    Ok(file)
}

/// Why the server gave no more.
struct BrokenOff {
    error: anyhow::Error,
    /// Whether to ask again.
    is_transient: bool,
}

async fn ask(server: &Server, file: &mut PartialFile, reached: &Reached, bar: &mut Bar) -> Result<(), BrokenOff> {
    let cursor = reached.cursor.to_string();
    let mut answer = server
        .open(Method::POST, "/api/tidemark/v1/backup", &[("cursor", &cursor)])
        .await
        .map_err(|error| BrokenOff { is_transient: error.is_transient, error: error.error })?;
    if let Some(bytes) = answer.headers().get(ESTIMATE).and_then(|bytes| bytes.to_str().ok()?.parse().ok()) {
        bar.estimate = bytes;
    }
    loop {
        match answer.chunk().await {
            Ok(None) => return Ok(()),
            Ok(Some(bytes)) => {
                let written = file.append(&bytes).context("write the backup");
                written.map_err(|error| BrokenOff { error, is_transient: false })?;
                bar.add(bytes.len() as u64, false);
            }
            Err(error) => return Err(BrokenOff { error: error.into(), is_transient: true }),
        }
    }
}
