//! The tree is walked; everything that had to be read has been.

use std::{collections::HashMap, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::expression::{
    ValueType,
    error::{EvaluateError, EvaluateErrorKind},
    functions::{Arguments, Context, Function, QueryPlan, Run},
    join::{Pair, join},
    operator::{BinaryOperator, UnaryOperator},
    position::{Position, Span},
    syntax::{Node, NodeKind},
    value::{Computation, Datum, Item, JoinRules, Series, Set, Value},
};

/// Steps kept for each member of a set.
const COMPUTATIONS_MAX: usize = 32;

/// Answers to the queries of an expression, by where the call begins in its text.
pub(crate) type Answers = HashMap<usize, (QueryPlan, Vec<Set>)>;

/// Walks one tree.
pub(crate) struct Evaluator<'a> {
    text: &'a str,
    answers: &'a Answers,
    context: Context,
    /// Fires when the value is not wanted any longer.
    stop: &'a CancellationToken,
    work: u64,
    /// The value of `v()`; one for each `map` that we are in.
    points: Vec<f64>,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(text: &'a str, answers: &'a Answers, context: Context, stop: &'a CancellationToken) -> Self {
        Self { text, answers, context, stop, work: 0, points: Vec::new() }
    }

    /// The value of a node. Both sides of every operator are evaluated, whatever the first one says.
    pub(crate) fn evaluate(&mut self, node: &Node) -> Result<Value, EvaluateError> {
        let value = match &node.kind {
            NodeKind::Number(number) => Value::Scalar(*number),
            NodeKind::Text(text) => Value::Text(Arc::clone(text)),
            NodeKind::Point => Value::Scalar(self.point(node)?),
            NodeKind::Lambda(inside) => self.evaluate(inside)?,
            NodeKind::Unary { operator, operand } => {
                let operand = self.evaluate(operand)?;
                self.remember(node, unary(*operator, operand))
            }
            NodeKind::Binary { operator, left, right } => {
                let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
                let value = self.binary(*operator, left, right, node.value_type);
                let value = value.map_err(|reason| self.error(&node.span, reason))?;
                self.remember(node, value)
            }
            NodeKind::Call { function, arguments } => {
                let value = self.call(function, arguments, node)?;
                self.remember(node, value)
            }
        };
        self.charge(&value).map_err(|reason| self.error(&node.span, reason))?;
        Ok(value)
    }

    /// What a call of a query function reads. Its arguments may be computed, but not from other queries.
    pub(crate) fn plan(&mut self, node: &Node) -> Result<Option<QueryPlan>, EvaluateError> {
        let NodeKind::Call { function: Function { run: Run::Query { plan, .. }, .. }, arguments } = &node.kind else {
            return Ok(None);
        };
        let arguments = self.arguments(arguments)?;
        plan(&self.context, arguments).map(Some).map_err(|reason| self.error(&node.span, reason))
    }

    fn arguments(&mut self, nodes: &[Node]) -> Result<Arguments, EvaluateError> {
        let values: Result<Vec<_>, _> = nodes.iter().map(|node| self.evaluate(node)).collect();
        values.map(Arguments::new)
    }

    fn call(&mut self, function: &Function, arguments: &[Node], node: &Node) -> Result<Value, EvaluateError> {
        let result = match function.run {
            Run::Pure(run) => {
                let arguments = self.arguments(arguments)?;
                run(&self.context, arguments)
            }
            Run::PointByPoint => return self.point_by_point(arguments),
            Run::Query { combine, .. } => match self.answers.get(&node.span.start) {
                Some((plan, answers)) => combine(plan, answers.clone()),
                None => Err(EvaluateErrorKind::function("the arguments of a query cannot contain another query")),
            },
        };
        result.map_err(|reason| self.error(&node.span, reason))
    }

    /// `map`: its second argument once for each point of the first.
    fn point_by_point(&mut self, arguments: &[Node]) -> Result<Value, EvaluateError> {
        let [series, lambda] = arguments else {
            return Ok(Value::Set(Set::default()));
        };
        let mut set = self.evaluate(series)?.into_set();
        for item in &mut set.items {
            let Datum::Series(series) = &item.value else { continue };
            let mut points = Vec::with_capacity(series.len());
            for &(stamp, value) in series.points() {
                self.points.push(value);
                let result = self.evaluate(lambda);
                self.points.pop();
                points.push((stamp, self.only_number(result?, lambda)?));
            }
            item.value = Datum::Series(Series::new(points));
        }
        Ok(Value::Set(set))
    }

    fn point(&self, node: &Node) -> Result<f64, EvaluateError> {
        let reason = "the arguments of a query cannot depend on `v()`";
        self.points.last().copied().ok_or_else(|| self.error(&node.span, EvaluateErrorKind::function(reason)))
    }

    fn only_number(&self, value: Value, node: &Node) -> Result<f64, EvaluateError> {
        match value.into_set().items.as_slice() {
            [Item { value: Datum::Number(number), .. }] => Ok(*number),
            items => {
                let reason = format_args!("expected one number for each point, got {} values", items.len());
                Err(self.error(&node.span, EvaluateErrorKind::function(reason)))
            }
        }
    }

    fn binary(
        &self,
        operator: BinaryOperator,
        left: Value,
        right: Value,
        value_type: ValueType,
    ) -> Result<Value, EvaluateErrorKind> {
        if let (Value::Scalar(left), Value::Scalar(right)) = (&left, &right) {
            return Ok(Value::Scalar(operator.apply(*left, *right)));
        }
        let (left, right) = (left.into_set(), right.into_set());
        let pairs = join(&left, &right, self.context.unjoined_ok, self.context.limits.groups_max)?;
        let items = pairs.into_iter().filter_map(|pair| apply(operator, pair, value_type)).collect();
        let joins = JoinRules {
            ignore_unjoined: left.joins.ignore_unjoined || right.joins.ignore_unjoined,
            ignore_other_unjoined: left.joins.ignore_other_unjoined || right.joins.ignore_other_unjoined,
            missing: None,
        };
        Ok(Value::Set(Set { items, joins }))
    }

    /// Notes the step on every number that came out of it.
    fn remember(&self, node: &Node, value: Value) -> Value {
        let Value::Set(mut set) = value else {
            return value;
        };
        if self.points.is_empty() && set.items.iter().any(|item| item.number().is_some()) {
            let text: Arc<str> = Arc::from(self.text.get(node.span.clone()).unwrap_or_default());
            for item in &mut set.items {
                if let (Some(value), true) = (item.number(), item.computations.len() < COMPUTATIONS_MAX) {
                    item.computations.push(Computation { text: Arc::clone(&text), value });
                }
            }
        }
        Value::Set(set)
    }

    /// Counts what a step cost, and ends the walk when that is too much or nobody waits.
    fn charge(&mut self, value: &Value) -> Result<(), EvaluateErrorKind> {
        if self.stop.is_cancelled() {
            return Err(EvaluateErrorKind::Interrupted);
        }
        let limits = self.context.limits;
        self.work += match value {
            Value::Set(set) if set.items.len() > limits.groups_max => {
                let limit = limits.groups_max as u64;
                return Err(EvaluateErrorKind::Limit { what: "groups", field: "groups_max", limit });
            }
            Value::Set(set) => 1 + set.cost(),
            Value::Scalar(_) | Value::Text(_) => 1,
        };
        if self.work > limits.work_max {
            return Err(EvaluateErrorKind::Limit { what: "steps", field: "work_max", limit: limits.work_max });
        }
        Ok(())
    }

    fn error(&self, span: &Span, reason: EvaluateErrorKind) -> EvaluateError {
        EvaluateError { position: Position::of(self.text, span.start), reason }
    }
}

