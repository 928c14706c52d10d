//! Metrics, the expressions over them, and which of both are shown.

use std::collections::{BTreeSet, HashMap};

use super::{ExpressionError, FillPolicy, Formula, Join, ShiftedSubQuery, check_id};

/// What `/api/query/exp` asks, checked: every id is there once, every formula finds its variables, none depends on itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpressionQuery {
    pub(super) metrics: Vec<MetricVariable>,
    pub(super) expressions: Vec<NamedFormula>,
    pub(super) outputs: Vec<Output>,
    /// Positions of the expressions, those first that others need.
    pub(super) order: Vec<usize>,
}

/// A metric with an id.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricVariable {
    /// How expressions and outputs call it.
    pub id: String,
    /// What to read.
    pub source: ShiftedSubQuery,
    /// What stands for points that are missing; zero when nothing is said.
    pub fill: Option<FillPolicy>,
}

/// A formula with an id.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedFormula {
    /// How other expressions and outputs call it.
    pub id: String,
    /// What to compute.
    pub formula: Formula,
    /// Which series belong together.
    pub join: Join,
    /// What stands for its missing values and NaN in other expressions; NaN when nothing is said.
    pub fill: Option<FillPolicy>,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The id of a metric or of an expression.
    pub id: String,
    /// What to call it.
    pub alias: Option<String>,
}

impl ExpressionQuery {
    /// Checks and orders. Without outputs all expressions are shown, and without these all metrics. An output whose id
    /// nothing has is left out, as OpenTSDB does it.
    ///
    /// # Errors
    /// Says in OpenTSDB's words which id is wrong, there twice, missing, or part of a circle.
    pub fn new(
        metrics: Vec<MetricVariable>,
        expressions: Vec<NamedFormula>,
        outputs: Vec<Output>,
    ) -> Result<Self, ExpressionError> {
        if metrics.is_empty() {
            return Err(ExpressionError::NoMetrics);
        }
        check_ids(&metrics, &expressions, &outputs)?;
        let order = order(&expressions)?;
        let shown = |ids: Vec<&String>| ids.into_iter().map(|id| Output { id: id.clone(), alias: None }).collect();
        let outputs = match (outputs.is_empty(), expressions.is_empty()) {
            (false, _) => outputs,
            (true, false) => shown(expressions.iter().map(|expression| &expression.id).collect()),
            (true, true) => shown(metrics.iter().map(|metric| &metric.id).collect()),
        };
        Ok(Self { metrics, expressions, outputs, order })
    }

    /// What to read, in the order in which [`Self::evaluate`] asks for it.
    pub fn sources(&self) -> impl Iterator<Item = &ShiftedSubQuery> {
        self.metrics.iter().map(|metric| &metric.source)
    }
}

fn check_ids(
    metrics: &[MetricVariable],
    expressions: &[NamedFormula],
    outputs: &[Output],
) -> Result<(), ExpressionError> {
    let mut known = BTreeSet::new();
    for metric in metrics {
        check_id(&metric.id)?;
        if !known.insert(metric.id.as_str()) {
            return Err(ExpressionError::DuplicateMetric(metric.id.clone()));
        }
    }
    for expression in expressions {
        check_id(&expression.id)?;
        if !known.insert(expression.id.as_str()) {
            return Err(ExpressionError::DuplicateExpression(expression.id.clone()));
        }
    }
    for expression in expressions {
        let unknown = expression.formula.variables().iter().find(|variable| !known.contains(variable.as_str()));
        if let Some(variable) = unknown {
            let (expression, variable) = (expression.formula.text().to_owned(), variable.clone());
            return Err(ExpressionError::MissingInput { expression, variable });
        }
    }
    outputs.iter().try_for_each(|output| check_id(&output.id))
}

