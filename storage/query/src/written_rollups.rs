//! Series whose buckets without points are answered by rollups that somebody wrote.
//!
//! Points come first: a bucket that has one is computed of its points, and of no rollup. Of several intervals the longest
//! that has something in a bucket answers it alone, so that nothing counts twice.

use std::collections::BTreeMap;

use tidemark_model::{
    PointColumns, ReadError, ReadStatistics, RollupBuckets, RollupRows, SeriesInfo, SeriesKey, SeriesSet, TimestampMs,
};

/// Rollups of one interval.
pub(crate) struct WrittenValues {
    values: Box<dyn SeriesSet>,
    /// Of averages, how many points each stands for; `values` are their sums.
    counts: Option<Box<dyn SeriesSet>>,
}

impl WrittenValues {
    pub(crate) fn new(values: Box<dyn SeriesSet>, counts: Option<Box<dyn SeriesSet>>) -> Self {
        Self { values, counts }
    }
}

/// Points and rollups of the same series.
pub(crate) struct WithRollups {
    points: Option<Box<dyn SeriesSet>>,
    written: Vec<WrittenValues>,
    buckets: Option<RollupBuckets>,
    infos: Vec<SeriesInfo>,
    /// Where each series is.
    places: Vec<Places>,
}

/// Positions of a series in the sets.
#[derive(Default)]
struct Places {
    points: Option<usize>,
    /// Position in `written`, of its values, and of its counts.
    written: Vec<(usize, usize, Option<usize>)>,
}

/// A row: its start, its value, how many points it stands for.
type Row = (TimestampMs, f64, f64);

impl WithRollups {
    /// Puts together what belongs to a metric, which is a stored name.
    pub(crate) fn new(
        metric: String,
        points: Option<Box<dyn SeriesSet>>,
        written: Vec<WrittenValues>,
        buckets: Option<RollupBuckets>,
    ) -> Self {
        let mut series: BTreeMap<SeriesKey, (SeriesInfo, Places)> = BTreeMap::new();
        for (position, info) in points.iter().flat_map(|points| points.series()).enumerate() {
            let places = Places { points: Some(position), ..Places::default() };
            series.insert(info.key.clone(), (info.clone(), places));
        }
        for (number, source) in written.iter().enumerate() {
            let counts: BTreeMap<SeriesKey, usize> = source
                .counts
                .iter()
                .flat_map(|counts| counts.series())
                .enumerate()
                .map(|(position, info)| (of_metric(&metric, &info.key), position))
                .collect();
            for (position, info) in source.values.series().iter().enumerate() {
                let key = of_metric(&metric, &info.key);
                let counted = counts.get(&key).copied();
                if source.counts.is_some() && counted.is_none() {
                    continue;
                }
                let info = SeriesInfo { key: key.clone(), ..info.clone() };
                let (_, places) = series.entry(key).or_insert_with(|| (info, Places::default()));
                places.written.push((number, position, counted));
            }
        }
        let (infos, places) = series.into_values().unzip();
        Self { points, written, buckets, infos, places }
    }

    /// Rows of written rollups for buckets that are not in `answered`, which is sorted.
    fn rows_written(&self, places: &Places, mut answered: Vec<TimestampMs>) -> Result<Vec<Row>, ReadError> {
        let mut rows = Vec::new();
        let Some(buckets) = &self.buckets else { return Ok(rows) };
        let (mut values, mut counts) = (PointColumns::default(), PointColumns::default());
        for &(number, position, counted) in &places.written {
            let Some(source) = self.written.get(number) else { continue };
            source.values.read(position, &mut values)?;
            if let (Some(counted), Some(set)) = (counted, &source.counts) {
                set.read(counted, &mut counts)?;
            }
            let before = rows.len();
            for point in values.iter() {
                let Some(bucket) = buckets.boundary_until(point.timestamp) else { continue };
                if answered.binary_search(&bucket).is_ok() {
                    continue;
                }
                let count = match counted {
                    None => 0.0,
                    Some(_) => {
                        let found = counts.timestamps.binary_search(&point.timestamp).ok();
                        let Some(count) = found.and_then(|found| counts.get(found)) else { continue };
                        count.value.as_f64()
                    }
                };
                rows.push((point.timestamp, point.value.as_f64(), count));
            }
            let new = rows.get(before..).unwrap_or_default();
            answered.extend(new.iter().filter_map(|(start, ..)| buckets.boundary_until(*start)));
            answered.sort_unstable();
            answered.dedup();
        }
        Ok(rows)
    }

