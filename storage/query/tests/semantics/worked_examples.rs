//! Examples that were worked out by hand, one table for each rule.
//!
//! Points and answers are written as `SECOND=VALUE`; a value with a dot is a double, one without an integer.

use tidemark_model::Value;
use tidemark_query::{Query, SubQuery, Tz, parse_time};

use crate::store::MemoryStore;

/// Series with their points, by the value of their tag `host`.
fn store(series: &[(&str, &str)]) -> MemoryStore {
    let mut store = MemoryStore::default();
    for (host, points) in series {
        for (at, value) in points.split(' ').filter_map(|point| point.split_once('=')) {
            let value = match value.parse() {
                Ok(integer) => Value::Int(integer),
                Err(_) => Value::Float(value.parse().unwrap()),
            };
            let (second, millis) = at.split_once('.').unwrap_or((at, "0"));
            let time = second.parse::<i64>().unwrap() * 1000 + format!("{millis:0<3}").parse::<i64>().unwrap();
            store.put("m", &[("host", host)], time, value);
        }
    }
    store
}

/// The answer of the first group, as points are written.
fn answer(store: &MemoryStore, query: &Query) -> String {
    let results = store.evaluate(query).unwrap();
    let Some(group) = results.first() else { return String::new() };
    let text = |value: Value| match value {
        Value::Int(integer) => integer.to_string(),
        Value::Float(float) => format!("{float:?}"),
    };
    let points = group.timestamps.iter().zip(group.values.iter());
    points.map(|(time, value)| format!("{}={}", time / 1000, text(value))).collect::<Vec<_>>().join(" ")
}

/// The answer to an `m=` parameter from one second to another.
fn asked(store: &MemoryStore, text: &str, start: i64, end: i64) -> String {
    answer(store, &Query::new(start * 1000, end * 1000, vec![SubQuery::parse(text).unwrap()]))
}

#[test]
fn integers_are_interpolated_and_aggregated_as_integers() {
    let store = store(&[("a", "0=1 60=2 120=3 180=4"), ("b", "30=100 90=200 150=300")]);
    for (aggregator, expect) in [
        ("sum", [1, 101, 152, 202, 253, 303, 4]),
        ("zimsum", [1, 100, 2, 200, 3, 300, 4]),
        ("pfsum", [1, 101, 102, 202, 203, 303, 4]),
        ("avg", [1, 50, 76, 101, 126, 151, 4]),
        ("dev", [0, 49, 74, 99, 123, 148, 0]),
        ("min", [1, 1, 2, 2, 3, 3, 4]),
        ("max", [1, 100, 150, 200, 250, 300, 4]),
        ("mimmin", [1, 100, 2, 200, 3, 300, 4]),
        ("mimmax", [1, 100, 2, 200, 3, 300, 4]),
        ("count", [1, 2, 2, 2, 2, 2, 1]),
        ("median", [1, 100, 150, 200, 250, 300, 4]),
        ("mult", [1, 100, 300, 400, 750, 900, 4]),
        ("multiply", [1, 100, 300, 400, 750, 900, 4]),
        ("diff", [0, 99, 148, 198, 247, 297, 0]),
        ("first", [1, 0, 2, 0, 3, 0, 4]),
        ("last", [1, 100, 0, 200, 0, 300, 4]),
        ("squareSum", [1, 10_000, 4, 40_000, 9, 90_000, 16]),
        ("squaresum", [1, 10_000, 4, 40_000, 9, 90_000, 16]),
        ("p50", [1, 50, 76, 101, 126, 151, 4]),
        ("p999", [1, 100, 150, 200, 250, 300, 4]),
        ("ep50r3", [1, 1, 2, 2, 3, 3, 4]),
        ("ep75r7", [1, 75, 113, 150, 188, 225, 4]),
    ] {
        let expect: Vec<String> =
            [0, 30, 60, 90, 120, 150, 180].iter().zip(expect).map(|(at, value)| format!("{at}={value}")).collect();
        assert_eq!(asked(&store, &format!("{aggregator}:m"), 0, 180), expect.join(" "), "{aggregator}");
    }
}

/// Checked against OpenTSDB 2.4.1 and 2.5.0RC1.
#[test]
fn integers_are_reckoned_with_until_a_double_comes_next() {
    let soon = store(&[("a", "0=1 30=2 60=4.5 90=7 120=7"), ("b", "0=2 30=5 60=7 90=8 120=8")]);
    assert_eq!(asked(&soon, "avg:m", 0, 120), "0=1 30=3.5 60=5.75 90=7 120=7");
    // Also of a member that has not begun, within the hour that is looked at, and no longer once it is over.
    let later = store(&[("a", "0=1 30=2 60=4"), ("b", "0=2 30=5 60=7"), ("c", "90=0.5")]);
    assert_eq!(asked(&later, "avg:m", 0, 60), "0=1.5 30=3.5 60=5.5");
    let over = store(&[("a", "0=1 30=2 60=4"), ("b", "0=2 30=5 60=7"), ("c", "0=0.5")]);
    assert_eq!(asked(&over, "avg:m", 0, 60), "0=1.1666666666666667 30=3 60=5");
    let alone = store(&[("a", "0=1 30=2 60=4.5 90=7")]);
    assert_eq!(asked(&alone, "sum:m", 0, 90), "0=1 30=2.0 60=4.5 90=7");
}