fn unary(operator: UnaryOperator, operand: Value) -> Value {
    match operand {
        Value::Scalar(number) => Value::Scalar(operator.apply_to_scalar(number)),
        Value::Text(_) => operand,
        Value::Set(set) => {
            let items = set.items.into_iter().map(|item| {
                let value = match item.value {
                    Datum::Number(number) => Datum::Number(operator.apply(number)),
                    Datum::Series(series) => Datum::Series(series.map(|number| operator.apply(number))),
                };
                Item { value, ..item }
            });
            Value::Set(Set { items: items.collect(), joins: set.joins })
        }
    }
}

/// The result for two members that belong together. A number that found no series to go with is no series, so it
/// has no place in a set of series.
fn apply(operator: BinaryOperator, pair: Pair, value_type: ValueType) -> Option<Item> {
    let value = match (pair.left, pair.right) {
        (Datum::Number(_), Datum::Number(_)) if value_type == ValueType::Series => return None,
        (Datum::Number(left), Datum::Number(right)) => Datum::Number(operator.apply(left, right)),
        (Datum::Series(left), Datum::Number(right)) => Datum::Series(left.map(|left| operator.apply(left, right))),
        (Datum::Number(left), Datum::Series(right)) => Datum::Series(right.map(|right| operator.apply(left, right))),
        (Datum::Series(left), Datum::Series(right)) => {
            Datum::Series(left.zip(&right, |left, right| operator.apply(left, right)))
        }
    };
    let mut computations = pair.computations;
    computations.truncate(COMPUTATIONS_MAX);
    Some(Item { group: pair.group, value, computations })
}
