//! Aggregating members of which some hold integers and some doubles, instant by instant.
//!
//! The arithmetic at an instant is that of integers when all members that are not over have integers there: the point at or
//! before the instant and the one after it, whether or not it is interpolated towards that, also of members that have not
//! begun. Elsewhere it is that of doubles. OpenTSDB 2.4, `AggregationIterator.isInteger`.

use tidemark_model::{TimestampMs, Value};

use crate::{
    QueryError,
    group::GroupRules,
    interpolation::{Between, between_doubles, between_integers},
    member::Member,
    row::{aggregate_doubles, aggregate_integers},
};

/// A member and how far it has been gone through.
struct Cursor<'a> {
    member: &'a Member,
    /// The first point that is not before the instant.
    next: usize,
}

/// What a member has to do with an instant.
enum Contribution {
    Point(Value),
    Between(Between<Value>),
}

/// What a member says of an instant.
struct Step {
    /// `None` when the member is not active there.
    contribution: Option<Contribution>,
    /// Whether nothing of it speaks against integers.
    is_integer: bool,
}

impl Cursor<'_> {
    fn point(&self, index: usize) -> Option<(TimestampMs, Value)> {
        Some((*self.member.timestamps.get(index)?, self.member.values.get(index)?))
    }

    /// Moves to an instant, which is after the last one.
    fn advance(&mut self, at: TimestampMs) -> Step {
        while self.member.timestamps.get(self.next).is_some_and(|&timestamp| timestamp < at) {
            self.next += 1;
        }
        let Some(after) = self.point(self.next) else { return Step { contribution: None, is_integer: true } };
        if after.0 == at {
            let following = self.point(self.next + 1);
            let is_integer = after.1.is_int() && following.is_none_or(|(_, value)| value.is_int());
            return Step { contribution: Some(Contribution::Point(after.1)), is_integer };
        }
        let before = self.next.checked_sub(1).and_then(|index| self.point(index));
        let is_integer = after.1.is_int() && before.is_none_or(|(_, value)| value.is_int());
        let contribution = before.map(|before| Contribution::Between(Between { at, before, after }));
        Step { contribution, is_integer }
    }
}

impl Contribution {
    fn integer(&self, rules: GroupRules) -> Option<i64> {
        match self {
            Self::Point(Value::Int(value)) => Some(*value),
            Self::Between(Between { at, before: (x0, Value::Int(y0)), after: (x1, Value::Int(y1)) }) => {
                Some(between_integers(rules.method, &Between { at: *at, before: (*x0, *y0), after: (*x1, *y1) }))
            }
            Self::Point(_) | Self::Between(_) => None,
        }
    }

    fn double(&self, rules: GroupRules) -> f64 {
        match self {
            Self::Point(value) => value.as_f64(),
            Self::Between(Between { at, before: (x0, y0), after: (x1, y1) }) => {
                let gap = Between { at: *at, before: (*x0, y0.as_f64()), after: (*x1, y1.as_f64()) };
                between_doubles(rules.method, &gap)
            }
        }
    }
}

pub(crate) fn aggregate_mixed(
    members: &[Member],
    rules: GroupRules,
    instants: &[TimestampMs],
    cancelled: &dyn Fn() -> bool,
) -> Result<Vec<Value>, QueryError> {
    let mut cursors: Vec<_> = members.iter().map(|member| Cursor { member, next: 0 }).collect();
    let mut row = Vec::with_capacity(members.len());
    let mut values = Vec::with_capacity(instants.len());
    for &at in instants {
        if cancelled() {
            return Err(QueryError::Cancelled);
        }
        row.clear();
        let mut is_integer = true;
        for step in cursors.iter_mut().map(|cursor| cursor.advance(at)) {
            is_integer &= step.is_integer;
            row.extend(step.contribution);
        }
        values.push(aggregate_row(&row, is_integer, rules));
    }
    Ok(values)
}

fn aggregate_row(row: &[Contribution], is_integer: bool, rules: GroupRules) -> Value {
    let integers: Option<Vec<i64>> = row.iter().map(|contribution| contribution.integer(rules)).collect();
    match integers.filter(|_| is_integer) {
        Some(mut integers) => aggregate_integers(rules.aggregator, &mut integers),
        None => {
            let mut doubles: Vec<f64> = row.iter().map(|contribution| contribution.double(rules)).collect();
            Value::Float(aggregate_doubles(rules.aggregator, &mut doubles))
        }
    }
}
