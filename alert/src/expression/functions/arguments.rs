//! Evaluated arguments, taken one after the other.

use std::sync::Arc;

use crate::expression::{
    Group,
    error::EvaluateErrorKind,
    value::{Datum, Item, Series, Set, Value},
};

/// The arguments of a call. The parser has checked number and types, so each function takes them in the order of its
/// row; what is missing all the same reads as empty.
pub(crate) struct Arguments(std::vec::IntoIter<Value>);

impl Arguments {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    /// The next one as a set; a scalar becomes one number without a group.
    pub(crate) fn set(&mut self) -> Set {
        self.0.next().map(Value::into_set).unwrap_or_default()
    }

    /// The next one as a text.
    pub(crate) fn text(&mut self) -> Arc<str> {
        match self.0.next() {
            Some(Value::Text(text)) => text,
            _ => Arc::from(""),
        }
    }

    /// The next one as one number. A set counts when it has exactly one.
    pub(crate) fn scalar(&mut self) -> Result<f64, EvaluateErrorKind> {
        match self.0.next() {
            Some(Value::Scalar(number)) => Ok(number),
            Some(Value::Set(set)) => one_number(&set),
            _ => Err(EvaluateErrorKind::function("expected a number")),
        }
    }

    /// All that are left, as sets.
    pub(crate) fn rest(self) -> impl Iterator<Item = Set> {
        self.0.map(Value::into_set)
    }
}

/// The only number of a set.
pub(crate) fn one_number(set: &Set) -> Result<f64, EvaluateErrorKind> {
    match set.items.as_slice() {
        [Item { value: Datum::Number(number), .. }] => Ok(*number),
        items => {
            Err(EvaluateErrorKind::function(format_args!("expected exactly one number, got {} values", items.len())))
        }
    }
}

/// The set with every series changed; numbers that strayed in stay out.
pub(crate) fn map_series(
    set: Set,
    mut change: impl FnMut(&Group, Series) -> Result<Series, EvaluateErrorKind>,
) -> Result<Value, EvaluateErrorKind> {
    let joins = set.joins;
    let mut items = Vec::with_capacity(set.items.len());
    for item in set.items {
        if let Datum::Series(series) = item.value {
            let value = Datum::Series(change(&item.group, series)?);
            items.push(Item { value, ..item });
        }
    }
    Ok(Value::Set(Set { items, joins }))
}

/// The set with every number changed.
pub(crate) fn map_numbers(set: Set, change: impl Fn(f64) -> f64) -> Value {
    let items = set.items.into_iter().map(|item| match item.value {
        Datum::Number(number) => Item { value: Datum::Number(change(number)), ..item },
        Datum::Series(_) => item,
    });
    Value::Set(Set { items: items.collect(), joins: set.joins })
}

/// For each series the number whose group is empty or overlaps the series' group.
///
/// A series without a number is an error, unless the set ignores its unjoined members.
pub(crate) fn with_number(series: Set, numbers: &Set) -> Result<Vec<(Item, f64)>, EvaluateErrorKind> {
    let ignore = series.joins.ignore_unjoined;
    let mut matched = Vec::with_capacity(series.items.len());
    for item in series.items {
        match number_for(&item.group, numbers) {
            Some(number) => matched.push((item, number)),
            None if ignore => {}
            None => return Err(EvaluateErrorKind::function(format_args!("unjoined groups for {}", item.group))),
        }
    }
    Ok(matched)
}

/// The first number that is about this group.
pub(crate) fn number_for(group: &Group, numbers: &Set) -> Option<f64> {
    numbers.items.iter().filter(|item| item.group.is_empty() || group.overlaps(&item.group)).find_map(Item::number)
}
