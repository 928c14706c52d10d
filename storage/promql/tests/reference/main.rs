//! Random series and random expressions, evaluated by the crate and once more by an implementation that is as slow and as
//! obvious as it can be written: one step after the other, maps of labels, sums without a trick. Nothing is shared with the
//! crate but the parser and the tree of an expression.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected fails")]

mod evaluate;
mod functions;
mod generator;
#[path = "../../../query/tests/reference/random.rs"]
mod random;
#[path = "../../../tsdb/tests/support/seeds.rs"]
mod seeds;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use evaluate::{Outcome, Reference};
use seeds::seeds;
use support::TestStore;
use tidemark_promql::{Answer, Labels, Steps, parse};

/// Seeds in every run; `TIDEMARK_MODEL_SEEDS` asks for another number.
const SEEDS: u64 = 3_000;

/// The values of each series at each step.
type Found = BTreeMap<Vec<(String, String)>, BTreeMap<i64, f64>>;

fn names(labels: &Labels) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What the crate finds; `None` when it is an error.
fn found(store: &TestStore, text: &str, steps: Steps) -> Option<Found> {
    let Answer::Matrix(matrix) = store.range(text, steps).ok()? else { panic!("no matrix: {text}") };
    Some(matrix.into_iter().map(|series| (names(&series.labels), series.points.into_iter().collect())).collect())
}

/// What the rules say; `None` when it is an error.
fn expected(store: &TestStore, text: &str, steps: Steps) -> Option<Found> {
    let expression = parse(text).unwrap();
    let mut expected = Found::new();
    for time in steps.times() {
        let reference = Reference { store, start: steps.start(), end: steps.end() };
        let vector = match reference.evaluate(&expression, time).ok()? {
            Outcome::Scalar(value) => vec![(Vec::new(), value)],
            Outcome::Vector(vector) => {
                vector.into_iter().map(|(labels, value)| (labels.into_iter().collect(), value)).collect()
            }
        };
        for (labels, value) in vector {
            expected.entry(labels).or_default().insert(time, value);
        }
    }
    Some(expected)
}

fn is_same(left: f64, right: f64, scale: f64) -> bool {
    left == right
        || (left.is_nan() && right.is_nan())
        || (left - right).abs() <= 1e-7 * left.abs().max(right.abs()).max(scale)
}

fn difference(found: Option<&Found>, expected: Option<&Found>) -> Option<String> {
    let (found, expected) = match (found, expected) {
        (None, None) => return None,
        (Some(found), Some(expected)) => (found, expected),
        (found, expected) => return Some(format!("found {found:?}\nexpected {expected:?}")),
    };
    if !found.keys().eq(expected.keys()) {
        let labels = |of: &Found| of.keys().cloned().collect::<Vec<_>>();
        return Some(format!("series {:?}\nexpected {:?}", labels(found), labels(expected)));
    }
    let of_finite = |of: &Found| {
        of.values()
            .flat_map(BTreeMap::values)
            .filter(|value| value.is_finite())
            .fold(1.0_f64, |most, value| most.max(value.abs()))
    };
    let scale = of_finite(expected) * 1e-3;
    for (labels, points) in found {
        let expect = &expected[labels];
        let same = points.len() == expect.len()
            && points
                .iter()
                .zip(expect)
                .all(|(found, expect)| found.0 == expect.0 && is_same(*found.1, *expect.1, scale));
        if !same {
            return Some(format!("{labels:?}\nfound    {points:?}\nexpected {expect:?}"));
        }
    }
    None
}

#[test]
fn random_expressions_over_random_series_are_answered_by_the_rules() {
    let (mut answered, mut refused) = (0, 0);
    let seeds = seeds(0, SEEDS);
    let count = seeds.len();
    for seed in seeds {
        let case = generator::case(seed);
        let found = found(&case.store, &case.text, case.steps);
        let expected = expected(&case.store, &case.text, case.steps);
        if let Some(difference) = difference(found.as_ref(), expected.as_ref()) {
            panic!("seed {seed}: {}\n{:?}\n{difference}\n{}", case.text, case.steps, case.shown());
        }
        answered += u64::from(found.as_ref().is_some_and(|found| !found.is_empty()));
        refused += u64::from(found.is_none());
    }
    eprintln!("{answered} of {count} expressions had an answer, {refused} were refused");
    assert!(count < 100 || answered > count / 2 && refused > 0, "the expressions ask for too little");
}
