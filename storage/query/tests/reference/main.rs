//! Random series and random queries, evaluated by the crate and once more by an implementation that is as slow and as
//! obvious as it can be written: maps from timestamps to values, and one sentence of the rules after the other. Nothing
//! is shared with the crate but the types of a query.
//!
//! A difference is made as small as it can be before it is shown, with its seed.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected fails")]

mod aggregate;
mod calendar;
mod case;
mod compare;
mod downsample;
mod evaluate;
mod filters;
mod generator;
mod instants;
mod random;
mod rate;
#[path = "../../../tsdb/tests/support/seeds.rs"]
mod seeds;
mod smallest;
#[path = "../support/store.rs"]
mod store;

use case::Case;
use seeds::seeds;
use tidemark_model::Value;

/// Seeds in every run; `TIDEMARK_MODEL_SEEDS` asks for another number.
const SEEDS: u64 = 5_000;

#[test]
fn random_queries_over_random_series_are_answered_by_the_rules() {
    let (mut answered, mut aggregated) = (0, 0);
    let seeds = seeds(0, SEEDS);
    let count = seeds.len();
    for seed in seeds {
        let case = generator::case(seed);
        match case.difference() {
            Ok(groups) => {
                answered += u64::from(!groups.is_empty());
                aggregated += u64::from(groups.iter().any(|group| group.tsuids.len() > 1));
            }
            Err(difference) => {
                let smallest = smallest::smallest(case);
                let of_smallest = smallest.difference().err().unwrap_or_default();
                panic!("seed {seed}: {difference}\n\nIn its smallest form: {of_smallest}\n{smallest}");
            }
        }
    }
    eprintln!("{answered} of {count} queries had an answer, {aggregated} of them over several series");
    assert!(count < 100 || answered > count / 3 && aggregated > count / 6, "the queries ask for too little");
}

#[test]
fn a_case_is_made_as_small_as_it_can_be() {
    let mut case = Case::of("sum:m", 0, 180_000);
    for (step, value) in (1..=4).enumerate() {
        case.put(&[("host", "a")], step as i64 * 60_000, Value::Int(value));
        case.put(&[("host", "b")], step as i64 * 60_000 + 30_000, Value::Int(100 * value));
    }
    assert!(case.difference().is_ok());
    // Wrong as long as three points are left.
    let smallest = smallest::smallest_that(case, &|case| case.points() >= 3);
    assert_eq!((smallest.points(), smallest.series.len()), (3, 1));
}
