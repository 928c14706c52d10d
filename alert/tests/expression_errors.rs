//! What is wrong with an expression is said with its place, and nothing that anybody writes does harm.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

#[allow(dead_code, reason = "each test file uses its part")]
mod memory_store;

use memory_store::MemoryReader;
use proptest::prelude::*;
use tidemark_alert::expression::{EvaluateOptions, Expression, ExpressionLimits, UnknownNames};

fn parse(text: &str) -> Result<Expression, String> {
    Expression::parse(text, &ExpressionLimits::default()).map_err(|error| error.to_string())
}

#[test]
fn an_error_says_where_and_what_was_expected() {
    let check = |text: &str, expect: &str| assert_eq!(parse(text).unwrap_err(), expect, "{text}");
    check("", "line 1, column 1: expected a number, a function, `(`, `!` or `-`, got the end");
    check("1 +", "line 1, column 4: expected a number, a function, `(`, `!` or `-`, got the end");
    check("1 2", "line 1, column 3: expected an operator or the end, got number `2`");
    check("(1", "line 1, column 3: expected an operator or `)`, got the end");
    check("avg(", "line 1, column 5: expected a number, a function, `(`, `!` or `-`, got the end");
    check("avg(1 2)", "line 1, column 7: expected an operator, `,` or `)`, got number `2`");
    check("\"a\"", "line 1, column 1: an expression cannot be a string alone");
    check("1 && \"a\"", "line 1, column 3: `&&` cannot be applied to a string");
    check("1 +\n  percentil(1)", "line 2, column 3: no such function: `percentil`; did you mean `percentile`?");
    check("avg(1)", "line 1, column 5: argument 1 of `avg`: expected series, got scalar");
    check("epoch(1)", "line 1, column 1: `epoch` takes 0 arguments, got 1");
    check("d()", "line 1, column 1: `d` takes 1 argument, got 0");
    check("merge()", "line 1, column 1: `merge` takes at least 1 argument(s), got 0");
    check("v()", "line 1, column 1: `v` is only valid in a map expression");
    check(
        "[\"x\"]q(\"\", \"\", \"\")",
        "line 1, column 1: expected a number, a function, `(`, `!` or `-`, got `[`; no function that takes a prefix such as `[\"cluster\"]` is available",
    );
    check(
        "avg(q(\"sum:cpu{host=*}\", \"5x\", \"\"))",
        "line 1, column 26: `q`: unknown unit `x` in duration `5x`; units are ms, s, m, h, d, w, n and y",
    );
    check("q(\"cpu\", \"5m\", \"\")", "line 1, column 3: `q`: Invalid parameter m=cpu (not enough :-separated parts)");
    check(
        "avg(q(\"sum:a{host=*}\", \"5m\", \"\")) + avg(q(\"sum:b{disk=*}\", \"5m\", \"\"))",
        "line 1, column 35: incompatible tags ({host} and {disk}) in `avg(q(\"sum:a{host=*}\", \"5m\", \"\")) + \
         avg(q(\"sum:b{disk=*}\", \"5m\", \"\"))`: one side must have all tag keys of the other",
    );
}

#[test]
fn texts_beyond_a_limit_are_refused() {
    let check = |text: &str, expect: &str| assert!(parse(text).unwrap_err().contains(expect), "{}", &text[..20]);
    check(&"(".repeat(5000), "nested more than 128 levels deep (`depth_max`)");
    check(&"-(".repeat(5000), "nested more than 128 levels deep (`depth_max`)");
    check(&"! ".repeat(5000), "nested more than 128 levels deep (`depth_max`)");
    check(&format!("1{}", "+1".repeat(5000)), "nested more than 128 levels deep (`depth_max`)");
    check(&format!("1{}", " ".repeat(20_000)), "has 20001 bytes, at most 16384 are allowed (`text_bytes_max`)");
}

async fn evaluate(reader: &MemoryReader, text: &str, options: EvaluateOptions) -> Result<usize, String> {
    let evaluation = parse(text)?.evaluate(reader, options).await.map_err(|error| error.to_string())?;
    Ok(evaluation.items.len())
}

