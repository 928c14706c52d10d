//! An ordered map that remembers what its snapshots can still see.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use bytes::Bytes;

use crate::{KeyRange, RangeLimit, RangePage, range::PageBuilder};

/// Keys with their values at every version that is still needed, oldest first; `None` marks a deletion.
#[derive(Debug, Default)]
pub(super) struct VersionedMap {
    keys: BTreeMap<Bytes, Vec<(u64, Option<Bytes>)>>,
    /// Keys whose older versions can go once nobody reads before the version.
    superseded: VecDeque<(u64, Bytes)>,
}

impl VersionedMap {
    pub(super) fn get(&self, key: &[u8], version: u64) -> Option<Bytes> {
        self.keys.get(key).and_then(|versions| value_at(versions, version))
    }

    /// Sets or deletes a key at `version`, which must not be below any version set before.
    pub(super) fn set(&mut self, key: Bytes, value: Option<Bytes>, version: u64) {
        let versions = self.keys.entry(key.clone()).or_default();
        match versions.last_mut() {
            Some((last, current)) if *last == version => *current = value,
            _ => versions.push((version, value)),
        }
        self.superseded.push_back((version, key));
    }

    pub(super) fn delete_range(&mut self, range: &KeyRange, version: u64) {
        if range.is_empty() {
            return;
        }
        let inside = self.keys.range(range.start.clone()..range.end.clone());
        let there = inside.filter(|(_, versions)| versions.last().is_some_and(|(_, value)| value.is_some()));
        let keys: Vec<_> = there.map(|(key, _)| key.clone()).collect();
        keys.into_iter().for_each(|key| self.set(key, None, version));
    }

    pub(super) fn range(&self, range: &KeyRange, limit: RangeLimit, version: u64) -> RangePage {
        if range.is_empty() {
            return RangePage::default();
        }
        let inside = (Bound::Included(&range.start), Bound::Excluded(&range.end));
        let visible = self.keys.range::<Bytes, _>(inside);
        let visible = visible.filter_map(|(key, versions)| Some((key.clone(), value_at(versions, version)?)));
        if limit.reverse { page(visible.rev(), limit) } else { page(visible, limit) }
    }

    /// Forgets what nobody who reads at `oldest` or later can see.
    pub(super) fn forget_before(&mut self, oldest: u64) {
        while let Some((_, key)) = self.superseded.pop_front_if(|(version, _)| *version <= oldest) {
            let Some(versions) = self.keys.get_mut(&key) else { continue };
            let newest_visible = versions.iter().rposition(|(version, _)| *version <= oldest).unwrap_or(0);
            versions.drain(..newest_visible);
            if matches!(versions.as_slice(), [(version, None)] if *version <= oldest) {
                self.keys.remove(&key);
            }
        }
    }

    /// Forgets every change after `version`.
    pub(super) fn forget_after(&mut self, version: u64) {
        self.superseded.retain(|(changed, _)| *changed <= version);
        self.keys.retain(|_, versions| {
            versions.retain(|(changed, _)| *changed <= version);
            !versions.is_empty()
        });
    }
}

fn value_at(versions: &[(u64, Option<Bytes>)], version: u64) -> Option<Bytes> {
    let visible = versions.iter().rev().find(|(changed, _)| *changed <= version)?;
    visible.1.clone()
}

/// The first entries, within the limit.
fn page(entries: impl Iterator<Item = (Bytes, Bytes)>, limit: RangeLimit) -> RangePage {
    let mut page = PageBuilder::new(limit);
    for (key, value) in entries {
        if !page.push(key, value) {
            break;
        }
    }
    page.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_kept_as_long_as_somebody_can_see_it() {
        let mut map = VersionedMap::default();
        let key = Bytes::from_static(b"k");
        map.set(key.clone(), Some(Bytes::from_static(b"1")), 1);
        map.set(key.clone(), Some(Bytes::from_static(b"2")), 2);
        map.set(key.clone(), None, 3);
        map.forget_before(1);
        assert_eq!(map.get(b"k", 1).as_deref(), Some(&b"1"[..]));
        map.forget_before(2);
        assert_eq!(map.get(b"k", 1), None);
        assert_eq!(map.get(b"k", 2).as_deref(), Some(&b"2"[..]));
        map.forget_before(3);
        assert!(map.keys.is_empty());
        assert!(map.superseded.is_empty());
    }
}
