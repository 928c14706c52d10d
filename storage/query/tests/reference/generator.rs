//! Random series and a random query over them.

use tidemark_model::{TimestampMs, Value};
use tidemark_query::{
    Aggregator, Buckets, Downsample, Filter, FilterKind, Query, RateOptions, Source, SubQuery, TimeUnit, Tz, Weekday,
};

use crate::{case::Case, filters::PATTERNS, random::Random, store::tsuid};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Zones whose clocks change by whole hours, at the hour.
pub(crate) const ZONES: [Tz; 6] =
    [Tz::UTC, Tz::Europe__Paris, Tz::America__New_York, Tz::America__Sao_Paulo, Tz::Asia__Kolkata, Tz::Asia__Kathmandu];

/// The moments around which points lie: changes of clocks in Paris, New York and São Paulo, the turn of a year, the
/// beginning of time, and one in the middle of nowhere.
const MOMENTS: [TimestampMs; 7] = [
    1_364_691_600_000,
    1_382_835_600_000,
    1_362_898_800_000,
    1_382_238_000_000,
    1_356_998_400_000,
    0,
    4_102_446_123_457,
];

/// Most buckets that are filled, or listed by a calendar; more are not tried, since they take long.
const BUCKETS_MAX: i64 = 3_000;

/// How far apart points lie, and which buckets are of interest then.
struct Scale {
    steps: &'static [i64],
    buckets: &'static [&'static str],
}

const SCALES: [Scale; 4] = [
    Scale {
        steps: &[10 * SECOND, 15 * SECOND, MINUTE, MINUTE, 61_001, 5 * MINUTE, 10 * MINUTE],
        buckets: &[
            "0all", "1700ms", "10s", "45s", "1m", "1m", "2m", "5m", "5m", "17m", "1h", "90m", "30sc", "7sc", "1mc",
            "15mc", "7mc", "25mc", "1hc", "2hc", "700msc", "250msc",
        ],
    },
    Scale {
        steps: &[10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR],
        buckets: &["0all", "5m", "30m", "1h", "6h", "7h", "1d", "1hc", "90mc", "6hc", "12hc", "5hc", "36hc", "1dc"],
    },
    Scale {
        steps: &[2 * HOUR, 6 * HOUR, DAY, DAY],
        buckets: &["0all", "6h", "1d", "1w", "10d", "1dc", "2dc", "3dc", "1wc", "2wc", "12hc"],
    },
    Scale {
        steps: &[DAY, 7 * DAY, 20 * DAY],
        buckets: &["0all", "1d", "1w", "1n", "1y", "10dc", "1wc", "2wc", "3wc", "1nc", "3nc", "5nc", "1yc", "2yc"],
    },
];

/// The case that follows from a seed.
pub(crate) fn case(seed: u64) -> Case {
    let mut random = Random(seed);
    let scale = &SCALES[random.pick(&[0, 0, 0, 1, 2, 3])];
    let moment = random.pick(&MOMENTS) + random.pick(&[0, 0, 1, 1_800 * SECOND, 12_345_678]);
    let step = random.pick(scale.steps);
    let query = query(&mut random, scale, moment, step);
    let mut case = Case { series: Default::default(), query };
    let kind = random.pick(&["int", "int", "float", "float", "mixed", "counter", "big", "huge", "any"]);
    let has_nan = random.chance(10);
    for _ in 0..=random.below(8) {
        let kind = if kind == "any" { random.pick(&["int", "float", "mixed", "counter"]) } else { kind };
        series(&mut random, &mut case, &Shape { scale, moment, step, kind, has_nan });
    }
    case
}

struct Shape<'a> {
    scale: &'a Scale,
    moment: TimestampMs,
    step: i64,
    kind: &'a str,
    has_nan: bool,
}

fn series(random: &mut Random, case: &mut Case, shape: &Shape<'_>) {
    let mut tags = vec![("host", random.pick(&["web01", "web02", "WEB01", "db01", "xx"]))];
    if random.chance(60) {
        tags.push(("dc", random.pick(&["ams", "lga"])));
    }
    if random.chance(15) {
        tags.push(("owner", "jdoe"));
    }
    let step = if random.chance(80) { shape.step } else { random.pick(shape.scale.steps) };
    let phase = if random.chance(70) { 0 } else { random.between(0, step) };
    // In whole seconds or in milliseconds.
    let jitter = if random.chance(80) { 0 } else { step / 3 };
    let lost_percent = random.pick(&[0, 0, 0, 5, 30, 80]);
    let start = shape.moment - shape.moment.rem_euclid(step) + phase;
    let mut time = (start - random.between(-5, 50) * step).max(phase);
    let count = random.pick(&[1, 2, 40, 60, 60, 80]);
    let mut counter = random.between(0, 1_000);
    for _ in 0..count {
        counter = if random.chance(8) { random.between(0, 20) } else { counter + random.between(0, 300) };
        let value = value(random, shape, counter);
        let at = time + random.between(0, jitter);
        if at >= 0 && !random.chance(lost_percent) {
            case.put(&tags, at, value);
        }
        time += step;
    }
    if random.chance(8) {
        let far = random.pick(&[-4_000 * DAY, -100 * step, 100 * step, 4_000 * DAY]);
        case.put(&tags, (shape.moment + far).max(0), value(random, shape, counter));
    }
}

