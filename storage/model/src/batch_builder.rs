//! The rim: names and values are checked here and nowhere below.

use thiserror::Error;

use crate::{
    HISTOGRAM_PART_KEY, Histogram, MetricSpace, NameError, NameKind, PointBatch, PointRules, TIMESTAMP_MAX,
    TimestampMs, Value, check_stored_name,
};

/// Builds a [`PointBatch`] from points whose names nobody has checked yet.
#[derive(Debug)]
pub struct PointBatchBuilder {
    batch: PointBatch,
    rules: PointRules,
    tags_min: usize,
    /// Bytes of the metric of the last series of the dictionary, which is the series of the last point.
    last_metric_bytes: usize,
}

/// Why a point is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PointError {
    /// A name breaks a rule.
    #[error("{kind} `{name}`: {reason}")]
    Name {
        /// What the name names.
        kind: NameKind,
        /// The name, or the key when the value of that tag is refused.
        name: String,
        /// The rule.
        reason: NameError,
    },
    /// The point has no tag and at least one is required.
    #[error("missing tags")]
    NoTags,
    /// The point has too many tags.
    #[error("{tags} tags, at most {limit} are allowed; see `opentsdb.max_tags`")]
    TooManyTags {
        /// Tags of the point.
        tags: usize,
        /// The limit.
        limit: usize,
    },
    /// One key has two values.
    #[error("tag key `{0}` has two values")]
    DuplicateTag(String),
    /// The timestamp is not positive, or has more than 13 digits of milliseconds.
    #[error("timestamp {0} is not between 1 and {TIMESTAMP_MAX} ms")]
    Timestamp(TimestampMs),
    /// The value is NaN or infinite.
    #[error("value is NaN or infinite")]
    NotFinite,
    /// The names of the batch do not fit its 4 GiB dictionary.
    #[error("the names of one batch exceed 4 GiB; send smaller batches")]
    DictionaryFull,
}

impl PointBatchBuilder {
    /// An empty batch whose points need at least one tag and may have `tags_max`.
    #[must_use]
    pub fn new(tags_max: usize) -> Self {
        Self::with_rules(PointRules::with_tags_max(tags_max))
    }

    /// An empty batch whose points need at least one tag and follow `rules`.
    #[must_use]
    pub fn with_rules(rules: PointRules) -> Self {
        Self { batch: PointBatch::default(), rules, tags_min: 1, last_metric_bytes: 0 }
    }

    /// Room for `points` points.
    pub fn reserve(&mut self, points: usize) {
        self.batch.series.reserve(points);
        self.batch.timestamps.reserve(points);
        self.batch.bits.reserve(points);
        self.batch.floats.reserve(points);
    }

    /// Adds a point. `tags` is sorted in place; the same key with the same value twice counts once.
    ///
    /// # Errors
    /// Says the first rule that the point breaks; the batch is then unchanged.
    pub fn push(
        &mut self,
        metric: &str,
        tags: &mut [(&str, &str)],
        timestamp: TimestampMs,
        value: Value,
    ) -> Result<(), PointError> {
        self.check(metric, tags, timestamp, value)?;
        let series = self.series_index(metric, tags)?;
        self.push_columns(series, timestamp, value);
        Ok(())
    }

    /// Adds a value of a metric that is none of its points: see [`MetricSpace`]. Tags as of [`Self::push`].
    ///
    /// # Errors
    /// As [`Self::push`]; the name must be so much shorter as the space needs.
    pub fn push_in(
        &mut self,
        space: &MetricSpace,
        metric: &str,
        tags: &mut [(&str, &str)],
        timestamp: TimestampMs,
        value: Value,
    ) -> Result<(), PointError> {
        self.check(metric, tags, timestamp, value)?;
        let stored = stored_name(space, metric)?;
        let series = self.series_index(&stored, tags)?;
        self.push_columns(series, timestamp, value);
        Ok(())
    }

    /// Adds a histogram: a point for each of its parts. Tags as of [`Self::push`].
    ///
    /// # Errors
    /// As [`Self::push_in`].
    pub fn push_histogram(
        &mut self,
        metric: &str,
        tags: &mut [(&str, &str)],
        timestamp: TimestampMs,
        histogram: &Histogram,
    ) -> Result<(), PointError> {
        self.check(metric, tags, timestamp, Value::Int(0))?;
        let stored = stored_name(&MetricSpace::Histogram, metric)?;
        for (part, count) in histogram.parts() {
            let part = part.tag_value();
            // A reserved name comes before all others.
            let mut tags_of_part = Vec::with_capacity(tags.len() + 1);
            tags_of_part.push((HISTOGRAM_PART_KEY, part.as_str()));
            tags_of_part.extend_from_slice(tags);
            let series = self.series_index(&stored, &tags_of_part)?;
            self.push_columns(series, timestamp, Value::Int(count));
        }
        Ok(())
    }

