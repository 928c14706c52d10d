//! What the server answers, for people.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;
use tidemark_model::{Clock, SystemClock};

use super::print;
use crate::cli::{Output, OutputOptions};

/// Prints an answer as it came, or has it printed for people.
pub(super) fn json_or(
    text: &str,
    options: &OutputOptions,
    for_people: impl FnOnce(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    match options.output {
        Output::Json => print::out(&format!("{}\n", text.trim_end()))?,
        Output::Table => for_people(&serde_json::from_str(text).context("the server's answer is no JSON")?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A row for each entry of a list of an answer.
pub(super) fn rows_of(answer: &Value, list: &str, row: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    answer.get(list).and_then(Value::as_array).into_iter().flatten().map(row).collect()
}

/// Name and value of each field but these, with names as they are read.
pub(super) fn fields(object: &Value, without: &[&str]) -> Vec<(String, String)> {
    let fields = object.as_object().into_iter().flatten();
    let wanted = fields.filter(|(name, _)| !without.contains(&name.as_str()));
    wanted.map(|(name, value)| (name.clone(), cell(Some(value)))).collect()
}

/// A value on one line; a dash for nothing.
pub(super) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => on_one_line(text),
        Some(Value::Array(values)) if values.iter().all(Value::is_string) => {
            values.iter().map(|value| cell(Some(value))).collect::<Vec<_>>().join(",")
        }
        Some(other) => other.to_string(),
    }
}

/// Nothing in a text of somebody else moves the cursor of whoever reads it.
fn on_one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// How long ago, or ahead.
pub(super) fn age(at_ms: Option<i64>) -> String {
    let Some(at_ms) = at_ms else { return "-".to_owned() };
    let ago_ms = SystemClock::new().now_ms().saturating_sub(at_ms);
    match ago_ms {
        0.. => duration(Some(ago_ms)),
        _ => format!("in {}", duration(Some(ago_ms.saturating_neg()))),
    }
}

/// A duration in its largest unit, with one digit behind the point for seconds.
pub(super) fn duration(millis: Option<i64>) -> String {
    match millis {
        None => "-".to_owned(),
        Some(millis @ ..1_000) => format!("{millis}ms"),
        Some(millis @ ..60_000) => format!("{}.{}s", millis / 1_000, millis % 1_000 / 100),
        Some(millis @ ..3_600_000) => format!("{}m{}s", millis / 60_000, millis / 1_000 % 60),
        Some(millis @ ..86_400_000) => format!("{}h{}m", millis / 3_600_000, millis / 60_000 % 60),
        Some(millis) => format!("{}d{}h", millis / 86_400_000, millis / 3_600_000 % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_short() {
        for (millis, text) in
            [(0, "0ms"), (999, "999ms"), (2_500, "2.5s"), (61_000, "1m1s"), (3_660_000, "1h1m"), (90_000_000, "1d1h")]
        {
            assert_eq!(duration(Some(millis)), text);
        }
        assert_eq!(duration(None), "-");
    }

    #[test]
    fn a_value_stays_on_its_line() {
        assert_eq!(cell(Some(&json!("a\nb\u{1b}[31m"))), "a b [31m");
        assert_eq!(cell(Some(&json!(["a", "b"]))), "a,b");
        assert_eq!(cell(Some(&json!({"a": 1}))), "{\"a\":1}");
        assert_eq!((cell(None), cell(Some(&Value::Null))), ("-".to_owned(), "-".to_owned()));
    }
}
