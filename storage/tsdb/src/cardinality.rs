//! Which names have the most series. Counted a few thousand names at a time, so that nobody waits for the index.

use std::{cmp::Reverse, collections::BinaryHeap};

use hashbrown::HashMap;
use parking_lot::RwLock;
use tidemark_model::{Cardinality, MetricCardinality, NameKind, TagCardinality, TagKeyCardinality, is_reserved};

use crate::{Index, growth::MINUTES};

/// Names that are looked at before the index is let go of.
const NAMES_PER_LOCK: usize = 4_096;

/// The largest ones of what was offered: number first, then the smaller id.
struct Top<T> {
    most: usize,
    smallest_first: BinaryHeap<Reverse<(u64, Reverse<T>)>>,
}

impl<T: Ord> Top<T> {
    fn new(most: usize) -> Self {
        Self { most, smallest_first: BinaryHeap::new() }
    }

    fn offer(&mut self, count: u64, what: T) {
        if count > 0 && self.most > 0 {
            self.smallest_first.push(Reverse((count, Reverse(what))));
            if self.smallest_first.len() > self.most {
                self.smallest_first.pop();
            }
        }
    }

    /// The largest first.
    fn into_sorted(self) -> impl Iterator<Item = (u64, T)> {
        self.smallest_first.into_sorted_vec().into_iter().map(|Reverse((count, Reverse(what)))| (count, what))
    }
}

/// Counts, and names `top` of each kind.
pub(crate) fn count(index: &RwLock<Index>, top: usize) -> Cardinality {
    let mut report = totals(index);
    let (new_series, new_values) = {
        let index = index.read();
        let growth = index.growth().lock();
        (growth.series_by_metric(), growth.values())
    };
    report.metrics = metrics(index, top, &new_series, &new_values);
    (report.tag_keys, report.tags) = tags(index, top, &new_values);
    report
}

fn totals(index: &RwLock<Index>) -> Cardinality {
    let index = index.read();
    let hidden_series = index.hidden().len();
    Cardinality {
        series: (index.len() as u64).saturating_sub(hidden_series),
        hidden_series,
        names: [NameKind::Metric, NameKind::TagKey, NameKind::TagValue].map(|kind| index.names(kind).len() as u64),
        new_series: index.growth().lock().series(),
        minutes: MINUTES,
        ..Cardinality::default()
    }
}

fn metrics(
    index: &RwLock<Index>,
    top: usize,
    new_series: &HashMap<u32, u64>,
    new_values: &HashMap<(u32, u32), u64>,
) -> Vec<MetricCardinality> {
    let mut most = Top::new(top);
    each_name(index, NameKind::Metric, |index, id| {
        if is_listed(index, NameKind::Metric, id) {
            most.offer(u64::from(index.shown(NameKind::Metric, id)), id);
        }
    });
    let mut fastest = HashMap::<u32, (u64, Reverse<u32>)>::new();
    for (&(metric, key), &count) in new_values {
        let known = fastest.entry(metric).or_default();
        *known = (*known).max((count, Reverse(key)));
    }
    let index = index.read();
    let named = most.into_sorted().filter_map(|(series, id)| {
        let fastest = fastest.get(&id).and_then(|(_, Reverse(key))| index.names(NameKind::TagKey).name(*key));
        Some(MetricCardinality {
            metric: index.names(NameKind::Metric).name(id)?.to_string(),
            series,
            new_series: new_series.get(&id).copied().unwrap_or(0),
            fastest_tag_key: fastest.map(ToString::to_string),
        })
    });
    named.collect()
}

