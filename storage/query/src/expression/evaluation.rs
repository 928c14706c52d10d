//! Evaluating an expression query over what was read for it.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
    rc::Rc,
};

use tidemark_model::TimestampMs;

use super::{
    ExpressionQuery, FillPolicy, MetricVariable, NamedFormula, Output, OutputColumn, OutputTable,
    budget::PointBudget,
    join::JoinedSeries,
    series::{Variable, VariableSeries, compute, joined_tags, union_of},
};
use crate::{EvaluationControl, Filter, GroupResult, QueryError};

impl ExpressionQuery {
    /// Evaluates everything and hands out the tables of the outputs, in order.
    ///
    /// `source` gives the groups of the sub-query at that position of [`Self::sources`], each once. Everything that a
    /// request holds together has at most as many points as one sub-query may hand out, and so have all outputs.
    ///
    /// # Errors
    /// What `source` says; [`QueryError::NoIntersection`]; [`QueryError::Cancelled`]; the limit of `control`. It has handed
    /// out nothing then.
    pub fn evaluate(
        &self,
        control: &EvaluationControl<'_>,
        mut source: impl FnMut(usize) -> Result<Vec<GroupResult>, QueryError>,
        mut emit: impl FnMut(&OutputTable<'_>) -> ControlFlow<()>,
    ) -> Result<(), QueryError> {
        let mut evaluation = Evaluation { budget: PointBudget::new(control), control, found: HashMap::new() };
        for (position, metric) in self.metrics.iter().enumerate() {
            evaluation.metric(metric, source(position)?)?;
        }
        for expression in self.order.iter().filter_map(|&position| self.expressions.get(position)) {
            evaluation.expression(expression)?;
        }
        let (mut held, mut shown) = (evaluation.budget, PointBudget::new(control));
        let tables = self.outputs.iter().map(|output| evaluation.table(output, &mut held, &mut shown));
        let tables = tables.collect::<Result<Vec<_>, _>>()?;
        for table in tables.into_iter().flatten() {
            if emit(&table).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// A variable, and how it is shown.
struct Known<'a> {
    id: &'a str,
    variable: Variable,
    nan_is_null: bool,
    /// Instants of the table, when it is shown.
    timeline: Rc<Vec<TimestampMs>>,
}

struct Evaluation<'a> {
    control: &'a EvaluationControl<'a>,
    budget: PointBudget,
    found: HashMap<&'a str, Known<'a>>,
}

impl<'a> Evaluation<'a> {
    /// Between steps whose cost grows with all points that are held.
    fn check_wanted(&self) -> Result<(), QueryError> {
        if (self.control.cancelled)() { Err(QueryError::Cancelled) } else { Ok(()) }
    }

    fn metric(&mut self, metric: &'a MetricVariable, groups: Vec<GroupResult>) -> Result<(), QueryError> {
        for group in &groups {
            self.budget.take(group.timestamps.len(), 1)?;
        }
        let fill = metric.fill.unwrap_or(FillPolicy::Zero);
        let keys = metric.source.sub_query.filters().iter().map(|filter: &Filter| filter.key().to_owned()).collect();
        let variable = Variable::new(groups, keys, fill.value());
        self.know(&metric.id, variable, fill == FillPolicy::Null);
        Ok(())
    }

    fn expression(&mut self, expression: &'a NamedFormula) -> Result<(), QueryError> {
        self.check_wanted()?;
        let names = expression.formula.variables();
        let variables: Vec<&Variable> =
            names.iter().filter_map(|name| self.found.get(name.as_str())).map(|known| &known.variable).collect();
        let joined = expression.join.of(&variables);
        let has_series = variables.iter().any(|variable| !variable.series.is_empty());
        if joined.is_empty() && has_series {
            return Err(QueryError::NoIntersection { expression: expression.id.clone() });
        }
        let taking_part = joined.iter().flatten().filter_map(|&member| series_of(&variables, member));
        let timeline = union_of(taking_part.map(|series| &series.timestamps));
        self.budget.take(timeline.len(), joined.len())?;
        let mut series = Vec::with_capacity(joined.len());
        for members in &joined {
            let values = compute(&expression.formula, &variables, members, &timeline, self.control)?;
            let of = |&member: &JoinedSeries| series_of(&variables, member);
            let (tags, aggregate_tags) = joined_tags(
                members.iter().filter_map(of).map(|member| (member.tags.as_slice(), member.aggregate_tags.as_slice())),
            );
            // A union names the metrics of all variables, also of one whose series is missing here and stands for 0.
            let metrics = variables.iter().enumerate().flat_map(|(position, variable)| {
                let member = members.iter().find(|(of, _)| *of == position).map_or(0, |&(_, index)| index);
                variable.series.get(member).map(|series| series.metrics.iter().cloned())
            });
            let metrics = metrics.flatten().collect();
            series.push(VariableSeries { metrics, tags, aggregate_tags, timestamps: Rc::clone(&timeline), values });
        }
        let query_keys: BTreeSet<String> =
            variables.iter().flat_map(|variable| variable.query_keys.iter().cloned()).collect();
        let fill = expression.fill.unwrap_or(FillPolicy::Nan);
        let variable = Variable { series, query_keys, fill: fill.value() };
        self.know(&expression.id, variable, fill == FillPolicy::Null);
        Ok(())
    }

    fn know(&mut self, id: &'a str, variable: Variable, nan_is_null: bool) {
        let timeline = union_of(variable.series.iter().map(|series| &series.timestamps));
        self.found.insert(id, Known { id, variable, nan_is_null, timeline });
    }

    /// The table of an output; none when nothing has its id.
    fn table<'b>(
        &'b self,
        output: &'b Output,
        held: &mut PointBudget,
        shown: &mut PointBudget,
    ) -> Result<Option<OutputTable<'b>>, QueryError> {
        let Some(known) = self.found.get(output.id.as_str()) else { return Ok(None) };
        shown.take(known.timeline.len(), known.variable.series.len())?;
        let mut columns = Vec::with_capacity(known.variable.series.len());
        for series in &known.variable.series {
            self.check_wanted()?;
            let values = if *series.timestamps == *known.timeline {
                Cow::Borrowed(series.values.as_slice())
            } else {
                held.take(known.timeline.len(), 1)?;
                Cow::Owned(spread(series, &known.timeline, known.variable.fill))
            };
            columns.push(OutputColumn {
                metrics: &series.metrics,
                common_tags: &series.tags,
                aggregate_tags: &series.aggregate_tags,
                values,
            });
        }
        let (alias, nan_is_null) = (output.alias.as_deref(), known.nan_is_null);
        Ok(Some(OutputTable { id: known.id, alias, timestamps: &known.timeline, columns, nan_is_null }))
    }
}

