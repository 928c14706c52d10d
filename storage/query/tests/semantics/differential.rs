//! Random series and queries, against the reference.
//!
//! A failure prints its seed; put it into [`KNOWN_SEEDS`] and it is tried first from then on.

use std::collections::BTreeMap;

use tidemark_model::Value;
use tidemark_query::{Aggregator, Filter, GroupResult, Query, Source, SubQuery, Tz};

use crate::{
    reference::{self, Expected},
    store::MemoryStore,
};

const SEEDS: u64 = 8000;
const KNOWN_SEEDS: [u64; 0] = [];

/// 2013-03-30 21:00 UTC: the window is near a change of clocks in Europe.
const BASE_MS: i64 = 1_364_677_200_000;
const MINUTE_MS: i64 = 60_000;

#[test]
fn the_evaluation_agrees_with_the_reference() {
    let (mut answered, mut aggregated) = (0, 0);
    for seed in KNOWN_SEEDS.into_iter().chain(0..SEEDS) {
        let mut random = Random(seed);
        let store = random.store();
        let query = random.query();
        let found = store.evaluate(&query).unwrap();
        let expected = reference::evaluate(&store, &query);
        if let Err(difference) = compare(&found, &expected, &query.sub_queries[0]) {
            panic!("seed {seed}: {difference}\n{query:#?}\nfound {found:#?}\nexpected {expected:#?}");
        }
        answered += u64::from(!found.is_empty());
        aggregated += u64::from(found.iter().any(|group| group.tsuids.len() > 1));
    }
    println!("{answered} of {SEEDS} queries had an answer, {aggregated} of several series");
    assert!(answered > SEEDS / 3 && aggregated > SEEDS / 5, "the queries ask for too little");
}

fn compare(found: &[GroupResult], expected: &[Expected], sub_query: &SubQuery) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} groups in place of {}", found.len(), expected.len()));
    }
    // Without neighbours the types of members that have not begun are not known.
    let compares_types = !["zimsum", "squareSum", "mimmin", "mimmax"].contains(&sub_query.aggregator.name());
    for (group, (found, expected)) in found.iter().zip(expected).enumerate() {
        let tags: BTreeMap<String, String> = found.tags.iter().cloned().collect();
        if tags != expected.tags || !found.aggregate_tags.iter().eq(&expected.aggregate_tags) {
            return Err(format!("tags of group {group}"));
        }
        if !found.timestamps.iter().eq(expected.points.iter().map(|(time, _)| time)) {
            return Err(format!("timestamps of group {group}"));
        }
        for (value, (time, expect)) in found.values.iter().zip(&expected.points) {
            let same_type = value.is_int() == expect.is_int() || !compares_types;
            if !same_type || !is_near(value, *expect, sub_query.aggregator) {
                return Err(format!("group {group} at {time}: {value:?} in place of {expect:?}"));
            }
        }
    }
    Ok(())
}