fn tags(
    index: &RwLock<Index>,
    top: usize,
    new_values: &HashMap<(u32, u32), u64>,
) -> (Vec<TagKeyCardinality>, Vec<TagCardinality>) {
    let (mut keys, mut pairs) = (Top::new(top), Top::new(top));
    let mut known = Vec::new();
    each_name(index, NameKind::TagKey, |index, id| {
        if index.shown(NameKind::TagKey, id) > 0 && is_listed(index, NameKind::TagKey, id) {
            known.push(id);
        }
    });
    for key in known {
        keys.offer(count_values(index, key, &mut pairs), key);
    }
    let mut new_by_key = HashMap::<u32, u64>::new();
    new_values.iter().for_each(|((_, key), count)| *new_by_key.entry(*key).or_default() += count);
    let index = index.read();
    let (key_names, value_names) = (index.names(NameKind::TagKey), index.names(NameKind::TagValue));
    let keys = keys.into_sorted().filter_map(|(values, id)| {
        Some(TagKeyCardinality {
            tag_key: key_names.name(id)?.to_string(),
            values,
            series: u64::from(index.shown(NameKind::TagKey, id)),
            new_values: new_by_key.get(&id).copied().unwrap_or(0),
        })
    });
    let pairs = pairs.into_sorted().filter_map(|(series, (key, value))| {
        let (tag_key, tag_value) = (key_names.name(key)?.to_string(), value_names.name(value)?.to_string());
        Some(TagCardinality { tag_key, tag_value, series })
    });
    (keys.collect(), pairs.collect())
}

/// How many values of the key have series; offers each with the number of its series.
fn count_values(index: &RwLock<Index>, key: u32, pairs: &mut Top<(u32, u32)>) -> u64 {
    let mut count = 0;
    for from in (0..).step_by(NAMES_PER_LOCK) {
        let index = index.read();
        let Some(postings) = index.postings(key).filter(|postings| from < postings.values.len()) else { break };
        for &value in postings.values.iter().skip(from).take(NAMES_PER_LOCK) {
            let Some(having) = postings.by_value.get(&value) else { continue };
            let hidden = if index.hidden().is_empty() { 0 } else { having.intersection_len(index.hidden()) };
            let series = having.len() - hidden;
            count += u64::from(series > 0);
            pairs.offer(series, (key, value));
        }
    }
    count
}

/// Whether somebody wrote the name. What only this program writes counts among the series and is listed nowhere.
fn is_listed(index: &Index, kind: NameKind, id: u32) -> bool {
    index.names(kind).name(id).is_some_and(|name| !is_reserved(name))
}

fn each_name(index: &RwLock<Index>, kind: NameKind, mut look: impl FnMut(&Index, u32)) {
    for from in (1..).step_by(NAMES_PER_LOCK) {
        let index = index.read();
        let last = index.names(kind).len();
        if from > last {
            break;
        }
        let ids = from..(from + NAMES_PER_LOCK).min(last + 1);
        ids.filter_map(|id| u32::try_from(id).ok()).for_each(|id| look(&index, id));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::index::tests::{add_to, index_of};

    #[test]
    fn the_largest_names_come_first_and_hidden_series_do_not_count() {
        let mut index = index_of(&[
            ("cpu", &[("host", "a"), ("dc", "x")]),
            ("cpu", &[("host", "b"), ("dc", "x")]),
            ("mem", &[("host", "a")]),
        ]);
        index.growth().lock().advance(Duration::from_secs(60));
        add_to(&mut index, "cpu", &[("host", "c")]);
        add_to(&mut index, "old", &[("rack", "r")]);
        index.hide(4);
        let report = count(&RwLock::new(index), 2);
        assert_eq!((report.series, report.hidden_series, report.new_series), (4, 1, 2));
        assert_eq!(report.names, [3, 3, 5]);
        let metric = |metric: &str, series, new_series, fastest: Option<&str>| MetricCardinality {
            metric: metric.to_owned(),
            series,
            new_series,
            fastest_tag_key: fastest.map(str::to_owned),
        };
        assert_eq!(report.metrics, [metric("cpu", 3, 1, Some("host")), metric("mem", 1, 0, None)]);
        let keys: Vec<_> = report.tag_keys.iter().map(|key| (key.tag_key.as_str(), key.values, key.series)).collect();
        assert_eq!(keys, [("host", 3, 4), ("dc", 1, 2)]);
        assert_eq!(report.tag_keys[0].new_values, 1);
        let tags = report.tags.iter().map(|tag| (tag.tag_key.as_str(), tag.tag_value.as_str(), tag.series));
        assert_eq!(tags.collect::<Vec<_>>(), [("host", "a", 2), ("dc", "x", 2)]);
        assert_eq!(count(&RwLock::new(Index::new(1)), 10).metrics, []);
    }
}
