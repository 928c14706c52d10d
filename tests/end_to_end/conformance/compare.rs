//! Comparing an answer with what a case expects.

use std::collections::BTreeSet;

use regex::RegexBuilder;
use serde_json::Value;
use tidemark_tests::Response;

/// Relative difference of two numbers that count as equal.
const TOLERANCE: f64 = 1e-9;

/// Compares a wanted document with the one found.
type Comparison = fn(&Value, &Value) -> Result<(), String>;

/// Whether the answer is as expected; if not, the first difference.
pub(super) fn check(expect: &Value, answer: &Response) -> Result<(), String> {
    check_status(expect, answer)?;
    let text = answer.text();
    if let Some(wanted) = expect.get("text").and_then(Value::as_str)
        && wanted != text
    {
        return Err(format!("expected the text {wanted:?}, got {text:?}"));
    }
    if let Some(pattern) = expect.get("regex").and_then(Value::as_str) {
        let regex = RegexBuilder::new(pattern).dot_matches_new_line(true).build().unwrap();
        if !regex.is_match(&text) {
            return Err(format!("no {pattern:?} in {text:?}"));
        }
    }
    let on_json: [(&str, Comparison); 6] = [
        ("body", |wanted, found| equal(wanted, found, "$")),
        ("contains", |wanted, found| contains(wanted, found, "$")),
        ("dps", same_series),
        ("set_contains", has_members),
        ("keys_contain", has_keys),
        ("sorted_columns", same_columns),
    ];
    for (key, compare) in on_json {
        if let Some(wanted) = expect.get(key) {
            let found = serde_json::from_str(&text).map_err(|error| format!("no JSON ({error}): {text:?}"))?;
            compare(wanted, &found).map_err(|problem| format!("{key}: {problem}"))?;
        }
    }
    Ok(())
}

fn check_status(expect: &Value, answer: &Response) -> Result<(), String> {
    let fits = match expect.get("status") {
        None => true,
        Some(Value::Array(several)) => several.iter().any(|status| status == answer.status),
        Some(status) => status == answer.status,
    };
    if fits {
        return Ok(());
    }
    Err(format!("expected status {}, got {} {}", expect["status"], answer.status, answer.text()))
}

/// Equality, but for numbers that differ by less than the tolerance.
fn equal(wanted: &Value, found: &Value, path: &str) -> Result<(), String> {
    match (wanted, found) {
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            let close = (left - right).abs() <= TOLERANCE * 1_f64.max(left.abs()).max(right.abs());
            if close { Ok(()) } else { Err(format!("{path}: expected {left}, got {right}")) }
        }
        (Value::Object(left), Value::Object(right)) => {
            if !left.keys().eq(right.keys()) {
                return Err(format!("{path}: expected {wanted}, got {found}"));
            }
            left.iter().try_for_each(|(key, value)| equal(value, &right[key], &format!("{path}.{key}")))
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            pairs.into_iter().try_for_each(|(index, (left, right))| equal(left, right, &format!("{path}[{index}]")))
        }
        _ if wanted == found => Ok(()),
        _ => Err(format!("{path}: expected {wanted}, got {found}")),
    }
}

/// Every key of an expected object matches, every element of an expected array matches some element; a `message` of
/// null is any.
fn contains(wanted: &Value, found: &Value, path: &str) -> Result<(), String> {
    match (wanted, found) {
        (Value::Object(entries), Value::Object(_)) => entries.iter().try_for_each(|(key, value)| {
            let inner = found.get(key).ok_or_else(|| format!("{path}: no {key} in {found}"))?;
            if key == "message" && value.is_null() { Ok(()) } else { contains(value, inner, &format!("{path}.{key}")) }
        }),
        (Value::Array(items), Value::Array(several)) => items.iter().try_for_each(|item| {
            let any = several.iter().any(|candidate| contains(item, candidate, path).is_ok());
            if any { Ok(()) } else { Err(format!("{path}: nothing in {found} matches {item}")) }
        }),
        _ => equal(wanted, found, path),
    }
}

/// Each expected series matches exactly one of the answer, in any order.
fn same_series(wanted: &Value, found: &Value) -> Result<(), String> {
    let found = found.as_array().ok_or_else(|| format!("no array: {found}"))?;
    let mut left: Vec<&Value> = found.iter().filter(|element| element.get("metric").is_some()).collect();
    let wanted = wanted.as_array().unwrap();
    if wanted.len() != left.len() {
        return Err(format!("expected {} series, got {}: {found:?}", wanted.len(), left.len()));
    }
    for series in wanted {
        let problems: Vec<_> = left.iter().map(|candidate| same_one(series, candidate)).collect();
        match problems.iter().position(Result::is_ok) {
            Some(position) => drop(left.remove(position)),
            None => return Err(format!("nothing matches {series}: {problems:?}")),
        }
    }
    Ok(())
}

fn same_one(wanted: &Value, found: &Value) -> Result<(), String> {
    equal(&wanted["metric"], &found["metric"], "metric")?;
    if let Some(tags) = wanted.get("tags") {
        equal(tags, &found["tags"], "tags")?;
    }
    if let Some(keys) = wanted.get("aggregateTags") {
        let set = |keys: &Value| keys.as_array().unwrap().iter().map(Value::to_string).collect::<BTreeSet<_>>();
        if set(keys) != set(&found["aggregateTags"]) {
            return Err(format!("aggregateTags: expected {keys}, got {}", found["aggregateTags"]));
        }
    }
    equal(&wanted["dps"], &found["dps"], "dps")
}

fn has_members(wanted: &Value, found: &Value) -> Result<(), String> {
    let members = found.as_array().ok_or("no array")?;
    let missing: Vec<_> = wanted.as_array().unwrap().iter().filter(|member| !members.contains(member)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("missing {missing:?}")) }
}

fn has_keys(wanted: &Value, found: &Value) -> Result<(), String> {
    let keys = wanted.as_array().unwrap().iter().filter_map(Value::as_str);
    let missing: Vec<_> = keys.filter(|key| found.get(key).is_none()).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("missing {missing:?}")) }
}

/// Rows of a table whose columns after the first come in any order.
fn same_columns(wanted: &Value, found: &Value) -> Result<(), String> {
    let mut rows = found["outputs"][0]["dps"].clone();
    for row in rows.as_array_mut().ok_or("no rows")? {
        let row = row.as_array_mut().ok_or("a row is no array")?;
        row[1..].sort_by(|left, right| left.as_f64().unwrap().total_cmp(&right.as_f64().unwrap()));
    }
    equal(wanted, &rows, "$")
}
