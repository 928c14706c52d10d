//! `tidemark version`.

use std::process::ExitCode;

use serde_json::json;
use tidemark_api::BuildInfo;

use super::print;
use crate::{
    build_info::build_info,
    cli::{Output, OutputOptions},
};

/// Prints the version.
pub(crate) fn run(options: &OutputOptions) -> anyhow::Result<ExitCode> {
    let BuildInfo { version, revision, branch: _, status, built_at } = build_info();
    match options.output {
        Output::Table if revision.is_empty() => print::out(&format!("tidemark {version}\n"))?,
        Output::Table => print::out(&format!("tidemark {version} ({revision}, {status})\n"))?,
        Output::Json => {
            let built = json!({
                "name": "tidemark",
                "version": version,
                "revision": revision,
                "status": status,
                "built_at": built_at,
            });
            print::out(&format!("{built}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