#[test]
fn one_double_makes_all_of_an_instant_doubles() {
    let doubles = store(&[("a", "0=1.0 60=2.0 120=3.0 180=4.0"), ("b", "30=100.0 90=200.0 150=300.0")]);
    assert_eq!(asked(&doubles, "sum:m", 0, 180), "0=1.0 30=101.5 60=152.0 90=202.5 120=253.0 150=303.5 180=4.0");
    // The next value of an interpolated member is one of those that are involved.
    let mixed = store(&[("a", "0=1 60=2.0 120=3 180=4"), ("b", "30=100 90=200 150=300")]);
    assert_eq!(asked(&mixed, "sum:m", 0, 180), "0=1.0 30=101.5 60=152.0 90=202.5 120=253 150=303 180=4");
}

#[test]
fn a_bucket_is_what_its_function_says() {
    let store = store(&[("a", "0=1 10=2 20=3 30=4 60=10")]);
    for (function, first, second) in [
        ("sum", "10.0", "10.0"),
        ("zimsum", "10.0", "10.0"),
        ("pfsum", "10.0", "10.0"),
        ("min", "1.0", "10.0"),
        ("mimmin", "1.0", "10.0"),
        ("max", "4.0", "10.0"),
        ("mimmax", "4.0", "10.0"),
        ("avg", "2.5", "10.0"),
        ("count", "4.0", "1.0"),
        ("first", "1.0", "10.0"),
        ("last", "4.0", "10.0"),
        ("dev", "1.118033988749895", "0.0"),
        ("median", "3.0", "10.0"),
        ("mult", "24.0", "10.0"),
        ("diff", "3.0", "0.0"),
        ("squareSum", "30.0", "100.0"),
        ("p50", "2.5", "10.0"),
        ("p75", "3.75", "10.0"),
        ("p99", "4.0", "10.0"),
        ("ep50r3", "2.0", "10.0"),
        ("ep50r7", "2.5", "10.0"),
        ("ep75r7", "3.25", "10.0"),
    ] {
        let found = asked(&store, &format!("none:1m-{function}:m"), 0, 119);
        assert_eq!(found, format!("0={first} 60={second}"), "{function}");
    }
}

#[test]
fn buckets_begin_where_the_epoch_says_and_are_whole() {
    let store = store(&[("a", "30=1 59=2 60=4 110=8 170=16 1356998400=1")]);
    // The first one that begins before the start is left out, the last one has what comes after the end.
    assert_eq!(asked(&store, "none:1m-sum:m", 30, 70), "60=12.0");
    assert_eq!(asked(&store, "none:1m-sum:m", 0, 130), "0=3.0 60=12.0 120=16.0");
    assert_eq!(asked(&store, "none:1M-sum:m", 0, 130), "0=3.0 60=12.0 120=16.0");
    assert_eq!(asked(&store, "none:1m-sum-:m", 0, 130), "0=3.0 60=12.0 120=16.0");
    // Weeks on Thursdays, months of 30 days, years of 365.
    assert_eq!(asked(&store, "none:1w-sum:m", 1_356_000_000, 1_356_998_400), "1356566400=1.0");
    assert_eq!(asked(&store, "none:1n-sum:m", 1_355_000_000, 1_356_998_400), "1355616000=1.0");
    assert_eq!(asked(&store, "none:1y-sum:m", 1_324_000_000, 1_356_998_400), "1356048000=1.0");
    // All of it: without the end, at the start.
    assert_eq!(asked(&store, "none:0all-sum:m", 30, 110), "30=7.0");
    assert_eq!(asked(&store, "none:7all-count:m", 30, 111), "30=4.0");
    assert_eq!(asked(&store, "none:0all-sum-nan:m", 1_000, 2_000), "");
}

#[test]
fn every_bucket_of_the_window_is_filled() {
    let store = store(&[("a", "60=1 180=3"), ("b", "60=10 120=20")]);
    assert_eq!(asked(&store, "sum:1m-sum-zero:m", 0, 250), "0=0.0 60=11.0 120=20.0 180=3.0 240=0.0");
    assert_eq!(asked(&store, "sum:1m-sum-nan:m", 0, 250), "0=NaN 60=11.0 120=20.0 180=3.0 240=NaN");
    assert_eq!(asked(&store, "sum:1m-sum-null:m", 1, 239), "60=11.0 120=20.0 180=3.0");
    assert_eq!(asked(&store, "count:1m-sum-nan:m", 0, 250), "0=0.0 60=2.0 120=1.0 180=1.0 240=0.0");
    // What carries NaN on, and a fill that is a value.
    assert_eq!(asked(&store, "mult:1m-sum-nan:m", 60, 180), "60=10.0 120=NaN 180=NaN");
    assert_eq!(asked(&store, "min:1m-sum-zero:m", 60, 180), "60=1.0 120=0.0 180=0.0");
    // Without a fill, members are interpolated between their buckets.
    assert_eq!(asked(&store, "sum:1m-sum:m", 0, 250), "60=11.0 120=22.0 180=3.0");
    // The steps that a fill makes are rates, too.
    assert_eq!(
        asked(&store, "none:1m-sum-zero:rate:m", 60, 180),
        "60=0.016666666666666666 120=-0.016666666666666666 180=0.05"
    );
}

