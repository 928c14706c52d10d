//! `label_replace` and `label_join`.

use std::collections::HashMap;

use super::{Evaluator, Series, Sink, merge::merged};
use crate::{Labels, QueryError, lexer::excerpt, matcher::anchored, steps::Steps, syntax::Expression};

/// Longest value that a label may be made to have.
const VALUE_BYTES_MAX: usize = 64 << 10;

impl Evaluator<'_> {
    pub(super) fn label_replace(
        &self,
        arguments: &[Expression],
        steps: Steps,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let [vector, to, replacement, from, pattern] = arguments else { return Ok(()) };
        let [to, replacement, from, pattern] = [to, replacement, from, pattern].map(text_of);
        let pattern = anchored(pattern)
            .map_err(|error| QueryError::execution(format!("in label_replace(), {:?}: {error}", excerpt(pattern))))?;
        check_label(to, "label_replace")?;
        self.relabelled(vector, steps, sink, |labels| {
            let Some(captures) = pattern.captures(labels.get(from)) else { return labels.clone() };
            let mut value = String::new();
            captures.expand(replacement, &mut value);
            cut(&mut value);
            labels.with(to, &value)
        })
    }

    pub(super) fn label_join(&self, arguments: &[Expression], steps: Steps, sink: Sink<'_>) -> Result<(), QueryError> {
        let [vector, to, separator, from @ ..] = arguments else { return Ok(()) };
        let (to, separator) = (text_of(to), text_of(separator));
        check_label(to, "label_join")?;
        let from: Vec<&str> = from.iter().map(text_of).collect();
        if let Some(empty) = from.iter().find(|name| name.is_empty()) {
            return Err(QueryError::execution(format!("invalid source label name in label_join(): {empty:?}")));
        }
        self.relabelled(vector, steps, sink, |labels| {
            let mut value = from.iter().map(|name| labels.get(name)).collect::<Vec<_>>().join(separator);
            cut(&mut value);
            labels.with(to, &value)
        })
    }

    fn relabelled(
        &self,
        vector: &Expression,
        steps: Steps,
        sink: Sink<'_>,
        relabel: impl Fn(&Labels) -> Labels,
    ) -> Result<(), QueryError> {
        let (mut all, mut known) = (Vec::new(), HashMap::new());
        self.each(vector, steps, &mut |series| {
            let labels = known.entry(series.labels).or_insert_with_key(|labels| relabel(labels)).clone();
            all.push(Series { labels, values: series.values });
            Ok(())
        })?;
        merged(all)?.into_iter().try_for_each(sink)
    }
}

fn text_of(expression: &Expression) -> &str {
    match expression.ungrouped() {
        Expression::Text(text) => text,
        _ => "",
    }
}

fn check_label(name: &str, function: &str) -> Result<(), QueryError> {
    if !name.is_empty() {
        return Ok(());
    }
    Err(QueryError::execution(format!("invalid destination label name in {function}(): {name:?}")))
}

/// Patterns and labels may repeat each other until a value fills the memory.
fn cut(value: &mut String) {
    if value.len() > VALUE_BYTES_MAX {
        let end = (0..=VALUE_BYTES_MAX).rev().find(|&end| value.is_char_boundary(end)).unwrap_or(0);
        value.truncate(end);
    }
}
