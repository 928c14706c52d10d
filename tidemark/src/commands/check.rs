//! `tidemark check`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde_json::json;
use tidemark_alert::{RuleSet, rules::RuleSetOptions};

use super::print;
use crate::{
    EXIT_PROBLEMS,
    cli::{CheckOptions, Output},
    config::Settings,
    serve,
};

/// Checks the configuration, then the rules, and says everything that is wrong.
pub(crate) fn run(options: &CheckOptions, settings: anyhow::Result<Settings>) -> anyhow::Result<ExitCode> {
    let mut problems: Vec<String> = Vec::new();
    let mut paths = options.paths.clone();
    match settings {
        Ok(settings) => {
            problems.extend(serve::problems(&settings));
            if paths.is_empty() && !settings.alert.rules.as_os_str().is_empty() {
                paths.push(settings.alert.rules);
            }
        }
        Err(error) => problems.push(format!("{error:#}")),
    }
    let mut rules = 0;
    for path in &paths {
        match load(path) {
            Ok(Ok(set)) => rules += set.rules().count(),
            Ok(Err(errors)) => problems.extend(errors.0.iter().map(ToString::to_string)),
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    match options.output.output {
        Output::Json => print::out(&format!("{}\n", json!({"problems": problems, "rules": rules})))?,
        Output::Table if problems.is_empty() => print::out(&format!("no problems, {rules} rules\n"))?,
        Output::Table => {}
    }
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_PROBLEMS) })
}

/// The rules of a file or of a folder.
fn load(path: &PathBuf) -> anyhow::Result<Result<RuleSet, tidemark_alert::rules::RuleErrors>> {
    let metadata = std::fs::metadata(path).with_context(|| format!("rules {}", path.display()))?;
    if metadata.is_dir() {
        return Ok(RuleSet::load(path, RuleSetOptions::default()));
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("rules {}", path.display()))?;
    Ok(RuleSet::from_files(vec![(path.display().to_string(), text)], RuleSetOptions::default()))
}
