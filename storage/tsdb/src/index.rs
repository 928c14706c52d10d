//! The series index in memory: names, series, the map from canonical text to series, and postings.
//!
//! Only rows are stored that are added and never changed, but for the name of an id (`index_rows.rs`); everything here is
//! derived from them. Stored posting bitmaps were turned down: each new series would rewrite one blob per tag.

mod renaming;
mod shard_of;
mod shown;

pub(crate) use self::{
    renaming::{Rename, rename},
    shard_of::{name_hash, shard_of, shard_of_hash},
};

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable, hash_table::Entry};
use parking_lot::Mutex;
use roaring::RoaringBitmap;
use tidemark_model::{NameKind, SeriesId, SeriesInfo, SeriesKey, Tags, Tsuid};

use crate::{Dictionary, growth::Growth};

/// Bits of a [`SeriesId`] that number the series of one metric.
const NUMBER_BITS: u32 = 32;

/// Ids of key and value of each tag.
pub(crate) type TagIds = Box<[(u32, u32)]>;

/// Where the points of a series go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) id: SeriesId,
    /// Number of the series in its shard, in this process.
    pub(crate) local: u32,
    pub(crate) shard: u16,
}

impl Target {
    /// No series.
    pub(crate) const NONE: Self = Self { id: SeriesId(0), local: u32::MAX, shard: u16::MAX };
}

/// A series of the index; its position is its slot.
#[derive(Debug)]
pub(crate) struct SeriesEntry {
    pub(crate) key: SeriesKey,
    pub(crate) target: Target,
    /// In the order of the keys' names.
    pub(crate) tags: TagIds,
}

/// What the index knows of a metric.
#[derive(Debug)]
pub(crate) struct MetricEntry {
    pub(crate) shard: u16,
    /// Slots of its series.
    pub(crate) slots: RoaringBitmap,
    /// Slot of each series by its number.
    pub(crate) by_number: Vec<u32>,
}

/// Slots of the series that have a tag key.
#[derive(Debug, Default)]
pub(crate) struct TagPostings {
    pub(crate) any: RoaringBitmap,
    pub(crate) by_value: HashMap<u32, RoaringBitmap, RandomState>,
    /// The keys of `by_value` in the order in which they came, so that they can be read piece by piece.
    pub(crate) values: Vec<u32>,
}

/// The index.
#[derive(Debug)]
pub(crate) struct Index {
    shards: u16,
    names: [Dictionary; 3],
    /// By metric id minus one.
    metrics: Vec<MetricEntry>,
    series: Vec<SeriesEntry>,
    hasher: RandomState,
    /// Slots, found by the canonical text of their series.
    by_text: HashTable<u32>,
    /// For each slot the one that was looked up after it the last time: agents send their series in the same order
    /// again and again, and comparing a text is cheaper than hashing it and looking for it.
    followers: Vec<AtomicU32>,
    postings: HashMap<u32, TagPostings, RandomState>,
    locals: Vec<u32>,
    /// Slots of series whose points are all gone.
    hidden: RoaringBitmap,
    /// How many of `hidden` each metric has, where it has some.
    hidden_of: BTreeMap<u32, u64>,
    /// Metrics of which points went away, so that some of their series may have none left.
    doubts: Mutex<BTreeSet<u32>>,
    /// How many series that are not hidden have each name, by kind and by id minus one.
    shown: [Vec<u32>; 3],
    /// Ids of names that some series has, hidden or not; others were given an id and wait for their first series.
    used: [RoaringBitmap; 3],
    /// How many names were changed since there is an index.
    renames: u64,
    /// Behind a lock of its own, because refusals are noted by those who only read the index.
    growth: Mutex<Growth>,
}

impl SeriesEntry {
    /// The metric's id.
    pub(crate) fn metric(&self) -> u32 {
        metric_of(self.target.id)
    }

    /// What a reader is told who knows the series by this key.
    pub(crate) fn info(&self, key: &SeriesKey) -> SeriesInfo {
        SeriesInfo { id: self.target.id, key: key.clone(), tsuid: Tsuid::new(self.metric(), &self.tags) }
    }
}

/// The number of a series in the store: metric, then its number among the series of the metric.
pub(crate) fn series_id(metric: u32, number: u32) -> SeriesId {
    SeriesId(u64::from(metric) << NUMBER_BITS | u64::from(number))
}

/// Of what there is for metrics, tag keys and tag values, in this order, that for one kind.
fn of_kind<T>([metrics, keys, values]: &[T; 3], kind: NameKind) -> &T {
    match kind {
        NameKind::Metric => metrics,
        NameKind::TagKey => keys,
        NameKind::TagValue => values,
    }
}