fn series_of<'a>(variables: &[&'a Variable], (variable, index): JoinedSeries) -> Option<&'a VariableSeries> {
    variables.get(variable)?.series.get(index)
}

/// The values of a series at all instants of a table.
fn spread(series: &VariableSeries, timeline: &[TimestampMs], fill: f64) -> Vec<f64> {
    let mut points = series.timestamps.iter().zip(&series.values).peekable();
    let value_at = |instant: &TimestampMs| {
        points.next_if(|(timestamp, _)| *timestamp == instant).map_or(fill, |(_, &value)| value)
    };
    timeline.iter().map(value_at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        SubQuery,
        expression::{Formula, Join, JoinOperator, ShiftedSubQuery, series::tests::group},
    };

    fn metric(id: &str, fill: Option<FillPolicy>) -> MetricVariable {
        let sub_query = SubQuery::parse(&format!("sum:{id}{{host=*}}")).unwrap();
        MetricVariable { id: id.to_owned(), source: ShiftedSubQuery { sub_query, shift_ms: 0 }, fill }
    }

    fn expression(id: &str, text: &str) -> NamedFormula {
        NamedFormula { id: id.to_owned(), formula: Formula::parse(text).unwrap(), join: Join::default(), fill: None }
    }

    /// Two hosts of `a` at three instants, two hosts of `b` of which one is the same, at others.
    fn groups() -> Vec<Vec<GroupResult>> {
        vec![
            vec![group("a", "host=x", &[(1, 1), (2, 2), (3, 3)]), group("a", "host=y", &[(1, 10), (3, 30)])],
            vec![group("b", "host=y", &[(1, 100), (4, 400)]), group("b", "host=z", &[(2, 1000)])],
        ]
    }

    /// A table as its id, its rows, and the hosts of its columns.
    type Shown = (String, Vec<Vec<f64>>, Vec<String>);

    fn evaluate(query: &ExpressionQuery) -> Result<Vec<Shown>, QueryError> {
        let mut tables = Vec::new();
        query.evaluate(
            &EvaluationControl::default(),
            |index| Ok(groups()[index].clone()),
            |table| {
                let rows = table.timestamps.iter().enumerate().map(|(row, timestamp)| {
                    let values = table.columns.iter().map(|column| column.values[row]);
                    std::iter::once(*timestamp as f64).chain(values).collect()
                });
                let hosts = table.columns.iter().map(|column| column.common_tags[0].1.clone()).collect();
                tables.push((table.id.to_owned(), rows.collect(), hosts));
                ControlFlow::Continue(())
            },
        )?;
        Ok(tables)
    }

    fn query(fills: [Option<FillPolicy>; 2], expressions: Vec<NamedFormula>, outputs: &[&str]) -> ExpressionQuery {
        let metrics = vec![metric("a", fills[0]), metric("b", fills[1])];
        let outputs = outputs.iter().map(|id| Output { id: (*id).to_owned(), alias: None }).collect();
        ExpressionQuery::new(metrics, expressions, outputs).unwrap()
    }

    #[test]
    fn a_union_fills_points_and_series_that_are_missing() {
        let sum = |fills| evaluate(&query(fills, vec![expression("e", "a + b")], &[])).unwrap().remove(0);
        let (_, rows, hosts) = sum([None, None]);
        assert_eq!(hosts, ["x", "y", "z"]);
        assert_eq!(
            rows,
            [[1.0, 1.0, 110.0, 0.0], [2.0, 2.0, 0.0, 1000.0], [3.0, 3.0, 30.0, 0.0], [4.0, 0.0, 400.0, 0.0]]
        );
        // Points are filled as it is said; `x` of `b` and `z` of `a` are no series, and 0.
        let (_, rows, _) = sum([None, Some(FillPolicy::Scalar(7.0))]);
        assert_eq!(rows[0], [1.0, 1.0, 110.0, 7.0]);
        assert_eq!(rows[2], [3.0, 3.0, 37.0, 7.0]);
        let (_, rows, _) = sum([Some(FillPolicy::Nan), None]);
        assert!(rows[3][1].is_nan() && rows[3][2].is_nan());
        assert_eq!(rows[1][3], 1000.0);
    }

    #[test]
    fn an_intersection_keeps_what_all_have() {
        let join = Join { operator: JoinOperator::Intersection, ..Join::default() };
        let of = |text: &str| NamedFormula { join, ..expression("e", text) };
        let tables = evaluate(&query([None, None], vec![of("b - a")], &[])).unwrap();
        let rows = vec![vec![1.0, 90.0], vec![3.0, -30.0], vec![4.0, 400.0]];
        assert_eq!(tables, [("e".to_owned(), rows, vec!["y".to_owned()])]);
        let nothing = ExpressionQuery::new(vec![metric("a", None), metric("b", None)], vec![of("a + b")], Vec::new());
        let source = |index: usize| Ok(if index == 0 { groups().remove(0) } else { Vec::new() });
        let evaluated = nothing.unwrap().evaluate(&EvaluationControl::default(), source, |_| ControlFlow::Continue(()));
        assert_eq!(evaluated, Err(QueryError::NoIntersection { expression: "e".to_owned() }));
    }

    #[test]
    fn expressions_see_other_expressions_and_fill_them() {
        let halves = |fill| vec![expression("f", "e / 2"), NamedFormula { fill, ..expression("e", "a - a % 2") }];
        let tables = evaluate(&query([Some(FillPolicy::Nan), None], halves(None), &["f"])).unwrap();
        assert_eq!(tables.len(), 1);
        assert_eq!(tables[0].1[0], [1.0, 0.0, 5.0]);
        assert!(tables[0].1[1][2].is_nan());
        let tables = evaluate(&query([Some(FillPolicy::Nan), None], halves(Some(FillPolicy::Scalar(6.0))), &["f"]));
        assert_eq!(tables.unwrap()[0].1, [[1.0, 0.0, 5.0], [2.0, 1.0, 3.0], [3.0, 1.0, 15.0]]);
    }

    #[test]
    fn outputs_may_be_metrics_too_and_come_in_their_order() {
        let tables = evaluate(&query([None, None], vec![expression("e", "a")], &["b", "nothing", "e", "b"])).unwrap();
        let ids: Vec<_> = tables.iter().map(|(id, ..)| id.as_str()).collect();
        assert_eq!(ids, ["b", "e", "b"]);
        assert_eq!(tables[0].1, [[1.0, 100.0, 0.0], [2.0, 0.0, 1000.0], [4.0, 400.0, 0.0]]);
        assert_eq!(evaluate(&query([None, None], Vec::new(), &[])).unwrap().len(), 2);
    }

    #[test]
    fn nothing_is_handed_out_once_nobody_waits() {
        for expressions in [Vec::new(), vec![expression("e", "a + b")]] {
            let query = query([None, None], expressions, &[]);
            let control = EvaluationControl { cancelled: &|| true, ..EvaluationControl::default() };
            let evaluated = query.evaluate(&control, |index| Ok(groups()[index].clone()), |_| panic!("handed out"));
            assert_eq!(evaluated, Err(QueryError::Cancelled));
        }
    }

    #[test]
    fn an_output_that_is_shown_often_counts_every_time() {
        let query = query([None, None], vec![expression("e", "a + b")], &["e"; 3]);
        let limits = crate::EvaluationLimits { result_points_max: 35, ..Default::default() };
        let control = EvaluationControl { limits, ..EvaluationControl::default() };
        let evaluated = query.evaluate(&control, |index| Ok(groups()[index].clone()), |_| ControlFlow::Continue(()));
        assert_eq!(evaluated, Err(QueryError::TooManyResultPoints { limit: 35 }));
    }

    #[test]
    fn the_points_of_everything_together_are_limited() {
        let query = query([None, None], vec![expression("e", "a + b")], &["a"]);
        let points_within = |result_points_max| {
            let limits = crate::EvaluationLimits { result_points_max, ..Default::default() };
            let control = EvaluationControl { limits, ..EvaluationControl::default() };
            query.evaluate(&control, |index| Ok(groups()[index].clone()), |_| ControlFlow::Continue(()))
        };
        // 8 points were read, the expression has 3 series at 4 instants, and one series of `a` is written at 3.
        assert_eq!(points_within(23), Ok(()));
        for limit in [22, 19, 7, 0] {
            assert_eq!(points_within(limit), Err(QueryError::TooManyResultPoints { limit }));
        }
    }
}
