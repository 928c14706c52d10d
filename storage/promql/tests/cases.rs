//! Cases in texts that people can read: `tests/cases/*.txt`.
//!
//! ```text
//! load 30s                          a point every 30 s from 0 on
//!   requests{host="a"} 0+10x3 _ 7   0, 10, 20, 30, none, 7
//! at 5m  rate(requests[1m])         an instant query, and the series that it gives in any order
//!   {host="a"} 0.5
//! at 5m in order  sort(requests)    the same, but in this order
//! from 0s to 2m every 1m  requests  a range query: one value or `_` for each step
//!   requests{host="a"} 0 20 _
//! error at 5m  a + b                an error with this text
//!   many-to-many
//! clear                             forgets what was loaded
//! ```

#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod support;

use std::{collections::BTreeMap, fs, path::Path};

use support::{TestSeries, TestStore, key, labels, number};
use tidemark_promql::{Answer, Labels, Steps, parse_duration};

/// A line that begins at the margin, with those below it that do not.
struct Block<'t> {
    line: usize,
    head: &'t str,
    body: Vec<&'t str>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with(' ') {
            blocks.last_mut().unwrap().body.push(line.trim());
        } else {
            blocks.push(Block { line: number + 1, head: line, body: Vec::new() });
        }
    }
    blocks
}

/// The name of a series and the words behind it.
fn series_line(line: &str) -> (&str, Vec<&str>) {
    let end = line.find('}').map_or_else(|| line.find(' ').unwrap_or(line.len()), |brace| brace + 1);
    let (name, rest) = line.split_at(end);
    (name, rest.split_whitespace().collect())
}

fn load(store: &mut TestStore, every: i64, lines: &[&str]) {
    for line in lines {
        let (name, words) = series_line(line);
        let mut points = Vec::new();
        let mut time = 0;
        for word in words {
            for value in values_of(word) {
                points.extend(value.map(|value| (time, value)));
                time += every;
            }
        }
        store.series.push(TestSeries { key: key(name), points });
    }
}

/// `5` is one value, `_` none, `_x3` three times none, `0+10x3` is 0, 10, 20, 30, and `5x3` four times 5.
fn values_of(word: &str) -> Vec<Option<f64>> {
    let Some((start, times)) = word.rsplit_once('x') else {
        return vec![(word != "_").then(|| number(word))];
    };
    let times: usize = times.parse().unwrap();
    if start == "_" {
        return vec![None; times];
    }
    let sign = start.char_indices().skip(1).find(|(_, character)| matches!(character, '+' | '-'));
    let (first, step) = match sign {
        Some((position, _)) => (number(&start[..position]), number(start[position..].trim_start_matches('+'))),
        None => (number(start), 0.0),
    };
    (0..=times).map(|count| Some(first + step * count as f64)).collect()
}

fn is_same(left: Option<f64>, right: Option<f64>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => {
            left == right
                || (left.is_nan() && right.is_nan())
                || (left - right).abs() <= 1e-9 * left.abs().max(right.abs())
        }
        (None, None) => true,
        _ => false,
    }
}

/// What is expected: the values of each series at each step.
fn expected(lines: &[&str]) -> Vec<(Labels, Vec<Option<f64>>)> {
    let of_line = |line: &&str| {
        let (name, words) = series_line(line);
        (labels(name), words.into_iter().flat_map(values_of).collect())
    };
    lines.iter().map(of_line).collect()
}

fn check_instant(store: &TestStore, text: &str, time: i64, lines: &[&str], in_order: bool) -> Result<(), String> {
    let answer = store.instant(text, time).map_err(|error| format!("error: {error}"))?;
    let found: Vec<(Labels, Vec<Option<f64>>)> = match answer {
        Answer::Scalar(value) => vec![(Labels::default(), vec![Some(value)])],
        Answer::Text(found) => return if lines == [found.as_str()] { Ok(()) } else { Err(found) },
        Answer::Vector(vector) => vector.into_iter().map(|(labels, value)| (labels, vec![Some(value)])).collect(),
        Answer::Matrix(matrix) => matrix
            .into_iter()
            .map(|series| (series.labels, series.points.into_iter().map(|(_, value)| Some(value)).collect()))
            .collect(),
    };
    compare(found, expected(lines), in_order)
}

