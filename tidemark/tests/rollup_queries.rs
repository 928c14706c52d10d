//! Random series and queries: what rollups answer has to be what points answer, bit by bit.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use tidemark_kv::{Kv, MemoryKv};
use tidemark_model::{Clock, ManualClock, PointBatchBuilder, PointSink, ReadLimits, SeriesReader, Value, WriteOutcome};
use tidemark_query::{EvaluationControl, GroupResult, Query, RollupUsage, SubQuery, Tz};
use tidemark_tsdb::{Retention, RollupInterval, SealReason, Store, StoreOptions};

const START: i64 = 1_789_948_800_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const DAYS: i64 = 4;
const METRICS: [&str; 3] = ["whole", "decimal", "mixed"];
const HOSTS: [&str; 3] = ["a", "b", "c"];
const SEEDS: u64 = 24;
const QUERIES: usize = 60;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn value(&mut self, metric: &str) -> Value {
        let digits = self.below(1_000_000) as i64 - 500_000;
        match metric {
            "whole" => Value::Int(digits),
            "decimal" => Value::Float(digits as f64 / 1000.0),
            _ if self.below(2) == 0 => Value::Int(digits),
            _ => Value::Float(digits as f64 / 7.0),
        }
    }

    fn query(&mut self) -> String {
        let aggregator =
            self.one_of(&["sum", "avg", "min", "max", "zimsum", "none", "count", "pfsum", "mimmin", "mimmax", "dev"]);
        let interval = self.one_of(&["1h", "2h", "5h", "6h", "1d", "2d", "30m", "1dc", "1hc", "1nc", "0all", "90m"]);
        let function = self.one_of(&["sum", "avg", "min", "max", "count", "first", "last", "zimsum", "mimmax", "p90"]);
        let fill = self.one_of(&["", "-nan", "-null", "-zero"]);
        let rate = self.one_of(&["", "", "rate:", "rate{counter}:"]);
        let metric = self.one_of(&METRICS);
        let filter = self.one_of(&["", "{host=*}", "{host=a}"]);
        format!("{aggregator}:{interval}-{function}{fill}:{rate}{metric}{filter}")
    }

    fn window(&mut self) -> (i64, i64) {
        let start = START - DAY + self.below(4 * DAY as u64) as i64;
        let start = if self.below(2) == 0 { start - start.rem_euclid(HOUR) } else { start };
        (start, start + self.below((DAYS + 1) as u64 * DAY as u64) as i64)
    }
}

async fn write(store: &Store, points: &[(&str, &str, i64, Value)]) {
    let mut builder = PointBatchBuilder::default();
    for (metric, host, at, value) in points {
        builder.push(metric, &mut [("host", *host)], *at, *value).unwrap();
    }
    let outcome = store.write(builder.finish()).await;
    assert!(matches!(outcome, WriteOutcome::Done(_)), "{outcome:?}");
}

async fn filled(random: &mut Random, clock: &Arc<ManualClock>) -> Store {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let intervals: [&[u64]; 3] = [&[3_600], &[1_800, 86_400], &[3_600, 7_200]];
    let intervals = random.one_of(&intervals);
    let rollup_intervals =
        intervals.iter().map(|&seconds| RollupInterval::new(Duration::from_secs(seconds)).unwrap()).collect();
    let options = StoreOptions { rollup_intervals, ..StoreOptions::default() };
    let store = Store::open(kv, Arc::clone(clock) as Arc<dyn Clock>, options).await.unwrap();
    let mut points = Vec::new();
    for metric in METRICS {
        for host in HOSTS {
            let step = random.one_of(&[60_000, 300_000, 600_000]);
            let gaps = random.below(3);
            for at in (START..START + DAYS * DAY).step_by(step as usize) {
                // A series may be away for hours, or a day.
                if gaps == 0 || (at / (7 * HOUR)) % 5 != gaps as i64 {
                    points.push((metric, host, at + random.below(1000) as i64, random.value(metric)));
                }
            }
        }
    }
    write(&store, &points).await;
    store.seal(SealReason::Requested).await.unwrap();
    store
}

