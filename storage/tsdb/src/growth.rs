//! How fast the index has grown lately: new series by metric, and new values by metric and tag key.
//!
//! Refusals and the cardinality report name what grows fastest. Only the last minutes are kept, in memory: growth of
//! before a restart helps nobody to find the program that makes up tag values now.

use std::{collections::VecDeque, time::Duration};

use hashbrown::{HashMap, HashSet, hash_map::Entry};

/// Minutes that are kept, the current one included.
pub(crate) const MINUTES: u64 = 10;
/// Metrics, and pairs of metric and tag key, that are told apart in one minute; further ones count in the total alone.
const KINDS_MAX: usize = 10_000;
/// Refused values of one tag key that are told apart in one minute.
const REFUSED_VALUES_MAX: usize = 1_000;

/// New series and values of the last [`MINUTES`].
#[derive(Debug, Default)]
pub(crate) struct Growth {
    /// The newest last. Empty until [`Growth::advance`] is called: the rows of an index that is being read are not new.
    minutes: VecDeque<Minute>,
}

#[derive(Debug, Default)]
struct Minute {
    number: u64,
    series: u64,
    metrics: HashMap<u32, u64>,
    /// By metric and tag key.
    values: HashMap<(u32, u32), NewValues>,
}

/// Values of a tag key that series of the metric did not have before.
#[derive(Debug, Default)]
struct NewValues {
    created: u64,
    /// Hashes of those that a limit kept out.
    refused: HashSet<u64>,
}

/// The tag key that makes a metric grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FastestKey {
    pub(crate) metric: u32,
    pub(crate) tag_key: u32,
    /// Values that the series of the metric did not have before, with those of refused series.
    pub(crate) values: u64,
}

impl Growth {
    /// Says what time it is and begins to count, the first time.
    pub(crate) fn advance(&mut self, monotonic: Duration) {
        let number = monotonic.as_secs() / 60;
        if self.minutes.back().is_none_or(|newest| newest.number < number) {
            self.minutes.push_back(Minute { number, ..Minute::default() });
        }
        while self.minutes.front().is_some_and(|oldest| oldest.number + MINUTES <= number) {
            self.minutes.pop_front();
        }
    }

    /// Whether anything that is noted counts.
    pub(crate) fn is_counting(&self) -> bool {
        !self.minutes.is_empty()
    }

    /// A series of the metric was added; `new_keys` are those of its tag keys whose value is new in the metric.
    pub(crate) fn note_series(&mut self, metric: u32, new_keys: impl Iterator<Item = u32>) {
        let Some(minute) = self.minutes.back_mut() else { return };
        minute.series += 1;
        if let Some(count) = bounded(&mut minute.metrics, metric) {
            *count += 1;
        }
        for key in new_keys {
            if let Some(values) = bounded(&mut minute.values, (metric, key)) {
                values.created += 1;
            }
        }
    }

    /// A limit kept out a series of the metric; `new_values` are tag keys and hashes of values that are new in it.
    pub(crate) fn note_refused(&mut self, metric: u32, new_values: impl Iterator<Item = (u32, u64)>) {
        let Some(minute) = self.minutes.back_mut() else { return };
        for (key, hash) in new_values {
            if let Some(values) = bounded(&mut minute.values, (metric, key))
                && values.refused.len() < REFUSED_VALUES_MAX
            {
                values.refused.insert(hash);
            }
        }
    }

    /// New series of all metrics.
    pub(crate) fn series(&self) -> u64 {
        self.minutes.iter().map(|minute| minute.series).sum()
    }

    /// New series of each metric that has some.
    pub(crate) fn series_by_metric(&self) -> HashMap<u32, u64> {
        let mut sums = HashMap::new();
        for (&metric, count) in self.minutes.iter().flat_map(|minute| &minute.metrics) {
            *sums.entry(metric).or_default() += count;
        }
        sums
    }

    /// New values of each metric and tag key, with those of refused series.
    pub(crate) fn values(&self) -> HashMap<(u32, u32), u64> {
        let mut sums = HashMap::new();
        for (&kind, values) in self.minutes.iter().flat_map(|minute| &minute.values) {
            *sums.entry(kind).or_default() += values.created + values.refused.len() as u64;
        }
        sums
    }

    /// The tag key with the most new values, of one metric or of all.
    pub(crate) fn fastest(&self, metric: Option<u32>) -> Option<FastestKey> {
        self.values()
            .into_iter()
            .filter(|((of, _), _)| metric.is_none_or(|metric| metric == *of))
            .map(|((metric, tag_key), values)| FastestKey { metric, tag_key, values })
            .max_by_key(|key| (key.values, std::cmp::Reverse((key.metric, key.tag_key))))
    }
}

/// The entry of a kind, unless it would be one too many.
fn bounded<K: std::hash::Hash + Eq, V: Default>(kinds: &mut HashMap<K, V>, kind: K) -> Option<&mut V> {
    let full = kinds.len() >= KINDS_MAX;
    match kinds.entry(kind) {
        Entry::Occupied(known) => Some(known.into_mut()),
        Entry::Vacant(_) if full => None,
        Entry::Vacant(new) => Some(new.insert(V::default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn nothing_counts_before_the_clock_is_told() {
        let mut growth = Growth::default();
        growth.note_series(1, [2].into_iter());
        assert_eq!((growth.is_counting(), growth.series(), growth.fastest(None)), (false, 0, None));
    }

    #[test]
    fn the_key_with_the_most_new_values_is_the_fastest_until_its_minutes_are_over() {
        let mut growth = Growth::default();
        growth.advance(MINUTE * 5);
        growth.note_series(1, [7, 8].into_iter());
        growth.note_series(1, [8].into_iter());
        growth.note_series(2, [7].into_iter());
        growth.advance(MINUTE * 6);
        growth.note_refused(2, [(7, 11), (7, 12), (7, 12), (7, 13)].into_iter());
        assert_eq!(growth.fastest(Some(1)), Some(FastestKey { metric: 1, tag_key: 8, values: 2 }));
        assert_eq!(growth.fastest(None), Some(FastestKey { metric: 2, tag_key: 7, values: 4 }));
        assert_eq!((growth.series(), growth.series_by_metric()[&1]), (3, 2));
        growth.advance(MINUTE * 15);
        assert_eq!((growth.series(), growth.fastest(Some(1))), (0, None));
        assert_eq!(growth.fastest(None), Some(FastestKey { metric: 2, tag_key: 7, values: 3 }));
        growth.advance(MINUTE * 100);
        assert_eq!(growth.fastest(None), None);
    }

    #[test]
    fn made_up_metrics_and_values_do_not_fill_the_memory() {
        let mut growth = Growth::default();
        growth.advance(MINUTE);
        for number in 0..20_000 {
            growth.note_series(number, [number].into_iter());
            growth.note_refused(1, [(1, u64::from(number))].into_iter());
        }
        assert_eq!(growth.series(), 20_000);
        assert_eq!((growth.series_by_metric().len(), growth.values().len()), (KINDS_MAX, KINDS_MAX));
        assert_eq!(growth.fastest(Some(1)).map(|key| key.values), Some(1 + REFUSED_VALUES_MAX as u64));
    }
}