    /// Adds a point with the tags of the last point that was added, without looking at them again: agents send the
    /// metrics of a host side by side. `None` when no point was added yet.
    ///
    /// # Errors
    /// Says the first rule that the point breaks; the batch is then unchanged.
    pub fn push_with_last_tags(
        &mut self,
        metric: &str,
        timestamp: TimestampMs,
        value: Value,
    ) -> Option<Result<(), PointError>> {
        let last = self.batch.key_ends.len().checked_sub(1)?;
        Some(self.try_push_with_last_tags(last, metric, timestamp, value))
    }

    /// Number of points so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether there is no point yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Bytes of memory that the batch holds so far, roughly.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.batch.memory_bytes()
    }

    /// The batch.
    #[must_use]
    pub fn finish(self) -> PointBatch {
        self.batch
    }

    /// Checks a point and sorts its tags.
    fn check(
        &self,
        metric: &str,
        tags: &mut [(&str, &str)],
        timestamp: TimestampMs,
        value: Value,
    ) -> Result<(), PointError> {
        check_point(timestamp, value)?;
        self.check_name(NameKind::Metric, metric, metric)?;
        if tags.len() < self.tags_min {
            return Err(PointError::NoTags);
        }
        for (key, value) in tags.iter() {
            self.check_name(NameKind::TagKey, key, key)?;
            self.check_name(NameKind::TagValue, key, value)?;
        }
        tags.sort_unstable();
        let distinct = self.count_distinct(tags)?;
        if distinct > self.rules.tags_max {
            return Err(PointError::TooManyTags { tags: distinct, limit: self.rules.tags_max });
        }
        Ok(())
    }

    fn check_name(&self, kind: NameKind, shown: &str, name: &str) -> Result<(), PointError> {
        let checked = self.rules.characters.check(name);
        checked.map_err(|reason| PointError::Name { kind, name: shown.to_owned(), reason })
    }

    fn try_push_with_last_tags(
        &mut self,
        last: usize,
        metric: &str,
        timestamp: TimestampMs,
        value: Value,
    ) -> Result<(), PointError> {
        check_point(timestamp, value)?;
        let start = self.batch.key_ends.len().checked_sub(2).and_then(|before| self.batch.key_ends.get(before));
        let start = start.map_or(0, |&end| end as usize);
        let tags = start + self.last_metric_bytes..self.batch.keys.len();
        if self.batch.keys.get(start..tags.start) == Some(metric) {
            self.push_columns(u32::try_from(last).map_err(|_| PointError::DictionaryFull)?, timestamp, value);
            return Ok(());
        }
        self.check_name(NameKind::Metric, metric, metric)?;
        let before = self.batch.keys.len();
        self.batch.keys.push_str(metric);
        self.batch.keys.extend_from_within(tags);
        let series = self.name_last(before)?;
        self.last_metric_bytes = metric.len();
        self.push_columns(series, timestamp, value);
        Ok(())
    }

    /// Makes the text after `start` the newest series of the dictionary.
    fn name_last(&mut self, start: usize) -> Result<u32, PointError> {
        let (Ok(end), Ok(index)) = (u32::try_from(self.batch.keys.len()), u32::try_from(self.batch.key_ends.len()))
        else {
            self.batch.keys.truncate(start);
            return Err(PointError::DictionaryFull);
        };
        self.batch.key_ends.push(end);
        Ok(index)
    }

    fn count_distinct(&self, sorted: &[(&str, &str)]) -> Result<usize, PointError> {
        let mut distinct = usize::from(!sorted.is_empty());
        for (left, right) in sorted.iter().zip(sorted.iter().skip(1)) {
            if left == right {
                continue;
            }
            if left.0 == right.0 {
                return Err(PointError::DuplicateTag(left.0.to_owned()));
            }
            distinct += 1;
        }
        Ok(distinct)
    }

    /// Appends the canonical text, and takes it back when it equals the series before: agents that send several
    /// points of a series send them side by side. A dictionary without any repetition would need a hash per point,
    /// which the store computes anyhow.
    fn series_index(&mut self, metric: &str, sorted: &[(&str, &str)]) -> Result<u32, PointError> {
        let start = self.batch.keys.len();
        self.batch.keys.push_str(metric);
        let mut before = None;
        for tag in sorted {
            if before == Some(tag) {
                continue;
            }
            before = Some(tag);
            self.batch.keys.push('\0');
            self.batch.keys.push_str(tag.0);
            self.batch.keys.push('\0');
            self.batch.keys.push_str(tag.1);
        }
        if let Some(last) = self.batch.key_ends.len().checked_sub(1)
            && self.batch.series_text(last) == self.batch.keys.get(start..).unwrap_or_default()
        {
            self.batch.keys.truncate(start);
            return u32::try_from(last).map_err(|_| PointError::DictionaryFull);
        }
        let index = self.name_last(start)?;
        self.last_metric_bytes = metric.len();
        Ok(index)
    }

    fn push_columns(&mut self, series: u32, timestamp: TimestampMs, value: Value) {
        let (bits, float) = match value {
            Value::Int(int) => (int.cast_unsigned(), false),
            Value::Float(float) => (float.to_bits(), true),
        };
        self.batch.series.push(series);
        self.batch.timestamps.push(timestamp);
        self.batch.bits.push(bits);
        self.batch.floats.push(float);
    }
}

