//! Which series a selector means, evaluated on the postings, and these series in order.
//!
//! Creators of series wait while the index is read. So only the postings are evaluated in one go; values and keys are
//! copied a few thousand at a time, and looked at when the index is let go of.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::RwLock;
use roaring::RoaringBitmap;
use tidemark_model::{
    NameKind, RESERVED, ReadError, SeriesInfo, SeriesKey, SeriesSelector, TagMatch, TagPredicate, Tsuid,
};

use crate::{Index, TagPostings, reader::Selected, tag_conditions::TagConditions};

/// Series that are copied before the index is let go of: less than a millisecond.
pub(crate) const SERIES_PER_LOCK: usize = 4_096;
/// Series that are put in order where they are asked for: a few milliseconds. More get a thread of their own.
const SERIES_IN_PLACE_MAX: u64 = 4_096;

/// Series ids that are looked up before the index is let go of.
const TSUIDS_PER_LOCK: usize = 64;

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

/// Slots stay what they are while the index is let go of: series are added and never taken away. Names may change.
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
        // With the keys by which they are in order, whatever they are called by now.
        let series = some.iter().filter_map(|(key, slot)| Some((key, index.series(*slot)?)));
        let first = u32::try_from(infos.len()).unwrap_or(u32::MAX);
        by_id.extend((first..).zip(series.clone()).map(|(at, (_, series))| Selected::new(series.target, at)));
        infos.extend(series.map(|(key, series)| series.info(key)));
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

/// Slots of the series that a selector means.
///
/// # Errors
/// [`ReadError::UnknownName`] for a name that no series has, [`ReadError::Unavailable`] when the runtime ends meanwhile.
///
/// # Cancel safety
/// Dropping the future ends the work on another thread at the next value.
pub(crate) async fn select(index: &Arc<RwLock<Index>>, selector: &SeriesSelector) -> Result<RoaringBitmap, ReadError> {
    let (slots, conditions) = begin(index, selector)?;
    if conditions.is_empty() {
        return Ok(slots);
    }
    let is_cancelled = Arc::new(AtomicBool::new(false));
    if slots.len() <= SERIES_IN_PLACE_MAX {
        return Ok(conditions.keep(index, slots, &is_cancelled));
    }
    let _cancel = CancelOnDrop(Arc::clone(&is_cancelled));
    let index = Arc::clone(index);
    tokio::task::spawn_blocking(move || conditions.keep(&index, slots, &is_cancelled))
        .await
        .map_err(|error| ReadError::Unavailable(format!("the series could not be selected: {error}")))
}

/// Tells the thread that nobody waits for it any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the postings tell, and what is left to ask.
fn begin(index: &RwLock<Index>, selector: &SeriesSelector) -> Result<(RoaringBitmap, TagConditions), ReadError> {
    match selector {
        SeriesSelector::Tags { metric, predicates, exact_keys } => {
            let index = index.read();
            let mut slots = match metric {
                Some(metric) => index.slots_of_metric(metric)?,
                None => index.all_slots(),
            };
            let mut conditions = TagConditions::default();
            for predicate in predicates {
                index.apply(predicate, &mut slots, &mut conditions)?;
            }
            if *exact_keys && !predicates.is_empty() {
                conditions.tag_count = Some(count_keys(predicates));
            }
            Ok((slots, conditions))
        }
        SeriesSelector::Tsuids(tsuids) => {
            let mut slots = RoaringBitmap::new();
            for some in tsuids.chunks(TSUIDS_PER_LOCK) {
                let index = index.read();
                slots.extend(some.iter().filter_map(|tsuid| index.slot_of_tsuid(tsuid)));
            }
            Ok((slots, TagConditions::default()))
        }
    }
}