/// The metric of a series.
pub(crate) fn metric_of(id: SeriesId) -> u32 {
    (id.0 >> NUMBER_BITS) as u32
}

/// The number of a series among those of its metric.
pub(crate) fn number_of(id: SeriesId) -> u32 {
    id.0 as u32
}

impl Index {
    pub(crate) fn new(shards: u16) -> Self {
        Self {
            shards,
            names: Default::default(),
            metrics: Vec::new(),
            series: Vec::new(),
            hasher: RandomState::default(),
            by_text: HashTable::new(),
            followers: Vec::new(),
            postings: HashMap::default(),
            locals: vec![0; usize::from(shards)],
            hidden: RoaringBitmap::new(),
            hidden_of: BTreeMap::new(),
            doubts: Mutex::default(),
            shown: Default::default(),
            used: Default::default(),
            renames: 0,
            growth: Mutex::default(),
        }
    }

    pub(crate) fn names(&self, kind: NameKind) -> &Dictionary {
        of_kind(&self.names, kind)
    }

    fn names_mut(&mut self, kind: NameKind) -> &mut Dictionary {
        let [metrics, keys, values] = &mut self.names;
        match kind {
            NameKind::Metric => metrics,
            NameKind::TagKey => keys,
            NameKind::TagValue => values,
        }
    }

    /// Adds a name with the next id of its kind, which must be `id`; says whether it was. A metric whose name was another one
    /// once may have another shard than that of its name.
    pub(crate) fn add_name(&mut self, kind: NameKind, name: &str, id: u32, shard: Option<u16>) -> bool {
        let shard = shard.unwrap_or_else(|| shard_of(name, self.shards));
        if shard >= self.shards || !self.names_mut(kind).insert(name, id) {
            return false;
        }
        if kind == NameKind::Metric {
            self.metrics.push(MetricEntry { shard, slots: RoaringBitmap::new(), by_number: Vec::new() });
        }
        true
    }

    /// The shard of the metric that has this name now, or would get it.
    pub(crate) fn shard_of_metric(&self, name: &str) -> u16 {
        let known = self.names(NameKind::Metric).id(name).and_then(|id| self.metric(id));
        known.map_or_else(|| shard_of(name, self.shards), |metric| metric.shard)
    }

    /// Number of shards.
    pub(crate) fn shards(&self) -> u16 {
        self.shards
    }

    /// What has become larger lately.
    pub(crate) fn growth(&self) -> &Mutex<Growth> {
        &self.growth
    }

    /// Number of series.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Number of series in a shard.
    pub(crate) fn shard_len(&self, shard: u16) -> u32 {
        self.locals.get(usize::from(shard)).copied().unwrap_or(0)
    }

    pub(crate) fn series(&self, slot: u32) -> Option<&SeriesEntry> {
        self.series.get(slot as usize)
    }

    pub(crate) fn metric(&self, metric: u32) -> Option<&MetricEntry> {
        self.metrics.get(metric.checked_sub(1)? as usize)
    }

    pub(crate) fn postings(&self, tag_key: u32) -> Option<&TagPostings> {
        self.postings.get(&tag_key)
    }

    /// Number of series of a metric.
    pub(crate) fn metric_len(&self, metric: u32) -> usize {
        self.metric(metric).map_or(0, |metric| metric.by_number.len())
    }

    /// The value that a series has for a tag key.
    pub(crate) fn value_of(&self, slot: u32, key: u32) -> Option<u32> {
        self.series(slot)?.tags.iter().find(|(candidate, _)| *candidate == key).map(|&(_, value)| value)
    }

    pub(crate) fn by_id(&self, id: SeriesId) -> Option<&SeriesEntry> {
        let slot = self.metric(metric_of(id))?.by_number.get(number_of(id) as usize)?;
        self.series(*slot)
    }

    /// The numbers that series of a metric have in their shard.
    pub(crate) fn locals(&self, metric: u32, series: &RoaringBitmap) -> Vec<u32> {
        let Some(entry) = self.metric(metric) else { return Vec::new() };
        let slots = series.iter().map_while(|number| entry.by_number.get(number as usize));
        slots.filter_map(|&slot| Some(self.series(slot)?.target.local)).collect()
    }

    /// The numbers that all series of a metric have in their shard.
    pub(crate) fn locals_of_metric(&self, metric: u32) -> Vec<u32> {
        let slots = self.metric(metric).map(|entry| entry.by_number.as_slice()).unwrap_or_default();
        slots.iter().filter_map(|&slot| Some(self.series(slot)?.target.local)).collect()
    }

