//! Log lines go to standard error; data go to standard output.

mod kept_lines;

use std::{
    io::{IsTerminal, stderr},
    sync::Arc,
};

use anyhow::Context;
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, registry::Registry, reload, util::SubscriberInitExt};

pub(crate) use self::kept_lines::KeptLines;
use crate::config::{LogFormat, Settings};

/// Starts logging; once for each process. The newest lines are kept beside.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<Arc<KeptLines>> {
    let levels = EnvFilter::try_new(&settings.log.level)
        .with_context(|| format!("setting log.level `{}`", settings.log.level))?;
    let (levels, handle) = reload::Layer::new(levels);
    let kept = Arc::new(KeptLines::new(&settings.log.level, handle));
    let lines = tracing_subscriber::fmt::layer::<Registry>()
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        // Whoever read the log may have gone; to say that there would end the process.
        .log_internal_errors(false);
    let lines = match settings.log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let all: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![lines, kept.layer().boxed()];
    let started = tracing_subscriber::registry().with(all.with_filter(levels)).try_init();
    started.map_err(|error| anyhow::anyhow!("start logging: {error}"))?;
    Ok(kept)
}
