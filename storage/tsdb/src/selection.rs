//! Which series a selector means, evaluated on the postings, and these series in order.
//!
//! Creators of series wait while the index is read. So only the postings are evaluated in one go; keys are copied a few
//! thousand at a time, and compared when the index is let go of.

use std::{ops::Range, sync::Arc};

use parking_lot::RwLock;
use roaring::RoaringBitmap;
use tidemark_model::{NameKind, ReadError, SeriesInfo, SeriesKey, SeriesSelector, TagMatch, TagPredicate, Tsuid};

use crate::{Index, SeriesEntry, TagPostings, reader::Selected};

/// Series that are copied before the index is let go of: less than a millisecond.
const SERIES_PER_LOCK: usize = 4_096;
/// Series that are put in order where they are asked for: a few milliseconds. More get a thread of their own.
const SERIES_IN_PLACE_MAX: u64 = 4_096;

/// Series in order of their canonical key.
#[derive(Debug, Default)]
pub(crate) struct OrderedSeries {
    pub(crate) infos: Vec<SeriesInfo>,
    /// One for each of `infos`, by id.
    pub(crate) by_id: Vec<Selected>,
}

/// The series of these slots that stand at `positions` in the order of their canonical keys.
///
/// # Errors
/// [`ReadError::Unavailable`] when the runtime ends meanwhile.
pub(crate) async fn in_order(
    index: &Arc<RwLock<Index>>,
    slots: RoaringBitmap,
    positions: Range<usize>,
) -> Result<OrderedSeries, ReadError> {
    if slots.len() <= SERIES_IN_PLACE_MAX {
        return Ok(put_in_order(index, &slots, positions));
    }
    let index = Arc::clone(index);
    tokio::task::spawn_blocking(move || put_in_order(&index, &slots, positions))
        .await
        .map_err(|error| ReadError::Unavailable(format!("the series could not be put in order: {error}")))
}

/// Slots stay what they are while the index is let go of: series are added and never taken away.
fn put_in_order(index: &RwLock<Index>, slots: &RoaringBitmap, positions: Range<usize>) -> OrderedSeries {
    if positions.start >= positions.end.min(usize::try_from(slots.len()).unwrap_or(usize::MAX)) {
        return OrderedSeries::default();
    }
    let mut keys = Vec::with_capacity(usize::try_from(slots.len()).unwrap_or(0));
    let mut slots = slots.iter().peekable();
    while slots.peek().is_some() {
        let index = index.read();
        let some = slots.by_ref().take(SERIES_PER_LOCK);
        keys.extend(some.filter_map(|slot| Some((index.series(slot)?.key.clone(), slot))));
    }
    keep_in_order(&mut keys, positions);
    let (mut infos, mut by_id) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
    for some in keys.chunks(SERIES_PER_LOCK) {
        let index = index.read();
        let series = some.iter().filter_map(|(_, slot)| index.series(*slot));
        let first = u32::try_from(infos.len()).unwrap_or(u32::MAX);
        by_id.extend((first..).zip(series.clone()).map(|(position, series)| Selected::new(series.target, position)));
        infos.extend(series.map(SeriesEntry::info));
    }
    by_id.sort_unstable_by_key(|series| series.id);
    OrderedSeries { infos, by_id }
}

/// Sorts what is asked for and nothing else.
fn keep_in_order(keys: &mut Vec<(SeriesKey, u32)>, positions: Range<usize>) {
    if positions.end < keys.len() {
        keys.select_nth_unstable(positions.end);
        keys.truncate(positions.end);
    }
    if (1..keys.len()).contains(&positions.start) {
        keys.select_nth_unstable(positions.start);
    }
    keys.drain(..positions.start.min(keys.len()));
    keys.sort_unstable();
}

