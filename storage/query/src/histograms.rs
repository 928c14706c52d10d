//! Percentiles and buckets of histograms.
//!
//! The parts of each series' histograms are read one after the other and added up by moment (or downsampling bucket) and
//! bucket; then every percentile and every bucket becomes a result. Nothing is interpolated: histograms that are not at the
//! same moment are not added.

use std::{collections::BTreeMap, ops::ControlFlow};

use tidemark_model::{
    BucketBounds, HistogramPart, PointColumns, SeriesInfo, SeriesSet, TimestampMs, Value, ValueColumn, is_reserved,
    written_metric,
};

use crate::{
    Aggregator, EvaluationControl, EvaluationStatistics, Fill, GroupResult, HistogramQuery, QueryError, SubQueryPlan,
    common_tags::CommonTags, java_float::java_float,
};

/// What the histograms of a moment have in sum.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    underflow: i64,
    overflow: i64,
    buckets: BTreeMap<BucketBounds, i64>,
}

/// Positions of the parts of each series of a group, by the tags of the series.
type Members<'a> = BTreeMap<Vec<(&'a str, &'a str)>, Vec<usize>>;

impl SubQueryPlan {
    /// As [`Self::evaluate`], of histograms.
    pub(crate) fn evaluate_histograms(
        &self,
        asked: &HistogramQuery,
        series: &dyn SeriesSet,
        control: &EvaluationControl<'_>,
        mut emit: impl FnMut(GroupResult) -> ControlFlow<()>,
    ) -> Result<EvaluationStatistics, QueryError> {
        let statistics = EvaluationStatistics::default();
        let mut evaluation = Evaluation { plan: self, series, control, statistics, points: PointColumns::default() };
        for members in self.histogram_groups(series.series()) {
            let sums = evaluation.add_up(&members)?;
            if sums.is_empty() {
                continue;
            }
            for result in evaluation.results(asked, &members, &sums)? {
                if emit(result).is_break() {
                    return Ok(evaluation.statistics);
                }
            }
        }
        Ok(evaluation.statistics)
    }

    fn histogram_groups<'a>(&self, series: &'a [SeriesInfo]) -> Vec<Members<'a>> {
        let keys = self.sub_query.group_keys();
        let mut groups: BTreeMap<Vec<Option<&str>>, Members<'_>> = BTreeMap::new();
        for (index, info) in series.iter().enumerate() {
            let tags: Vec<_> = info.key.tags().filter(|(key, _)| !is_reserved(key)).collect();
            let group = match self.sub_query.aggregator {
                Aggregator::None => tags.iter().flat_map(|&(key, value)| [Some(key), Some(value)]).collect(),
                _ => keys.iter().map(|key| info.key.tag(key)).collect(),
            };
            groups.entry(group).or_default().entry(tags).or_default().push(index);
        }
        groups.into_values().collect()
    }
}

struct Evaluation<'a> {
    plan: &'a SubQueryPlan,
    series: &'a dyn SeriesSet,
    control: &'a EvaluationControl<'a>,
    statistics: EvaluationStatistics,
    /// What was read of one part; kept for the next one.
    points: PointColumns,
}