    /// Buckets of which something is known without the rollups that were written, sorted.
    fn answered(&self, places: &Places, rows: &RollupRows) -> Result<Vec<TimestampMs>, ReadError> {
        let mut points = PointColumns::default();
        if let (Some(set), Some(position)) = (&self.points, places.points) {
            set.read(position, &mut points)?;
        }
        let Some(buckets) = &self.buckets else { return Ok(Vec::new()) };
        let moments = points.timestamps.iter().chain(&rows.starts);
        let mut answered: Vec<_> = moments.filter_map(|&moment| buckets.boundary_until(moment)).collect();
        answered.sort_unstable();
        answered.dedup();
        Ok(answered)
    }
}

impl SeriesSet for WithRollups {
    fn series(&self) -> &[SeriesInfo] {
        &self.infos
    }

    fn read(&self, index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
        let position = self.places.get(index).and_then(|places| places.points);
        match (&self.points, position) {
            (Some(points), Some(position)) => points.read(position, columns),
            _ => {
                columns.clear();
                Ok(())
            }
        }
    }

    fn read_rollups(&self, index: usize, rows: &mut RollupRows) -> Result<bool, ReadError> {
        rows.clear();
        let Some(places) = self.places.get(index) else { return Ok(false) };
        if let (Some(points), Some(position)) = (&self.points, places.points) {
            points.read_rollups(position, rows)?;
        }
        if places.written.is_empty() {
            return Ok(!rows.is_empty());
        }
        let mut all = self.rows_written(places, self.answered(places, rows)?)?;
        let has_counts = places.written.iter().any(|(_, _, counted)| counted.is_some());
        for (position, (&start, &value)) in rows.starts.iter().zip(&rows.values).enumerate() {
            all.push((start, value, rows.counts.get(position).copied().unwrap_or(0.0)));
        }
        all.sort_unstable_by_key(|(start, ..)| *start);
        rows.clear();
        for (start, value, count) in all {
            rows.starts.push(start);
            rows.values.push(value);
            if has_counts {
                rows.counts.push(count);
            }
        }
        Ok(!rows.is_empty())
    }

    fn statistics(&self) -> ReadStatistics {
        let of_written = self.written.iter().flat_map(|source| [Some(&source.values), source.counts.as_ref()]);
        let sets = [self.points.as_ref()].into_iter().chain(of_written).flatten();
        sets.map(|set| set.statistics()).sum()
    }
}

/// The series of a metric that has the tags of another.
fn of_metric(metric: &str, key: &SeriesKey) -> SeriesKey {
    let tags: Vec<_> = key.tags().collect();
    SeriesKey::new(metric, &tags)
}

#[cfg(test)]
mod tests {
    use std::{ops::ControlFlow, sync::Arc};

    use tidemark_model::{
        BoxFuture, NameKind, PointBatchBuilder, ReadLimits, ReadRequest, SeriesId, SeriesReader, SeriesSelector, Tsuid,
        Value,
    };

    use super::*;
    use crate::{EvaluationControl, Query, RollupIntervals, SpaceReader, SubQuery};

    type Points = BTreeMap<TimestampMs, Value>;

    /// A store in which everything of a metric matches.
    #[derive(Default)]
    struct Stored(BTreeMap<SeriesKey, Points>);

    struct Set(Vec<SeriesInfo>, Vec<PointColumns>);

    impl SeriesSet for Set {
        fn series(&self) -> &[SeriesInfo] {
            &self.0
        }

        fn read(&self, index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
            *columns = self.1[index].clone();
            Ok(())
        }

        fn statistics(&self) -> ReadStatistics {
            ReadStatistics { series: self.0.len(), ..ReadStatistics::default() }
        }
    }