    /// The series with this canonical text.
    pub(crate) fn target(&self, text: &str) -> Option<Target> {
        Some(self.series(self.slot_of_text(text)?)?.target)
    }

    /// As [`Self::target`] for one text after the other. `last` is the slot that the call before found, and becomes that of
    /// this one; any number will do at the beginning.
    pub(crate) fn next_target(&self, text: &str, last: &mut u32) -> Option<Target> {
        let follower = self.followers.get(*last as usize);
        let guess = follower.map(|follower| follower.load(Ordering::Relaxed));
        if let Some(guess) = guess
            && let Some(series) = self.series(guess)
            && series.key.as_str() == text
        {
            *last = guess;
            return Some(series.target);
        }
        let slot = self.slot_of_text(text)?;
        if let Some(follower) = follower {
            follower.store(slot, Ordering::Relaxed);
        }
        *last = slot;
        Some(self.series(slot)?.target)
    }

    fn slot_of_text(&self, text: &str) -> Option<u32> {
        let hash = self.hash_of(text);
        self.by_text.find(hash, |&slot| text_at(&self.series, slot) == text).copied()
    }

    fn hash_of(&self, text: &str) -> u64 {
        hash_with(&self.hasher, text)
    }

    /// Adds a series whose names are known; its tags may come in any order. Numbers of a metric come without a gap; says
    /// whether that held.
    pub(crate) fn insert(&mut self, metric: u32, number: u32, mut tags: TagIds) -> Option<Target> {
        self.put_in_name_order(&mut tags);
        let text = self.text_of(metric, &tags)?;
        let slot = u32::try_from(self.series.len()).ok()?;
        let entry = self.metrics.get_mut(metric.checked_sub(1)? as usize)?;
        let local = self.locals.get_mut(usize::from(entry.shard))?;
        if entry.by_number.len() != number as usize {
            return None;
        }
        let key = SeriesKey::from_canonical(&text);
        let target = Target { id: series_id(metric, number), local: *local, shard: entry.shard };
        let hash = hash_with(&self.hasher, &text);
        let place = self.by_text.entry(
            hash,
            |&other| text_at(&self.series, other) == text,
            |&other| hash_with(&self.hasher, text_at(&self.series, other)),
        );
        match place {
            Entry::Occupied(_) => return None,
            Entry::Vacant(vacant) => vacant.insert(slot),
        };
        *local += 1;
        let growth = self.growth.get_mut();
        if growth.is_counting() {
            let is_new = |&&(key, value): &&(u32, u32)| is_new_in(&self.postings, entry, key, value);
            growth.note_series(metric, tags.iter().filter(is_new).map(|&(key, _)| key));
        }
        entry.by_number.push(slot);
        entry.slots.insert(slot);
        for &(tag_key, value) in &tags {
            let postings = self.postings.entry(tag_key).or_default();
            postings.any.insert(slot);
            let values = &mut postings.values;
            let having = postings.by_value.entry(value).or_insert_with(|| {
                values.push(value);
                RoaringBitmap::new()
            });
            having.insert(slot);
        }
        self.series.push(SeriesEntry { key, target, tags });
        self.followers.push(AtomicU32::new(slot.saturating_add(1)));
        self.count_shown(slot, true);
        Some(target)
    }

    fn text_of(&self, metric: u32, tags: &[(u32, u32)]) -> Option<String> {
        canonical_text(metric, tags, |kind, id| self.names(kind).name(id))
    }

    /// Rows have their tags in the order that their keys' names had when the series was created.
    fn put_in_name_order(&self, tags: &mut [(u32, u32)]) {
        let names = self.names(NameKind::TagKey);
        if !tags.is_sorted_by(|(left, _), (right, _)| names.name(*left) <= names.name(*right)) {
            tags.sort_by(|(left, _), (right, _)| names.name(*left).cmp(&names.name(*right)));
        }
    }
}

impl Index {
    /// A limit keeps this series out: its values that the metric does not have yet count as growth all the same.
    pub(crate) fn note_refused(&self, text: &str) {
        let Some(metric) = text.split('\0').next().and_then(|name| self.names(NameKind::Metric).id(name)) else {
            return;
        };
        let Some(entry) = self.metric(metric) else { return };
        let new_values = Tags::of_canonical(text).filter_map(|(key, value)| {
            let key = self.names(NameKind::TagKey).id(key)?;
            let id = self.names(NameKind::TagValue).id(value);
            let is_new = id.is_none_or(|id| is_new_in(&self.postings, entry, key, id));
            is_new.then(|| (key, self.hash_of(value)))
        });
        self.growth.lock().note_refused(metric, new_values);
    }
}

