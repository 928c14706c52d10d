//! What was acknowledged, and whether it is there.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Client;

/// Unique points, their value a function of series and time, so that a phantom is told from a lost one.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    acknowledged: BTreeMap<(u32, i64), i64>,
    unknown: BTreeMap<(u32, i64), i64>,
}

impl Ledger {
    /// Metric of all points of a ledger.
    pub const METRIC: &str = "ledger.points";
    /// Timestamp of step 0 in seconds: 2026-01-01. Steps are seconds.
    pub const START_S: i64 = 1_767_225_600;

    /// Body of a put of `points` points of `series` from step `first` on.
    #[must_use]
    pub fn body(series: u32, first: i64, points: i64) -> Value {
        let points = (first..first + points).map(|step| {
            let tags = json!({ "series": format!("s{series}") });
            json!({"metric": Self::METRIC, "timestamp": Self::START_S + step, "value": value(series, step), "tags": tags})
        });
        Value::Array(points.collect())
    }

    /// Enters points whose write was acknowledged.
    pub fn acknowledge(&mut self, series: u32, first: i64, points: i64) {
        self.acknowledged.extend((first..first + points).map(|step| ((series, step), value(series, step))));
    }

    /// Enters points whose write was neither acknowledged nor refused: they may be there or not.
    pub fn lose_track(&mut self, series: u32, first: i64, points: i64) {
        self.unknown.extend((first..first + points).map(|step| ((series, step), value(series, step))));
    }

    /// Strikes points out that were deleted: none of them may be there any more.
    pub fn delete(&mut self, series: u32, first: i64, points: i64) {
        let steps = first..first + points;
        let stays = |point: &(u32, i64)| point.0 != series || !steps.contains(&point.1);
        self.acknowledged.retain(|point, _| stays(point));
        self.unknown.retain(|point, _| stays(point));
    }

    /// Step and value of the newest acknowledged point of a series.
    #[must_use]
    pub fn newest(&self, series: u32) -> Option<(i64, i64)> {
        self.acknowledged
            .range((series, i64::MIN)..=(series, i64::MAX))
            .next_back()
            .map(|(point, value)| (point.1, *value))
    }

    /// Points acknowledged so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// Whether nothing was acknowledged yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acknowledged.is_empty()
    }

    /// Compares the ledger with what the server has: everything acknowledged is there with its value, nothing is
    /// there that was never sent, and nothing is there twice.
    ///
    /// # Panics
    /// Names the first differences.
    pub fn check(&self, client: &Client) {
        let stored = stored(client);
        let wrong: Vec<_> =
            self.acknowledged.iter().filter(|(point, value)| stored.get(point) != Some(value)).take(5).collect();
        assert!(wrong.is_empty(), "acknowledged and not there as sent: {wrong:?} of {}", self.acknowledged.len());
        let sent = |point: &(u32, i64)| self.acknowledged.get(point).or_else(|| self.unknown.get(point));
        let phantoms: Vec<_> = stored.iter().filter(|(point, value)| sent(point) != Some(value)).take(5).collect();
        assert!(phantoms.is_empty(), "there and never sent so: {phantoms:?}");
    }
}

fn value(series: u32, step: i64) -> i64 {
    i64::from(series) * 1_000_003 + step * 7_919
}

/// Every point of the ledger's metric, read raw, series by series.
fn stored(client: &Client) -> BTreeMap<(u32, i64), i64> {
    let query = json!({
        "start": Ledger::START_S - 10,
        "end": Ledger::START_S + 100_000_000,
        "queries": [{"aggregator": "none", "metric": Ledger::METRIC}],
    });
    let answer = client.post("/api/query?arrays", &query);
    if answer.status == 400 && answer.text().contains("No such name for 'metrics'") {
        return BTreeMap::new();
    }
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut stored = BTreeMap::new();
    for series in answer.json().as_array().unwrap() {
        let name: u32 = series["tags"]["series"].as_str().unwrap()[1..].parse().unwrap();
        for point in series["dps"].as_array().unwrap() {
            let (timestamp, value) = (point[0].as_i64().unwrap(), point[1].as_i64().unwrap());
            let twice = stored.insert((name, timestamp - Ledger::START_S), value);
            assert_eq!(twice, None, "series {name} has two points at {timestamp}");
        }
    }
    stored
}
