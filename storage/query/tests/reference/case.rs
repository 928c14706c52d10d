//! Series and a query over them.

use std::{collections::BTreeMap, fmt};

use tidemark_model::{SeriesKey, TimestampMs, Value};
use tidemark_query::{GroupResult, Query, Source, SubQuery};

use crate::{compare::compare, evaluate, store::MemoryStore};

/// The points of one series.
pub(crate) type Points = BTreeMap<TimestampMs, Value>;

/// Series of the metric `m` and a query with one sub-query.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) series: BTreeMap<SeriesKey, Points>,
    pub(crate) query: Query,
}

impl Case {
    /// No series, and the query of an `m=` parameter.
    pub(crate) fn of(text: &str, start: TimestampMs, end: TimestampMs) -> Self {
        let query = Query::new(start, end, vec![SubQuery::parse(text).unwrap()]);
        Self { series: BTreeMap::new(), query }
    }

    pub(crate) fn put(&mut self, tags: &[(&str, &str)], timestamp: TimestampMs, value: Value) {
        self.series.entry(SeriesKey::new("m", tags)).or_default().insert(timestamp, value);
    }

    pub(crate) fn sub_query(&self) -> &SubQuery {
        &self.query.sub_queries[0]
    }

    pub(crate) fn points(&self) -> usize {
        self.series.values().map(BTreeMap::len).sum()
    }

    /// What the crate answers, when that is what the rules say.
    pub(crate) fn difference(&self) -> Result<Vec<GroupResult>, String> {
        let found = self.store().evaluate(&self.query).map_err(|error| format!("refused: {error}"))?;
        compare(&found, &evaluate::answers(self), self.sub_query())?;
        Ok(found)
    }

    fn store(&self) -> MemoryStore {
        let mut store = MemoryStore::default();
        for (key, points) in &self.series {
            let tags: Vec<_> = key.tags().collect();
            points.iter().for_each(|(time, value)| store.put("m", &tags, *time, *value));
        }
        store
    }
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, points) in &self.series {
            writeln!(out, "series {:?}", key.tags().collect::<Vec<_>>())?;
            for (time, value) in points {
                writeln!(out, "    {time} {value:?}")?;
            }
        }
        let Query { start, end, time_zone, week_start, use_calendar, ms_resolution, .. } = &self.query;
        writeln!(out, "from {start} to {end}, {time_zone}, weeks from {week_start}")?;
        writeln!(out, "calendar {use_calendar}, milliseconds {ms_resolution}")?;
        let sub_query = self.sub_query();
        let downsample = sub_query.downsample.map_or_else(|| "no downsampling".to_owned(), |found| found.to_string());
        writeln!(out, "{}, {downsample}, rate {:?}", sub_query.aggregator, sub_query.rate)?;
        if let Source::Metric { explicit_tags, .. } = &sub_query.source {
            writeln!(out, "explicit tags {explicit_tags}, aligned first {}", sub_query.align_first)?;
        }
        for filter in sub_query.filters() {
            writeln!(out, "{}={}({}), by {}", filter.key(), filter.kind(), filter.text(), filter.group_by())?;
        }
        Ok(())
    }
}
