//! From series to results, group by group.

use std::{collections::BTreeMap, ops::ControlFlow};

use tidemark_model::{PointColumns, RollupRows, SeriesInfo, SeriesSet, ValueColumn, written_metric};

use crate::{
    Aggregator, EvaluationControl, EvaluationStatistics, Fill, GroupResult, Interpolation, QueryError, RateOptions,
    SubQueryPlan,
    bucket_kernels::{BucketColumns, downsample},
    common_tags::CommonTags,
    grid::Grid,
    group::{GroupRules, aggregate_group},
    member::Member,
    rate::rates,
    rollup_buckets::{buckets_of_rows, prefer},
};

impl SubQueryPlan {
    /// Evaluates the sub-query over the series that [`Self::read_request`] asked for, and hands out one group after the
    /// other. Groups without a point in the window are left out.
    ///
    /// It decodes and computes for as long as there are points: call it where blocking is allowed. At any time it holds
    /// the series of one group.
    ///
    /// # Errors
    /// [`QueryError::Cancelled`], the limits of `control`, and what the reader finds damaged. The groups handed out
    /// before are right.
    pub fn evaluate(
        &self,
        series: &dyn SeriesSet,
        control: &EvaluationControl<'_>,
        mut emit: impl FnMut(GroupResult) -> ControlFlow<()>,
    ) -> Result<EvaluationStatistics, QueryError> {
        self.check_buckets(control)?;
        if let Some(histogram) = &self.sub_query.histogram {
            return self.evaluate_histograms(histogram, series, control, emit);
        }
        let groups = self.groups(series.series());
        self.check_filled(groups.len(), control)?;
        let statistics = EvaluationStatistics::default();
        let (points, rows) = (PointColumns::default(), RollupRows::default());
        let mut evaluation = Evaluation { plan: self, series, control, statistics, points, rows };
        for indexes in groups {
            let Some(result) = evaluation.group(&indexes)? else { continue };
            if emit(result).is_break() {
                break;
            }
        }
        Ok(evaluation.statistics)
    }