    impl SeriesReader for Stored {
        fn open(&self, request: ReadRequest) -> BoxFuture<'_, Result<Box<dyn SeriesSet>, ReadError>> {
            let SeriesSelector::Tags { metric: Some(metric), .. } = request.selector else { panic!("a metric") };
            let found: Vec<_> = self.0.iter().filter(|(key, _)| key.metric() == metric).collect();
            if found.is_empty() {
                let unknown = ReadError::UnknownName { kind: NameKind::Metric, name: metric };
                return Box::pin(std::future::ready(Err(unknown)));
            }
            let info = |key: &SeriesKey| SeriesInfo { id: SeriesId(0), key: key.clone(), tsuid: Tsuid::new(1, &[]) };
            let infos = found.iter().map(|(key, _)| info(key)).collect();
            let columns = found.iter().map(|(_, points)| {
                let inside = points.iter().filter(|(timestamp, _)| request.range.contains(**timestamp));
                inside.map(|(&timestamp, &value)| (timestamp, value)).collect()
            });
            Box::pin(std::future::ready(Ok(Box::new(Set(infos, columns.collect())) as Box<dyn SeriesSet>)))
        }
    }

    impl Stored {
        fn point(&mut self, host: &str, minute: i64, value: i64) {
            let points = self.0.entry(SeriesKey::new("cpu", &[("host", host)])).or_default();
            points.insert(minute * 60_000, Value::Int(value));
        }

        fn rollup(&mut self, host: &str, (interval, aggregator): (&str, &str), minute: i64, value: i64) {
            let mut builder = PointBatchBuilder::default();
            let space = tidemark_model::MetricSpace::Rollup(tidemark_model::WrittenRollup {
                interval: interval.to_owned(),
                aggregator: aggregator.to_owned(),
            });
            builder.push_in(&space, "cpu", &mut [("host", host)], minute * 60_000, Value::Int(value)).unwrap();
            let batch = builder.finish();
            for point in batch.points() {
                self.0.entry(batch.series_key(point.series)).or_default().insert(point.timestamp, point.value);
            }
        }
    }

    fn answer(stored: Stored, text: &str) -> Result<Vec<String>, ReadError> {
        let query = Query::new(60_000, 600 * 60_000, vec![SubQuery::parse(text).unwrap()]);
        let plan = query.plan().unwrap().remove(0);
        let reader = SpaceReader::new(Arc::new(stored), RollupIntervals::default());
        let mut opening = reader.open(plan.read_request(ReadLimits::default()));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(set) = opening.as_mut().poll(&mut context) else { panic!("nothing waits here") };
        let (set, mut found) = (set?, Vec::new());
        plan.evaluate(set.as_ref(), &EvaluationControl::default(), |group| {
            let points = group.timestamps.iter().zip(group.values.iter());
            let points: Vec<_> = points.map(|(time, value)| format!("{}:{value}", time / 60_000)).collect();
            found.push(format!("{} {}", group.metric, points.join(" ")));
            ControlFlow::Continue(())
        })
        .unwrap();
        Ok(found)
    }

    /// Points in hour 1, rollups by the hour in hours 1 to 3, by ten minutes in hours 3 and 4.
    fn example() -> Stored {
        let mut stored = Stored::default();
        (60..120).for_each(|minute| stored.point("a", minute, 1));
        for (aggregator, value) in [("SUM", 600), ("COUNT", 60), ("MIN", 3), ("MAX", 20)] {
            for hour in 1..4 {
                stored.rollup("a", ("1h", aggregator), hour * 60, value);
            }
            for ten in 18..30 {
                stored.rollup("a", ("10m", aggregator), ten * 10, value / 3);
            }
        }
        stored
    }

    #[test]
    fn points_come_first_and_then_the_longest_rollup() {
        let check = |text: &str, expect: &str| assert_eq!(answer(example(), text).unwrap(), [expect], "{text}");
        // By hand: six times 200 in hour 4.
        check("sum:1h-sum:cpu", "cpu 60:60 120:600 180:600 240:1200");
        check("sum:1h-avg:cpu", "cpu 60:1 120:10 180:10 240:10");
        check("sum:1h-count:cpu", "cpu 60:60 120:60 180:60 240:120");
        check("sum:1h-min:cpu", "cpu 60:1 120:3 180:3 240:1");
        check("sum:2h-max:cpu", "cpu 120:20 240:6");
        // An hour does not divide half an hour.
        check("sum:30m-sum:cpu", "cpu 60:30 90:30 180:600 210:600 240:600 270:600");
        check("sum:1h-last:cpu", "cpu 60:1");
        check("sum:rollup_raw:1h-sum:cpu", "cpu 60:60");
    }

    #[test]
    fn a_series_may_have_rollups_alone() {
        let mut stored = Stored::default();
        stored.rollup("a", ("1h", "SUM"), 60, 5);
        assert_eq!(answer(stored, "sum:1h-sum:cpu").unwrap(), ["cpu 60:5"]);
        let mut stored = Stored::default();
        stored.rollup("a", ("1h", "SUM"), 60, 5);
        // Without counts there is no average, and without downsampling no rollup; yet the metric is known.
        assert_eq!(answer(stored, "sum:1h-avg:cpu").unwrap(), Vec::<String>::new());
        let mut stored = Stored::default();
        stored.rollup("a", ("1h", "SUM"), 60, 5);
        assert_eq!(answer(stored, "sum:cpu").unwrap(), Vec::<String>::new());
        assert!(matches!(answer(Stored::default(), "sum:cpu"), Err(ReadError::UnknownName { .. })));
        let mut stored = example();
        stored.rollup("b", ("1h", "SUM"), 60, 5);
        assert_eq!(answer(stored, "sum:1h-sum:cpu").unwrap(), ["cpu 60:65 120:600 180:600 240:1200"]);
    }
}