#[tokio::test]
async fn what_goes_wrong_while_evaluating_names_the_operation() {
    let reader = MemoryReader::default();
    reader.put("cpu", &[("host", "a")], 900, 1.0);
    let options = EvaluateOptions::at(1_000_000);
    let error = evaluate(&reader, "1 + avg(q(\"sum:nosuch{host=*}\", \"5m\", \"\"))", options).await.unwrap_err();
    assert_eq!(error, "line 1, column 9: sum:nosuch{host=*}: no such metric: `nosuch`");
    let lenient = EvaluateOptions { unknown_names: UnknownNames::AreEmpty, ..options };
    assert_eq!(evaluate(&reader, "avg(q(\"sum:nosuch{host=*}\", \"5m\", \"\"))", lenient).await, Ok(0));
    let error = evaluate(&reader, "ungroup(avg(merge(series(\"a=b\", 0, 1), series(\"a=c\", 0, 1))))", options).await;
    assert_eq!(error.unwrap_err(), "line 1, column 1: expected exactly one number, got 2 values");
    let nested = "q(\"sum:cpu\", tod(count(\"sum:cpu\", \"1h\", \"\")), \"\")";
    let error = evaluate(&reader, nested, options).await.unwrap_err();
    assert_eq!(error, "line 1, column 18: the arguments of a query cannot contain another query");
    let error = evaluate(&reader, "count(\"sum:cpu\", \"1m\", \"1h\")", options).await.unwrap_err();
    assert_eq!(error, "line 1, column 1: the start of the query must lie before its end");
    reader.set_broken(true);
    let broken =
        parse("avg(q(\"sum:cpu{host=*}\", \"5m\", \"\"))").unwrap().evaluate(&reader, options).await.unwrap_err();
    assert!(broken.is_transient(), "{broken}");
}

#[tokio::test]
async fn an_expression_that_would_run_for_ever_is_stopped() {
    let reader = MemoryReader::default();
    let points: Vec<_> = (0..2000).map(|stamp| format!("{stamp},1")).collect();
    let series = format!("series(\"\", {})", points.join(","));
    let limits = ExpressionLimits { work_max: 100_000, text_bytes_max: 100_000, ..ExpressionLimits::default() };
    let text = format!("map({series}, expr(v() + sum({series})))");
    let expression = Expression::parse(&text, &limits).unwrap();
    let options = EvaluateOptions { limits, ..EvaluateOptions::at(0) };
    let error = expression.evaluate(&reader, options).await.unwrap_err();
    assert!(error.to_string().ends_with("more than 100000 steps (`work_max`)"), "{error}");
    let error = Expression::parse("band(\"sum:cpu\", \"1m\", \"1m\", 1e9)", &limits).unwrap();
    let error = error.evaluate(&reader, options).await.unwrap_err();
    assert!(error.to_string().ends_with("number of windows must be 1 to 100, got 1000000000"), "{error}");
}

#[tokio::test]
async fn the_steps_that_led_to_a_number_are_noted() {
    let reader = MemoryReader::default();
    for stamp in [900, 950] {
        reader.put("cpu", &[("host", "web01")], stamp, 40.0);
    }
    let expression = parse("avg(q(\"sum:cpu{host=*}\", \"5m\", \"\")) * 2 > 50").unwrap();
    let evaluation = expression.evaluate(&reader, EvaluateOptions::at(1_000_000)).await.unwrap();
    let steps: Vec<_> =
        evaluation.items[0].computations.iter().map(|step| (step.text.to_string(), step.value)).collect();
    let average = "avg(q(\"sum:cpu{host=web01}\", \"5m\", \"\"))";
    assert_eq!(
        steps,
        [(average.to_owned(), 40.0), (format!("{average} * 2"), 80.0), (format!("{average} * 2 > 50"), 1.0)]
    );
    assert_eq!((evaluation.queries[0].start, evaluation.queries[0].end), (700, 1000));
}

fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[0-9]{1,3}(\\.[0-9])?",
        Just("avg(q(\"sum:cpu{host=*}\", \"5m\", \"\"))".to_owned()),
        Just("q(\"sum:cpu{host=*}\", \"5m\", \"\")".to_owned()),
        Just("series(\"host=a\", 0, 1, 1, 0/0)".to_owned()),
        Just("avg(series(\"host=b\", 0, 1))".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let operator = proptest::sample::select(vec!["+", "-", "*", "/", "%", "**", "==", "<", "&&", "||"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            inner.clone().prop_map(|operand| format!("!{operand}")),
            inner.clone().prop_map(|operand| format!("abs({operand})")),
            inner.clone().prop_map(|operand| format!("sum({operand})")),
            inner.prop_map(|operand| format!("limit(nv({operand}, 1), 2)")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
        drop(parse(&text));
    }

    #[test]
    fn no_heap_of_tokens_makes_the_parser_panic(
        tokens in proptest::collection::vec(proptest::sample::select(vec![
            "(", ")", ",", "+", "-", "!", "&&", "1", "avg", "q", "series", "\"host=a\"", "map", "expr", "v", "t", "'''x'''", "[", "]", "aggr", "\"5m\"",
        ]), 0..24)
    ) {
        drop(parse(&tokens.join(" ")));
    }

    #[test]
    fn what_parses_evaluates_to_its_type(text in expressions()) {
        let Ok(expression) = parse(&text) else { return Ok(()) };
        let reader = MemoryReader::default();
        reader.put("cpu", &[("host", "a")], 900, 1.0);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let evaluation = runtime.block_on(expression.evaluate(&reader, EvaluateOptions::at(1_000_000))).unwrap();
        for item in &evaluation.items {
            let is_series = evaluation.value_type.as_str() == "series";
            prop_assert_eq!(item.number().is_none(), is_series, "{}: {:?}", text, item);
        }
    }
}