impl Index {
    /// Slots of the series that a selector means, in no order that matters.
    pub(crate) fn select(&self, selector: &SeriesSelector) -> Result<RoaringBitmap, ReadError> {
        match selector {
            SeriesSelector::Tags { metric, predicates, exact_keys } => {
                let mut slots = match metric {
                    Some(metric) => self.slots_of_metric(metric)?,
                    None => self.all_slots(),
                };
                for predicate in predicates {
                    self.apply(predicate, &mut slots)?;
                }
                if *exact_keys && !predicates.is_empty() {
                    self.keep_exact_keys(predicates, &mut slots);
                }
                Ok(slots)
            }
            SeriesSelector::Tsuids(tsuids) => Ok(tsuids.iter().filter_map(|tsuid| self.slot_of_tsuid(tsuid)).collect()),
        }
    }

    fn all_slots(&self) -> RoaringBitmap {
        let mut slots = RoaringBitmap::new();
        slots.insert_range(..u32::try_from(self.len()).unwrap_or(u32::MAX));
        slots
    }

    fn slots_of_metric(&self, metric: &str) -> Result<RoaringBitmap, ReadError> {
        let id = self.known(NameKind::Metric, metric)?;
        Ok(self.metric(id).map(|entry| entry.slots.clone()).unwrap_or_default())
    }

    fn known(&self, kind: NameKind, name: &str) -> Result<u32, ReadError> {
        self.names(kind).id(name).ok_or_else(|| ReadError::UnknownName { kind, name: name.to_owned() })
    }

    fn apply(&self, predicate: &TagPredicate, slots: &mut RoaringBitmap) -> Result<(), ReadError> {
        let key = self.known(NameKind::TagKey, &predicate.key)?;
        let none = TagPostings::default();
        let postings = self.postings(key).unwrap_or(&none);
        match &predicate.matches {
            TagMatch::Any => *slots &= &postings.any,
            TagMatch::Absent => *slots -= &postings.any,
            TagMatch::OneOf(values) => {
                let mut matching = RoaringBitmap::new();
                for value in values {
                    let value = self.known(NameKind::TagValue, value)?;
                    if let Some(having) = postings.by_value.get(&value) {
                        matching |= having;
                    }
                }
                *slots &= matching;
            }
            TagMatch::Where(holds) => {
                *slots &= &postings.any;
                *slots &= self.slots_where(key, postings, slots, holds.as_ref());
            }
        }
        Ok(())
    }

    /// Asks once per distinct value: of all values of the key, or of the candidates' values if these are fewer.
    fn slots_where(
        &self,
        key: u32,
        postings: &TagPostings,
        candidates: &RoaringBitmap,
        holds: &dyn Fn(&str) -> bool,
    ) -> RoaringBitmap {
        let value_holds = |value: u32| self.names(NameKind::TagValue).name(value).is_some_and(|name| holds(name));
        if candidates.len() < postings.by_value.len() as u64 {
            let mut answers = hashbrown::HashMap::<u32, bool>::new();
            return candidates
                .iter()
                .filter(|&slot| {
                    self.value_of(slot, key)
                        .is_some_and(|value| *answers.entry(value).or_insert_with(|| value_holds(value)))
                })
                .collect();
        }
        let mut matching = RoaringBitmap::new();
        for (&value, having) in &postings.by_value {
            if !having.is_disjoint(candidates) && value_holds(value) {
                matching |= having;
            }
        }
        matching
    }

    fn value_of(&self, slot: u32, key: u32) -> Option<u32> {
        self.series(slot)?.tags.iter().find(|(candidate, _)| *candidate == key).map(|&(_, value)| value)
    }

    fn keep_exact_keys(&self, predicates: &[TagPredicate], slots: &mut RoaringBitmap) {
        let mut keys: Vec<_> = predicates
            .iter()
            .filter(|predicate| !matches!(predicate.matches, TagMatch::Absent))
            .map(|predicate| predicate.key.as_str())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        *slots = slots.iter().filter(|&slot| self.series(slot).is_some_and(|s| s.tags.len() == keys.len())).collect();
    }

