//! Other names for what the index has.
//!
//! Series are found by texts that have all their names in them, so each series of a name gets a new text. The texts are
//! made a few thousand at a time while others read and write, and put in their places in one go: who looks for a series
//! finds it under the old name or under the new one, and never under neither. A text that is put together of names when
//! somebody looks for it was turned down, since every point that comes in looks for one.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::RwLock;
use roaring::RoaringBitmap;
use tidemark_kv::KvError;
use tidemark_model::{NameKind, SeriesKey};

use super::{Index, TagIds, canonical_text, text_at};
use crate::index_rows::NAME_KINDS;

/// Series whose new texts are made before the index is let go of.
const SERIES_PER_LOCK: usize = 4_096;

/// Another name for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rename {
    pub(crate) kind: NameKind,
    pub(crate) id: u32,
    pub(crate) name: Arc<str>,
}

type NewNames = HashMap<(NameKind, u32), Arc<str>>;

/// What becomes of a series.
struct Retold {
    slot: u32,
    hash_before: u64,
    hash: u64,
    key: SeriesKey,
    /// When the tags change places.
    tags: Option<TagIds>,
}

/// Lets the index have as many `renames` as it is told, unless it has: `changes` says what is missing, all of which happens
/// at once. `false` when two things would have one name; the index is of no use then.
///
/// # Errors
/// When the runtime ends meanwhile.
///
/// # Cancel safety
/// Dropping the future does not end the change.
pub(crate) async fn rename(
    index: &Arc<RwLock<Index>>,
    renames: u64,
    changes: impl Fn(&Index) -> Vec<Rename> + Send + 'static,
) -> Result<bool, KvError> {
    if index.read().renames >= renames {
        return Ok(true);
    }
    let index = Arc::clone(index);
    let renamed = tokio::task::spawn_blocking(move || rename_now(&index, renames, changes)).await;
    renamed.map_err(|error| KvError::Unavailable(format!("the names in the index were not changed: {error}")))
}

fn rename_now(index: &RwLock<Index>, renames: u64, changes: impl Fn(&Index) -> Vec<Rename>) -> bool {
    loop {
        let (before, changes, slots) = {
            let index = index.read();
            if index.renames >= renames {
                return true;
            }
            let changes = changes(&index);
            let slots = index.slots_named(&changes);
            (index.renames, changes, slots)
        };
        let new_names: NewNames =
            changes.iter().map(|change| ((change.kind, change.id), Arc::clone(&change.name))).collect();
        let mut retold = Vec::with_capacity(usize::try_from(slots.len()).unwrap_or(0));
        let mut rest = slots.iter().peekable();
        while rest.peek().is_some() {
            let index = index.read();
            retold.extend(rest.by_ref().take(SERIES_PER_LOCK).filter_map(|slot| index.retell(slot, &new_names)));
        }
        // What takes their places goes away when the index is let go of.
        let mut index = index.write();
        if index.renames != before {
            continue;
        }
        let late = index.slots_named(&changes) - slots;
        retold.extend(late.iter().filter_map(|slot| index.retell(slot, &new_names)));
        let is_done = index.put_in_place(&changes, &mut retold, renames);
        drop(index);
        return is_done;
    }
}

impl Index {
    /// How many names were changed.
    pub(crate) fn renames(&self) -> u64 {
        self.renames
    }

    fn slots_named(&self, changes: &[Rename]) -> RoaringBitmap {
        let mut slots = RoaringBitmap::new();
        for change in changes {
            match change.kind {
                NameKind::Metric => self.metric(change.id).into_iter().for_each(|metric| slots |= &metric.slots),
                NameKind::TagKey => self.postings(change.id).into_iter().for_each(|postings| slots |= &postings.any),
                NameKind::TagValue => self
                    .postings
                    .values()
                    .filter_map(|postings| postings.by_value.get(&change.id))
                    .for_each(|having| slots |= having),
            }
        }
        slots
    }

    fn retell(&self, slot: u32, new_names: &NewNames) -> Option<Retold> {
        let series = self.series(slot)?;
        let name = |kind, id| new_names.get(&(kind, id)).or_else(|| self.names(kind).name(id));
        let mut tags = series.tags.clone();
        tags.sort_by(|(left, _), (right, _)| name(NameKind::TagKey, *left).cmp(&name(NameKind::TagKey, *right)));
        let text = canonical_text(series.metric(), &tags, name)?;
        Some(Retold {
            slot,
            hash_before: self.hash_of(series.key.as_str()),
            hash: self.hash_of(&text),
            key: SeriesKey::from_canonical(&text),
            tags: (tags != series.tags).then_some(tags),
        })
    }

