//! Pictures of series, and what the browser needs to draw them itself.

use minijinja::{Environment, Error, ErrorKind, Value, value::Serde};
use serde::Serialize;

use crate::{
    svg::{LineGraph, Sparkline, SvgSeries},
    units::{Unit, format_quantity},
    view::{Graph, GraphQuery, GraphSeries},
};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("spark", spark);
    environment
        .add_filter("graph_svg", |graph: Serde<Graph>, width: u32, height: u32| graph_svg(&graph, width, height));
    environment.add_filter("graph_summary", |graph: Serde<Graph>| summary(&graph));
    environment.add_filter("graph_legend", |graph: Serde<Graph>| Value::from(Serde(legend(&graph))));
    environment.add_filter("graph_setup", |graph: Serde<Graph>| setup(&graph));
}

fn spark(values: Serde<Vec<Option<f64>>>, label: &str, maximum: Option<f64>) -> Value {
    Value::from_safe_string(Sparkline { values: &values, width: 72, height: 18, maximum, label }.to_svg())
}

fn graph_svg(graph: &Graph, width: u32, height: u32) -> Value {
    let series: Vec<SvgSeries<'_>> =
        graph.data.series.iter().map(|series| SvgSeries { label: &series.label, values: &series.values }).collect();
    let picture = LineGraph {
        title: &graph.title,
        summary: &summary(graph),
        unit: graph.unit,
        width,
        height,
        start_ms: graph.start_ms,
        end_ms: graph.end_ms,
        minimum: graph.minimum,
        maximum: graph.maximum,
        stacked: graph.stacked,
        times_ms: &graph.data.times_ms,
        series: &series,
    };
    Value::from_safe_string(picture.to_svg())
}

/// One sentence with numbers: `CPU: 4 series, highest now user at 91.2 %.`
fn summary(graph: &Graph) -> String {
    let count = graph.data.series.len();
    let newest = graph.data.series.iter().filter_map(|series| Some((last(series)?, series.label.as_str())));
    match newest.max_by(|(left, _), (right, _)| left.total_cmp(right)) {
        Some((value, label)) => {
            format!("{}: {count} series, highest now {label} at {}.", graph.title, format_quantity(value, graph.unit))
        }
        None => format!("{}: no data in this range.", graph.title),
    }
}

/// One row of a legend.
#[derive(Serialize)]
struct LegendRow<'a> {
    label: &'a str,
    colour: usize,
    unit: Unit,
    last: Option<f64>,
    minimum: Option<f64>,
    mean: Option<f64>,
    maximum: Option<f64>,
}

fn legend(graph: &Graph) -> Vec<LegendRow<'_>> {
    graph.data.series.iter().enumerate().map(|(position, series)| legend_row(graph, position, series)).collect()
}

fn legend_row<'a>(graph: &Graph, position: usize, series: &'a GraphSeries) -> LegendRow<'a> {
    LegendRow {
        label: &series.label,
        colour: position % 8,
        unit: graph.unit,
        last: last(series),
        minimum: values(series).reduce(f64::min),
        mean: mean(series),
        maximum: values(series).reduce(f64::max),
    }
}

fn values(series: &GraphSeries) -> impl DoubleEndedIterator<Item = f64> {
    series.values.iter().copied().flatten().filter(|value| value.is_finite())
}

fn last(series: &GraphSeries) -> Option<f64> {
    values(series).next_back()
}

fn mean(series: &GraphSeries) -> Option<f64> {
    let count = values(series).count();
    (count > 0).then(|| values(series).sum::<f64>() / count as f64)
}

/// What the browser needs to draw the graph itself.
#[derive(Serialize)]
struct Setup<'a> {
    title: &'a str,
    unit: Unit,
    queries: &'a [GraphQuery],
    from: &'a str,
    to: &'a str,
    stacked: bool,
    minimum: Option<f64>,
    maximum: Option<f64>,
}

/// The set-up as JSON, to be escaped into an attribute by the template.
fn setup(graph: &Graph) -> Result<String, Error> {
    let Graph { title, unit, queries, from, to, stacked, minimum, maximum, .. } = graph;
    let setup =
        Setup { title, unit: *unit, queries, from, to, stacked: *stacked, minimum: *minimum, maximum: *maximum };
    serde_json::to_string(&setup)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, "set-up of a graph").with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(values: Vec<Option<f64>>) -> Graph {
        let series = GraphSeries { label: "user".to_owned(), values, ..GraphSeries::default() };
        let mut graph = Graph { title: "CPU".to_owned(), unit: Unit::Percent, ..Graph::default() };
        graph.data.series.push(series);
        graph
    }

    #[test]
    fn the_legend_passes_over_gaps() {
        let graph = graph(vec![None, Some(10.0), Some(40.0), None]);
        let rows = legend(&graph);
        assert_eq!((rows[0].last, rows[0].minimum, rows[0].mean), (Some(40.0), Some(10.0), Some(25.0)));
        assert_eq!(summary(&graph), "CPU: 1 series, highest now user at 40.0 %.");
    }

    #[test]
    fn a_graph_without_data_says_so() {
        assert_eq!(summary(&graph(vec![None])), "CPU: no data in this range.");
    }
}