fn value(random: &mut Random, shape: &Shape<'_>, counter: i64) -> Value {
    if shape.has_nan && random.chance(15) && shape.kind != "int" {
        return Value::Float(f64::NAN);
    }
    let number = random.between(-1_000, 1_000);
    let eighths = Value::Float(number as f64 / 8.0);
    match shape.kind {
        "int" => Value::Int(number),
        "mixed" if random.chance(50) => Value::Int(number),
        "counter" => Value::Int(counter),
        "big" => Value::Int(random.pick(&[i64::MAX, i64::MIN, i64::MAX - 7, i64::MIN + 7, i64::MAX / 3, 0, number])),
        "huge" => random.pick(&[Value::Float(1e300), Value::Float(-1e300), Value::Float(1e-300), eighths]),
        _ => eighths,
    }
}

fn query(random: &mut Random, scale: &Scale, moment: TimestampMs, step: i64) -> Query {
    let unit = random.pick(&[1, SECOND, MINUTE, MINUTE, HOUR]);
    let start = moment - moment.rem_euclid(unit) + random.between(-50 * step, 10 * step) / unit * unit;
    let length = match random.below(20) {
        0 => 0,
        1 => random.between(0, 5 * SECOND),
        2 => 5_000 * DAY,
        _ => random.between(0, 80 * step),
    };
    let end = (start + length / unit * unit).max(0);
    let use_calendar = random.chance(5);
    let sub_query = sub_query(random, scale, (start.max(0), end), use_calendar);
    Query {
        time_zone: random.pick(&ZONES),
        week_start: random.pick(&[Weekday::Sun, Weekday::Sun, Weekday::Mon, Weekday::Sat, Weekday::Wed]),
        use_calendar,
        ms_resolution: random.chance(80),
        ..Query::new(start.max(0), end, vec![sub_query])
    }
}

fn sub_query(random: &mut Random, scale: &Scale, window: (i64, i64), use_calendar: bool) -> SubQuery {
    let aggregator = aggregator(random);
    let source = if random.chance(5) {
        Source::Tsuids((0..=random.below(4)).map(|_| tsuid(random.below(8) as usize)).collect())
    } else {
        Source::Metric { name: "m".to_owned(), filters: filters(random), explicit_tags: random.chance(8) }
    };
    let mut sub_query = SubQuery::new(aggregator, source);
    if random.chance(70) {
        sub_query.downsample = Some(downsample(random, scale, window, use_calendar));
    }
    sub_query.align_first = random.chance(12);
    // Two ways to a deviation differ by rounding, which must not decide whether a counter was reset.
    let deviates = sub_query.downsample.is_some_and(|downsample| downsample.function == Aggregator::Dev);
    if random.chance(35) {
        sub_query.rate = Some(RateOptions {
            counter: random.chance(60) && !deviates,
            counter_max: random.pick(&[i64::MAX, i64::MAX, 1_000, 65_535, 0, i64::MIN]),
            reset_value: random.pick(&[0, 0, 20, 1, -5]),
            drop_resets: random.chance(25),
            pre_downsample: random.chance(20),
        });
    }
    sub_query
}

fn aggregator(random: &mut Random) -> Aggregator {
    let plain = Aggregator::ALL.iter().take_while(|(_, found)| !matches!(found, Aggregator::Percentile(_))).count();
    let among = if random.chance(75) { plain } else { Aggregator::ALL.len() };
    random.pick(&Aggregator::ALL[..among]).1
}

fn downsample(random: &mut Random, scale: &Scale, (start, end): (i64, i64), use_calendar: bool) -> Downsample {
    let function = match aggregator(random) {
        Aggregator::None => Aggregator::Avg,
        function => function,
    };
    let fill = random.pick(&["", "", "", "-none", "-nan", "-null", "-zero"]);
    let read = |buckets: &str, fill: &str| -> Downsample { format!("{buckets}-{function}{fill}").parse().unwrap() };
    let buckets = random.pick(scale.buckets);
    let downsample = read(buckets, fill);
    let (length, is_listed) = match downsample.buckets {
        Buckets::All => return downsample,
        Buckets::Every(interval) => (interval.millis(), use_calendar),
        Buckets::Calendar(interval) => (interval.millis(), true),
    };
    // The millisecond buckets of an hour around are listed, too.
    let is_many = (end - start + 2 * HOUR) / length > BUCKETS_MAX;
    match downsample.buckets {
        Buckets::Calendar(interval) if interval.unit() == TimeUnit::Millisecond && is_many => read("15mc", ""),
        _ if is_many && is_listed => read("1nc", fill),
        _ if is_many => read(buckets, ""),
        _ => downsample,
    }
}

fn filters(random: &mut Random) -> Vec<Filter> {
    use FilterKind::{Iwildcard, LiteralOr, NotKey, NotLiteralOr, Regexp, Wildcard};
    let count = random.pick(&[0, 0, 0, 0, 1, 1, 1, 1, 2, 3]);
    (0..count)
        .map(|_| {
            let key = random.pick(&["host", "host", "host", "host", "dc", "dc", "dc", "owner"]);
            let kind = match random.below(2) {
                0 => random.pick(&[Wildcard, Wildcard, LiteralOr, NotLiteralOr]),
                _ => random.pick(&FilterKind::ALL),
            };
            let literals: &[&str] = match key {
                "host" => &["web01|web02", "web01|WEB01|db01", "Web01|xx", "db01", "nobody|web02"],
                "dc" => &["ams", "lga|ams", "LGA|nowhere"],
                _ => &["jdoe|xx", "JDOE"],
            };
            let text = match kind {
                Wildcard | Iwildcard => {
                    random.pick(&["*", "*", "*", "*b*", "*01", "w*b*1", "WEB*", "**a**", "*a*", "no*body"])
                }
                Regexp => random.pick(&PATTERNS).0,
                NotKey => "",
                _ => random.pick(literals),
            };
            Filter::new(kind, key, text, random.chance(50)).unwrap()
        })
        .collect()
}
