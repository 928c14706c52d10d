//! The names of one kind and their ids.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// Largest id: OpenTSDB's ids have three bytes.
pub(crate) const NAME_ID_MAX: u32 = (1 << 24) - 1;

/// Names of one kind in byte order, with ids from 1.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    ids: BTreeMap<Arc<str>, u32>,
    /// By id minus one. Ids are given out without a gap.
    names: Vec<Arc<str>>,
}

impl Dictionary {
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub(crate) fn name(&self, id: u32) -> Option<&Arc<str>> {
        self.names.get(usize::try_from(id.checked_sub(1)?).ok()?)
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Adds a name with the next id, which must be `id`; says whether it was.
    pub(crate) fn insert(&mut self, name: &str, id: u32) -> bool {
        if self.ids.contains_key(name) || usize::try_from(id).ok() != Some(self.names.len() + 1) {
            return false;
        }
        let name: Arc<str> = Arc::from(name);
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        true
    }

    /// At most `max` names that start with `prefix`, in byte order and after `after`, with their ids.
    pub(crate) fn with_prefix(&self, prefix: &str, after: Option<&str>, max: usize) -> Vec<(Arc<str>, u32)> {
        let start = after.map_or(Bound::Included(prefix), Bound::Excluded);
        self.ids
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .take(max)
            .map(|(name, &id)| (Arc::clone(name), id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_prefix_in_byte_order() {
        let mut names = Dictionary::default();
        for (id, name) in (1..).zip(["sys.cpu", "sys", "app", "sys.cpu.user", "Sys"]) {
            assert!(names.insert(name, id));
        }
        assert!(!names.insert("sys", 6));
        assert!(!names.insert("new", 9));
        let found = |prefix, after, max| -> Vec<String> {
            names.with_prefix(prefix, after, max).iter().map(|(name, _)| name.to_string()).collect()
        };
        assert_eq!(found("sys", None, 2), ["sys", "sys.cpu"]);
        assert_eq!(found("sys", Some("sys.cpu"), 2), ["sys.cpu.user"]);
        assert_eq!(found("", None, 10), ["Sys", "app", "sys", "sys.cpu", "sys.cpu.user"]);
        assert_eq!(names.with_prefix("app", None, 1)[0].1, 3);
        assert_eq!(names.id("app"), Some(3));
        assert_eq!(names.name(3).map(AsRef::as_ref), Some("app"));
        assert_eq!(names.name(0), None);
    }
}
