//! Expressions and the answers that the real Bosun gave (`data/bosun_expressions.json`; each case names its source).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

#[allow(dead_code, reason = "each test file uses its part")]
mod memory_store;

use std::collections::BTreeMap;

use memory_store::MemoryReader;
use serde_json::Value;
use tidemark_alert::expression::{Datum, EvaluateOptions, Evaluation, Expression, ExpressionLimits, Group};

/// Cases about functions that come with rule files in Bosun's own format.
const OUT_OF_SCOPE: &[&str] =
    &["alert() of another rule", "lookup unknown table", "lookup unknown table in arithmetic", "lookup threshold"];

#[tokio::test]
async fn expressions_mean_what_they_mean_to_bosun() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("data/bosun_expressions.json")).unwrap();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let expression = case["expr"].as_str().unwrap();
        if OUT_OF_SCOPE.contains(&name) {
            let refusal = Expression::parse(expression, &ExpressionLimits::default()).unwrap_err();
            assert!(refusal.to_string().contains("no such function"), "{name}: {refusal}");
            continue;
        }
        checked += 1;
        let result = evaluate(case, expression).await;
        if let Err(difference) = compare(&case["expect"], result) {
            wrong.push(format!("{name}: `{expression}`: {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(checked, 76);
}

async fn evaluate(case: &Value, expression: &str) -> Result<Evaluation, String> {
    let reader = MemoryReader::default();
    for series in case["series"].as_array().unwrap() {
        let tags: Vec<_> =
            series["tags"].as_object().unwrap().iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap())).collect();
        for point in series["points"].as_array().unwrap() {
            let (stamp, value) = (point[0].as_i64().unwrap(), point[1].as_f64().unwrap());
            reader.put(series["metric"].as_str().unwrap(), &tags, stamp, value);
        }
    }
    let expression = Expression::parse(expression, &ExpressionLimits::default()).map_err(|error| error.to_string())?;
    let now_ms = case["now"].as_i64().unwrap() * 1000;
    expression.evaluate(&reader, EvaluateOptions::at(now_ms)).await.map_err(|error| error.to_string())
}

fn compare(expect: &Value, result: Result<Evaluation, String>) -> Result<(), String> {
    let evaluation = match (expect["error"].as_bool(), result) {
        (Some(true), Err(_)) => return Ok(()),
        (Some(true), Ok(evaluation)) => return Err(format!("expected an error, got {evaluation:?}")),
        (_, Err(error)) => return Err(error),
        (_, Ok(evaluation)) => evaluation,
    };
    if expect["type"] != evaluation.value_type.as_str() {
        return Err(format!("expected type {}, got {}", expect["type"], evaluation.value_type));
    }
    let tolerance = expect["abs_tolerance"].as_f64().unwrap_or_default();
    let wanted: BTreeMap<Group, &Value> =
        expect["results"].as_array().unwrap().iter().map(|result| (group(result), result)).collect();
    if let Some(text) = &evaluation.text {
        let same = wanted.values().any(|result| result["value"] == text.as_ref());
        return if same { Ok(()) } else { Err(format!("got {text}")) };
    }
    let got: BTreeMap<Group, &Datum> = evaluation.items.iter().map(|item| (item.group.clone(), &item.value)).collect();
    let same = wanted.len() == got.len()
        && got.len() == evaluation.items.len()
        && wanted.iter().zip(&got).all(|((wanted_group, wanted), (group, datum))| {
            wanted_group == group && same_value(wanted, datum, tolerance)
        });
    if same { Ok(()) } else { Err(format!("expected {}, got {got:?}", expect["results"])) }
}

fn group(result: &Value) -> Group {
    result["group"].as_object().unwrap().iter().map(|(key, value)| (key.clone(), value.as_str().unwrap())).collect()
}

fn same_value(wanted: &Value, datum: &Datum, tolerance: f64) -> bool {
    match datum {
        Datum::Number(number) => same_number(&wanted["value"], *number, tolerance),
        Datum::Series(series) => {
            let points = wanted["points"].as_array().unwrap();
            points.len() == series.len()
                && points.iter().zip(series.points()).all(|(wanted, (stamp, value))| {
                    wanted[0].as_i64() == Some(*stamp) && same_number(&wanted[1], *value, tolerance)
                })
        }
    }
}

fn same_number(wanted: &Value, number: f64, tolerance: f64) -> bool {
    match wanted {
        Value::String(text) => match text.as_str() {
            "NaN" => number.is_nan(),
            "+Inf" => number == f64::INFINITY,
            _ => text == "-Inf" && number == f64::NEG_INFINITY,
        },
        wanted => {
            let wanted = wanted.as_f64().unwrap();
            (wanted - number).abs() <= tolerance.max(1e-9 * wanted.abs())
        }
    }
}
