//! Printing what a check found.

use std::path::Path;

use serde_json::{Value, json};
use tidemark_tsdb::{
    backup::{BackupHeader, BackupSummary},
    inspect::CheckReport,
};

use super::print;
use crate::cli::{Output, OutputOptions};

/// What is said beside a report.
pub(crate) struct Outcome<'a> {
    /// What was looked at.
    pub(crate) place: &'a str,
    /// Orphans that were taken away.
    pub(crate) removed: Option<u64>,
    /// Bytes before and after compacting, as far as they are known.
    pub(crate) compacted: Option<(u64, u64)>,
}

/// Prints the report of a store.
pub(crate) fn print_store(output: &OutputOptions, outcome: &Outcome<'_>, report: &CheckReport) -> anyhow::Result<()> {
    if output.output == Output::Json {
        let mut json = as_json(report);
        set(&mut json, "store", outcome.place.into());
        set(&mut json, "removed", outcome.removed.into());
        let bytes = outcome.compacted.map(|(before, after)| json!({"bytes_before": before, "bytes_after": after}));
        set(&mut json, "compacted", bytes.into());
        return print::out(&format!("{json}\n"));
    }
    print_report(report)?;
    if let Some(removed) = outcome.removed {
        print::out(&format!("{removed} orphans were taken away\n"))?;
    }
    if let Some((before, after)) = outcome.compacted {
        print::out(&format!("compacted from {before} to {after} bytes\n"))?;
    }
    print::out(&format!("{}: {}\n", outcome.place, verdict(report)))
}

/// Prints what a backup has.
pub(crate) fn print_backup(
    output: &OutputOptions,
    path: &Path,
    header: BackupHeader,
    summary: &BackupSummary,
) -> anyhow::Result<()> {
    let BackupSummary { report, chunks, is_complete, .. } = summary;
    if output.output == Output::Json {
        let mut json = as_json(report);
        set(&mut json, "backup", path.display().to_string().into());
        set(&mut json, "created_ms", header.created_ms.into());
        set(&mut json, "chunks", (*chunks).into());
        set(&mut json, "complete", (*is_complete).into());
        return print::out(&format!("{json}\n"));
    }
    print_report(report)?;
    let complete = if *is_complete { "complete" } else { "NOT complete: it was broken off" };
    let created = header.created_ms;
    print::out(&format!(
        "{}: begun at {created} ms, {chunks} chunks, {complete}, {}\n",
        path.display(),
        verdict(report)
    ))
}

/// Prints that the engine refuses a file.
pub(crate) fn print_refusal(output: &OutputOptions, problem: &str) -> anyhow::Result<()> {
    let remedy = "Check the disk and restore a backup into another folder.";
    if output.output == Output::Json {
        let finding = json!({"kind": "damaged", "entry": "file", "key": null, "problem": problem, "remedy": remedy});
        return print::out(&format!("{}\n", json!({"sound": false, "findings": [finding]})));
    }
    print::out(&format!("damaged: {problem}\n    {remedy}\n"))
}

fn print_report(report: &CheckReport) -> anyhow::Result<()> {
    let row = |(kind, totals): (&_, &tidemark_tsdb::inspect::KindTotals)| {
        vec![format!("{kind}"), totals.entries.to_string(), totals.bytes.to_string()]
    };
    print::table(&["KIND", "ENTRIES", "BYTES"], &report.kinds.iter().map(row).collect::<Vec<_>>())?;
    let points = format!("{} in blocks, {} in the log", report.block_points, report.log_points);
    print::out(&format!("{} series; points: {points}\n", report.series))?;
    for finding in &report.findings {
        let (kind, entry) = (finding.kind.as_str(), finding.entry);
        print::out(&format!("{kind}: {entry} {}: {}\n    {}\n", finding.key, finding.problem, finding.remedy))?;
    }
    Ok(())
}

fn verdict(report: &CheckReport) -> String {
    match report.findings.len() as u64 + report.findings_left_out {
        0 => "sound".to_owned(),
        1 => "1 finding".to_owned(),
        findings => format!("{findings} findings"),
    }
}

fn as_json(report: &CheckReport) -> Value {
    let kinds = report
        .kinds
        .iter()
        .map(|(kind, totals)| json!({"kind": kind.as_str(), "entries": totals.entries, "bytes": totals.bytes}));
    let findings = report.findings.iter().map(|finding| {
        json!({
            "kind": finding.kind.as_str(),
            "entry": finding.entry.as_str(),
            "key": finding.key,
            "problem": finding.problem,
            "remedy": finding.remedy,
        })
    });
    json!({
        "sound": report.is_sound(),
        "series": report.series,
        "block_points": report.block_points,
        "log_points": report.log_points,
        "kinds": kinds.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
        "findings_left_out": report.findings_left_out,
    })
}

fn set(json: &mut Value, name: &str, value: Value) {
    if let Some(object) = json.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}
