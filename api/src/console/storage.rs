//! The store about itself, from the figures that it tells.

use tidemark_dashboards::{
    CardinalityRow, FigureRow, LatencyRow, StorageCardinality, StorageFigures, StoragePage, StorageSpace, StorageWork,
};
use tidemark_model::MetricCardinality;

use super::{AskError, Console};
use crate::figures::{Figure, gather};

/// Start of the names of the store's figures.
const STORE: &str = "store.";
/// The figure that counts commits by how long they took, and its label with the bound in seconds.
const COMMITS_WITHIN: &str = "store.commits_within";
const BOUND: &str = "seconds";
/// Metrics whose series are shown.
const METRICS_SHOWN: usize = 15;

impl Console {
    /// The page `/system/storage`.
    pub(crate) async fn storage_page(&self) -> Result<StoragePage, AskError> {
        let mut figures = gather(&self.seams.figures).await;
        figures.retain(|figure| figure.name.starts_with(STORE));
        let recent = self.own_rate("tidemark.store.points_written").await?;
        let work = StorageWork {
            points_per_second: recent.iter().rev().find_map(|value| *value),
            recent_points_per_second: recent,
            ..work(&figures)
        };
        let cardinality = self.storage_cardinality().await?;
        Ok(StoragePage { space: space(&figures), work, cardinality, figures: table(&figures) })
    }
}

impl Console {
    async fn storage_cardinality(&self) -> Result<StorageCardinality, AskError> {
        let report = self.seams.catalog.cardinality(METRICS_SHOWN).await.map_err(|error| AskError::Read(error.0))?;
        let row = |of: MetricCardinality| CardinalityRow {
            metric: of.metric,
            series: of.series,
            new_series: of.new_series,
            fastest_tag_key: of.fastest_tag_key.unwrap_or_default(),
        };
        Ok(StorageCardinality { minutes: report.minutes, rows: report.metrics.into_iter().map(row).collect() })
    }
}

/// The sum of a figure over what it is about; nothing when nobody tells it.
fn sum(figures: &[Figure], name: &str) -> Option<f64> {
    let values = figures.iter().filter(|figure| figure.name == name).map(|figure| figure.value);
    values.reduce(|left, right| left + right)
}

fn whole(figures: &[Figure], name: &str) -> Option<u64> {
    sum(figures, name).map(|value| value as u64)
}

/// Milliseconds that one of `count` took of `seconds`.
fn mean_ms(seconds: Option<f64>, count: Option<u64>) -> Option<f64> {
    let count = count.filter(|&count| count > 0)?;
    Some(seconds? * 1000.0 / count as f64)
}

fn space(figures: &[Figure]) -> StorageSpace {
    StorageSpace {
        store_bytes: whole(figures, "store.disk_bytes"),
        disk_free_bytes: whole(figures, "store.disk_free_bytes"),
        series: whole(figures, "store.series"),
        block_points: whole(figures, "store.block_points"),
        block_bytes: whole(figures, "store.block_bytes"),
        bytes_per_point: sum(figures, "store.bytes_per_point"),
        head_points: whole(figures, "store.head_points"),
        head_bytes: whole(figures, "store.head_bytes"),
        log_bytes: whole(figures, "store.log_bytes"),
    }
}

fn work(figures: &[Figure]) -> StorageWork {
    let (commits, seals) = (whole(figures, "store.commits"), whole(figures, "store.seals"));
    StorageWork {
        commits,
        commit_mean_ms: mean_ms(sum(figures, "store.commit_seconds"), commits),
        commits_refused: whole(figures, "store.commits_refused"),
        commits_unknown: whole(figures, "store.commits_unknown"),
        seals,
        seal_mean_ms: mean_ms(sum(figures, "store.seal_seconds"), seals),
        seals_failed: whole(figures, "store.seals_failed"),
        merges: whole(figures, "store.merges"),
        latencies: latencies(figures),
        ..StorageWork::default()
    }
}

/// Counts up to each bound become counts between two bounds; rows at both ends without a commit are left out.
fn latencies(figures: &[Figure]) -> Vec<LatencyRow> {
    let bounded = figures.iter().filter(|figure| figure.name == COMMITS_WITHIN);
    let mut bounds: Vec<(f64, u64)> = bounded
        .filter_map(|figure| {
            let (_, bound) = figure.labels.iter().find(|(label, _)| *label == BOUND)?;
            Some((bound.parse().unwrap_or(f64::INFINITY), figure.value as u64))
        })
        .collect();
    bounds.sort_by(|left, right| left.0.total_cmp(&right.0));
    let all = bounds.last().map_or(0, |(_, commits)| *commits);
    let (mut before, mut more_than_ms) = (0, 0.0);
    let mut rows = Vec::new();
    for (bound, within) in bounds {
        let commits = within.saturating_sub(before);
        let at_most_ms = Some(bound * 1000.0).filter(|ms| ms.is_finite());
        let percent = if all == 0 { 0.0 } else { commits as f64 / all as f64 * 100.0 };
        rows.push(LatencyRow { at_most_ms, more_than_ms, commits, percent });
        (before, more_than_ms) = (within, bound * 1000.0);
    }
    let used = |row: &LatencyRow| row.commits > 0;
    let (first, last) = (rows.iter().position(used), rows.iter().rposition(used));
    first.zip(last).and_then(|(first, last)| rows.get(first..=last)).unwrap_or_default().to_vec()
}

fn table(figures: &[Figure]) -> StorageFigures {
    let told = figures.iter().filter(|figure| figure.name != COMMITS_WITHIN);
    let mut rows: Vec<FigureRow> = told
        .map(|figure| {
            let labels: Vec<String> = figure.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
            FigureRow {
                name: figure.name.to_owned(),
                labels: labels.join(" "),
                value: figure.value,
                is_bytes: figure.name.ends_with("_bytes"),
                help: figure.help.to_owned(),
            }
        })
        .collect();
    rows.sort_by(|left, right| (&left.name, &left.labels).cmp(&(&right.name, &right.labels)));
    StorageFigures { rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_up_to_a_bound_become_counts_between_bounds() {
        let within = |bound: &str, commits| Figure::counter(COMMITS_WITHIN, "", commits).of(BOUND, bound);
        let figures =
            [within("0.001", 0), within("0.005", 30), within("0.05", 40), within("0.1", 40), within("all", 40)];
        let rows: Vec<_> = latencies(&figures).iter().map(|row| (row.at_most_ms, row.commits, row.percent)).collect();
        assert_eq!(rows, [(Some(5.0), 30, 75.0), (Some(50.0), 10, 25.0)]);
        let slow = latencies(&[within("0.001", 0), within("all", 2)]);
        assert_eq!(slow.iter().map(|row| (row.at_most_ms, row.more_than_ms)).collect::<Vec<_>>(), [(None, 1.0)]);
        assert!(latencies(&[within("all", 0)]).is_empty());
    }

    #[test]
    fn what_nobody_tells_is_not_known_and_tiers_add_up() {
        assert_eq!(space(&[]), StorageSpace::default());
        let tier = |tier: &str, points| Figure::gauge("store.block_points", "Points.", points).of("tier", tier);
        let figures = [tier("day", 5.0), tier("2h", 2.0)];
        assert_eq!(space(&figures).block_points, Some(7));
        assert_eq!(table(&figures).rows[0].labels, "tier=2h");
        assert_eq!(mean_ms(Some(3.0), Some(0)), None);
        assert_eq!(mean_ms(Some(3.0), Some(2)), Some(1500.0));
    }
}
