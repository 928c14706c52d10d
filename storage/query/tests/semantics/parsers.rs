//! No text makes a parser panic, and what a parser accepts it writes back as it was.

use proptest::prelude::*;
use tidemark_query::{
    Aggregator, Downsample, Filter, FilterKind, Interval, Query, RateOptions, SubQuery, Tz,
    expression::{ExpressionError, Formula, FunctionQuery},
    parse_time, parse_time_zone,
};

/// Texts made of the pieces that the grammars are made of.
fn near_grammar() -> impl Strategy<Value = String> {
    let pieces = [
        "sum",
        "none",
        "p99",
        ":",
        ":",
        "-",
        ",",
        "{",
        "}",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "=",
        "*",
        "|",
        "\\",
        "rate",
        "counter",
        "dropcounter",
        "1m",
        "0all",
        "5dc",
        "avg",
        "nan",
        "host",
        "web*",
        "regexp(",
        "literal_or(",
        "not_key()",
        "explicit_tags",
        "rollup_raw",
        "percentiles[50]",
        "cpu",
        "é",
        "-ago",
        "now",
        "ms",
        "1356998400",
        ".",
        "/",
        "2013/03/31",
        " ",
        "02:30",
        "99999999999999999999",
        "-1",
        "\0",
        "000001000002000003",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat())
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![near_grammar(), any::<String>()]
}

/// Texts made of pieces of formulas.
fn near_formula() -> impl Strategy<Value = String> {
    let pieces = [
        "a", "b", "c_1", "1", "0", "2.5", "1e3", "0x1F", "(", ")", "(", ")", "+", "-", "*", "/", "%", "==", "!=", "<",
        "<=", ">", ">=", "&&", "||", "!", " and ", " or ", " not ", " eq ", " lt ", " div ", " mod ", "?", ":", "?:",
        "true", "false", " ", "null", "=", "é",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..16).prop_map(|pieces| pieces.concat())
}

/// Texts of formulas that are right.
fn formula() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec!["a", "b", "c", "7", "0", "2.5", "1e3", "true"]).prop_map(str::to_owned);
    leaf.prop_recursive(6, 64, 3, |inner| {
        let operators =
            vec!["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "and", "or", "eq", "mod", "?:"];
        prop_oneof![
            3 => (inner.clone(), prop::sample::select(operators), inner.clone())
                .prop_map(|(left, operator, right)| format!("({left}) {operator} ({right})")),
            1 => (prop::sample::select(vec!["-", "!"]), inner.clone()).prop_map(|(sign, of)| format!("{sign}({of})")),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(condition, then, otherwise)| format!("({condition}) ? ({then}) : ({otherwise})")),
        ]
    })
}

/// Texts made of pieces of functions over series.
fn near_functions() -> impl Strategy<Value = String> {
    let pieces = [
        "scale(",
        "absolute(",
        "sum(",
        "divideSeries(",
        "highestMax(",
        "movingAverage(",
        "alias(",
        "timeShift(",
        "firstDiff(",
        "sum:m",
        "avg:1m-avg:cpu{host=*}",
        "max:m{a=literal_or(x|y)}",
        ",",
        ",",
        ")",
        ")",
        "10",
        "-0.5",
        "'5min'",
        "'1h'",
        "@host",
        " ",
        "{",
        "}",
        "(",
        "é",
        "foo(",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat())
}

