//! `tidemark import`.
//!
//! Lines are read in order and written in order, one batch after the other, so that of two lines about one point the later
//! one wins. Histograms and rollups have lines as points have. Writing any of it again changes nothing: an import that was broken off may be run again as it was; with
//! `--skip-lines` it is faster.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use tidemark_api::{
    import::{LineBatchBuilder, LineReader, LineRules, write_patiently},
    point_lines::LineFormat,
};
use tidemark_collector::{RemoteOptions, RemoteSink};
use tidemark_egress::Url;
use tidemark_model::{Clock, PointRules, PointSink, SystemClock};

use super::offline;
use crate::{
    cli::ImportOptions,
    config::{Settings, masked},
    logging,
    progress_bar::{Counted, Progress, ProgressBar},
    serve::{line_rules, open_store},
    usage::UsageError,
};

/// Lines with mistakes that are named one by one.
const NAMED_MAX: u64 = 100;

/// Writes what the lines of all files hold.
pub(crate) fn run(options: &ImportOptions, settings: Settings) -> anyhow::Result<ExitCode> {
    logging::start(&settings)?;
    offline::runtime()?.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let refused = if options.target.is_offline() {
            let rules = line_rules(&settings)?;
            let folder = offline::take_folder_of_store(&settings)?;
            let (store, _engine) = open_store(&settings, folder.as_ref(), &clock).await?;
            let imported = Import::new(&store, &rules, &clock).files(options).await;
            store.close().await;
            imported?
        } else {
            // The server has rules of its own, and says which rollups it takes.
            let rules = LineRules { points: PointRules::LOOSE, rollups: None };
            Import::new(&remote_sink(options)?, &rules, &clock).files(options).await?
        };
        Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

fn remote_sink(options: &ImportOptions) -> anyhow::Result<RemoteSink> {
    let server = &options.target.server;
    let url = Url::parse(&server.url);
    let url = url.with_context(|| UsageError(format!("option --url `{}`", masked(&server.url))))?;
    let mut remote = RemoteOptions::new(url);
    remote.token.clone_from(&server.token);
    Ok(RemoteSink::new(remote)?)
}

/// An import under way.
struct Import<'a> {
    sink: &'a dyn PointSink,
    bar: ProgressBar,
    lines: LineBatchBuilder<'a>,
    stored: u64,
    refused: u64,
}

impl<'a> Import<'a> {
    fn new(sink: &'a dyn PointSink, rules: &'a LineRules, clock: &Arc<dyn Clock>) -> Self {
        let bar = ProgressBar::on_stderr(Arc::clone(clock), "import", Counted::Bytes);
        Self { sink, bar, lines: LineBatchBuilder::new(rules), stored: 0, refused: 0 }
    }

    /// Writes the lines of the files; how many were refused.
    async fn files(mut self, options: &ImportOptions) -> anyhow::Result<u64> {
        let mut skip = options.skip_lines;
        for path in &options.files {
            self.file(path, options.format, skip).await?;
            skip = 0;
        }
        if self.refused > NAMED_MAX {
            eprintln!("… and {} more lines", self.refused - NAMED_MAX);
        }
        eprintln!("{} points are stored, {} lines were left out", self.stored, self.refused);
        Ok(self.refused)
    }

    async fn file(&mut self, path: &Path, format: Option<LineFormat>, skip: u64) -> anyhow::Result<()> {
        let mut reader = LineReader::open(path).with_context(|| format!("read {}", path.display()))?;
        let mut format = format;
        // Everything up to this line is stored or was refused.
        let mut safe = skip;
        while let Some((number, line)) = reader.next_line().with_context(|| format!("read {}", path.display()))? {
            let line = match line {
                Ok(line) => line,
                Err(reason) => {
                    self.refuse(path, number, reason);
                    continue;
                }
            };
            if format.is_none() && !line.trim().is_empty() {
                format = Some(LineFormat::of_first_line(line));
            }
            let Some(format) = format.filter(|_| number > skip) else { continue };
            if let Err(reason) = self.lines.add(format, number, line) {
                self.refuse(path, number, &reason);
            }
            if self.lines.is_full() {
                self.flush(path, safe).await?;
                safe = number;
                self.bar.show(Progress { done: reader.bytes(), total: reader.total() });
            }
        }
        self.flush(path, safe).await?;
        self.bar.show(Progress { done: reader.bytes(), total: reader.total() });
        Ok(())
    }

    async fn flush(&mut self, path: &Path, safe: u64) -> anyhow::Result<()> {
        let lines = self.lines.take();
        if lines.batch.is_empty() {
            return Ok(());
        }
        match write_patiently(self.sink, &lines.batch).await {
            Ok(receipt) => {
                let written = lines.written(receipt);
                self.stored += written.stored;
                written.refused.iter().for_each(|(number, reason)| self.refuse(path, *number, reason));
                Ok(())
            }
            Err(reason) => {
                let path = path.display();
                bail!("{path}: {reason}; everything up to line {safe} is stored: go on with --skip-lines {safe}")
            }
        }
    }

    fn refuse(&mut self, path: &Path, number: u64, reason: &str) {
        self.refused += 1;
        if self.refused <= NAMED_MAX {
            eprintln!("{}: line {number}: {reason}", path.display());
        }
    }
}
