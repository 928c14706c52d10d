//! `tidemark query`.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;

use super::{client::Server, print};
use crate::cli::{QueryOptions, QueryOutput};

/// Characters of a graph, from nothing to full.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Width of a graph in characters.
const GRAPH_COLUMNS: usize = 60;

/// One series of an answer.
struct Series {
    name: String,
    points: Vec<(i64, Option<f64>)>,
}

/// Asks and prints.
pub(crate) fn run(options: &QueryOptions) -> anyhow::Result<ExitCode> {
    let server = Server::new(&options.server)?;
    let text = if options.expr {
        let time = [("now", options.to.as_str())];
        let path = if options.to == "now" { "/api/expr".to_owned() } else { format!("/api/expr?{}", encode(&time)) };
        server.post(&path, "text/plain", options.query.clone())?
    } else {
        let end = if options.to == "now" { None } else { Some(("end", options.to.as_str())) };
        let mut parameters = vec![("start", options.from.as_str()), ("m", options.query.as_str()), ("ms", "")];
        parameters.extend(end);
        server.get("/api/query", &parameters)?
    };
    if options.output == QueryOutput::Json {
        print::out(&format!("{}\n", text.trim_end()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer: Value = serde_json::from_str(&text).context("the server's answer is no JSON")?;
    let series = if options.expr { expression_results(&answer) } else { query_results(&answer) };
    match options.output {
        QueryOutput::Csv => csv(&series)?,
        QueryOutput::Graph => graph(&series)?,
        QueryOutput::Table | QueryOutput::Json => table(&series)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn encode(parameters: &[(&str, &str)]) -> String {
    tidemark_egress::Url::parse_with_params("http://host/", parameters)
        .ok()
        .and_then(|url| url.query().map(str::to_owned))
        .unwrap_or_default()
}

fn query_results(answer: &Value) -> Vec<Series> {
    let series = answer.as_array().into_iter().flatten().map(|element| Series {
        name: named(element.get("metric").and_then(Value::as_str).unwrap_or_default(), element.get("tags")),
        points: points(element.get("dps"), 1),
    });
    series.collect()
}

fn expression_results(answer: &Value) -> Vec<Series> {
    let results = answer.get("Results").and_then(Value::as_array).into_iter().flatten();
    let series = results.map(|result| {
        let value = result.get("Value");
        let points = match value {
            Some(Value::Object(_)) => points(value, 1_000),
            scalar => vec![(0, scalar.and_then(Value::as_f64))],
        };
        Series { name: named("", result.get("Group")), points }
    });
    series.collect()
}

/// Points of an object of timestamps, in milliseconds after multiplying by `scale`, oldest first.
fn points(object: Option<&Value>, scale: i64) -> Vec<(i64, Option<f64>)> {
    let entries = object.and_then(Value::as_object).into_iter().flatten();
    let mut points: Vec<_> =
        entries.filter_map(|(time, value)| Some((time.parse::<i64>().ok()? * scale, value.as_f64()))).collect();
    points.sort_unstable_by_key(|(time, _)| *time);
    points
}

fn named(metric: &str, tags: Option<&Value>) -> String {
    let tags = tags.and_then(Value::as_object).into_iter().flatten();
    let tags: Vec<_> = tags.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    format!("{metric}{{{}}}", tags.join(","))
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "NaN".to_owned(), |value| value.to_string())
}

fn table(series: &[Series]) -> anyhow::Result<()> {
    let row = |series: &Series| {
        let values: Vec<f64> = series.points.iter().filter_map(|(_, value)| *value).collect();
        let average = values.iter().sum::<f64>() / values.len() as f64;
        let figures = [values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max), Some(average)];
        let last = series.points.last().and_then(|(_, value)| *value);
        let mut row = vec![series.name.clone(), series.points.len().to_string(), shown(last)];
        row.extend(
            figures.into_iter().map(|figure| figure.map_or_else(|| "NaN".to_owned(), |value| format!("{value:.4}"))),
        );
        row
    };
    print::table(&["SERIES", "POINTS", "LAST", "MIN", "MAX", "AVG"], &series.iter().map(row).collect::<Vec<_>>())
}

fn csv(series: &[Series]) -> anyhow::Result<()> {
    let mut text = "series,timestamp_ms,value\n".to_owned();
    for series in series {
        let name = format!("\"{}\"", series.name.replace('"', "\"\""));
        for (time, value) in &series.points {
            text.push_str(&format!("{name},{time},{}\n", shown(*value)));
        }
    }
    print::out(&text)
}

fn graph(series: &[Series]) -> anyhow::Result<()> {
    let row = |series: &Series| {
        let values: Vec<Option<f64>> = series.points.iter().map(|(_, value)| *value).collect();
        vec![series.name.clone(), bars(&values), shown(values.last().copied().flatten())]
    };
    print::table(&["SERIES", "GRAPH", "LAST"], &series.iter().map(row).collect::<Vec<_>>())
}

/// The values as block characters; columns without a value stay blank.
fn bars(values: &[Option<f64>]) -> String {
    let known = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let (Some(low), Some(high)) = (known().reduce(f64::min), known().reduce(f64::max)) else {
        return String::new();
    };
    let per_column = values.len().div_ceil(GRAPH_COLUMNS).max(1);
    let bar = |chunk: &[Option<f64>]| match chunk.iter().flatten().copied().reduce(f64::max) {
        Some(value) if high > low => {
            let level = (value - low) / (high - low) * (BARS.len() - 1) as f64;
            BARS.get(level.round() as usize).copied().unwrap_or(' ')
        }
        Some(_) => BARS[3],
        None => ' ',
    };
    values.chunks(per_column).map(bar).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_graph_has_a_character_for_each_point_up_to_its_width() {
        assert_eq!(bars(&[Some(0.0), Some(7.0), None, Some(3.5)]), "▁█ ▅");
        assert_eq!(bars(&[Some(2.0), Some(2.0)]), "▄▄");
        assert_eq!(bars(&[None]), "");
        assert_eq!(bars(&vec![Some(1.0); 1000]).chars().count(), 59);
    }

    #[test]
    fn answers_of_both_kinds_become_series() {
        let answer = json!([{"metric": "cpu", "tags": {"host": "a"}, "dps": {"2000": 2, "1000": "NaN"}}]);
        let series = query_results(&answer);
        assert_eq!(
            (series[0].name.as_str(), series[0].points.as_slice()),
            ("cpu{host=a}", &[(1000, None), (2000, Some(2.0))][..])
        );
        let answer = json!({"Type": "number", "Results": [{"Group": {"host": "a"}, "Value": 3.5}]});
        assert_eq!(expression_results(&answer)[0].points, [(0, Some(3.5))]);
    }
}