impl Evaluation<'_> {
    fn add_up(&mut self, members: &Members<'_>) -> Result<BTreeMap<TimestampMs, Sums>, QueryError> {
        let mut sums = BTreeMap::new();
        let mut held = 0;
        for parts in members.values() {
            self.statistics.series += 1;
            let Some(shape) = parts.iter().copied().find(|&index| self.part(index) == Some(HistogramPart::Shape))
            else {
                continue;
            };
            self.read(shape)?;
            let shapes = std::mem::take(&mut self.points);
            for &index in parts {
                let Some(part) = self.part(index).filter(|part| *part != HistogramPart::Shape) else { continue };
                self.read(index)?;
                held += self.add_part(part, &shapes, &mut sums);
                let limit = self.control.limits.group_points_max;
                if held > limit {
                    return Err(QueryError::TooManyGroupPoints { series: members.len(), limit });
                }
            }
        }
        Ok(sums)
    }

    fn part(&self, index: usize) -> Option<HistogramPart> {
        HistogramPart::of_series(&self.series.series().get(index)?.key)
    }

    fn read(&mut self, index: usize) -> Result<(), QueryError> {
        if (self.control.cancelled)() {
            return Err(QueryError::Cancelled);
        }
        self.series.read(index, &mut self.points)?;
        self.statistics.points += self.points.len() as u64;
        Ok(())
    }

    /// Adds the counts of the part that was read, where the histogram of the moment has such a part. Says how many
    /// buckets there are more.
    fn add_part(&self, part: HistogramPart, shapes: &PointColumns, sums: &mut BTreeMap<TimestampMs, Sums>) -> u64 {
        let mut more = 0;
        for point in self.points.iter() {
            let shape =
                shapes.timestamps.binary_search(&point.timestamp).ok().and_then(|found| shapes.values.get(found));
            let Some(moment) = self.moment(point.timestamp).filter(|_| has_part(shape, part)) else { continue };
            let Value::Int(count) = point.value else { continue };
            let sums: &mut Sums = sums.entry(moment).or_default();
            let sum = match part {
                HistogramPart::Underflow => &mut sums.underflow,
                HistogramPart::Overflow => &mut sums.overflow,
                HistogramPart::Bucket { bounds, .. } => sums.buckets.entry(bounds).or_insert_with(|| {
                    more += 1;
                    0
                }),
                HistogramPart::Shape => continue,
            };
            *sum = sum.saturating_add(count);
        }
        more
    }

    /// Where in the answer a moment is.
    fn moment(&self, timestamp: TimestampMs) -> Option<TimestampMs> {
        let window = self.plan.window;
        let moment = match &self.plan.grid {
            Some(grid) if grid.range().contains(timestamp) => grid.start(grid.locate(timestamp).0),
            Some(_) => return None,
            None => timestamp,
        };
        (window.start..=window.end).contains(&moment).then_some(moment)
    }

    fn results(
        &mut self,
        asked: &HistogramQuery,
        members: &Members<'_>,
        sums: &BTreeMap<TimestampMs, Sums>,
    ) -> Result<Vec<GroupResult>, QueryError> {
        let series = self.series.series();
        let infos: Vec<_> = members.values().flatten().filter_map(|&index| series.get(index)).collect();
        let metric = infos.first().map_or("", |info| written_metric(info.key.metric()));
        let CommonTags { tags, aggregate_tags } = CommonTags::of(infos.iter().copied());
        // A histogram is listed as the one of its series that every histogram has.
        let is_shape = |info: &&&SeriesInfo| HistogramPart::of_series(&info.key) == Some(HistogramPart::Shape);
        let mut tsuids: Vec<_> = infos.iter().filter(is_shape).map(|info| info.tsuid.clone()).collect();
        tsuids.sort_unstable();
        let mut columns: Vec<(String, ValueColumn)> = Vec::new();
        for &percentile in &asked.percentiles {
            let values = sums.values().map(|sums| sums.percentile(percentile)).collect();
            columns.push((format!("{metric}_pct_{}", java_float(percentile)), ValueColumn::Float(values)));
            self.count(sums.len())?;
        }
        let mut counts = |name: String, count: &dyn Fn(&Sums) -> i64| {
            columns.push((format!("{metric}_{name}"), ValueColumn::Int(sums.values().map(count).collect())));
            self.count(sums.len())
        };
        if asked.show_buckets {
            counts("UNDERFLOW".to_owned(), &|sums| sums.underflow)?;
            let all: BTreeMap<BucketBounds, ()> =
                sums.values().flat_map(|sums| sums.buckets.keys().map(|bounds| (*bounds, ()))).collect();
            for bounds in all.into_keys() {
                let name = format!("{}_{}", java_float(bounds.lower), java_float(bounds.upper));
                counts(name, &|sums| sums.buckets.get(&bounds).copied().unwrap_or(0))?;
            }
            counts("OVERFLOW".to_owned(), &|sums| sums.overflow)?;
        }
        let timestamps: Vec<TimestampMs> = sums.keys().copied().collect();
        let result = |(metric, values)| {
            let mut result = GroupResult {
                metric,
                tags: tags.clone(),
                aggregate_tags: aggregate_tags.clone(),
                tsuids: tsuids.clone(),
                timestamps: timestamps.clone(),
                values,
                fill: Fill::None,
            };
            if !self.plan.ms_resolution {
                result.truncate_to_seconds();
            }
            result
        };
        Ok(columns.into_iter().map(result).collect())
    }

    fn count(&mut self, points: usize) -> Result<(), QueryError> {
        self.statistics.groups += 1;
        self.statistics.result_points += points as u64;
        let limit = self.control.limits.result_points_max;
        if self.statistics.result_points > limit {
            return Err(QueryError::TooManyResultPoints { limit });
        }
        Ok(())
    }
}

