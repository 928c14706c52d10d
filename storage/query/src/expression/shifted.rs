//! A sub-query of another time than the request's.

use std::ops::ControlFlow;

use tidemark_model::SeriesSet;

use super::ExpressionError;
use crate::{
    EvaluationControl, EvaluationStatistics, GroupResult, Interval, Query, QueryError, SubQuery, SubQueryPlan,
    parse_error::excerpt,
};

/// A sub-query whose window lies `shift_ms` before that of the request, and whose points are shown as much later.
#[derive(Clone, Debug, PartialEq)]
pub struct ShiftedSubQuery {
    /// What to show.
    pub sub_query: SubQuery,
    /// Milliseconds, at least 0.
    pub shift_ms: i64,
}

impl ShiftedSubQuery {
    /// The query of this sub-query alone in the window of `query`, whose own sub-queries do not matter. Results keep their
    /// milliseconds.
    #[must_use]
    pub fn query(&self, query: &Query) -> Query {
        Query {
            start: query.start.saturating_sub(self.shift_ms),
            end: query.end.saturating_sub(self.shift_ms),
            ms_resolution: true,
            sub_queries: vec![self.sub_query.clone()],
            ..*query
        }
    }

    /// Evaluates the plan of [`Self::query`] over what was read for it; points are where the request shows them.
    ///
    /// # Errors
    /// As [`SubQueryPlan::evaluate`].
    pub fn evaluate(
        &self,
        plan: &SubQueryPlan,
        series: &dyn SeriesSet,
        control: &EvaluationControl<'_>,
    ) -> Result<(Vec<GroupResult>, EvaluationStatistics), QueryError> {
        let mut groups = Vec::new();
        let statistics = plan.evaluate(series, control, |mut group| {
            if self.shift_ms != 0 {
                group.timestamps.iter_mut().for_each(|timestamp| *timestamp = timestamp.saturating_add(self.shift_ms));
            }
            groups.push(group);
            ControlFlow::Continue(())
        })?;
        Ok((groups, statistics))
    }
}

/// Reads how far back a metric lies: `1d` or `1d-ago`, in milliseconds.
///
/// OpenTSDB 2.4 reads this field, checks it and then forgets it.
///
/// # Errors
/// [`ExpressionError::TimeOffset`] for anything that is no length of time.
pub fn parse_time_offset(text: &str) -> Result<i64, ExpressionError> {
    let length = text.strip_suffix("-ago").unwrap_or(text);
    let interval: Result<Interval, _> = length.parse();
    interval.map(Interval::millis).map_err(|reason| ExpressionError::TimeOffset { text: excerpt(text), reason })
}

#[cfg(test)]
mod tests {
    use tidemark_model::ReadLimits;

    use super::*;

    #[test]
    fn a_shifted_sub_query_reads_an_earlier_window() {
        let shifted = ShiftedSubQuery { sub_query: SubQuery::parse("none:m").unwrap(), shift_ms: 3_000 };
        let plans = shifted.query(&Query::new(10_000, 20_000, Vec::new())).plan().unwrap();
        let range = plans[0].read_request(ReadLimits::default()).range;
        assert_eq!((range.start, range.end), (7_000, 17_001));
        let far = ShiftedSubQuery { shift_ms: i64::MAX, ..shifted };
        assert!(far.query(&Query::new(0, 1, Vec::new())).plan().is_ok());
    }

    #[test]
    fn an_offset_is_a_length_of_time() {
        assert_eq!(parse_time_offset("1d"), Ok(86_400_000));
        assert_eq!(parse_time_offset("90s-ago"), Ok(90_000));
        let refused = parse_time_offset("2013/01/01").unwrap_err().to_string();
        assert!(refused.starts_with("Invalid timeOffset `2013/01/01`, expected such as `1d`"), "{refused}");
    }
}
