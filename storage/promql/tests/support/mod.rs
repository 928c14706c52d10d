//! Series in memory, written as texts.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, reason = "shared by several tests")]

use tidemark_model::{
    PointColumns, ReadError, ReadStatistics, SeriesId, SeriesInfo, SeriesKey, SeriesSet, TimeRange, Tsuid, Value,
};
use tidemark_promql::{
    Answer, Control, LOOKBACK_DEFAULT_MS, Labels, Query, QueryError, SelectedSeries, SeriesRead, Steps, parse,
};

/// Points of one series.
#[derive(Clone, Debug)]
pub(crate) struct TestSeries {
    pub(crate) key: SeriesKey,
    pub(crate) points: Vec<(i64, f64)>,
}

/// Series in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestStore {
    pub(crate) series: Vec<TestSeries>,
}

/// The points in a range of some series.
struct TestSet {
    infos: Vec<SeriesInfo>,
    points: Vec<Vec<(i64, f64)>>,
}

impl SeriesSet for TestSet {
    fn series(&self) -> &[SeriesInfo] {
        &self.infos
    }

    fn read(&self, index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
        *columns = self.points[index].iter().map(|&(time, value)| (time, Value::Float(value))).collect();
        Ok(())
    }

    fn statistics(&self) -> ReadStatistics {
        ReadStatistics::default()
    }
}

impl TestStore {
    /// Reads every series of the metrics of a read, as a store may that knows no more.
    pub(crate) fn select(&self, read: &SeriesRead) -> Box<dyn SeriesSet> {
        let in_range = |range: TimeRange, points: &[(i64, f64)]| {
            points.iter().copied().filter(|(time, _)| range.contains(*time)).collect::<Vec<_>>()
        };
        let (mut infos, mut points) = (Vec::new(), Vec::new());
        for series in self.series.iter().filter(|series| read.accepts_metric(series.key.metric())) {
            let id = SeriesId(infos.len() as u64);
            infos.push(SeriesInfo { id, key: series.key.clone(), tsuid: Tsuid::new(1, &[]) });
            points.push(in_range(read.range, &series.points));
        }
        Box::new(TestSet { infos, points })
    }

    pub(crate) fn evaluate(&self, query: &Query) -> Result<Answer, QueryError> {
        self.evaluate_within(query, &Control::default())
    }

    pub(crate) fn evaluate_within(&self, query: &Query, control: &Control<'_>) -> Result<Answer, QueryError> {
        let reads = query.reads();
        let sets: Vec<Vec<Box<dyn SeriesSet>>> = reads.iter().map(|read| vec![self.select(read)]).collect();
        let selected: Vec<SelectedSeries<'_>> =
            sets.iter().zip(&reads).map(|(sets, read)| SelectedSeries::new(sets, read)).collect();
        query.evaluate(&selected, control).map(|(answer, _)| answer)
    }

    /// The answer for one moment.
    pub(crate) fn instant(&self, text: &str, time: i64) -> Result<Answer, QueryError> {
        let expression = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        self.evaluate(&Query::instant(expression, time, LOOKBACK_DEFAULT_MS))
    }

    /// The answer for moments of a range.
    pub(crate) fn range(&self, text: &str, steps: Steps) -> Result<Answer, QueryError> {
        let expression = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        self.evaluate(&Query::range(expression, steps, LOOKBACK_DEFAULT_MS).unwrap())
    }
}

/// Labels of a text such as `metric{a="b"}`.
pub(crate) fn labels(text: &str) -> Labels {
    let (metric, rest) = text.split_once('{').unwrap_or((text, "}"));
    let mut pairs = vec![("__name__".to_owned(), metric.trim().to_owned())];
    for pair in rest.trim_end_matches('}').split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=').unwrap();
        pairs.push((name.trim().trim_matches('"').to_owned(), value.trim().trim_matches('"').to_owned()));
    }
    Labels::new(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

pub(crate) fn key(text: &str) -> SeriesKey {
    let labels = labels(text);
    let tags: Vec<(&str, &str)> = labels.iter().filter(|(name, _)| *name != "__name__").collect();
    SeriesKey::new(labels.get("__name__"), &tags)
}

pub(crate) fn number(text: &str) -> f64 {
    match text {
        "+Inf" | "Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        other => other.parse().unwrap_or_else(|_| panic!("no number: {other}")),
    }
}