    fn slot_of_tsuid(&self, tsuid: &Tsuid) -> Option<u32> {
        let ids: Vec<u32> = tsuid.name_ids().collect();
        let (&metric, tags) = ids.split_first()?;
        let mut slots = self.metric(metric)?.slots.clone();
        for pair in tags.chunks_exact(2) {
            let &[key, value] = pair else { return None };
            slots &= self.postings(key)?.by_value.get(&value)?;
        }
        slots.iter().find(|&slot| self.series(slot).is_some_and(|series| series.tags.len() * 2 == tags.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::index_of;

    fn example() -> Index {
        let series: [(&str, &[(&str, &str)]); 4] = [
            ("cpu", &[("dc", "ams"), ("host", "web1")]),
            ("cpu", &[("dc", "fra"), ("host", "web2")]),
            ("cpu", &[("host", "db1")]),
            ("mem", &[("host", "web1")]),
        ];
        index_of(&series)
    }

    fn check(predicates: Vec<(&str, TagMatch)>, exact_keys: bool, expect: &[&str]) {
        let predicates =
            predicates.into_iter().map(|(key, matches)| TagPredicate { key: key.to_owned(), matches }).collect();
        let selector = SeriesSelector::Tags { metric: Some("cpu".to_owned()), predicates, exact_keys };
        let index = example();
        let slots = index.select(&selector).unwrap();
        let series = put_in_order(&RwLock::new(index), &slots, 0..usize::MAX);
        let found: Vec<_> = series.infos.iter().map(|series| series.key.to_string()).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn selectors_mean_what_they_say() {
        let one_of = |values: &[&str]| TagMatch::OneOf(values.iter().map(|&value| value.to_owned()).collect());
        let web = || TagMatch::Where(Arc::new(|value: &str| value.starts_with("web")));
        check(vec![], true, &["cpu{dc=ams,host=web1}", "cpu{dc=fra,host=web2}", "cpu{host=db1}"]);
        check(vec![("dc", TagMatch::Any)], false, &["cpu{dc=ams,host=web1}", "cpu{dc=fra,host=web2}"]);
        check(vec![("dc", TagMatch::Absent)], false, &["cpu{host=db1}"]);
        check(vec![("host", one_of(&["web1", "db1"]))], false, &["cpu{dc=ams,host=web1}", "cpu{host=db1}"]);
        check(vec![("host", web())], false, &["cpu{dc=ams,host=web1}", "cpu{dc=fra,host=web2}"]);
        check(vec![("host", web()), ("dc", one_of(&["fra"]))], false, &["cpu{dc=fra,host=web2}"]);
        check(vec![("host", TagMatch::Any)], true, &["cpu{host=db1}"]);
        check(vec![("host", TagMatch::Any), ("dc", TagMatch::Absent)], true, &["cpu{host=db1}"]);
    }

    /// Hosts in an order that is neither that of their names nor its reverse.
    fn many(count: u32) -> Index {
        let hosts: Vec<String> = (0..count).map(|number| format!("h{:05}", number * 7_919 % count)).collect();
        let tags: Vec<[(&str, &str); 1]> = hosts.iter().map(|host| [("host", host.as_str())]).collect();
        let series: Vec<(&str, &[(&str, &str)])> = tags.iter().map(|tags| ("many", tags.as_slice())).collect();
        index_of(&series)
    }

    #[test]
    fn each_page_is_a_piece_of_the_whole_order() {
        let index = RwLock::new(many(10_000));
        let slots = index.read().select(&SeriesSelector::metric("many")).unwrap();
        let keys = |positions| -> Vec<SeriesKey> {
            put_in_order(&index, &slots, positions).infos.into_iter().map(|series| series.key).collect()
        };
        let whole = keys(0..usize::MAX);
        let expect: Vec<_> = (0..10_000).map(|number| format!("many{{host=h{number:05}}}")).collect();
        assert_eq!(whole.iter().map(ToString::to_string).collect::<Vec<_>>(), expect);
        for (start, end) in [(0, 1), (0, 25), (25, 50), (4_095, 8_193), (9_990, 10_000), (9_990, 20_000)] {
            assert_eq!(keys(start..end), whole[start..end.min(10_000)], "{start}..{end}");
        }
        for (start, end) in [(0, 0), (5, 5), (10_000, 10_010), (20_000, usize::MAX)] {
            assert_eq!(keys(start..end), [], "{start}..{end}");
        }
    }

    #[test]
    fn the_targets_of_ordered_series_are_those_of_their_keys() {
        let index = RwLock::new(many(5_000));
        let slots = index.read().select(&SeriesSelector::metric("many")).unwrap();
        let series = put_in_order(&index, &slots, 100..4_900);
        assert_eq!((series.infos.len(), series.by_id.len()), (4_800, 4_800));
        assert!(series.by_id.is_sorted_by_key(|selected| selected.id));
        for selected in &series.by_id {
            let info = &series.infos[selected.position as usize];
            let target = index.read().target(info.key.as_str()).unwrap();
            assert_eq!((selected.id, selected.local, info.id), (target.id, target.local, target.id));
        }
    }

    #[tokio::test]
    async fn many_series_do_not_keep_the_thread_that_asks_for_them() {
        let index = Arc::new(RwLock::new(many(20_000)));
        let slots = index.read().select(&SeriesSelector::metric("many")).unwrap();
        let mut ordering = Box::pin(in_order(&index, slots, 0..10));
        let first = std::future::poll_fn(|context| std::task::Poll::Ready(ordering.as_mut().poll(context))).await;
        assert!(first.is_pending());
        assert_eq!(ordering.await.unwrap().infos.len(), 10);
    }

    #[test]
    fn few_candidates_among_many_values_are_asked_once_each() {
        let hosts: Vec<String> = (0..50).map(|number| format!("h{number}")).collect();
        let tags: Vec<[(&str, &str); 1]> = hosts.iter().map(|host| [("host", host.as_str())]).collect();
        let mut series: Vec<(&str, &[(&str, &str)])> = tags.iter().map(|tags| ("many", tags.as_slice())).collect();
        series.push(("few", &[("host", "h7")]));
        let index = index_of(&series);
        let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let matches = TagMatch::Where(Arc::new(move |value| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            value == "h7"
        }));
        let predicates = vec![TagPredicate { key: "host".to_owned(), matches }];
        let selector = SeriesSelector::Tags { metric: Some("few".to_owned()), predicates, exact_keys: false };
        assert_eq!(index.select(&selector).unwrap().len(), 1);
        assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[test]
    fn names_that_nobody_wrote_are_refused() {
        let index = example();
        let select = |metric: &str, key: &str, value: &str| {
            let matches = TagMatch::OneOf(vec![value.to_owned()]);
            let predicates = vec![TagPredicate { key: key.to_owned(), matches }];
            index.select(&SeriesSelector::Tags { metric: Some(metric.to_owned()), predicates, exact_keys: false })
        };
        let unknown = |kind, name: &str| Err(ReadError::UnknownName { kind, name: name.to_owned() });
        assert_eq!(select("disk", "host", "web1"), unknown(NameKind::Metric, "disk"));
        assert_eq!(select("cpu", "rack", "web1"), unknown(NameKind::TagKey, "rack"));
        assert_eq!(select("cpu", "host", "web9"), unknown(NameKind::TagValue, "web9"));
        assert!(select("mem", "dc", "ams").unwrap().is_empty());
    }

    #[test]
    fn a_tsuid_selects_its_series_alone() {
        let index = example();
        for slot in 0..4 {
            let tsuid = index.series(slot).unwrap().info().tsuid;
            let found =
                index.select(&SeriesSelector::Tsuids(vec![tsuid, "00000900000A00000B".parse().unwrap()])).unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), [slot]);
        }
    }
}
