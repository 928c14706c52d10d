//! `label_replace` and `label_join`.

use std::collections::{HashMap, hash_map::Entry};

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
            self.look_at(labels.get(from).len())?;
            let Some(captures) = pattern.captures(labels.get(from)) else { return Ok(labels.clone()) };
            // What is put in for each `$` is no longer than the whole that was matched.
            let matched = captures.get(0).map_or(0, |whole| whole.len());
            check_length(replacement.len() + replacement.matches('$').count() * matched, "label_replace")?;
            let mut value = String::new();
            captures.expand(replacement, &mut value);
            self.made(labels, to, &value)
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
            self.look_at(from.len())?;
            let parts = from.iter().map(|name| labels.get(name).len());
            check_length(parts.sum::<usize>() + separator.len() * (from.len().saturating_sub(1)), "label_join")?;
            let value = from.iter().map(|name| labels.get(name)).collect::<Vec<_>>().join(separator);
            self.made(labels, to, &value)
        })
    }

    /// The labels with a value that was made, which counts as held until the evaluation ends: series pass it on.
    fn made(&self, labels: &Labels, name: &str, value: &str) -> Result<Labels, QueryError> {
        if value != labels.get(name) {
            self.ledger.keep(value.len().div_ceil(size_of::<f64>()))?;
        }
        Ok(labels.with(name, value))
    }

    fn relabelled(
        &self,
        vector: &Expression,
        steps: Steps,
        sink: Sink<'_>,
        relabel: impl Fn(&Labels) -> Result<Labels, QueryError>,
    ) -> Result<(), QueryError> {
        let (mut all, mut known) = (Vec::new(), HashMap::new());
        self.each(vector, steps, &mut |series| {
            let labels = match known.entry(series.labels) {
                Entry::Occupied(occupied) => Labels::clone(occupied.get()),
                Entry::Vacant(vacant) => {
                    let labels = relabel(vacant.key())?;
                    vacant.insert(labels).clone()
                }
            };
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

/// Whether a value may be so long: patterns and labels may repeat each other until a value fills the memory.
fn check_length(bytes: usize, function: &str) -> Result<(), QueryError> {
    if bytes <= VALUE_BYTES_MAX {
        return Ok(());
    }
    Err(QueryError::execution(format!(
        "{function}() may make a label of {bytes} bytes, at most {VALUE_BYTES_MAX} are allowed; take fewer parts"
    )))
}