    /// A filled grid has a point in each bucket, which is known before anything is read.
    fn check_buckets(&self, control: &EvaluationControl<'_>) -> Result<(), QueryError> {
        let limit = control.limits.result_points_max;
        match &self.grid {
            Some(grid) if self.fill != Fill::None && grid.count() > limit => {
                Err(QueryError::TooManyBuckets { found: grid.count(), limit })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Filled groups have as many points as the grid has buckets. Refusing them before the first is handed out gives
    /// whoever asked an error and not half an answer. A group without any point hands out nothing, so the sum may be too
    /// high by those.
    fn check_filled(&self, groups: usize, control: &EvaluationControl<'_>) -> Result<(), QueryError> {
        let limit = control.limits.result_points_max;
        let buckets = self.grid.as_ref().filter(|_| self.fill != Fill::None).map_or(0, Grid::count);
        if buckets.saturating_mul(groups as u64) > limit {
            return Err(QueryError::TooManyResultPoints { limit });
        }
        Ok(())
    }

    /// Positions of the series of each group.
    fn groups(&self, series: &[SeriesInfo]) -> Vec<Vec<usize>> {
        if self.sub_query.aggregator == Aggregator::None {
            return (0..series.len()).map(|index| vec![index]).collect();
        }
        let keys = self.sub_query.group_keys();
        let mut groups: BTreeMap<Vec<Option<&str>>, Vec<usize>> = BTreeMap::new();
        for (index, info) in series.iter().enumerate() {
            groups.entry(keys.iter().map(|key| info.key.tag(key)).collect()).or_default().push(index);
        }
        groups.into_values().collect()
    }

    /// Downsamples one series and takes its rate. The memory of `points` can be used again.
    fn transform(&self, points: &mut PointColumns, rows: &RollupRows) -> PointColumns {
        let mut rate_of_points = match &self.sub_query.rate {
            Some(options) if self.rates_points => Some(rates(points, options)),
            Some(_) | None => None,
        };
        let points = rate_of_points.as_mut().unwrap_or(points);
        let downsampled = match (&self.grid, self.sub_query.downsample) {
            (Some(grid), Some(options)) => {
                let mut found = downsample(points, grid, options.function);
                if let Some(request) = self.rollup.as_ref().filter(|_| !rows.is_empty()) {
                    found = prefer(buckets_of_rows(rows, grid, request.function), found);
                }
                Some(self.fill(grid, found))
            }
            _ => None,
        };
        match (downsampled, self.rate_of_buckets()) {
            (Some(downsampled), None) => downsampled,
            (Some(downsampled), Some(options)) => rates(&downsampled, options),
            (None, _) => std::mem::take(points),
        }
    }

    fn rate_of_buckets(&self) -> Option<&RateOptions> {
        self.sub_query.rate.as_ref().filter(|_| !self.rates_points)
    }

    fn fill(&self, grid: &Grid, found: BucketColumns) -> PointColumns {
        let empty = match self.fill {
            Fill::None => return self.stamp(grid, found.buckets.into_iter(), found.values),
            Fill::Nan | Fill::Null => f64::NAN,
            Fill::Zero => 0.0,
        };
        // A series without any point in the window is not part of the answer.
        let Some(&first) = found.buckets.first() else { return PointColumns::default() };
        let mut values = vec![empty; usize::try_from(grid.count()).unwrap_or(0)];
        for (bucket, value) in found.buckets.into_iter().zip(found.values) {
            if let Some(slot) = values.get_mut(bucket) {
                *slot = value;
            }
        }
        // Only a rate looks at the bucket before the window.
        let skips_predecessor = self.rate_of_buckets().is_some() && first > 0 && !self.fills_predecessor;
        let from = usize::from(skips_predecessor);
        self.stamp(grid, from..values.len(), values.split_off(from))
    }

    fn stamp(&self, grid: &Grid, buckets: impl Iterator<Item = usize>, values: Vec<f64>) -> PointColumns {
        let timestamps = buckets.map(|bucket| grid.start(bucket)).collect();
        PointColumns { timestamps, values: ValueColumn::Float(values) }
    }
}

struct Evaluation<'a> {
    plan: &'a SubQueryPlan,
    series: &'a dyn SeriesSet,
    control: &'a EvaluationControl<'a>,
    statistics: EvaluationStatistics,
    /// What was read of one series; kept for the next one.
    points: PointColumns,
    rows: RollupRows,
}

impl Evaluation<'_> {
    fn group(&mut self, indexes: &[usize]) -> Result<Option<GroupResult>, QueryError> {
        let mut members: Vec<Member> = Vec::new();
        let mut infos: Vec<&SeriesInfo> = Vec::new();
        let (mut held, mut ends_in_doubles) = (0, false);
        for &index in indexes {
            let points = self.read(index)?;
            let (window, has_neighbours) = (self.plan.window, self.plan.has_neighbours);
            ends_in_doubles |= has_neighbours && Member::begins_later_in_doubles(&points, window);
            let Some(mut member) = Member::new(points, window, has_neighbours) else { continue };
            if let Some(previous) = members.last() {
                member.share_timestamps(previous);
            }
            held += member.values.len() as u64;
            let limit = self.control.limits.group_points_max;
            if held > limit {
                return Err(QueryError::TooManyGroupPoints { series: indexes.len(), limit });
            }
            members.push(member);
            infos.extend(self.series.series().get(index));
        }
        if members.is_empty() {
            return Ok(None);
        }
        let points = aggregate_group(members, self.rules(ends_in_doubles), self.control.cancelled)?;
        self.finish(points, &infos)
    }

    /// The points of a series, downsampled and made rates.
    fn read(&mut self, index: usize) -> Result<PointColumns, QueryError> {
        if (self.control.cancelled)() {
            return Err(QueryError::Cancelled);
        }
        if !self.series.read_while(index, &mut self.points, &|| !(self.control.cancelled)())? {
            return Err(QueryError::Cancelled);
        }
        self.rows.clear();
        if self.plan.rollup.is_some() {
            self.series.read_rollups(index, &mut self.rows)?;
        }
        self.statistics.series += 1;
        self.statistics.points += self.points.len() as u64;
        Ok(self.plan.transform(&mut self.points, &self.rows))
    }

    fn rules(&self, ends_in_doubles: bool) -> GroupRules {
        let aggregator = self.plan.sub_query.aggregator;
        // Rates are not interpolated, whatever the aggregator: a member keeps its last rate. OpenTSDB 2.4,
        // `AggregationIterator.nextDoubleValue`.
        let method =
            if self.plan.sub_query.rate.is_some() { Interpolation::Previous } else { aggregator.interpolation() };
        GroupRules { aggregator, method, is_aligned: self.plan.is_aligned, ends_in_doubles, window: self.plan.window }
    }

    fn finish(&mut self, points: PointColumns, members: &[&SeriesInfo]) -> Result<Option<GroupResult>, QueryError> {
        let Some(first) = members.first().filter(|_| !points.is_empty()) else { return Ok(None) };
        let CommonTags { tags, aggregate_tags } = CommonTags::of(members.iter().copied());
        let mut tsuids: Vec<_> = members.iter().map(|info| info.tsuid.clone()).collect();
        tsuids.sort_unstable();
        let mut result = GroupResult {
            metric: written_metric(first.key.metric()).to_owned(),
            tags,
            aggregate_tags,
            tsuids,
            timestamps: points.timestamps,
            values: points.values,
            fill: self.plan.fill,
        };
        if !self.plan.ms_resolution {
            result.truncate_to_seconds();
        }
        self.statistics.groups += 1;
        self.statistics.result_points += result.timestamps.len() as u64;
        let limit = self.control.limits.result_points_max;
        if self.statistics.result_points > limit {
            return Err(QueryError::TooManyResultPoints { limit });
        }
        Ok(Some(result))
    }
}