fn check_range(store: &TestStore, text: &str, steps: Steps, lines: &[&str]) -> Result<(), String> {
    let answer = store.range(text, steps).map_err(|error| format!("error: {error}"))?;
    let Answer::Matrix(matrix) = answer else { return Err(format!("{answer:?}")) };
    let found = matrix.into_iter().map(|series| {
        let points: BTreeMap<i64, f64> = series.points.into_iter().collect();
        (series.labels, steps.times().map(|time| points.get(&time).copied()).collect())
    });
    compare(found.collect(), expected(lines), false)
}

fn compare(
    mut found: Vec<(Labels, Vec<Option<f64>>)>,
    mut expected: Vec<(Labels, Vec<Option<f64>>)>,
    in_order: bool,
) -> Result<(), String> {
    if !in_order {
        found.sort_by(|left, right| left.0.cmp(&right.0));
        expected.sort_by(|left, right| left.0.cmp(&right.0));
    }
    let same = found.len() == expected.len()
        && found.iter().zip(&expected).all(|((found_labels, found), (labels, expected))| {
            found_labels == labels
                && found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, expected)| is_same(*found, *expected))
        });
    if same {
        return Ok(());
    }
    let shown: Vec<String> = found
        .iter()
        .map(|(labels, values)| {
            let values: Vec<String> = values
                .iter()
                .map(|value| value.map_or_else(|| "_".to_owned(), tidemark_promql::format_number))
                .collect();
            format!("  {labels} {}", values.join(" "))
        })
        .collect();
    Err(format!("found:\n{}", shown.join("\n")))
}

fn time(text: &str) -> i64 {
    parse_duration(text).unwrap_or_else(|| panic!("no duration: {text}"))
}

fn run(store: &mut TestStore, block: &Block<'_>) -> Result<(), String> {
    let (head, body) = (block.head, block.body.as_slice());
    if head == "clear" {
        store.series.clear();
        return Ok(());
    }
    if let Some(every) = head.strip_prefix("load ") {
        load(store, time(every), body);
        return Ok(());
    }
    let (when, text) = head.split_once("  ").unwrap_or_else(|| panic!("two blanks are missing in `{head}`"));
    let text = text.trim();
    let words: Vec<&str> = when.split(' ').collect();
    match words.as_slice() {
        ["at", at] => check_instant(store, text, time(at), body, false),
        ["at", at, "in", "order"] => check_instant(store, text, time(at), body, true),
        ["from", from, "to", to, "every", every] => {
            check_range(store, text, Steps::new(time(from), time(to), time(every)), body)
        }
        ["error", "at", at] => match store.instant(text, time(at)) {
            Err(error) if error.to_string().contains(&body.join(" ")) => Ok(()),
            other => Err(format!("{other:?}")),
        },
        ["error", "from", from, "to", to, "every", every] => {
            match store.range(text, Steps::new(time(from), time(to), time(every))) {
                Err(error) if error.to_string().contains(&body.join(" ")) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        }
        _ => panic!("what is `{head}`?"),
    }
}

#[test]
fn every_case_gives_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut failures = Vec::new();
    let mut count = 0;
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut store = TestStore::default();
        for block in blocks(&text) {
            count += 1;
            if let Err(failure) = run(&mut store, &block) {
                let name = file.file_name().unwrap().to_string_lossy();
                failures.push(format!("{name}:{}: {}\n{failure}", block.line, block.head));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} blocks:\n{}", failures.len(), failures.join("\n\n"));
}