impl Default for PointBatchBuilder {
    fn default() -> Self {
        Self::with_rules(PointRules::default())
    }
}

fn check_point(timestamp: TimestampMs, value: Value) -> Result<(), PointError> {
    if timestamp <= 0 || timestamp > TIMESTAMP_MAX {
        return Err(PointError::Timestamp(timestamp));
    }
    match value {
        Value::Float(float) if !float.is_finite() => Err(PointError::NotFinite),
        _ => Ok(()),
    }
}

/// # Errors
/// When the name is too long for the space.
fn stored_name(space: &MetricSpace, metric: &str) -> Result<String, PointError> {
    let stored = space.stored_name(metric);
    match check_stored_name(&stored) {
        Ok(()) => Ok(stored),
        Err(reason) => Err(PointError::Name { kind: NameKind::Metric, name: metric.to_owned(), reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(
        builder: &mut PointBatchBuilder,
        metric: &str,
        tags: &[(&str, &str)],
        value: Value,
    ) -> Result<(), PointError> {
        builder.push(metric, &mut tags.to_vec(), 1_000, value)
    }

    #[test]
    fn neighbouring_points_of_a_series_share_its_dictionary_entry() {
        let mut builder = PointBatchBuilder::default();
        push(&mut builder, "cpu", &[("b", "2"), ("a", "1")], Value::Int(1)).unwrap();
        push(&mut builder, "cpu", &[("a", "1"), ("b", "2"), ("a", "1")], Value::Float(2.5)).unwrap();
        push(&mut builder, "mem", &[("a", "1")], Value::Int(-1)).unwrap();
        let batch = builder.finish();
        assert_eq!((batch.len(), batch.series_count()), (3, 2));
        assert_eq!(batch.series_text(0), "cpu\0a\x001\0b\x002");
        assert_eq!(batch.series_key(1).to_string(), "mem{a=1}");
        let points: Vec<_> = batch.points().map(|point| (point.series, point.value)).collect();
        assert_eq!(points, [(0, Value::Int(1)), (0, Value::Float(2.5)), (1, Value::Int(-1))]);
    }

    #[test]
    fn a_point_with_the_tags_of_the_last_one_equals_one_that_spells_them_out() {
        let mut repeated = PointBatchBuilder::default();
        assert!(repeated.push_with_last_tags("cpu", 1_000, Value::Int(1)).is_none());
        let mut spelled = PointBatchBuilder::default();
        let mut tags = [("b", "2"), ("a", "1")];
        push(&mut repeated, "cpu", &tags, Value::Int(1)).unwrap();
        spelled.push("cpu", &mut tags, 1_000, Value::Int(1)).unwrap();
        for metric in ["mem", "mem", "cpu", "memory", "m"] {
            repeated.push_with_last_tags(metric, 1_000, Value::Int(2)).unwrap().unwrap();
            spelled.push(metric, &mut tags, 1_000, Value::Int(2)).unwrap();
        }
        assert!(repeated.push_with_last_tags("m m", 1_000, Value::Int(2)).unwrap().is_err());
        assert!(repeated.push_with_last_tags("m", 0, Value::Int(2)).unwrap().is_err());
        assert_eq!(repeated.batch, spelled.batch);
        assert_eq!(repeated.batch.series_count(), 5);
    }

    #[test]
    fn a_histogram_is_a_point_for_each_of_its_parts() {
        let mut histogram = Histogram::new(1, 2).unwrap();
        histogram.set(0.0, 1.75, 12).unwrap();
        let mut builder = PointBatchBuilder::new(2);
        builder.push_histogram("lat", &mut [("host", "a"), ("dc", "x")], 1_000, &histogram).unwrap();
        let batch = builder.finish();
        let counts: Vec<_> = batch.points().map(|point| point.value).collect();
        assert_eq!(counts.get(1..).unwrap(), [1, 2, 12].map(Value::Int));
        assert_eq!(batch.series_key(1).to_string(), "\u{1}h/lat{\u{1}part=\u{1}underflow,dc=x,host=a}");
        let (keys, ends, series, timestamps, bits, floats) = batch.parts();
        let (ends, series, bits) = (ends.to_vec(), series.to_vec(), bits.to_vec());
        let again =
            PointBatch::from_parts(keys.to_owned(), ends, series, timestamps.to_vec(), bits, floats.to_vec()).unwrap();
        assert_eq!(again, batch);
        assert_eq!(batch.datapoint_starts().collect::<Vec<_>>(), [0]);
        let mut builder = PointBatchBuilder::new(2);
        assert!(builder.push_histogram("lat", &mut [], 1_000, &histogram).is_err());
        assert!(builder.push_histogram("lat", &mut [("\u{1}part", "a")], 1_000, &histogram).is_err());
        assert!(builder.push_histogram(&"x".repeat(1_024), &mut [("a", "b")], 1_000, &histogram).is_err());
        assert!(builder.is_empty());
        builder.push("cpu", &mut [("a", "b")], 1_000, Value::Int(1)).unwrap();
        builder.push_histogram("lat", &mut [("a", "b")], 1_000, &histogram).unwrap();
        builder.push("cpu", &mut [("a", "b")], 1_000, Value::Int(1)).unwrap();
        assert_eq!(builder.finish().datapoint_starts().collect::<Vec<_>>(), [0, 1, 5]);
    }

    #[test]
    fn a_refused_point_leaves_the_batch_as_it_was() {
        let mut builder = PointBatchBuilder::new(2);
        push(&mut builder, "cpu", &[("a", "1")], Value::Int(1)).unwrap();
        let before = builder.batch.clone();
        let refused = [
            push(&mut builder, "", &[("a", "1")], Value::Int(1)),
            push(&mut builder, "c:u", &[("a", "1")], Value::Int(1)),
            push(&mut builder, "cpu", &[], Value::Int(1)),
            push(&mut builder, "cpu", &[("a", "")], Value::Int(1)),
            push(&mut builder, "cpu", &[("a", "1"), ("a", "2")], Value::Int(1)),
            push(&mut builder, "cpu", &[("a", "1"), ("b", "2"), ("c", "2")], Value::Int(1)),
            push(&mut builder, "cpu", &[("a", "1")], Value::Float(f64::NAN)),
            builder.push("cpu", &mut [("a", "1")], 0, Value::Int(1)),
            builder.push("cpu", &mut [("a", "1")], 10_000_000_000_000, Value::Int(1)),
        ];
        assert!(refused.iter().all(Result::is_err), "{refused:?}");
        assert_eq!(builder.batch, before);
    }

    #[test]
    fn parts_from_outside_are_checked() {
        let mut builder = PointBatchBuilder::default();
        push(&mut builder, "cpu", &[("a", "1")], Value::Int(1)).unwrap();
        push(&mut builder, "mem", &[("a", "1")], Value::Float(1.0)).unwrap();
        let batch = builder.finish();
        let (keys, ends, series, timestamps, bits, floats) = batch.parts();
        let build = |keys: &str, ends: &[u32], series: &[u32], bits: &[u64]| {
            let (timestamps, floats) = (timestamps.to_vec(), floats.to_vec());
            PointBatch::from_parts(keys.to_owned(), ends.to_vec(), series.to_vec(), timestamps, bits.to_vec(), floats)
        };
        assert_eq!(build(keys, ends, series, bits).as_ref(), Ok(&batch));
        assert!(build(keys, ends, &[0, 2], bits).is_err());
        assert!(build(keys, ends, &[0], bits).is_err());
        assert!(build(keys, &[3, 2], series, bits).is_err());
        assert!(build(keys, &[7, 99], series, bits).is_err());
        assert!(build("cp!\0a\x001mem\0a\x001", ends, series, bits).is_ok(), "other characters were allowed then");
        assert!(build("c\n!\0a\x001mem\0a\x001", ends, series, bits).is_err());
        assert!(build(keys, ends, series, &[1, f64::NAN.to_bits()]).is_err());
        assert!(build("cpu\0a\x001mem\0a", &[7, 12], series, bits).is_err());
    }
}
