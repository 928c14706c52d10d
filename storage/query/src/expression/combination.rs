//! Arithmetic between the series of several arguments: `difference(sum:a{host=*},sum:b{host=*})`.

use std::collections::BTreeSet;

use tidemark_model::{Tsuid, ValueColumn};

use super::{
    Formula, Join,
    budget::PointBudget,
    formula_value::Operator,
    function_query::FunctionSeries,
    join::JoinedSeries,
    series::{Variable, compute, joined_tags, union_of},
};
use crate::{EvaluationControl, GroupResult, QueryError};

/// One series for every set of tags that any argument has, in doubles. A series or a point that an argument lacks is 0, as
/// is a quotient by 0: what OpenTSDB 2.4 and 2.5 answer.
pub(super) fn combine(
    operator: Operator,
    arguments: Vec<Vec<FunctionSeries>>,
    budget: &mut PointBudget,
    control: &EvaluationControl<'_>,
) -> Result<Vec<FunctionSeries>, QueryError> {
    let shown: Vec<Vec<Shown>> = arguments.iter().map(|series| series.iter().map(Shown::of).collect()).collect();
    let variables: Vec<Variable> = arguments
        .into_iter()
        .map(|series| Variable::new(series.into_iter().map(|series| series.group).collect(), BTreeSet::new(), 0.0))
        .collect();
    let names: Vec<String> = (0..variables.len()).map(|number| format!("v{number}")).collect();
    let formula = Formula::chain(operator, &names);
    let variables: Vec<&Variable> = variables.iter().collect();
    let join = Join { include_aggregate_tags: false, ..Join::default() };
    let mut combined = Vec::new();
    for members in join.of(&variables) {
        let series = || members.iter().filter_map(|&(variable, index)| variables.get(variable)?.series.get(index));
        let timeline = union_of(series().map(|member| &member.timestamps));
        budget.take(timeline.len(), 1)?;
        let values = compute(&formula, &variables, &members, &timeline, control)?;
        let (tags, aggregate_tags) =
            joined_tags(series().map(|member| (member.tags.as_slice(), member.aggregate_tags.as_slice())));
        let of = |&(variable, index): &JoinedSeries| shown.get(variable)?.get(index);
        let Some(first) = members.iter().find_map(of) else { continue };
        let tsuids: BTreeSet<Tsuid> = members.iter().filter_map(of).flat_map(|member| member.tsuids.clone()).collect();
        let group = GroupResult {
            metric: first.metric.clone(),
            tags,
            aggregate_tags,
            tsuids: tsuids.into_iter().collect(),
            timestamps: timeline.to_vec(),
            values: ValueColumn::Float(values),
            fill: first.fill,
        };
        combined.push(FunctionSeries { group, source: first.source });
    }
    Ok(combined)
}

/// What a result shows of a series beside its points and tags.
struct Shown {
    metric: String,
    tsuids: Vec<Tsuid>,
    fill: crate::Fill,
    source: usize,
}

impl Shown {
    fn of(series: &FunctionSeries) -> Self {
        let FunctionSeries { group, source } = series;
        Self { metric: group.metric.clone(), tsuids: group.tsuids.clone(), fill: group.fill, source: *source }
    }
}