fn hash_with(hasher: &RandomState, text: &str) -> u64 {
    hasher.hash_one(text.as_bytes())
}

/// The canonical text of a series whose tags are in order; `None` when an id has no name.
fn canonical_text<'a>(
    metric: u32,
    tags: &[(u32, u32)],
    name: impl Fn(NameKind, u32) -> Option<&'a Arc<str>>,
) -> Option<String> {
    let mut text = name(NameKind::Metric, metric)?.to_string();
    for &(key, value) in tags {
        text.push('\0');
        text.push_str(name(NameKind::TagKey, key)?);
        text.push('\0');
        text.push_str(name(NameKind::TagValue, value)?);
    }
    Some(text)
}

/// The canonical text of the series in a slot; no text is empty.
fn text_at(series: &[SeriesEntry], slot: u32) -> &str {
    series.get(slot as usize).map_or("", |entry| entry.key.as_str())
}

/// Whether no series of the metric has this tag.
fn is_new_in(postings: &HashMap<u32, TagPostings, RandomState>, metric: &MetricEntry, key: u32, value: u32) -> bool {
    let having = postings.get(&key).and_then(|postings| postings.by_value.get(&value));
    having.is_none_or(|having| having.is_disjoint(&metric.slots))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn index_of(series: &[(&str, &[(&str, &str)])]) -> Index {
        let mut index = Index::new(4);
        series.iter().for_each(|(metric, tags)| add_to(&mut index, metric, tags));
        index
    }

    pub(crate) fn add_to(index: &mut Index, metric: &str, tags: &[(&str, &str)]) {
        let mut id = |kind, name: &str| {
            index.names(kind).id(name).unwrap_or_else(|| {
                let id = index.names(kind).len() as u32 + 1;
                assert!(index.add_name(kind, name, id, None));
                id
            })
        };
        let metric = id(NameKind::Metric, metric);
        let tags = tags.iter().map(|(key, value)| (id(NameKind::TagKey, key), id(NameKind::TagValue, value)));
        let tags: Box<[_]> = tags.collect();
        let number = index.metric_len(metric) as u32;
        assert!(index.insert(metric, number, tags).is_some());
    }

    #[test]
    fn series_are_found_one_after_the_other_in_whatever_order_they_come() {
        let hosts: Vec<String> = (0..50).map(|host| format!("web{host}")).collect();
        let mut index = Index::new(4);
        hosts.iter().for_each(|host| add_to(&mut index, "cpu", &[("host", host)]));
        let text = |number: usize| format!("cpu\0host\0web{number}");
        let mut last = 0;
        // In order, the other way round, the same again, in jumps, and some that do not exist (50 to 59).
        let orders: [Box<dyn Fn(usize) -> usize>; 5] = [
            Box::new(|step| step % 50),
            Box::new(|step| 49 - step % 50),
            Box::new(|step| 49 - step % 50),
            Box::new(|step| step * 7 % 60),
            Box::new(|_| 3),
        ];
        for order in orders {
            for number in (0..120).map(order) {
                let found = index.next_target(&text(number), &mut last);
                assert_eq!(found, index.target(&text(number)), "{number}");
                assert_eq!(found.is_some(), number < 50);
            }
        }
        last = u32::MAX;
        assert_eq!(index.next_target(&text(7), &mut last), index.target(&text(7)));
    }

    #[test]
    fn a_series_is_found_by_its_text_and_by_its_id() {
        let index = index_of(&[("cpu", &[("host", "a")]), ("cpu", &[("host", "b")]), ("mem", &[("host", "a")])]);
        let target = index.target("cpu\0host\0b").unwrap();
        assert_eq!(index.by_id(target.id).unwrap().key.as_str(), "cpu\0host\0b");
        assert_eq!((metric_of(target.id), number_of(target.id)), (1, 1));
        assert_eq!(index.target("cpu\0host\0c"), None);
        assert_eq!(index.len(), 3);
        let series = index.by_id(target.id).unwrap();
        let info = series.info(&series.key);
        assert_eq!(info.tsuid.to_string(), "000001000001000002");
        let shards: u32 = (0..4).map(|shard| index.shard_len(shard)).sum();
        assert_eq!(shards, 3);
    }

    #[test]
    fn a_series_is_not_added_twice() {
        let mut index = index_of(&[("cpu", &[("host", "a")])]);
        assert_eq!(index.insert(1, 1, Box::new([(1, 1)])), None);
        assert_eq!(index.insert(1, 5, Box::new([])), None);
        assert_eq!(index.len(), 1);
    }
}