/// Whether the histogram with this shape has the part.
fn has_part(shape: Option<Value>, part: HistogramPart) -> bool {
    match (shape, part) {
        (Some(Value::Int(of_moment)), HistogramPart::Bucket { shape, .. }) => of_moment == i64::from(shape),
        (Some(_), HistogramPart::Underflow | HistogramPart::Overflow) => true,
        _ => false,
    }
}

impl Sums {
    /// The middle of the bucket in which so many percent of what is in buckets are reached; 0 when nothing is in any.
    ///
    /// Computed as a `float` and then widened, as OpenTSDB does.
    fn percentile(&self, percentile: f32) -> f64 {
        let total: i128 = self.buckets.values().map(|&count| i128::from(count)).sum();
        let mut running: i128 = 0;
        for (bounds, &count) in &self.buckets {
            running += i128::from(count);
            if total > 0 && running as f64 * 100.0 / total as f64 >= f64::from(percentile) {
                return f64::from(middle(*bounds));
            }
        }
        0.0
    }
}

fn middle(BucketBounds { lower, upper }: BucketBounds) -> f32 {
    let middle = (lower + upper) / 2.0;
    if middle.is_finite() { middle } else { lower / 2.0 + upper / 2.0 }
}

#[cfg(test)]
mod tests {
    use tidemark_model::{Histogram, PointBatchBuilder, ReadError, ReadStatistics, SeriesId, SeriesKey, Tsuid};

    use super::*;
    use crate::{Query, SubQuery};

    /// What a store has after some writes.
    #[derive(Default)]
    struct Stored(Vec<SeriesInfo>, BTreeMap<SeriesKey, BTreeMap<i64, Value>>);

    impl Stored {
        fn write(&mut self, host: &str, timestamp: i64, histogram: &Histogram) {
            let mut builder = PointBatchBuilder::default();
            builder.push_histogram("lat", &mut [("host", host), ("dc", "x")], timestamp, histogram).unwrap();
            let batch = builder.finish();
            for point in batch.points() {
                let points = self.1.entry(batch.series_key(point.series)).or_default();
                points.insert(point.timestamp, point.value);
            }
            let infos =
                self.1.keys().map(|key| SeriesInfo { id: SeriesId(0), key: key.clone(), tsuid: Tsuid::new(1, &[]) });
            self.0 = infos.collect();
        }
    }

    impl SeriesSet for Stored {
        fn series(&self) -> &[SeriesInfo] {
            &self.0
        }

        fn read(&self, index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
            *columns = self.1[&self.0[index].key].iter().map(|(&timestamp, &value)| (timestamp, value)).collect();
            Ok(())
        }

        fn statistics(&self) -> ReadStatistics {
            ReadStatistics::default()
        }
    }

    fn histogram(buckets: &[(f32, f32, i64)]) -> Histogram {
        let mut histogram = Histogram::new(1, 2).unwrap();
        buckets.iter().for_each(|&(lower, upper, count)| histogram.set(lower, upper, count).unwrap());
        histogram
    }

