//! What is there when nothing else is.

use super::{Evaluator, Series, Sink, column::is_present};
use crate::{Labels, QueryError, matcher::MatchKind, steps::Steps, syntax::Expression};

impl Evaluator<'_> {
    /// 1 at the steps at which an expression has no series.
    pub(super) fn absent(&self, expression: &Expression, steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        let mut any = vec![false; steps.count()];
        self.each(expression, steps, &mut |series| {
            any.iter_mut().zip(series.values.iter()).for_each(|(any, &value)| *any |= is_present(value));
            Ok(())
        })?;
        self.where_not(&any, expression, sink)
    }

    /// 1 at the steps before which an expression has no point in its range.
    pub(super) fn absent_over_time(
        &self,
        expression: &Expression,
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let any = self.any_in_ranges(expression, steps)?;
        self.where_not(&any, expression, sink)
    }

    fn where_not(&self, any: &[bool], expression: &Expression, sink: Sink<'_>) -> Result<(), QueryError> {
        let mut values = self.ledger.column(any.len())?;
        for (value, _) in values.iter_mut().zip(any).filter(|(_, any)| !**any) {
            *value = 1.0;
        }
        sink(Series { labels: labels_of(expression), values })
    }
}

/// The labels of what is not there, as far as its selector says them.
fn labels_of(expression: &Expression) -> Labels {
    let (Expression::Selector(selector) | Expression::Range(selector, _)) = expression else {
        return Labels::default();
    };
    // Of several conditions on one label the first that says a value counts, unless another comes after it.
    let mut said: Vec<(&str, &str)> = Vec::new();
    for matcher in selector.matchers.iter().filter(|matcher| !matcher.is_of_metric()) {
        let known = said.iter().any(|(name, _)| *name == matcher.name);
        said.retain(|(name, _)| *name != matcher.name);
        if matcher.kind == MatchKind::Equal && !known {
            said.push((&matcher.name, &matcher.value));
        }
    }
    Labels::new(said)
}
