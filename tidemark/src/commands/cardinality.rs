//! `tidemark cardinality`.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;

use super::{client::Server, print};
use crate::cli::{CardinalityOptions, Output};

/// Asks and prints.
pub(crate) fn run(options: &CardinalityOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.server)?;
    let text = server.get("/api/tidemark/v1/cardinality", &[("top", options.top.to_string().as_str())])?;
    if options.output.output == Output::Json {
        print::out(&format!("{}\n", text.trim_end()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let report: Value = serde_json::from_str(&text).context("the server's answer is no JSON")?;
    let field = |name: &str| cell(report.get(name));
    let (series, new, minutes) = (field("series"), field("new_series"), field("new_in_minutes"));
    print::out(&format!("{series} series, {new} of them new in the last {minutes} minutes\n\n"))?;
    let metrics = rows(&report, "metrics", &["metric", "series", "new_series", "fastest_tag_key"]);
    print::table(&["METRIC", "SERIES", "NEW", "FASTEST TAG KEY"], &metrics)?;
    print::out("\n")?;
    let tag_keys = rows(&report, "tag_keys", &["tag_key", "values", "series", "new_values"]);
    print::table(&["TAG KEY", "VALUES", "SERIES", "NEW VALUES"], &tag_keys)?;
    print::out("\n")?;
    print::table(&["TAG KEY", "TAG VALUE", "SERIES"], &rows(&report, "tags", &["tag_key", "tag_value", "series"]))?;
    Ok(ExitCode::SUCCESS)
}

fn rows(report: &Value, list: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let entries = report.get(list).and_then(Value::as_array).into_iter().flatten();
    entries.map(|entry| fields.iter().map(|field| cell(entry.get(field))).collect()).collect()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_become_rows_and_what_is_missing_a_dash() {
        let report = json!({"metrics": [{"metric": "cpu", "series": 3, "fastest_tag_key": null}]});
        assert_eq!(rows(&report, "metrics", &["metric", "series", "fastest_tag_key"]), [["cpu", "3", "-"]]);
        assert!(rows(&report, "tags", &["series"]).is_empty());
    }
}