/// Puts every expression after those that it needs, otherwise in the order in which they were given: the order in which a
/// walk from each to what it needs leaves them.
fn order(expressions: &[NamedFormula]) -> Result<Vec<usize>, ExpressionError> {
    let positions: HashMap<&str, usize> =
        expressions.iter().enumerate().map(|(position, expression)| (expression.id.as_str(), position)).collect();
    let needed: Vec<Vec<usize>> = expressions
        .iter()
        .map(|expression| expression.formula.variables().iter().filter_map(|id| positions.get(id.as_str()).copied()))
        .map(Iterator::collect)
        .collect();
    let id_of = |position: usize| expressions.get(position).map(|expression| expression.id.clone()).unwrap_or_default();
    if let Some((own, _)) = needed.iter().enumerate().find(|(position, needed)| needed.contains(position)) {
        return Err(ExpressionError::SelfReference(id_of(own)));
    }
    let mut visits = vec![Visit::Before; expressions.len()];
    let mut order = Vec::with_capacity(expressions.len());
    for start in 0..expressions.len() {
        let mut walk = vec![start];
        while let Some(&position) = walk.last() {
            let Some(visit) = visits.get_mut(position) else { break };
            if *visit == Visit::Before {
                *visit = Visit::Inside;
                for &next in needed.get(position).into_iter().flatten() {
                    match visits.get(next) {
                        Some(Visit::Inside) => return Err(ExpressionError::CircularReference(id_of(next))),
                        Some(Visit::Before) => walk.push(next),
                        Some(Visit::After) | None => {}
                    }
                }
                continue;
            }
            if *visit == Visit::Inside {
                *visit = Visit::After;
                order.push(position);
            }
            walk.pop();
        }
    }
    Ok(order)
}

/// Where the walk stands with an expression.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    Before,
    /// What it needs is being looked at.
    Inside,
    After,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SubQuery;

    fn metric(id: &str) -> MetricVariable {
        let source = ShiftedSubQuery { sub_query: SubQuery::parse("sum:m").unwrap(), shift_ms: 0 };
        MetricVariable { id: id.to_owned(), source, fill: None }
    }

    fn query(
        metrics: &[&str],
        expressions: &[(&str, &str)],
        outputs: &[&str],
    ) -> Result<ExpressionQuery, ExpressionError> {
        let expressions = expressions.iter().map(|(id, text)| NamedFormula {
            id: (*id).to_owned(),
            formula: Formula::parse(text).unwrap(),
            join: Join::default(),
            fill: None,
        });
        let outputs = outputs.iter().map(|id| Output { id: (*id).to_owned(), alias: None });
        ExpressionQuery::new(metrics.iter().map(|id| metric(id)).collect(), expressions.collect(), outputs.collect())
    }

    #[test]
    fn expressions_come_after_those_that_they_need() {
        let found = query(&["a"], &[("e2", "e * 2"), ("e4", "e2 + e3"), ("e3", "e"), ("e", "a")], &[]).unwrap();
        assert_eq!(found.order, [3, 0, 2, 1]);
        let ids: Vec<_> = found.outputs.iter().map(|output| output.id.as_str()).collect();
        assert_eq!(ids, ["e2", "e4", "e3", "e"]);
        assert_eq!(query(&["a", "b"], &[], &[]).unwrap().outputs.len(), 2);
    }

    #[test]
    fn ids_that_cannot_be_resolved_are_named() {
        let check = |metrics: &[&str], expressions: &[(&str, &str)], outputs: &[&str], expect: &str| {
            assert_eq!(query(metrics, expressions, outputs).unwrap_err().to_string(), expect);
        };
        check(&[], &[], &[], "missing or empty metrics");
        check(&[""], &[], &[], "missing or empty id");
        check(&["a-b"], &[], &[], "Invalid id (\"a-b\"): illegal character: -");
        check(&["a", "a"], &[], &[], "duplicated metric id: a");
        check(&["a"], &[("a", "a")], &[], "Duplicated variable or expression id: a");
        check(&["a"], &[("e", "a + c")], &[], "Expression [a + c] was missing input c");
        check(&["a"], &[("e", "a + e")], &[], "Self referencing expression found: e");
        check(&["a"], &[("x", "a"), ("e", "f + a"), ("f", "e * 2")], &[], "Circular reference found: e");
        check(&["a"], &[], &["1"], "Invalid id (\"1\"): illegal character: 1");
    }
}