/// Different keys that the series must have.
fn count_keys(predicates: &[TagPredicate]) -> usize {
    let present = predicates.iter().filter(|predicate| !matches!(predicate.matches, TagMatch::Absent));
    let mut keys: Vec<_> = present.map(|predicate| predicate.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.len()
}

impl Index {
    /// All series of metrics that somebody wrote, and not those of other spaces.
    fn all_slots(&self) -> RoaringBitmap {
        let mut slots = RoaringBitmap::new();
        slots.insert_range(..u32::try_from(self.len()).unwrap_or(u32::MAX));
        let mut buffer = [0; 4];
        for (_, id) in self.names(NameKind::Metric).with_prefix(RESERVED.encode_utf8(&mut buffer), None, usize::MAX) {
            if let Some(entry) = self.metric(id) {
                slots -= &entry.slots;
            }
        }
        slots
    }

    fn slots_of_metric(&self, metric: &str) -> Result<RoaringBitmap, ReadError> {
        let id = self.known(NameKind::Metric, metric)?;
        Ok(self.metric(id).map(|entry| entry.slots.clone()).unwrap_or_default())
    }

    fn known(&self, kind: NameKind, name: &str) -> Result<u32, ReadError> {
        self.names(kind).id(name).ok_or_else(|| ReadError::UnknownName { kind, name: name.to_owned() })
    }

    fn apply(
        &self,
        predicate: &TagPredicate,
        slots: &mut RoaringBitmap,
        conditions: &mut TagConditions,
    ) -> Result<(), ReadError> {
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
                conditions.values.push((key, Arc::clone(holds)));
            }
        }
        Ok(())
    }

    fn slot_of_tsuid(&self, tsuid: &Tsuid) -> Option<u32> {
        let ids: Vec<u32> = tsuid.name_ids().collect();
        let (&metric, tags) = ids.split_first()?;
        let mut having = vec![&self.metric(metric)?.slots];
        for pair in tags.chunks_exact(2) {
            let &[key, value] = pair else { return None };
            having.push(self.postings(key)?.by_value.get(&value)?);
        }
        // From the fewest on, so that no large set is copied.
        having.sort_unstable_by_key(|slots| slots.len());
        let (first, others) = having.split_first()?;
        let is_it = |slot: &u32| {
            others.iter().all(|slots| slots.contains(*slot))
                && self.series(*slot).is_some_and(|series| series.tags.len() * 2 == tags.len())
        };
        first.iter().find(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::index_of;

    fn select_now(index: &RwLock<Index>, selector: &SeriesSelector) -> Result<RoaringBitmap, ReadError> {
        let (slots, conditions) = begin(index, selector)?;
        Ok(conditions.keep(index, slots, &AtomicBool::new(false)))
    }

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
        let index = RwLock::new(example());
        let slots = select_now(&index, &selector).unwrap();
        let series = put_in_order(&index, &slots, 0..usize::MAX);
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
        let slots = select_now(&index, &SeriesSelector::metric("many")).unwrap();
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
        let slots = select_now(&index, &SeriesSelector::metric("many")).unwrap();
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
        let slots = select_now(&index, &SeriesSelector::metric("many")).unwrap();
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
        let index = RwLock::new(index_of(&series));
        let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let matches = TagMatch::Where(Arc::new(move |value| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            value == "h7"
        }));
        let predicates = vec![TagPredicate { key: "host".to_owned(), matches }];
        let selector = SeriesSelector::Tags { metric: Some("few".to_owned()), predicates, exact_keys: false };
        assert_eq!(select_now(&index, &selector).unwrap().len(), 1);
        assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[test]
    fn names_that_nobody_wrote_are_refused() {
        let index = RwLock::new(example());
        let select = |metric: &str, key: &str, value: &str| {
            let matches = TagMatch::OneOf(vec![value.to_owned()]);
            let predicates = vec![TagPredicate { key: key.to_owned(), matches }];
            let selector = SeriesSelector::Tags { metric: Some(metric.to_owned()), predicates, exact_keys: false };
            select_now(&index, &selector)
        };
        let unknown = |kind, name: &str| Err(ReadError::UnknownName { kind, name: name.to_owned() });
        assert_eq!(select("disk", "host", "web1"), unknown(NameKind::Metric, "disk"));
        assert_eq!(select("cpu", "rack", "web1"), unknown(NameKind::TagKey, "rack"));
        assert_eq!(select("cpu", "host", "web9"), unknown(NameKind::TagValue, "web9"));
        assert!(select("mem", "dc", "ams").unwrap().is_empty());
    }

    #[test]
    fn a_selection_without_a_metric_has_no_series_of_reserved_ones() {
        let index = RwLock::new(index_of(&[("\u{1}h/cpu", &[("host", "a")]), ("cpu", &[("host", "a")])]));
        let all = SeriesSelector::Tags { metric: None, predicates: Vec::new(), exact_keys: false };
        assert_eq!(select_now(&index, &all).unwrap().iter().collect::<Vec<_>>(), [1]);
        let one = SeriesSelector::metric("\u{1}h/cpu");
        assert_eq!(select_now(&index, &one).unwrap().iter().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn a_tsuid_selects_its_series_alone() {
        let index = RwLock::new(example());
        for slot in 0..4 {
            let tsuid = {
                let index = index.read();
                let series = index.series(slot).unwrap();
                series.info(&series.key).tsuid
            };
            let found = select_now(&index, &SeriesSelector::Tsuids(vec![tsuid, "00000900000A00000B".parse().unwrap()]))
                .unwrap();
            assert_eq!(found.iter().collect::<Vec<_>>(), [slot]);
        }
    }

    fn where_host(holds: impl Fn(&str) -> bool + Send + Sync + 'static) -> SeriesSelector {
        let predicates = vec![TagPredicate { key: "host".to_owned(), matches: TagMatch::Where(Arc::new(holds)) }];
        SeriesSelector::Tags { metric: Some("many".to_owned()), predicates, exact_keys: true }
    }

    #[tokio::test]
    async fn series_are_created_while_a_pattern_is_evaluated() {
        let index = Arc::new(RwLock::new(many(10_000)));
        let writer = Arc::clone(&index);
        // A lock that is held meanwhile would never be had here.
        let selector = where_host(move |host| {
            assert!(writer.try_write_for(std::time::Duration::from_secs(10)).is_some());
            host.ends_with('7')
        });
        assert_eq!(select(&index, &selector).await.unwrap().len(), 1_000);
    }

    #[tokio::test]
    async fn a_pattern_ends_when_nobody_waits_for_it() {
        let index = Arc::new(RwLock::new(many(10_000)));
        let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (counted, (began, begun)) = (Arc::clone(&calls), std::sync::mpsc::sync_channel(1));
        let (go, wait) = std::sync::mpsc::sync_channel::<()>(0);
        let wait = parking_lot::Mutex::new(wait);
        let selector = where_host(move |_| {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                began.send(()).unwrap();
                wait.lock().recv().unwrap();
            }
            true
        });
        let mut selecting = Box::pin(select(&index, &selector));
        let first = std::future::poll_fn(|context| std::task::Poll::Ready(selecting.as_mut().poll(context))).await;
        assert!(first.is_pending());
        begun.recv().unwrap();
        drop(selecting);
        go.send(()).unwrap();
        drop(selector);
        // The thread holds the condition until it ends.
        let ended = || Arc::strong_count(&calls) == 1;
        let deadline = std::time::Duration::from_secs(10);
        tokio::time::timeout(deadline, async {
            while !ended() {
                tokio::task::yield_now().await
            }
        })
        .await
        .unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
}
