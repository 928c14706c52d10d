//! Log lines go to standard error; data go to standard output.

use std::io::{IsTerminal, stderr};

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

/// Starts logging; once for each process.
pub(crate) fn start(settings: &Settings) -> anyhow::Result<()> {
    let levels = EnvFilter::try_new(&settings.log.level)
        .with_context(|| format!("setting log.level `{}`", settings.log.level))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(levels)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        // Whoever read the log may have gone; to say that there would end the process.
        .log_internal_errors(false);
    let started = match settings.log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("start logging: {error}"))
}
