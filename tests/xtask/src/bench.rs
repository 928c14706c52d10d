//! `cargo xtask bench`: a release build under a standard load, beside VictoriaMetrics where that is installed.
//!
//! The load comes from a generator of time-series load with the commands `write`, `query` and `expect` (see
//! `tests/bench/README.md`); its path is an option, since it is no part of this repository. Ratios of figures of one
//! run are what counts: wall-clock rates of a shared machine swing by factors.

mod peer;
mod servers;
mod table;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use self::{peer::Peer, table::Table};
use crate::command;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The load generator.
    #[arg(long, value_name = "PROGRAM")]
    loadgen: PathBuf,
    /// Hours of data: each is 2.4 million points of 10,000 series.
    #[arg(long, default_value_t = 2)]
    hours: u32,
    /// Runs, of which the table shows the median.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Protocols to write by: json, telnet.
    #[arg(long, value_delimiter = ',', default_value = "json,telnet")]
    protocols: Vec<String>,
    /// Leave VictoriaMetrics out even where it is installed.
    #[arg(long)]
    alone: bool,
}

/// Queries of the generator and whether VictoriaMetrics is asked the same.
const QUERIES: &str = "raw1d,byhost,sumall,dcsum,last";

pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let loadgen = options.loadgen.canonicalize().with_context(|| format!("find {}", options.loadgen.display()))?;
    command::run(root, &["cargo", "build", "--locked", "--release", "--package", "tidemark"])?;
    let binary = crate::test_run::target_folder(root)?.join("release/tidemark");
    let mut peers = vec![Peer::Tidemark(binary)];
    if !options.alone && command::exists("victoria-metrics") {
        peers.push(Peer::VictoriaMetrics);
    }
    let mut table = Table::default();
    for run in 1..=options.runs {
        for protocol in &options.protocols {
            for peer in &peers {
                eprintln!("run {run}: {protocol} into {}", peer.name());
                measure(&loadgen, options, protocol, peer, &mut table)?;
            }
        }
    }
    eprintln!("{table}");
    Ok(())
}

/// One server in a fresh folder: a write, then the queries.
fn measure(loadgen: &Path, options: &Options, protocol: &str, peer: &Peer, table: &mut Table) -> anyhow::Result<()> {
    let server = servers::start(peer)?;
    let hours = options.hours.to_string();
    let pid = server.pid().to_string();
    let program = loadgen.to_string_lossy();
    let address = server.opentsdb();
    let write = ["write", "--proto", protocol, "--addr", &address, "--hours", &hours, "--pid", &pid];
    let line: Vec<&str> = std::iter::once(program.as_ref()).chain(write).collect();
    let written = command::output(Path::new("."), &line)?;
    eprint!("{written}");
    table.add_write(peer.name(), protocol, &written);
    let http = server.http();
    let query = ["query", "--kind", peer.query_kind(), "--addr", &http, "--q", QUERIES];
    let rest = ["--hours", &hours, "--repeat", "10", "--pid", &pid, "--dots"];
    let line: Vec<&str> = std::iter::once(program.as_ref()).chain(query).chain(rest).collect();
    let answered = command::output(Path::new("."), &line)?;
    eprint!("{answered}");
    table.add_queries(peer.name(), protocol, &answered);
    if let Peer::Tidemark(_) = peer {
        let expect = [program.as_ref(), "expect", "--hours", &hours, "--metric", "sys.cpu.user", "--host", "7"];
        let expected = command::output(Path::new("."), &expect)?;
        table.check_answers(&expected, &answered)?;
    }
    table.add_disk(peer.name(), protocol, server.disk_bytes());
    Ok(())
}
