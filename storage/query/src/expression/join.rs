//! Which series of several variables belong together.

use std::{collections::BTreeMap, str::FromStr};

use super::{ExpressionError, series::Variable};
use crate::parse_error::excerpt;

/// How series of the variables of an expression meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// What becomes of series that some variable lacks.
    pub operator: JoinOperator,
    /// Whether only the tags count that filters name, instead of all that a result has.
    pub use_query_tags: bool,
    /// Whether the keys count over which a result is aggregated.
    pub include_aggregate_tags: bool,
}

/// What becomes of series that some variable lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JoinOperator {
    /// They stay, and the fill policy of that variable stands for it.
    #[default]
    Union,
    /// They are left out.
    Intersection,
}

impl Default for Join {
    fn default() -> Self {
        Self { operator: JoinOperator::Union, use_query_tags: false, include_aggregate_tags: true }
    }
}

impl JoinOperator {
    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Union => "union",
            Self::Intersection => "intersection",
        }
    }
}

impl FromStr for JoinOperator {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let found = [Self::Union, Self::Intersection].into_iter().find(|join| join.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| ExpressionError::UnknownJoin(excerpt(text)))
    }
}

/// A series of a variable: position of the variable, position of the series in it.
pub(super) type JoinedSeries = (usize, usize);

/// What has to be the same in series that belong together: tags, then keys over which was aggregated.
type JoinKey<'a> = (Vec<(&'a str, &'a str)>, Vec<&'a str>);

impl Join {
    /// The series that belong together, by their tags; of each variable at most one, in the order of the variables.
    ///
    /// Of two series of one variable with the same key the later one is taken, as OpenTSDB does it. That happens only
    /// where the tags that count are fewer than those that tell the series apart.
    pub(super) fn of(self, variables: &[&Variable]) -> Vec<Vec<JoinedSeries>> {
        let mut joined: BTreeMap<JoinKey<'_>, Vec<JoinedSeries>> = BTreeMap::new();
        for (position, variable) in variables.iter().enumerate() {
            for (index, _) in variable.series.iter().enumerate() {
                let Some(key) = self.key(variable, index) else { continue };
                let members = joined.entry(key).or_default();
                match members.last_mut() {
                    Some(last) if last.0 == position => last.1 = index,
                    _ => members.push((position, index)),
                }
            }
        }
        let is_kept = |members: &Vec<JoinedSeries>| match self.operator {
            JoinOperator::Union => true,
            JoinOperator::Intersection => members.len() == variables.len(),
        };
        joined.into_values().filter(is_kept).collect()
    }

    fn key<'a>(self, variable: &'a Variable, index: usize) -> Option<JoinKey<'a>> {
        let series = variable.series.get(index)?;
        // A series without any tag has the empty key, whatever it was aggregated over.
        if series.tags.is_empty() {
            return Some(JoinKey::default());
        }
        let counts = |key: &str| !self.use_query_tags || variable.query_keys.contains(key);
        let tags = series.tags.iter().filter(|(key, _)| counts(key));
        let aggregated = series.aggregate_tags.iter().filter(|_| self.include_aggregate_tags);
        Some((
            tags.map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            aggregated.map(String::as_str).collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::series::tests::variable;

    #[test]
    fn series_meet_by_all_their_tags() {
        let left = variable(&["host"], &["host=a", "host=b", "host=c"], &[]);
        let right = variable(&["host"], &["host=b", "host=c", "host=d"], &[]);
        let union = Join::default().of(&[&left, &right]);
        assert_eq!(union, [vec![(0, 0)], vec![(0, 1), (1, 0)], vec![(0, 2), (1, 1)], vec![(1, 2)]]);
        let intersection = Join { operator: JoinOperator::Intersection, ..Join::default() };
        assert_eq!(intersection.of(&[&left, &right]), [vec![(0, 1), (1, 0)], vec![(0, 2), (1, 1)]]);
    }

    #[test]
    fn only_tags_of_filters_count_when_asked_for() {
        let left = variable(&["host"], &["dc=x,host=a"], &[]);
        let right = variable(&["host"], &["dc=y,host=a"], &[]);
        assert_eq!(Join::default().of(&[&left, &right]).len(), 2);
        let by_query = Join { use_query_tags: true, ..Join::default() };
        assert_eq!(by_query.of(&[&left, &right]), [[(0, 0), (1, 0)]]);
    }

    #[test]
    fn keys_that_were_aggregated_over_count_unless_switched_off() {
        let left = variable(&[], &["dc=x"], &["host"]);
        let right = variable(&[], &["dc=x"], &[]);
        assert_eq!(Join::default().of(&[&left, &right]).len(), 2);
        let loose = Join { include_aggregate_tags: false, ..Join::default() };
        assert_eq!(loose.of(&[&left, &right]).len(), 1);
        // Without tags nothing counts.
        let (left, right) = (variable(&[], &[""], &["host"]), variable(&[], &[""], &[]));
        assert_eq!(Join::default().of(&[&left, &right]).len(), 1);
    }

    #[test]
    fn of_two_series_that_look_the_same_the_later_one_is_taken() {
        let left = variable(&[], &["host=a", "host=b"], &[]);
        let right = variable(&[], &["host=a"], &[]);
        let by_query = Join { use_query_tags: true, ..Join::default() };
        assert_eq!(by_query.of(&[&left, &right]), [[(0, 1), (1, 0)]]);
    }
}
