//! The figures, and the ratios between the peers.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, bail};

/// Figures by what was measured and by peer, one for each run.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<String, BTreeMap<&'static str, Vec<f64>>>,
    points: f64,
}

impl Table {
    /// Takes the figures out of the generator's line about a write.
    pub(crate) fn add_write(&mut self, peer: &'static str, protocol: &str, line: &str) {
        self.points = field(line, "points").unwrap_or_default();
        for (name, label) in WRITE_FIELDS {
            if let Some(figure) = field(line, name) {
                self.add(format!("{protocol} {label}"), peer, figure);
            }
        }
    }

    /// Takes the figures out of the generator's lines about queries.
    pub(crate) fn add_queries(&mut self, peer: &'static str, protocol: &str, lines: &str) {
        for line in lines.lines() {
            let Some(query) = line.split_whitespace().next() else { continue };
            if let Some(figure) = field(line, "server_cpu_ms") {
                self.add(format!("{protocol} {query} CPU ms"), peer, figure);
            }
            if let Some(figure) = field(line, "p50_ms") {
                self.add(format!("{protocol} {query} p50 ms"), peer, figure);
            }
        }
    }

    /// Adds the size of the folder as bytes for each point.
    pub(crate) fn add_disk(&mut self, peer: &'static str, protocol: &str, bytes: u64) {
        if self.points > 0.0 {
            self.add(format!("{protocol} disk B/point, as it is after the run"), peer, bytes as f64 / self.points);
        }
    }

    /// Compares the raw points of one series with what the generator sent.
    pub(crate) fn check_answers(&self, expected: &str, answered: &str) -> anyhow::Result<()> {
        let expected = expected.lines().next().unwrap_or_default();
        let raw = answered.lines().find(|line| line.starts_with("raw1d")).context("no answer to raw1d")?;
        let (sent, sum) = (field(expected, "points"), field(expected, "sum"));
        let (found, found_sum) = (field(raw, "values"), field(raw, "sum"));
        let equal = |left: Option<f64>, right: Option<f64>| match (left, right) {
            (Some(left), Some(right)) => (left - right).abs() <= 1e-6 * left.abs(),
            _ => false,
        };
        if !equal(sent, found) || !equal(sum, found_sum) {
            bail!("the answer differs from what was sent: {raw}; sent: {expected}");
        }
        Ok(())
    }

    fn add(&mut self, row: String, peer: &'static str, figure: f64) {
        self.rows.entry(row).or_default().entry(peer).or_default().push(figure);
    }
}

/// Names in the generator's line about a write.
const WRITE_FIELDS: [(&str, &str); 4] = [
    ("pts_per_s", "points/s"),
    ("server_cpu_s_per_Mpt", "server CPU s per million points"),
    ("peak_mb", "peak RSS MB"),
    ("errors", "errors"),
];

/// The number behind `name=`.
fn field(line: &str, name: &str) -> Option<f64> {
    let marker = format!("{name}=");
    let word = line.split_whitespace().find_map(|word| word.strip_prefix(marker.as_str()))?;
    let number: String = word.chars().take_while(|c| c.is_ascii_digit() || "+-.eE".contains(*c)).collect();
    number.parse().ok()
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "| what | tidemark | victoria-metrics | ratio |\n|---|---|---|---|")?;
        for (row, peers) in &self.rows {
            let ours = peers.get("tidemark").and_then(|runs| median(runs));
            let theirs = peers.get("victoria-metrics").and_then(|runs| median(runs));
            let show = |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.2}"));
            let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
            writeln!(out, "| {row} | {} | {} | {} |", show(ours), show(theirs), show(ratio))?;
        }
        Ok(())
    }
}

fn median(runs: &[f64]) -> Option<f64> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_out_of_the_generators_lines() {
        assert_eq!(field("points=1000 secs=2.5 pts_per_s=400", "pts_per_s"), Some(400.0));
        assert_eq!(field("raw1d http=200 sum=1.420911e12 bytes=9", "sum"), Some(1.420911e12));
        assert_eq!(field("points=1000", "sum"), None);
    }

    #[test]
    fn a_wrong_answer_is_an_error() {
        let table = Table::default();
        let expected = "one series: points=480 sum=1000 first=1 last=2";
        assert!(table.check_answers(expected, "raw1d http=200 values=480 sum=1.000000e3").is_ok());
        assert!(table.check_answers(expected, "raw1d http=200 values=479 sum=1.000000e3").is_err());
        assert!(table.check_answers(expected, "raw1d http=200 values=480 sum=1.100000e3").is_err());
    }
}