#[test]
fn rates_are_of_each_series_and_held_in_groups() {
    let counter = store(&[("a", "0=100 10=200 20=50 30=150")]);
    for (rate, expect) in [
        ("rate", "10=10.0 20=-15.0 30=10.0"),
        ("rate{counter,255}", "10=10.0 20=10.5 30=10.0"),
        ("rate{counter,255,11}", "10=10.0 20=10.5 30=10.0"),
        ("rate{counter,255,10}", "10=10.0 20=0.0 30=10.0"),
        ("rate{counter,,10}", "10=10.0 20=0.0 30=10.0"),
        ("rate{counter}", "10=10.0 20=9.223372036854776e17 30=10.0"),
        ("rate{dropcounter}", "10=10.0 30=10.0"),
    ] {
        assert_eq!(asked(&counter, &format!("none:{rate}:m"), 0, 30), expect, "{rate}");
    }
    // A point before the window is enough for a rate at its beginning.
    assert_eq!(asked(&counter, "none:rate:m", 10, 20), "10=10.0 20=-15.0");
    let millis = store(&[("a", "0=0 0.5=1 2=4")]);
    assert_eq!(asked(&millis, "none:rate:m", 0, 30), "0=2.0 2=2.0");
    let two = store(&[("a", "0=0 10=10 20=20 30=30"), ("b", "5=0 15=20 25=60")]);
    assert_eq!(asked(&two, "sum:rate:m", 0, 30), "10=1.0 15=3.0 20=3.0 25=5.0 30=1.0");
    assert_eq!(asked(&two, "zimsum:rate:m", 0, 30), "10=1.0 15=3.0 20=3.0 25=5.0 30=1.0");
    // Downsampled first, by default: the counter's sums go down where it does not.
    assert_eq!(asked(&counter, "none:20s-sum:rate:m", 0, 30), "20=-5.0");
    assert_eq!(asked(&counter, "none:20s-sum:rate{counter,255,pre}:m", 0, 30), "0=10.0 20=20.5");
}

#[test]
fn calendar_buckets_begin_at_local_midnight_and_on_sundays() {
    let check = |interval: &str, zone: Tz, from: &str, until: &str, expect: &[&str]| {
        let time = |text: &str| parse_time(text, 0, zone).unwrap();
        let mut store = MemoryStore::default();
        let mut at = time(from);
        while at <= time(until) {
            store.put("m", &[("host", "a")], at, Value::Int(1));
            at += 3_600_000;
        }
        let sub_query = SubQuery::parse(&format!("none:{interval}-count:m")).unwrap();
        let query = Query { time_zone: zone, ..Query::new(time(from), time(until), vec![sub_query]) };
        let found = store.evaluate(&query).unwrap();
        let found: Vec<(i64, f64)> =
            found[0].timestamps.iter().copied().zip(found[0].values.iter().map(Value::as_f64)).collect();
        let expect: Vec<(i64, f64)> = expect
            .iter()
            .map(|text| text.split_once('=').unwrap())
            .map(|(at, count)| (time(at), count.parse().unwrap()))
            .collect();
        assert_eq!(found, expect, "{interval} in {zone}");
    };
    let paris = Tz::Europe__Paris;
    check("1dc", paris, "2013/03/30", "2013/03/31-23:00", &["2013/03/30=24", "2013/03/31=23"]);
    check("1dc", paris, "2013/10/26", "2013/10/27-23:00", &["2013/10/26=24", "2013/10/27=25"]);
    check("12hc", paris, "2013/01/01", "2013/01/01-23:00", &["2013/01/01=12", "2013/01/01-12:00=12"]);
    check("2dc", Tz::UTC, "2013/01/01", "2013/01/04-23:00", &["2013/01/01=48", "2013/01/03=48"]);
    check("1wc", Tz::UTC, "2013/01/01", "2013/01/13-23:00", &["2013/01/06=168", "2013/01/13=24"]);
    check("2wc", Tz::UTC, "2013/01/13", "2013/01/27-23:00", &["2013/01/13=336", "2013/01/27=24"]);
    check("3nc", Tz::UTC, "2013/01/01", "2013/04/01", &["2013/01/01=2160", "2013/04/01=1"]);
}

#[test]
fn the_last_point_of_a_second_stands_for_it() {
    let store = store(&[("a", "10.25=1 10.5=2 10.75=3 12=4")]);
    let query = Query::new(0, 60_000, vec![SubQuery::parse("sum:m").unwrap()]);
    assert_eq!(answer(&store, &Query { ms_resolution: false, ..query.clone() }), "10=3 12=4");
    assert_eq!(answer(&store, &query), "10=1 10=2 10=3 12=4");
}