    /// Leaves in `retold` what was there before.
    fn put_in_place(&mut self, changes: &[Rename], retold: &mut [Retold], renames: u64) -> bool {
        for kind in NAME_KINDS {
            let of_kind = changes.iter().filter(|change| change.kind == kind);
            let of_kind: Vec<_> = of_kind.map(|change| (change.id, Arc::clone(&change.name))).collect();
            if !self.names_mut(kind).rename(&of_kind) {
                return false;
            }
        }
        for Retold { slot, hash_before, key, tags, .. } in retold.iter_mut() {
            // By number: texts may change hands, and two be the same in between.
            if let Ok(entry) = self.by_text.find_entry(*hash_before, |found| found == slot) {
                entry.remove();
            }
            if let Some(series) = self.series.get_mut(*slot as usize) {
                std::mem::swap(&mut series.key, key);
                tags.iter_mut().for_each(|tags| std::mem::swap(&mut series.tags, tags));
            }
        }
        let (series, hasher) = (&self.series, &self.hasher);
        for Retold { slot, hash, .. } in retold.iter() {
            self.by_text.insert_unique(*hash, *slot, |&other| super::hash_with(hasher, text_at(series, other)));
        }
        self.renames = renames;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::{add_to, index_of};

    fn change(index: &Index, kind: NameKind, old: &str, new: &str) -> Rename {
        Rename { kind, id: index.names(kind).id(old).unwrap(), name: new.into() }
    }

    /// Changes names and checks that each series has the text that is made of its names, in order, and is found by it.
    fn rename_all(index: &RwLock<Index>, changes: &[(NameKind, &str, &str)]) {
        let renames = index.read().renames() + changes.len() as u64;
        let changes = |index: &Index| -> Vec<Rename> {
            changes.iter().map(|&(kind, old, new)| change(index, kind, old, new)).collect()
        };
        assert!(rename_now(index, renames, changes));
        check(index);
    }

    fn check(index: &RwLock<Index>) {
        let index = index.read();
        assert_eq!(index.by_text.len(), index.len());
        for slot in 0..index.len() as u32 {
            let series = index.series(slot).unwrap();
            assert_eq!(Some(series.key.as_str()), index.text_of(series.metric(), &series.tags).as_deref());
            assert!(series.key.tags().is_sorted());
            assert_eq!(index.target(series.key.as_str()), Some(series.target));
        }
    }

    fn example() -> RwLock<Index> {
        RwLock::new(index_of(&[
            ("cpu", &[("dc", "ams"), ("host", "a")]),
            ("cpu", &[("dc", "fra"), ("host", "b")]),
            ("mem", &[("host", "a")]),
            ("mem", &[("rack", "a")]),
        ]))
    }

    #[test]
    fn series_are_found_under_their_new_names_alone() {
        let index = example();
        let info = |slot| {
            let index = index.read();
            let series = index.series(slot).unwrap();
            series.info(&series.key)
        };
        let before: Vec<_> = (0..4).map(info).collect();
        rename_all(&index, &[(NameKind::Metric, "cpu", "processor")]);
        // It comes before `dc` now.
        rename_all(&index, &[(NameKind::TagKey, "host", "container")]);
        rename_all(&index, &[(NameKind::TagValue, "a", "zeta")]);
        let texts: Vec<String> =
            (0..4).map(|slot| index.read().series(slot).unwrap().key.as_str().replace('\0', " ")).collect();
        let expect =
            ["processor container zeta dc ams", "processor container b dc fra", "mem container zeta", "mem rack zeta"];
        assert_eq!(texts, expect);
        for (slot, before) in (0..).zip(before) {
            let now = info(slot);
            assert_eq!((now.id, now.tsuid), (before.id, before.tsuid));
            assert_eq!(index.read().target(before.key.as_str()), None);
        }
        assert_eq!(index.read().renames(), 3);
        // The old names are new ones.
        add_to(&mut index.write(), "cpu", &[("dc", "ams"), ("host", "a")]);
        assert_eq!(index.read().target("cpu\0dc\0ams\0host\0a").unwrap().id, super::super::series_id(3, 0));
        check(&index);
    }

    #[test]
    fn names_are_swapped_and_go_round() {
        let index = example();
        rename_all(&index, &[(NameKind::Metric, "cpu", "mem"), (NameKind::Metric, "mem", "cpu")]);
        assert_eq!(index.read().target("mem\0dc\0ams\0host\0a").unwrap().id.0, 1 << 32);
        let round =
            [(NameKind::TagKey, "dc", "host"), (NameKind::TagKey, "host", "rack"), (NameKind::TagKey, "rack", "dc")];
        rename_all(&index, &round);
        assert!(index.read().target("cpu\0dc\0a").is_some() && index.read().target("cpu\0rack\0a").is_some());
        assert_eq!(index.read().target("mem\0host\0fra\0rack\0b").unwrap().id.0, 1 << 32 | 1);
    }

    #[test]
    fn what_was_changed_is_not_changed_again_and_two_things_have_no_name_in_common() {
        let index = example();
        rename_all(&index, &[(NameKind::Metric, "cpu", "x")]);
        assert!(rename_now(&index, 1, |_| unreachable!("the index is as old as that")));
        assert!(!rename_now(&index, 2, |index| vec![change(index, NameKind::Metric, "x", "mem")]));
        check(&index);
    }

    #[test]
    fn series_that_come_while_texts_are_made_get_theirs_as_well() {
        let index = example();
        // As many as are made under several locks.
        for host in 0..3 * SERIES_PER_LOCK {
            add_to(&mut index.write(), "many", &[("host", &format!("h{host}")), ("kind", "a")]);
        }
        std::thread::scope(|scope| {
            let adding = scope.spawn(|| {
                for host in 0..2_000 {
                    // The name that the value has at the moment: who creates a series takes its names from the index.
                    let mut index = index.write();
                    let id =
                        index.names(NameKind::TagValue).id("a").or_else(|| index.names(NameKind::TagValue).id("z"));
                    let name = index.names(NameKind::TagValue).name(id.unwrap()).unwrap().to_string();
                    add_to(&mut index, "late", &[("host", &format!("h{host}")), ("kind", &name)]);
                }
            });
            assert!(rename_now(&index, 1, |index| vec![change(index, NameKind::TagValue, "a", "z")]));
            adding.join().unwrap();
        });
        check(&index);
        assert_eq!(index.read().names(NameKind::TagValue).id("a"), None);
    }
}
