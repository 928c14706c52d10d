//! Which series a selector means, evaluated on the postings.

use roaring::RoaringBitmap;
use tidemark_model::{NameKind, ReadError, SeriesSelector, TagMatch, TagPredicate, Tsuid};

use crate::{Index, SeriesEntry, TagPostings};

impl Index {
    /// Slots of the series that a selector means, in no order that matters.
    pub(crate) fn select(&self, selector: &SeriesSelector) -> Result<RoaringBitmap, ReadError> {
        match selector {
            SeriesSelector::Tags { metric, predicates, exact_keys } => {
                let mut slots = match metric {
                    Some(metric) => self.slots_of_metric(metric)?,
                    None => (0..u32::try_from(self.len()).unwrap_or(u32::MAX)).collect(),
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

    /// The series of these slots in order of their canonical key.
    pub(crate) fn sorted(&self, slots: &RoaringBitmap) -> Vec<&SeriesEntry> {
        let mut series: Vec<_> = slots.iter().filter_map(|slot| self.series(slot)).collect();
        series.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        series
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
    use std::sync::Arc;

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
        let found: Vec<_> = index.sorted(&slots).iter().map(|series| series.key.to_string()).collect();
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
