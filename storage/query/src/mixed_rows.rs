//! Aggregating members of which some hold integers and some doubles, instant by instant.
//!
//! At an instant at which every value involved is an integer, the next ones of interpolated members included, the
//! arithmetic is that of integers; elsewhere it is that of doubles.

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

impl Cursor<'_> {
    fn point(&self, index: usize) -> Option<(TimestampMs, Value)> {
        Some((*self.member.timestamps.get(index)?, self.member.values.get(index)?))
    }

    /// Moves to an instant, which is after the last one; `None` when the member is not active there.
    fn advance(&mut self, at: TimestampMs) -> Option<Contribution> {
        while self.member.timestamps.get(self.next).is_some_and(|&timestamp| timestamp < at) {
            self.next += 1;
        }
        let after = self.point(self.next)?;
        if after.0 == at {
            return Some(Contribution::Point(after.1));
        }
        let before = self.point(self.next.checked_sub(1)?)?;
        Some(Contribution::Between(Between { at, before, after }))
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
        row.extend(cursors.iter_mut().filter_map(|cursor| cursor.advance(at)));
        values.push(aggregate_row(&row, rules));
    }
    Ok(values)
}

fn aggregate_row(row: &[Contribution], rules: GroupRules) -> Value {
    let integers: Option<Vec<i64>> = row.iter().map(|contribution| contribution.integer(rules)).collect();
    match integers {
        Some(mut integers) => aggregate_integers(rules.aggregator, &mut integers),
        None => {
            let mut doubles: Vec<f64> = row.iter().map(|contribution| contribution.double(rules)).collect();
            Value::Float(aggregate_doubles(rules.aggregator, &mut doubles))
        }
    }
}
