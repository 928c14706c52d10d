//! A reader over points in memory, for the tests of this crate.

use std::{collections::BTreeMap, ops::ControlFlow};

use tidemark_model::{
    PointColumns, ReadError, ReadLimits, ReadRequest, ReadStatistics, SeriesId, SeriesInfo, SeriesKey, SeriesSelector,
    SeriesSet, TagMatch, TimeRange, TimestampMs, Tsuid, Value,
};
use tidemark_query::{EvaluationControl, GroupResult, Query, QueryError};

/// Series in memory; the last write of a timestamp wins.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    series: BTreeMap<SeriesKey, BTreeMap<TimestampMs, Value>>,
}

impl MemoryStore {
    pub(crate) fn put(&mut self, metric: &str, tags: &[(&str, &str)], timestamp: TimestampMs, value: Value) {
        self.series.entry(SeriesKey::new(metric, tags)).or_default().insert(timestamp, value);
    }

    pub(crate) fn open(&self, request: &ReadRequest) -> MemorySet {
        let mut set = MemorySet::default();
        for (number, (key, points)) in self.series.iter().enumerate() {
            let info = SeriesInfo { id: SeriesId(number as u64), key: key.clone(), tsuid: tsuid(number) };
            if selects(&request.selector, &info) {
                set.infos.push(info);
                set.points.push(in_range(points, request.range));
            }
        }
        set
    }

    /// Evaluates every sub-query of a query, in order.
    pub(crate) fn evaluate(&self, query: &Query) -> Result<Vec<GroupResult>, QueryError> {
        self.evaluate_with(query, &EvaluationControl::default())
    }

    pub(crate) fn evaluate_with(
        &self,
        query: &Query,
        control: &EvaluationControl<'_>,
    ) -> Result<Vec<GroupResult>, QueryError> {
        let mut results = Vec::new();
        for plan in query.plan()? {
            let set = self.open(&plan.read_request(ReadLimits::default()));
            plan.evaluate(&set, control, |result| {
                results.push(result);
                ControlFlow::Continue(())
            })?;
        }
        Ok(results)
    }
}

pub(crate) fn tsuid(number: usize) -> Tsuid {
    Tsuid::new(1, &[(1, u32::try_from(number).unwrap() + 1)])
}

fn in_range(points: &BTreeMap<TimestampMs, Value>, range: TimeRange) -> PointColumns {
    points.iter().filter(|(time, _)| range.contains(**time)).map(|(time, value)| (*time, *value)).collect()
}

fn selects(selector: &SeriesSelector, info: &SeriesInfo) -> bool {
    match selector {
        SeriesSelector::Tsuids(tsuids) => tsuids.contains(&info.tsuid),
        SeriesSelector::Tags { metric, predicates, exact_keys } => {
            let has_metric = metric.as_deref().is_none_or(|metric| metric == info.key.metric());
            let matches = predicates.iter().all(|predicate| match (&predicate.matches, info.key.tag(&predicate.key)) {
                (TagMatch::Absent, value) => value.is_none(),
                (_, None) => false,
                (TagMatch::Any, Some(_)) => true,
                (TagMatch::OneOf(values), Some(value)) => values.iter().any(|candidate| candidate == value),
                (TagMatch::Where(function), Some(value)) => function(value),
            });
            let is_known = |key: &str| predicates.iter().any(|predicate| predicate.key == key);
            let is_exact = !exact_keys || predicates.is_empty() || info.key.tags().all(|(key, _)| is_known(key));
            has_metric && matches && is_exact
        }
    }
}

/// What [`MemoryStore::open`] found.
#[derive(Debug, Default)]
pub(crate) struct MemorySet {
    infos: Vec<SeriesInfo>,
    points: Vec<PointColumns>,
}

impl SeriesSet for MemorySet {
    fn series(&self) -> &[SeriesInfo] {
        &self.infos
    }

    fn read(&self, index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
        columns.clone_from(&self.points[index]);
        Ok(())
    }

    fn statistics(&self) -> ReadStatistics {
        ReadStatistics { series: self.infos.len(), ..ReadStatistics::default() }
    }
}