fn is_near(found: Value, expect: Value, aggregator: Aggregator) -> bool {
    let (found_double, expect_double) = (found.as_f64(), expect.as_f64());
    // Two ways to a deviation may truncate to different sides of an integer.
    let slack = if aggregator == Aggregator::Dev && found.is_int() { 1.0 } else { 0.0 };
    let scale = found_double.abs().max(expect_double.abs()).max(1.0);
    found_double == expect_double
        || found_double.is_nan() && expect_double.is_nan()
        || (found_double - expect_double).abs() <= 1e-9 * scale + slack
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn between(&mut self, from: i64, until: i64) -> i64 {
        from + self.below((until - from).unsigned_abs() + 1) as i64
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn store(&mut self) -> MemoryStore {
        let mut store = MemoryStore::default();
        let shared_interval = self.pick(&[15_000, 60_000, 60_000, 300_000, 600_000, 61_001]);
        let types = self.pick(&["int", "float", "mixed", "any"]);
        for _ in 0..=self.below(9) {
            let mut tags = vec![("host", self.pick(&["a", "b", "c"]))];
            if self.chance(60) {
                tags.push(("dc", self.pick(&["x", "y"])));
            }
            if self.chance(15) {
                tags.push(("owner", "jdoe"));
            }
            let interval = if self.chance(80) { shared_interval } else { self.pick(&[11_000, 90_500, 600_000]) };
            let phase = if self.chance(70) { 0 } else { self.between(0, interval) };
            let jitter = if self.chance(80) { 0 } else { interval / 3 };
            let series_type = if types == "any" { self.pick(&["int", "float", "mixed"]) } else { types };
            let lost_percent = self.pick(&[0, 0, 5, 60]);
            let (mut time, end) =
                (BASE_MS + phase + self.between(-120, 20) * MINUTE_MS, BASE_MS + self.between(-30, 300) * MINUTE_MS);
            let mut points = 0;
            while time < end && points < 100 {
                if !self.chance(lost_percent) {
                    let value = self.value(series_type);
                    store.put("m", &tags, time + self.between(0, jitter), value);
                    points += 1;
                }
                time += interval;
            }
        }
        store
    }

    fn value(&mut self, series_type: &str) -> Value {
        let is_int = series_type == "int" || series_type == "mixed" && self.chance(50);
        let number = self.between(-1000, 1000);
        if is_int { Value::Int(number) } else { Value::Float(number as f64 / 8.0) }
    }

    fn query(&mut self) -> Query {
        let unit = self.pick(&[1, 1000, MINUTE_MS]);
        let start = BASE_MS + self.between(-60 * MINUTE_MS / unit, 60 * MINUTE_MS / unit) * unit;
        let end = start + self.pick(&[0, 10, 30, 60, 60]) * self.between(0, 3 * MINUTE_MS / unit) * unit;
        let filters = self.filters();
        let explicit_tags = self.chance(5);
        let (_, aggregator) = self.pick(&Aggregator::ALL);
        let mut sub_query = SubQuery::new(aggregator, Source::Metric { name: "m".to_owned(), filters, explicit_tags });
        if self.chance(70) {
            sub_query.downsample = Some(self.downsample().parse().unwrap());
        }
        if self.chance(35) {
            let options = ["rate", "rate", "rate{counter}", "rate{counter,1000}", "rate{counter,1000,20}"];
            let options = if self.chance(20) { "rate{dropcounter}" } else { self.pick(&options) };
            sub_query.rate = Some(options.parse().unwrap());
        }
        Query {
            time_zone: self.pick(&[Tz::UTC, Tz::Europe__Paris, Tz::Asia__Kolkata]),
            ms_resolution: self.chance(80),
            ..Query::new(start, end, vec![sub_query])
        }
    }

    fn filters(&mut self) -> Vec<Filter> {
        let mut filters = Vec::new();
        for key in ["host", "dc"] {
            let value = self.pick(&["", "", "", "", "", "*", "*", "a|b|x", "not_literal_or(a|y)"]);
            if !value.is_empty() {
                filters.push(Filter::from_tag_value(key, value, self.chance(50)).unwrap());
            }
        }
        if self.chance(3) {
            filters.push(Filter::from_tag_value("owner", "not_key()", false).unwrap());
        }
        filters
    }

    fn downsample(&mut self) -> String {
        let fixed = ["10s", "45s", "1m", "5m", "17m", "1h", "90m", "1d", "1700ms"];
        let calendar = ["1hc", "1hc", "1dc", "1wc", "1nc", "3nc"];
        let interval = match self.below(10) {
            0 => "0all",
            1 | 2 => self.pick(&calendar),
            _ => self.pick(&fixed),
        };
        let (function, _) = self.pick(&Aggregator::ALL);
        let function = if function == "none" { "avg" } else { function };
        let fill = self.pick(&["", "", "-none", "-nan", "-null", "-zero"]);
        // The reference would take too long over thousands of filled buckets.
        let is_fine = ["10s", "45s", "1700ms"].contains(&interval);
        let interval = if is_fine && fill.len() > 1 { "1m" } else { interval };
        format!("{interval}-{function}{fill}")
    }
}
