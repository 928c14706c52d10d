//! The picture of an incident: what its rule asked for, around the time of the incident.

use tidemark_alert::book::IncidentView;
use tidemark_dashboards::{Graph, GraphQuery};

use super::{Console, asking::Window};

/// How much is shown before an incident was opened and after it was closed.
const AROUND_MS: i64 = 30 * 60_000;
/// Longest window; of an incident that has been open for longer the end is shown.
const LONGEST_MS: i64 = 24 * 3_600_000;
/// Width of the picture in pixels.
const WIDTH_PX: u32 = 1_100;
/// Queries that are drawn.
const QUERIES_MAX: usize = 4;

impl Console {
    /// The graph of an incident, if its expression asks for anything that can be drawn.
    pub(super) async fn incident_graph(&self, incident: &IncidentView) -> Option<Graph> {
        let queries = queries_of(&incident.expression);
        if queries.is_empty() {
            return None;
        }
        let now_ms = self.seams.clock.now_ms();
        let end_ms = incident.closed_at.map_or(now_ms, |closed| now_ms.min(closed + AROUND_MS));
        let start_ms = (incident.opened_at - AROUND_MS).max(end_ms - LONGEST_MS);
        let window = Window { start_ms, end_ms };
        let data = match self.asker.graph_or_empty(&queries, window, WIDTH_PX).await {
            Ok(data) => data,
            Err(error) => {
                tracing::debug!(%error, incident = %incident.id, "the graph of an incident cannot be drawn");
                return None;
            }
        };
        let unit = data.series.first().map(|series| series.unit).unwrap_or_default();
        Some(Graph {
            id: "incident".to_owned(),
            title: "What the rule looked at".to_owned(),
            unit,
            queries,
            from: start_ms.to_string(),
            to: if incident.open { "now".to_owned() } else { end_ms.to_string() },
            start_ms,
            end_ms,
            data,
            ..Graph::default()
        })
    }
}

/// The queries in an expression: the first argument of each `q(…)`. The tags of the incident are filled in already.
fn queries_of(expression: &str) -> Vec<GraphQuery> {
    let mut queries: Vec<GraphQuery> = Vec::new();
    for (position, call) in expression.match_indices("q(\"") {
        let is_longer_name = expression.get(..position).is_some_and(|before| before.ends_with(char::is_alphanumeric));
        let rest = expression.get(position + call.len()..).unwrap_or_default();
        let Some((m, _)) = rest.split_once('"').filter(|(m, _)| !is_longer_name && !m.contains('\\')) else { continue };
        if queries.len() < QUERIES_MAX && queries.iter().all(|known| known.m != m) {
            queries.push(GraphQuery { m: m.to_owned(), label_tag: None });
        }
    }
    queries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queries_of_an_expression_are_drawn_once_each() {
        let check = |expression: &str, expect: &[&str]| {
            let queries: Vec<_> = queries_of(expression).into_iter().map(|query| query.m).collect();
            assert_eq!(queries, expect, "{expression}");
        };
        check(r#"avg(q("sum:a{host=x}", "5m", "")) > 1"#, &["sum:a{host=x}"]);
        check(r#"q("sum:a","1h","") / q("sum:b","1h","") + q("sum:a","1h","")"#, &["sum:a", "sum:b"]);
        check(r#"seq("sum:a") + 1"#, &[]);
        check(r#"q("sum:a"#, &[]);
    }
}