/// The results, and how many rows they were made of.
async fn answer(store: &Store, query: &Query) -> (Vec<GroupResult>, u64) {
    let (mut results, mut rows) = (Vec::new(), 0);
    for plan in query.plan().unwrap() {
        let set = store.open(plan.read_request(ReadLimits::default())).await.unwrap();
        rows += set.statistics().rollup_rows;
        plan.evaluate(set.as_ref(), &EvaluationControl::default(), |group| {
            results.push(group);
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    (results, rows)
}

/// Tags, timestamps, and of each value whether it is an integer and its bits.
type GroupBits = (Vec<(String, String)>, Vec<i64>, Vec<(bool, u64)>);

fn bits(results: &[GroupResult]) -> Vec<GroupBits> {
    let bits_of = |value: Value| match value {
        Value::Int(int) => (true, int.cast_unsigned()),
        Value::Float(float) => (false, float.to_bits()),
    };
    let of_group = |group: &GroupResult| {
        (group.tags.clone(), group.timestamps.clone(), group.values.iter().map(bits_of).collect())
    };
    results.iter().map(of_group).collect()
}

async fn check(store: &Store, random: &mut Random, seed: u64) -> u64 {
    let text = random.query();
    let (start, end) = random.window();
    let sub_query = SubQuery::parse(&text).unwrap();
    let raw = SubQuery { rollup_usage: RollupUsage::Raw, ..sub_query.clone() };
    let time_zone = random.one_of(&[Tz::UTC, Tz::Europe__Amsterdam, Tz::Asia__Kolkata]);
    let query = |sub_query| Query { time_zone, ..Query::new(start, end, vec![sub_query]) };
    let (found, rows) = answer(store, &query(sub_query)).await;
    let (expect, none) = answer(store, &query(raw)).await;
    assert_eq!(none, 0);
    assert_eq!(bits(&found), bits(&expect), "seed {seed}: {text} from {start} to {end} in {time_zone}");
    rows
}

#[tokio::test]
async fn what_rollups_answer_is_what_points_answer() {
    let (mut with_rows, mut queries) = (0, 0);
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let days = random.below(DAYS as u64 + 1) as i64;
        let clock = Arc::new(ManualClock::new(START + days * DAY + 2 * HOUR));
        let store = filled(&mut random, &clock).await;
        for round in 0..QUERIES {
            with_rows += u64::from(check(&store, &mut random, seed).await > 0);
            queries += 1;
            // Late points, in memory, then in blocks; then everything compacted again.
            match round {
                20 => {
                    let (metric, host) = (random.one_of(&METRICS), random.one_of(&HOSTS));
                    let at = START + random.below(DAYS as u64 * DAY as u64) as i64;
                    write(&store, &[(metric, host, at, random.value(metric))]).await;
                }
                30 => drop(store.seal(SealReason::Requested).await.unwrap()),
                40 => {
                    clock.advance(Duration::from_secs(6 * 86_400));
                    store.compact().await.unwrap();
                }
                _ => {}
            }
        }
        store.close().await;
    }
    assert!(with_rows * 4 > queries, "only {with_rows} of {queries} queries read rows");
}

#[tokio::test]
async fn queries_that_rollups_can_answer_have_the_same_answer_when_the_points_are_gone() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let clock = Arc::new(ManualClock::new(START + DAYS * DAY + 3 * HOUR));
        let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let open = async |retention| {
            let options = StoreOptions { retention, ..StoreOptions::default() };
            Store::open(Arc::clone(&kv), Arc::clone(&clock) as Arc<dyn Clock>, options).await.unwrap()
        };
        let store = open(Retention::default()).await;
        let mut points = Vec::new();
        for metric in METRICS {
            for host in HOSTS {
                // Some series have one point an hour, which is not worth a row as long as there are points.
                let step = random.one_of(&[300_000, 600_000, HOUR]);
                for at in (START..START + DAYS * DAY).step_by(step as usize) {
                    points.push((metric, host, at + random.below(1000) as i64, random.value(metric)));
                }
            }
        }
        write(&store, &points).await;
        let queries: Vec<(String, Query)> = std::iter::repeat_with(|| {
            let metric = random.one_of(&METRICS);
            // Sums of sums of decimals may differ in their last bits.
            let interval = if metric == "whole" { random.one_of(&["1h", "2h", "6h", "1d", "1dc"]) } else { "1h" };
            let aggregator = random.one_of(&["sum", "avg", "min", "max", "none", "count"]);
            let function = random.one_of(&["sum", "avg", "min", "max", "count", "first", "last"]);
            let (fill, rate) = (random.one_of(&["", "-nan", "-zero"]), random.one_of(&["", "", "rate:"]));
            let text =
                format!("{aggregator}:{interval}-{function}{fill}:{rate}{metric}{}", random.one_of(&["", "{host=*}"]));
            let sub_query = SubQuery::parse(&text).unwrap();
            (text, Query::new(START, START + DAYS * DAY, vec![sub_query]))
        })
        .take(QUERIES)
        .collect();
        let mut before = Vec::new();
        for (_, query) in &queries {
            before.push(bits(&answer(&store, query).await.0));
        }
        store.close().await;
        let (keep, keep_rollups) = (Duration::from_secs(3_600), Duration::from_secs(30 * 86_400));
        let retention = Retention { default: Some(keep), default_rollups: Some(keep_rollups), ..Retention::default() };
        let store = open(retention).await;
        store.seal(SealReason::Requested).await.unwrap();
        assert_eq!((store.figures().block_points, store.figures().head_points), (0, 0));
        for ((text, query), before) in queries.iter().zip(before) {
            let (found, rows) = answer(&store, query).await;
            assert_eq!(bits(&found), before, "seed {seed}: {text}");
            assert!(rows > 0, "seed {seed}: {text}");
        }
        for metric in METRICS {
            for text in [format!("sum:{metric}"), format!("sum:30m-sum:{metric}"), format!("sum:1h-p90:{metric}")] {
                let query = Query::new(START, START + DAYS * DAY, vec![SubQuery::parse(&text).unwrap()]);
                assert!(answer(&store, &query).await.0.is_empty(), "{text}");
            }
        }
        store.close().await;
    }
}
