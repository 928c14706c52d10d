//! What expressions are made of while they are evaluated.

use std::sync::Arc;

use crate::expression::Group;

/// A value on the way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(Arc<str>),
    Scalar(f64),
    Set(Set),
}

impl Value {
    /// The value as a set: a scalar becomes one number without a group. A text has no members.
    pub(crate) fn into_set(self) -> Set {
        match self {
            Self::Text(_) => Set::default(),
            Self::Scalar(number) => Set::from_items(vec![Item::new(Group::empty(), Datum::Number(number))]),
            Self::Set(set) => set,
        }
    }
}

/// Groups with a number or a series each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Set {
    pub(crate) items: Vec<Item>,
    pub(crate) joins: JoinRules,
}

impl Set {
    pub(crate) fn from_items(items: Vec<Item>) -> Self {
        Self { items, joins: JoinRules::default() }
    }

    /// Numbers and points: what the set costs.
    pub(crate) fn cost(&self) -> u64 {
        self.items
            .iter()
            .map(|item| match &item.value {
                Datum::Number(_) => 1,
                Datum::Series(series) => 1 + series.len() as u64,
            })
            .sum()
    }
}

/// What happens to members of a set that find no partner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct JoinRules {
    /// Members of this set without a partner vanish.
    pub(crate) ignore_unjoined: bool,
    /// Members of the other set without a partner vanish.
    pub(crate) ignore_other_unjoined: bool,
    /// What stands in for a member that this set lacks (`nv`); NaN when there is none.
    pub(crate) missing: Option<f64>,
}

/// A member of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The tags that tell it from the others.
    pub group: Group,
    /// What it is.
    pub value: Datum,
    /// The steps that led to it.
    pub computations: Vec<Computation>,
}

impl Item {
    pub(crate) fn new(group: Group, value: Datum) -> Self {
        Self { group, value, computations: Vec::new() }
    }

    /// The number; `None` for a series.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self.value {
            Datum::Number(number) => Some(number),
            Datum::Series(_) => None,
        }
    }
}

/// A number or a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// A number, maybe NaN or infinite.
    Number(f64),
    /// Points in time.
    Series(Series),
}

/// One step on the way to a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Computation {
    /// The part of the expression, with the tags of the group filled in for `*`.
    pub text: Arc<str>,
    /// Its value.
    pub value: f64,
}

/// Points of one group: seconds since the epoch and values, oldest first, one per second.
///
/// Bosun counts in seconds. Of several points within one second the last counts, as in Bosun, which receives them
/// from OpenTSDB that way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series(Vec<(i64, f64)>);

impl Series {
    /// Sorts points by time; of points at the same second the last one given counts.
    #[must_use]
    pub fn new(mut points: Vec<(i64, f64)>) -> Self {
        if !points.is_sorted_by(|left, right| left.0 < right.0) {
            points.sort_by_key(|point| point.0);
            points.reverse();
            points.dedup_by_key(|point| point.0);
            points.reverse();
        }
        Self(points)
    }

    /// The points, oldest first.
    #[must_use]
    pub fn points(&self) -> &[(i64, f64)] {
        &self.0
    }

    /// Number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_points(self) -> Vec<(i64, f64)> {
        self.0
    }

    /// The values alone, oldest first.
    pub(crate) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.iter().map(|point| point.1)
    }

    /// The same stamps with other values.
    pub(crate) fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self(self.0.into_iter().map(|(stamp, value)| (stamp, change(value))).collect())
    }

    /// The points for which the condition holds.
    pub(crate) fn retain(mut self, keep: impl Fn(i64, f64) -> bool) -> Self {
        self.0.retain(|&(stamp, value)| keep(stamp, value));
        self
    }

    /// The stamps that both series have, with a value made of both.
    pub(crate) fn zip(self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        let mut others = other.0.iter().peekable();
        let mut points = Vec::new();
        for (stamp, value) in self.0 {
            while others.next_if(|point| point.0 < stamp).is_some() {}
            if let Some(&(_, partner)) = others.next_if(|point| point.0 == stamp) {
                points.push((stamp, combine(value, partner)));
            }
        }
        Self(points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_points_at_one_second_counts() {
        let series = Series::new(vec![(5, 1.0), (3, 2.0), (5, 3.0), (3, 4.0)]);
        assert_eq!(series.points(), [(3, 4.0), (5, 3.0)]);
    }

    #[test]
    fn series_meet_at_common_stamps_only() {
        let left = Series::new(vec![(0, 1.0), (60, 2.0), (120, 3.0)]);
        let right = Series::new(vec![(60, 10.0), (90, 20.0), (120, 30.0)]);
        assert_eq!(left.zip(&right, |a, b| a + b).points(), [(60, 12.0), (120, 33.0)]);
    }
}
