//! The cases of `tests/data/opentsdb_cases.json`, each of which was confirmed on OpenTSDB 2.4 and 2.5.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{put_http::gzip, started::Started};

/// Relative error that numbers may have, as the cases define it.
const TOLERANCE: f64 = 1e-9;

/// Cases that are not met; each must fail, so that the list cannot go stale.
const UNMET: &str = include_str!("../../../tests/data/opentsdb_unmet.txt");

#[test]
fn every_case_is_answered_as_opentsdb_answers_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/opentsdb_cases.json");
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let server = Started::new();
    let unmet: Vec<_> = UNMET.lines().filter_map(|line| line.split(' ').next()).collect();
    let failed: Vec<_> = cases
        .iter()
        .filter_map(|case| {
            let name = case["name"].as_str().unwrap();
            match (run(&server, case), unmet.contains(&name)) {
                (Ok(()), false) | (Err(_), true) => None,
                (Ok(()), true) => Some(format!("{name} passes now; take it off the list")),
                (Err(error), false) => Some(format!("{name}: {error}")),
            }
        })
        .collect();
    assert!(cases.len() >= 100, "{} cases", cases.len());
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

fn run(server: &Started, case: &Value) -> Result<(), String> {
    for points in case["put"].as_array().unwrap().chunks(50) {
        let answer = server.client().post("/api/put?sync", &json!(points).to_string());
        if answer.status != 204 {
            return Err(format!("the points were answered {} {}", answer.status, answer.text()));
        }
    }
    let mut captured = BTreeMap::new();
    let request = &case["request"];
    if request["method"] != "SEQ" {
        return check(&case["expect"], &ask(server, request, &captured));
    }
    let mut last = (0, String::new());
    for step in request["steps"].as_array().unwrap() {
        last = ask(server, step, &captured);
        if let Some(expected) = step.get("expect") {
            check(expected, &last)?;
        }
        for (name, place) in step["capture"].as_object().into_iter().flatten() {
            let pointer = place.as_str().unwrap().trim_start_matches('$').replace(['.', '['], "/").replace(']', "");
            let answer: Value = serde_json::from_str(&last.1).unwrap();
            captured.insert(name.clone(), answer.pointer(&pointer).unwrap().as_str().unwrap().to_owned());
        }
    }
    check(&case["expect"], &last)
}

/// Status and body of an answer; 200 and all replies for lines.
fn ask(server: &Started, request: &Value, captured: &BTreeMap<String, String>) -> (u16, String) {
    let fill = |text: &str| {
        captured.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    };
    let mut client = server.client();
    if request["method"] == "TELNET" {
        for line in request["lines"].as_array().unwrap() {
            client.send(format!("{}\n", line.as_str().unwrap()));
        }
        client.half_close();
        return (200, client.read_to_end());
    }
    let body = match &request["body"] {
        Value::Null => String::new(),
        Value::String(text) => fill(text),
        body => fill(&body.to_string()),
    };
    let (method, path) = (request["method"].as_str().unwrap(), fill(request["path"].as_str().unwrap()));
    let answer = if request["gzip"] == true {
        client.request(method, &path, "Content-Encoding: gzip\r\n", gzip(body.as_bytes()))
    } else if request["chunked"] == true {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"));
        client.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
        client.answer()
    } else {
        client.request(method, &path, "", body)
    };
    (answer.status, answer.text().to_owned())
}

fn check(expected: &Value, (status, text): &(u16, String)) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: expected {expected}, got {status} {text}"));
    for (key, value) in expected.as_object().unwrap() {
        let answer: Value = serde_json::from_str(text).unwrap_or_default();
        let holds = match key.as_str() {
            "status" => value == status || value.as_array().is_some_and(|all| all.contains(&json!(status))),
            "text" => value == text,
            "regex" => regex::Regex::new(value.as_str().unwrap()).unwrap().is_match(text),
            "body" => equal(value, &answer),
            "contains" => contains(value, &answer),
            "dps" => series_match(value, &answer),
            "sorted_columns" => rows_match(value, &answer["outputs"][0]["dps"]),
            "set_contains" => value.as_array().unwrap().iter().all(|item| answer.as_array().unwrap().contains(item)),
            "keys_contain" => value.as_array().unwrap().iter().all(|key| answer.get(key.as_str().unwrap()).is_some()),
            other => return Err(format!("no such expectation: {other}")),
        };
        if !holds {
            return wrong(key);
        }
    }
    Ok(())
}

fn equal(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            (left - right).abs() <= TOLERANCE * left.abs().max(right.abs()).max(1.0)
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|found| equal(value, found)))
        }
        _ => expected == actual,
    }
}

/// Every expected field is there, and every expected element is somewhere.
fn contains(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(left), Value::Object(right)) => left.iter().all(|(key, value)| {
            right.get(key).is_some_and(|found| (key == "message" && value.is_null()) || contains(value, found))
        }),
        (Value::Array(left), Value::Array(right)) => {
            left.iter().all(|expected| right.iter().any(|actual| contains(expected, actual)))
        }
        _ => equal(expected, actual),
    }
}

/// The expected series are those of the answer, in any order.
fn series_match(expected: &Value, actual: &Value) -> bool {
    let sorted = |value: &Value| {
        let mut names: Vec<_> =
            value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let same = |expected: &Value, actual: &Value| {
        let field = |name: &str| expected.get(name).is_none_or(|value| equal(value, &actual[name]));
        let aggregated = |value: &Value| sorted(value) == sorted(&actual["aggregateTags"]);
        field("metric") && field("tags") && field("dps") && expected.get("aggregateTags").is_none_or(aggregated)
    };
    let mut left: Vec<&Value> =
        actual.as_array().into_iter().flatten().filter(|item| item.get("metric").is_some()).collect();
    let expected = expected.as_array().unwrap();
    left.len() == expected.len()
        && expected.iter().all(|wanted| match left.iter().position(|actual| same(wanted, actual)) {
            Some(position) => {
                left.swap_remove(position);
                true
            }
            None => false,
        })
}

/// The rows of a table are those expected when their values, after the timestamp, are sorted.
fn rows_match(expected: &Value, actual: &Value) -> bool {
    let sorted = |row: &Value| {
        let mut row = row.as_array().cloned().unwrap_or_default();
        let value = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        row.get_mut(1..).unwrap_or_default().sort_by(|left, right| value(left).total_cmp(&value(right)));
        Value::Array(row)
    };
    actual.as_array().is_some_and(|rows| equal(expected, &Value::Array(rows.iter().map(sorted).collect())))
}