/// Where an error says that it is, if it says so.
fn position(error: &ExpressionError) -> Option<usize> {
    match error {
        ExpressionError::Syntax { position, .. }
        | ExpressionError::SubQuery { position, .. }
        | ExpressionError::UnknownFunction { position, .. }
        | ExpressionError::Arguments { position, .. } => Some(*position),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_text_is_a_formula_or_an_error_inside_it(text in prop_oneof![near_formula(), any::<String>()]) {
        match Formula::parse(&text) {
            Ok(formula) => {
                let values = vec![1.5; formula.variables().len()];
                let again = Formula::parse(&formula.to_string()).unwrap();
                prop_assert_eq!(formula.evaluate(&values).to_bits(), again.evaluate(&values).to_bits());
            }
            Err(error) => {
                let position = position(&error).unwrap_or(0);
                prop_assert!(position <= text.len() && text.is_char_boundary(position), "{} in {:?}", position, text);
            }
        }
    }

    #[test]
    fn a_formula_is_written_as_it_is_meant(
        text in formula(),
        values in prop::collection::vec(prop_oneof![-4.0..4.0_f64, Just(0.0), Just(f64::NAN)], 3),
    ) {
        let text = format!("({text}) + a * 0 + b * 0 + c * 0");
        let formula = Formula::parse(&text).unwrap();
        let written = formula.to_string();
        let again = Formula::parse(&written).unwrap();
        prop_assert_eq!(again.variables(), formula.variables());
        prop_assert_eq!(again.to_string(), written.clone());
        let (left, right) = (formula.evaluate(&values), again.evaluate(&values));
        prop_assert!(left == right || left.is_nan() && right.is_nan(), "{} is {}, {} is {}", text, left, written, right);
    }

    #[test]
    fn any_text_is_a_call_of_functions_or_an_error_inside_it(text in prop_oneof![near_functions(), any::<String>()]) {
        match FunctionQuery::parse([text.as_str()]) {
            Ok(query) => {
                let texts = query.texts();
                prop_assert_eq!(FunctionQuery::parse(texts.iter().map(String::as_str)), Ok(query));
            }
            Err(error) => {
                let position = position(&error).unwrap_or(0);
                prop_assert!(position <= text.len() && text.is_char_boundary(position), "{} in {:?}", position, text);
            }
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in any_text(), now in any::<i64>()) {
        let parsed = [SubQuery::parse(&text), SubQuery::parse_tsuids(&text)];
        for sub_query in parsed.into_iter().flatten() {
            for (start, end) in [(0, 0), (i64::MIN, i64::MAX), (now, now.saturating_add(86_400_000))] {
                let query = Query { time_zone: Tz::Europe__Paris, ..Query::new(start, end, vec![sub_query.clone()]) };
                let _planned = query.plan();
            }
        }
        for zone in [Tz::UTC, Tz::America__Sao_Paulo] {
            let _time = parse_time(&text, now, zone);
        }
        let _zone = parse_time_zone(&text);
        let _options = text.parse::<RateOptions>();
        let _aggregator = text.parse::<Aggregator>();
        for kind in FilterKind::ALL {
            if let Ok(filter) = Filter::new(kind, "key", &text, true) {
                let predicate = filter.predicate();
                if let tidemark_model::TagMatch::Where(matches) = predicate.matches {
                    let _matched = (matches("web01"), matches(&text));
                }
            }
        }
        let _filter = Filter::from_tag_value("key", &text, false);
    }

    #[test]
    fn what_is_accepted_is_written_back(text in any_text()) {
        if let Ok(interval) = text.parse::<Interval>() {
            prop_assert_eq!(interval.to_string().parse::<Interval>(), Ok(interval));
        }
        if let Ok(downsample) = text.parse::<Downsample>() {
            prop_assert_eq!(downsample.to_string().parse::<Downsample>(), Ok(downsample));
        }
    }

    #[test]
    fn a_time_is_never_negative(text in "[0-9]{1,12}(ms|\\.[0-9]{1,3}|[smhdwny]-ago)?", now in 0..i64::MAX) {
        if let Ok(time) = parse_time(&text, now, Tz::UTC) {
            prop_assert!(time >= 0);
        }
    }

    #[test]
    fn the_parts_of_a_sub_query_are_found_again(
        aggregator in prop::sample::select(Aggregator::ALL.to_vec()),
        count in 1..10_000_u32,
        unit in prop::sample::select(vec!["ms", "s", "m", "h", "d", "w", "n", "y", "sc", "dc"]),
        fill in prop::sample::select(vec!["", "-nan", "-null", "-zero"]),
        value in "[a-z(){},:|=\\[\\]]{1,12}",
    ) {
        let literal = format!("literal_or({value})");
        let text = format!("{}:{count}{unit}-avg{fill}:rate:cpu{{host={literal}}}{{dc=*}}", aggregator.0);
        if let Ok(sub_query) = SubQuery::parse(&text) {
            prop_assert_eq!(sub_query.aggregator, aggregator.1);
            prop_assert_eq!(sub_query.downsample.unwrap().to_string(), format!("{count}{unit}-avg{fill}"));
            prop_assert_eq!(sub_query.rate, Some(RateOptions::default()));
        } else {
            // Only an unbalanced filter may be refused.
            prop_assert!(value.contains(['(', ')', '[', ']']), "{}", text);
        }
    }
}