    fn answer(stored: &Stored, text: &str) -> Vec<String> {
        let query = Query::new(1_000, 100_000, vec![SubQuery::parse(text).unwrap()]);
        let mut found = Vec::new();
        query.plan().unwrap()[0]
            .evaluate(stored, &EvaluationControl::default(), |group| {
                let values: Vec<_> = group.values.iter().map(|value| value.to_string()).collect();
                let tags: Vec<_> = group.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let points: Vec<_> =
                    group.timestamps.iter().zip(values).map(|(time, value)| format!("{time}:{value}")).collect();
                found.push(format!("{} {} {}", group.metric, tags.join(","), points.join(" ")));
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }

    #[test]
    fn a_percentile_is_the_middle_of_its_bucket_and_equal_buckets_are_added() {
        let mut stored = Stored::default();
        stored.write("a", 10_000, &histogram(&[(0.0, 1.75, 12), (1.75, 3.5, 16)]));
        // By hand: 12 of 28 are 42.9 %.
        assert_eq!(
            answer(&stored, "sum:percentiles[95,25]:lat"),
            ["lat_pct_25.0 dc=x,host=a 10000:0.875", "lat_pct_95.0 dc=x,host=a 10000:2.625"]
        );
        stored.write("b", 10_000, &histogram(&[(1.75, 3.5, 100), (3.5, 5.5, 1)]));
        stored.write("b", 20_000, &histogram(&[(0.0, 1.75, 1)]));
        // 12 of 129 are 9.3 %, 128 of 129 are 99.2 %.
        assert_eq!(
            answer(&stored, "sum:percentiles[9,25,99.9]:lat"),
            [
                "lat_pct_9.0 dc=x 10000:0.875 20000:0.875",
                "lat_pct_25.0 dc=x 10000:2.625 20000:0.875",
                "lat_pct_99.9 dc=x 10000:4.5 20000:0.875",
            ]
        );
        let each = ["lat_pct_50.0 dc=x,host=a 10000:2.625", "lat_pct_50.0 dc=x,host=b 10000:2.625 20000:0.875"];
        assert_eq!(answer(&stored, "none:percentiles[50]:lat"), each);
        assert_eq!(answer(&stored, "sum:percentiles[50]:lat{host=*}"), each);
    }

    #[test]
    fn buckets_are_series_of_whole_numbers() {
        let mut stored = Stored::default();
        stored.write("a", 10_000, &histogram(&[(0.0, 1.75, 12)]));
        stored.write("a", 20_000, &histogram(&[(1.75, 3.5, 4)]));
        assert_eq!(
            answer(&stored, "sum:show-histogram-buckets:lat"),
            [
                "lat_UNDERFLOW dc=x,host=a 10000:1 20000:1",
                "lat_0.0_1.75 dc=x,host=a 10000:12 20000:0",
                "lat_1.75_3.5 dc=x,host=a 10000:0 20000:4",
                "lat_OVERFLOW dc=x,host=a 10000:2 20000:2",
            ]
        );
        assert_eq!(
            answer(&stored, "sum:1m-sum:percentiles[50]:show-histogram-buckets:lat").len(),
            0,
            "the bucket at 0 begins before the window"
        );
        assert_eq!(
            answer(&stored, "sum:10s-sum:show-histogram-buckets:lat").first().unwrap(),
            "lat_UNDERFLOW dc=x,host=a 10000:1 20000:1"
        );
        assert_eq!(
            answer(&stored, "sum:0all-sum:show-histogram-buckets:lat").get(1).unwrap(),
            "lat_0.0_1.75 dc=x,host=a 1000:12"
        );
    }

    #[test]
    fn a_histogram_that_is_written_again_replaces_the_one_before() {
        let mut stored = Stored::default();
        stored.write("a", 10_000, &histogram(&[(0.0, 1.75, 12), (1.75, 3.5, 16)]));
        stored.write("a", 10_000, &histogram(&[(5.0, 6.0, 1)]));
        assert_eq!(answer(&stored, "sum:percentiles[1]:lat"), ["lat_pct_1.0 dc=x,host=a 10000:5.5"]);
    }

    #[test]
    fn nothing_in_any_bucket_is_zero() {
        assert_eq!(Sums::default().percentile(50.0).to_bits(), 0.0_f64.to_bits());
        let far = BucketBounds { lower: f32::MAX, upper: f32::MAX };
        let sums = Sums { buckets: BTreeMap::from([(far, i64::MAX)]), ..Sums::default() };
        assert!(sums.percentile(100.0).is_finite());
    }
}
