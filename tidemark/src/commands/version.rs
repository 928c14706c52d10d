//! `tidemark version`.

use std::process::ExitCode;

use serde_json::json;

use super::print;
use crate::cli::{Output, OutputOptions};

/// Prints the version.
pub(crate) fn run(options: &OutputOptions) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    match options.output {
        Output::Table => print::out(&format!("tidemark {version}\n"))?,
        Output::Json => print::out(&format!("{}\n", json!({"name": "tidemark", "version": version})))?,
    }
    Ok(ExitCode::SUCCESS)
}
