//! What a value is that somebody aggregated before it was sent.

use tidemark_model::{AGGREGATE_KEY, MetricSpace, PointBatchBuilder, PointError, TimestampMs, Value, WrittenRollup};
use tidemark_query::{Aggregator, ROLLUP_AGGREGATORS};

use super::refusal_text::braces;

/// What was made of points before they were sent. `None` is what was not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aggregation<'a> {
    /// Length of the interval that the value stands for.
    pub(crate) interval: Option<&'a str>,
    /// What was made of the points of the interval.
    pub(crate) aggregator: Option<&'a str>,
    /// What was made of several series.
    pub(crate) group_by: Option<&'a str>,
}

/// Why such a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AggregationError {
    /// The interval is not configured.
    NoSuchRollup(String),
    /// Anything else.
    Illegal(String),
    /// A rule that holds for all points.
    Point(PointError),
}

impl<'a> Aggregation<'a> {
    /// What the fields of an object say; an empty text says nothing.
    ///
    /// # Errors
    /// What is missing, in OpenTSDB's words.
    pub(crate) fn of_fields(
        interval: Option<&'a str>,
        aggregator: Option<&'a str>,
        group_by: Option<&'a str>,
    ) -> Result<Self, &'static str> {
        let is_given = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
        if !is_given(group_by) {
            if !is_given(interval) {
                return Err("Missing interval");
            }
            if !is_given(aggregator) {
                return Err("Missing aggregator");
            }
        }
        Ok(Self { interval: interval.filter(|interval| !interval.is_empty()), aggregator, group_by })
    }

    /// Adds a value at a time in milliseconds; that of an interval is set to its start. `length` tells how many of
    /// them the intervals have that there may be.
    ///
    /// # Errors
    /// The first rule that it breaks, in OpenTSDB's order.
    pub(crate) fn push(
        self,
        builder: &mut PointBatchBuilder,
        length: impl Fn(&str) -> Option<i64>,
        (metric, tags): (&'a str, &[(&'a str, &'a str)]),
        timestamp: TimestampMs,
        value: Value,
    ) -> Result<(), AggregationError> {
        let illegal = AggregationError::Illegal;
        if self.interval.is_some() && timestamp % 1000 != 0 {
            let tags = braces(tags);
            return Err(illegal(format!(
                "bad timestamp={timestamp} when trying to add value={value} to metric={metric}, tags={tags}"
            )));
        }
        let group_by = self.group_by.map(str::to_ascii_uppercase);
        let mut tags = tags.to_vec();
        if let Some(group_by) = &group_by {
            self.check_group_by(group_by, metric, &tags).map_err(illegal)?;
            tags.retain(|(key, _)| *key != AGGREGATE_KEY);
            tags.push((AGGREGATE_KEY, group_by));
        } else if let Some((_, given)) = tags.iter().find(|(key, _)| *key == AGGREGATE_KEY) {
            return Err(illegal(format!(
                "Given tag value for {AGGREGATE_KEY} of {given} did not match the group by aggregator of null for \
                 {metric} {}",
                braces(&tags)
            )));
        }
        let Some(interval) = self.interval else {
            let pushed = builder.push_in(&MetricSpace::Aggregate, metric, &mut tags, timestamp, value);
            return pushed.map_err(AggregationError::Point);
        };
        let Some(length) = length(interval) else {
            return Err(AggregationError::NoSuchRollup(format!(
                "No rollups configured for the interval: {}",
                shown(interval)
            )));
        };
        let aggregator = self.aggregator.unwrap_or_default().to_ascii_uppercase();
        if !ROLLUP_AGGREGATORS.contains(&aggregator.as_str()) {
            return Err(illegal(if matches!(aggregator.as_str(), "AVG" | "DEV") {
                format!(
                    "Derived rollup aggregations are not allowed {aggregator} with metric {metric} {}",
                    braces(&tags)
                )
            } else {
                format!("No ID found mapping to aggregator: {}", shown(&aggregator))
            }));
        }
        let rollup = WrittenRollup { interval: interval.to_owned(), aggregator };
        let space = if group_by.is_some() { MetricSpace::AggregateRollup(rollup) } else { MetricSpace::Rollup(rollup) };
        // The first interval of all times begins at 0, which is no timestamp.
        let start = (timestamp - timestamp.rem_euclid(length)).max(timestamp.min(1_000));
        builder.push_in(&space, metric, &mut tags, start, value).map_err(AggregationError::Point)
    }

    fn check_group_by(self, group_by: &str, metric: &str, tags: &[(&str, &str)]) -> Result<(), String> {
        if group_by.is_empty() {
            let tags = braces(tags);
            return Err(format!(
                "Cannot write a group by data point without specifying the aggregation function. Metric={metric} \
                 tags={tags}"
            ));
        }
        if let Some((_, given)) = tags.iter().find(|(key, _)| *key == AGGREGATE_KEY)
            && !given.eq_ignore_ascii_case(group_by)
        {
            return Err(format!(
                "Given tag value for {AGGREGATE_KEY} of {given} did not match the group by aggregator of {} for \
                 {metric} {}",
                shown(group_by),
                braces(tags)
            ));
        }
        if group_by.to_ascii_lowercase().parse::<Aggregator>().is_err() {
            let tags = braces(tags);
            return Err(format!("Invalid group by aggregator {} with metric {metric} {tags}", shown(group_by)));
        }
        if matches!(group_by, "AVG" | "DEV") {
            let tags = braces(tags);
            return Err(format!(
                "Derived group by aggregations are not allowed {group_by} with metric {metric} {tags}"
            ));
        }
        Ok(())
    }
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use tidemark_query::RollupIntervals;

    use super::*;

    fn push(aggregation: Aggregation<'_>, tags: &[(&str, &str)], timestamp: i64) -> Result<String, AggregationError> {
        let mut builder = PointBatchBuilder::new(2);
        let intervals = RollupIntervals::default();
        aggregation.push(&mut builder, |interval| intervals.millis(interval), ("m", tags), timestamp, Value::Int(5))?;
        let batch = builder.finish();
        let point = batch.points().next().unwrap();
        Ok(format!("{} {}", batch.series_key(point.series).to_string().replace('\u{1}', "^"), point.timestamp))
    }

    #[test]
    fn each_kind_of_value_has_a_space_of_its_own() {
        let hourly = Aggregation { interval: Some("1h"), aggregator: Some("sum"), group_by: None };
        let tags = [("host", "a")];
        assert_eq!(push(hourly, &tags, 7_205_000).unwrap(), "^r/1h/SUM/m{host=a} 7200000");
        assert_eq!(push(hourly, &tags, 5_000).unwrap(), "^r/1h/SUM/m{host=a} 1000");
        let both = Aggregation { group_by: Some("max"), ..hourly };
        assert_eq!(push(both, &tags, 7_200_000).unwrap(), "^b/1h/SUM/m{_aggregate=MAX,host=a} 7200000");
        let grouped = Aggregation { group_by: Some("sum"), ..Aggregation::default() };
        assert_eq!(push(grouped, &tags, 5).unwrap(), "^a/m{_aggregate=SUM,host=a} 5");
        assert_eq!(push(grouped, &[("_aggregate", "Sum")], 5).unwrap(), "^a/m{_aggregate=SUM} 5");
    }

    #[test]
    fn what_is_wrong_is_said_in_opentsdbs_words() {
        let check = |aggregation, tags: &[(&str, &str)], expect: &str| match push(aggregation, tags, 60_000) {
            Err(AggregationError::NoSuchRollup(text) | AggregationError::Illegal(text)) => assert_eq!(text, expect),
            other => panic!("{other:?}"),
        };
        let of = |interval, aggregator, group_by| Aggregation { interval, aggregator, group_by };
        let tags = [("host", "a")];
        check(of(Some("9h"), Some("SUM"), None), &tags, "No rollups configured for the interval: 9h");
        check(of(Some("1h"), Some("P99"), None), &tags, "No ID found mapping to aggregator: P99");
        check(
            of(Some("1h"), Some("avg"), None),
            &tags,
            "Derived rollup aggregations are not allowed AVG with metric m {host=a}",
        );
        check(of(None, None, Some("wat")), &tags, "Invalid group by aggregator WAT with metric m {host=a}");
        check(
            of(None, None, Some("dev")),
            &tags,
            "Derived group by aggregations are not allowed DEV with metric m {host=a}",
        );
        check(
            of(None, None, Some("sum")),
            &[("_aggregate", "MAX")],
            "Given tag value for _aggregate of MAX did not match the group by aggregator of SUM for m {_aggregate=MAX}",
        );
        let too_many = [("a", "1"), ("b", "2"), ("c", "3")];
        let hourly = of(Some("1h"), Some("SUM"), None);
        assert!(matches!(
            push(hourly, &too_many, 60_000),
            Err(AggregationError::Point(PointError::TooManyTags { .. }))
        ));
        assert!(matches!(push(hourly, &tags, 60_001), Err(AggregationError::Illegal(_))));
    }
}
