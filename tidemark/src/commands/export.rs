//! `tidemark export`.

use std::{
    fs::File,
    io::{self, Write, stdout},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use tidemark_api::export::{ALL_TIMES, Export, ExportError, LineSink, left_out_text};
use tidemark_egress::Method;
use tidemark_model::{BoxFuture, Clock, SystemClock, TimeRange};
use tidemark_query::{parse_time, parse_time_zone};

use super::{
    client::Server,
    offline::{self, Wanted},
};
use crate::{cli::ExportOptions, config::Settings, logging, serve::open_store, usage::UsageError};

/// Writes lines to a file or to standard output.
pub(crate) fn run(options: &ExportOptions, settings: Settings) -> anyhow::Result<ExitCode> {
    logging::start(&settings)?;
    let mut out: Box<dyn Write + Send> = match &options.to_file {
        Some(path) => Box::new(File::create(path).with_context(|| format!("write {}", path.display()))?),
        None => Box::new(stdout()),
    };
    let runtime = offline::runtime()?;
    let ended = match options.source.is_offline() {
        true => runtime.block_on(from_store(options, &settings, &mut out)),
        false => runtime.block_on(from_server(options, &Server::new(&options.source.server)?, &mut out)),
    };
    match ended.and_then(|()| Ok(out.flush()?)) {
        // A reader that has gone, such as `head`, is no error.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        ended => ended.map(|()| ExitCode::SUCCESS),
    }
}

async fn from_server(options: &ExportOptions, server: &Server, out: &mut dyn Write) -> anyhow::Result<()> {
    let format = options.format.to_string();
    let mut parameters: Vec<(&str, &str)> = options.series.iter().map(|text| ("m", text.as_str())).collect();
    parameters.push(("format", &format));
    parameters.extend(options.from.as_deref().map(|from| ("start", from)));
    parameters.extend(options.to.as_deref().map(|to| ("end", to)));
    let answer = server.open(Method::GET, "/api/tidemark/v1/export", &parameters).await;
    let mut answer = answer.map_err(|failed| failed.error)?;
    if let Some(warning) = answer.headers().get("x-tidemark-warning").and_then(|text| text.to_str().ok()) {
        eprintln!("{warning}");
    }
    while let Some(lines) = answer.chunk().await.context("the export was broken off")? {
        out.write_all(&lines)?;
    }
    Ok(())
}

async fn from_store(options: &ExportOptions, settings: &Settings, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let range =
        range(options, settings, clock.now_ms()).map_err(|error| error.context(UsageError("a time".to_owned())))?;
    let export = Export::new(&options.series, range, options.format)?;
    offline::expect_store(settings, Wanted::Existing)?;
    let folder = offline::take_folder_of_store(settings)?;
    let (store, _engine) = open_store(settings, folder.as_ref(), &clock).await?;
    let mut sink = Lines(out);
    let ended = async {
        let left_out = export.left_out(&store).await.map_err(|error| error.0)?;
        let points = export.run(&store, &store, &mut sink).await?;
        Ok((points, left_out))
    };
    let ended = ended.await;
    store.close().await;
    match ended {
        Ok((points, left_out)) => {
            eprintln!("{points} points");
            left_out_text(left_out).into_iter().for_each(|text| eprintln!("{text}"));
        }
        Err(ExportError::Gone) => {}
        Err(error) => bail!(error),
    }
    Ok(())
}

fn range(options: &ExportOptions, settings: &Settings, now_ms: i64) -> anyhow::Result<TimeRange> {
    let zone = parse_time_zone(&settings.opentsdb.timezone)?;
    let time = |text: &Option<String>, default| match text {
        Some(text) => parse_time(text, now_ms, zone).with_context(|| format!("`{text}`")),
        None => Ok(default),
    };
    Ok(TimeRange::new(time(&options.from, ALL_TIMES.start)?, time(&options.to, ALL_TIMES.end)?))
}

/// Writes lines where they belong.
struct Lines<'a>(&'a mut (dyn Write + Send));

impl LineSink for Lines<'_> {
    fn take(&mut self, lines: Vec<u8>) -> BoxFuture<'_, Result<(), ExportError>> {
        let written = match self.0.write_all(&lines) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ExportError::Gone),
            written => written.map_err(|error| ExportError::Write(error.to_string())),
        };
        Box::pin(std::future::ready(written))
    }
}

pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
