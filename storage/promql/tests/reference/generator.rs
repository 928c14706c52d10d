//! Random series and expressions.

use tidemark_promql::Steps;

use crate::{
    random::Random,
    support::{TestSeries, TestStore, key},
};

/// What is evaluated over what.
pub(crate) struct Case {
    pub(crate) store: TestStore,
    pub(crate) text: String,
    pub(crate) steps: Steps,
}

impl Case {
    pub(crate) fn shown(&self) -> String {
        let series = self.store.series.iter().map(|series| format!("{} {:?}", series.key, series.points));
        series.collect::<Vec<_>>().join("\n")
    }
}

pub(crate) fn case(seed: u64) -> Case {
    let mut random = Random(seed);
    let random = &mut random;
    let store = TestStore { series: series(random) };
    let text = vector(random, 3);
    let start = random.between(-60_000, 600_000);
    let step = random.pick(&[1_000, 7_000, 15_000, 30_000, 61_003]);
    let steps = Steps::new(start, start + step * random.between(0, 12) + random.between(0, 500), step);
    Case { store, text, steps }
}

fn series(random: &mut Random) -> Vec<TestSeries> {
    let mut all = Vec::new();
    for metric in ["m", "n", "c"] {
        for host in ["a", "b", "c"] {
            for dc in ["1", "2"] {
                if random.chance(40) {
                    continue;
                }
                let tags = if random.chance(10) { format!("host={host}") } else { format!("host={host},dc={dc}") };
                let key = key(&format!("{metric}{{{tags}}}"));
                if all.iter().all(|series: &TestSeries| series.key != key) {
                    all.push(TestSeries { key, points: points(random, metric == "c") });
                }
            }
        }
    }
    all
}

fn points(random: &mut Random, is_counter: bool) -> Vec<(i64, f64)> {
    let every = random.pick(&[5_000, 15_000, 30_000]);
    let (mut time, mut value) = (random.between(-30_000, 30_000), 0.0);
    let mut points = Vec::new();
    for _ in 0..random.between(1, 60) {
        value = match is_counter {
            true if random.chance(8) => random.below(50) as f64,
            true => value + random.below(100) as f64 / 4.0,
            false => random.between(-40, 40) as f64 / 4.0,
        };
        points.push((time, value));
        time += if random.chance(6) {
            400_000
        } else {
            every + if random.chance(50) { random.between(-900, 900) } else { 0 }
        };
    }
    points
}

fn selector(random: &mut Random) -> String {
    let metric = random.pick(&["m", "n", "c", "{__name__=~\"m|n\"}", "m", "c"]);
    let matcher =
        random.pick(&["", "", "", "host=\"a\"", "host!=\"a\"", "dc=~\"1|3\"", "dc!~\"1\"", "dc=\"\"", "host=~\".+\""]);
    match metric.strip_suffix('}') {
        _ if matcher.is_empty() => metric.to_owned(),
        Some(open) => format!("{open},{matcher}}}"),
        None => format!("{metric}{{{matcher}}}"),
    }
}

fn when(random: &mut Random) -> String {
    let offset = random.pick(&["", "", "", "", " offset 20s", " offset -45s"]);
    let at = random.pick(&["", "", "", "", "", "", " @ 120", " @ start()", " @ end()"]);
    format!("{at}{offset}")
}

fn ranges(random: &mut Random, depth: u32) -> String {
    let range = random.pick(&["15s", "30s", "1m", "100s", "5m"]);
    if depth > 0 && random.chance(20) {
        let step = random.pick(&["", "10s", "25s"]);
        let when = when(random);
        return format!("({})[{range}:{step}]{when}", vector(random, depth - 1));
    }
    let (selector, when) = (selector(random), when(random));
    format!("{selector}[{range}]{when}")
}

fn scalar(random: &mut Random) -> String {
    let number = random.pick(&["0", "1", "2", "0.5", "-3", "7"]);
    if random.chance(15) {
        random.pick(&["scalar(m{host=\"a\",dc=\"1\"})", "time()", "pi()"]).to_owned()
    } else {
        number.to_owned()
    }
}

fn grouping(random: &mut Random) -> &'static str {
    random.pick(&[
        "",
        "",
        " by (host)",
        " by (dc)",
        " by (host, dc)",
        " without (host)",
        " without ()",
        " by (__name__)",
    ])
}

/// An expression that has series.
fn vector(random: &mut Random, depth: u32) -> String {
    if depth == 0 || random.chance(10) {
        let when = when(random);
        return format!("{}{when}", selector(random));
    }
    let inner = |random: &mut Random| vector(random, depth - 1);
    match random.below(12) {
        0..=2 => {
            let function = random.pick(&[
                "rate",
                "increase",
                "delta",
                "irate",
                "idelta",
                "deriv",
                "resets",
                "changes",
                "sum_over_time",
                "avg_over_time",
                "min_over_time",
                "max_over_time",
                "count_over_time",
                "last_over_time",
                "first_over_time",
                "present_over_time",
                "stddev_over_time",
                "stdvar_over_time",
                "absent_over_time",
                "mad_over_time",
            ]);
            format!("{function}({})", ranges(random, depth - 1))
        }
        3 => {
            let number = scalar(random);
            if random.chance(50) {
                format!("quantile_over_time({number}, {})", ranges(random, depth - 1))
            } else {
                format!("predict_linear({}, {number})", ranges(random, depth - 1))
            }
        }
        4 | 5 => {
            let operator = random.pick(&["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]);
            format!("{operator}{} ({})", grouping(random), inner(random))
        }
        6 => {
            let (operator, grouping) = (random.pick(&["quantile", "limitk", "quantile"]), grouping(random));
            format!("{operator}{grouping} ({}, {})", scalar(random), inner(random))
        }
        7 => {
            let function = random.pick(&["abs", "ceil", "sgn", "sqrt", "-", "round", "timestamp", "absent", "hour"]);
            if function == "-" { format!("-({})", inner(random)) } else { format!("{function}({})", inner(random)) }
        }
        8 => {
            let operator = random.pick(&["+", "-", "*", "/", "%", "^", ">", "<=", "== bool", "atan2"]);
            let (vector, number) = (inner(random), scalar(random));
            if random.chance(50) {
                format!("({vector}) {operator} {number}")
            } else {
                format!("{number} {operator} ({vector})")
            }
        }
        9 | 10 => {
            let operator = random.pick(&["+", "-", "/", ">", "!=", ">= bool"]);
            let matching = random.pick(&[
                "",
                " on (host)",
                " on (host, dc)",
                " ignoring (dc)",
                " on (host) group_left ()",
                " on (dc) group_right (host)",
                " on (host) group_left (dc)",
                " ignoring (host) group_right ()",
            ]);
            let right = if random.chance(50) { format!("sum by (host) ({})", inner(random)) } else { inner(random) };
            format!("({}) {operator}{matching} ({right})", inner(random))
        }
        _ => {
            let operator = random.pick(&["and", "or", "unless"]);
            let matching = random.pick(&["", "", " on (host)", " ignoring (dc)", " on ()"]);
            format!("({}) {operator}{matching} ({})", inner(random), inner(random))
        }
    }
}
