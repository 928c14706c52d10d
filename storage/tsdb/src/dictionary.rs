//! The names of one kind and their ids.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use tidemark_model::{MetricSpace, RESERVED, is_reserved};

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

    /// Gives ids other names, all at once, so that names can be swapped. Says whether that went; if not, because an id is
    /// unknown or two would have one name, nothing was changed.
    pub(crate) fn rename(&mut self, renames: &[(u32, Arc<str>)]) -> bool {
        let old: Option<Vec<(Arc<str>, u32)>> =
            renames.iter().map(|(id, _)| Some((Arc::clone(self.name(*id)?), *id))).collect();
        let Some(old) = old else { return false };
        for (name, _) in &old {
            self.ids.remove(name);
        }
        let mut given = 0;
        for (id, name) in renames {
            if self.ids.contains_key(name) {
                break;
            }
            self.ids.insert(Arc::clone(name), *id);
            given += 1;
        }
        if given < renames.len() {
            for (_, name) in renames.iter().take(given) {
                self.ids.remove(name);
            }
            self.ids.extend(old);
            return false;
        }
        for (id, name) in renames {
            if let Some(place) = id.checked_sub(1).and_then(|position| self.names.get_mut(position as usize)) {
                *place = Arc::clone(name);
            }
        }
        true
    }

    /// The stored names of a metric in all spaces in which it has values, with their ids; that of its points comes first.
    pub(crate) fn of_metric(&self, metric: &str) -> Vec<(Arc<str>, u32)> {
        let found = |name: &str| self.ids.get_key_value(name).map(|(name, &id)| (Arc::clone(name), id));
        let mut names: Vec<_> = found(metric).into_iter().collect();
        // The names of a space are beside each other, and there are few spaces: from each to the next in one step.
        let mut from = Bound::Included(RESERVED.to_string());
        while let Some((name, _)) =
            self.ids.range::<str, _>((from.as_ref().map(String::as_str), Bound::Unbounded)).next()
        {
            from = match MetricSpace::of_stored_name(name) {
                _ if !is_reserved(name) => break,
                Some((space, _)) => {
                    names.extend(found(&space.stored_name(metric)));
                    Bound::Included(after_all_of(&space))
                }
                None => Bound::Excluded(name.to_string()),
            };
        }
        names
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

/// The least text behind all names of a space, before which a slash comes.
fn after_all_of(space: &MetricSpace) -> String {
    let mut text = space.stored_name("");
    text.pop();
    text.push(char::from(b'/' + 1));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dictionary(names: &[&str]) -> Dictionary {
        let mut dictionary = Dictionary::default();
        (1..).zip(names).for_each(|(id, name)| assert!(dictionary.insert(name, id)));
        dictionary
    }

    #[test]
    fn names_are_swapped_at_once_or_not_at_all() {
        let mut names = dictionary(&["a", "b", "c"]);
        let check = |names: &Dictionary, expect: [&str; 3]| {
            for (id, name) in (1..).zip(expect) {
                assert_eq!((names.name(id).map(AsRef::as_ref), names.id(name)), (Some(name), Some(id)));
            }
        };
        assert!(names.rename(&[(1, "b".into()), (2, "d".into())]));
        check(&names, ["b", "d", "c"]);
        assert_eq!(names.id("a"), None);
        for refused in [[(1, "x"), (2, "c")], [(1, "x"), (4, "y")], [(1, "x"), (2, "x")]] {
            assert!(!names.rename(&refused.map(|(id, name)| (id, name.into()))), "{refused:?}");
            check(&names, ["b", "d", "c"]);
            assert_eq!(names.id("x"), None);
        }
        assert!(names.rename(&[(1, "d".into()), (2, "b".into())]));
        check(&names, ["d", "b", "c"]);
        assert!(!names.insert("d", 4) && names.insert("a", 4));
    }

    #[test]
    fn the_names_of_a_metric_are_found_in_all_spaces() {
        let names = [
            "cpu",
            "\u{1}h/cpu",
            "\u{1}r/1h/SUM/cpu",
            "\u{1}r/1h/SUM/cpu.user",
            "\u{1}r/1h/MAX/mem",
            "\u{1}r/1d/SUM/cpu",
            "\u{1}b/1h/SUM/cpu",
            "\u{1}odd",
            "\u{1}h/cpux",
            "1h/SUM/cpu",
            "mem",
        ];
        let names = dictionary(&names);
        let found = |metric| {
            let mut ids: Vec<u32> = names.of_metric(metric).iter().map(|(_, id)| *id).collect();
            let first = ids.first().copied();
            ids.sort_unstable();
            (first, ids)
        };
        assert_eq!(found("cpu"), (Some(1), vec![1, 2, 3, 6, 7]));
        assert_eq!(found("mem"), (Some(11), vec![5, 11]));
        assert_eq!(found("cpux"), (Some(9), vec![9]));
        assert_eq!(found("disk"), (None, vec![]));
    }

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
