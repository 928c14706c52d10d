//! Printing data.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde_json::json;

use crate::cli::{Output, OutputOptions};

/// Writes to standard output; a reader that has gone, such as `head`, is no error.
pub(crate) fn out(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Rows under headings, columns aligned.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut headings.iter().copied());
    rows.iter().for_each(|row| text.push_str(&line(&mut row.iter().map(String::as_str))));
    out(&text)
}

/// Names and values, one under the other.
pub(crate) fn facts(facts: &[(String, String)]) -> anyhow::Result<()> {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let lines = facts.iter().map(|(name, value)| format!("{name:width$}  {value}\n"));
    out(&lines.collect::<String>())
}

/// Something beside the data, on standard error.
#[expect(clippy::unnecessary_wraps, reason = "as the other ways to print, so that they can be chosen between")]
pub(crate) fn note(text: &str) -> anyhow::Result<()> {
    eprintln!("{text}");
    Ok(())
}

/// That something was done to a thing of that name.
pub(crate) fn done(options: &OutputOptions, what: &str, name: &str, done: &str) -> anyhow::Result<ExitCode> {
    match options.output {
        Output::Json => out(&format!("{}\n", json!({ what: name, "done": done })))?,
        Output::Table => out(&format!("{name} {done}\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}
