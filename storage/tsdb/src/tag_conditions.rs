//! Conditions on the values of tags, asked while nobody waits for the index.
//!
//! A pattern on a million values takes a third of a second, and a client chooses the pattern. So values are copied out a
//! few thousand at a time, asked about when the index is let go of, and the answers applied a few thousand at a time.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hashbrown::HashMap;
use parking_lot::RwLock;
use roaring::RoaringBitmap;
use tidemark_model::NameKind;

use crate::Index;

/// Values or series that are copied before the index is let go of: less than a millisecond.
const COPIED_PER_LOCK: usize = 4_096;

/// Holds for some values of a tag.
type Condition = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What is left to ask about series that the postings alone could not tell apart.
#[derive(Default)]
pub(crate) struct TagConditions {
    /// Ids of tag keys, and what their values must be.
    pub(crate) values: Vec<(u32, Condition)>,
    /// How many tags the series must have.
    pub(crate) tag_count: Option<usize>,
}

/// What is asked of the index and of the values that it copies out.
struct Asking<'a> {
    index: &'a RwLock<Index>,
    /// Set when nobody wants the answer any more.
    is_cancelled: &'a AtomicBool,
}

impl TagConditions {
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.tag_count.is_none()
    }

    /// Those of the series for which all conditions hold; none in particular once `is_cancelled` is set.
    ///
    /// Slots stay what they are while the index is let go of: series are added and never taken away.
    pub(crate) fn keep(
        self,
        index: &RwLock<Index>,
        mut slots: RoaringBitmap,
        is_cancelled: &AtomicBool,
    ) -> RoaringBitmap {
        let asking = Asking { index, is_cancelled };
        for (key, holds) in self.values {
            slots = asking.series_where(key, &slots, holds.as_ref());
        }
        match self.tag_count {
            Some(count) => asking.series_with_tags(count, &slots),
            None => slots,
        }
    }
}

impl Asking<'_> {
    /// Asks once per distinct value: of all values of the key, or of the candidates' values if these are fewer.
    fn series_where(&self, key: u32, candidates: &RoaringBitmap, holds: &dyn Fn(&str) -> bool) -> RoaringBitmap {
        let values = self.index.read().postings(key).map_or(0, |postings| postings.values.len());
        if candidates.len() < values as u64 {
            self.by_candidate(key, candidates, holds)
        } else {
            self.by_value(key, candidates, holds)
        }
    }

    fn by_value(&self, key: u32, candidates: &RoaringBitmap, holds: &dyn Fn(&str) -> bool) -> RoaringBitmap {
        let mut matching = RoaringBitmap::new();
        for from in (0..).step_by(COPIED_PER_LOCK) {
            let values: Vec<(u32, Arc<str>)> = {
                let index = self.index.read();
                let Some(postings) = index.postings(key).filter(|postings| from < postings.values.len()) else { break };
                let some = postings.values.iter().skip(from).take(COPIED_PER_LOCK);
                let of_candidates =
                    some.filter(|value| postings.by_value.get(*value).is_some_and(|of| !of.is_disjoint(candidates)));
                let names = index.names(NameKind::TagValue);
                of_candidates.filter_map(|&value| Some((value, Arc::clone(names.name(value)?)))).collect()
            };
            let accepted: Vec<u32> =
                values.into_iter().filter(|(_, name)| self.ask(name, holds)).map(|(value, _)| value).collect();
            let index = self.index.read();
            let Some(postings) = index.postings(key) else { break };
            for having in accepted.iter().filter_map(|value| postings.by_value.get(value)) {
                matching |= having;
            }
        }
        matching & candidates
    }

    fn by_candidate(&self, key: u32, candidates: &RoaringBitmap, holds: &dyn Fn(&str) -> bool) -> RoaringBitmap {
        let mut answers = HashMap::<u32, bool>::new();
        let mut matching = RoaringBitmap::new();
        let mut candidates = candidates.iter().peekable();
        while candidates.peek().is_some() {
            let mut values: Vec<(u32, u32)> = Vec::new();
            let mut unknown: Vec<(u32, Arc<str>)> = Vec::new();
            {
                let index = self.index.read();
                let names = index.names(NameKind::TagValue);
                for slot in candidates.by_ref().take(COPIED_PER_LOCK) {
                    let Some(value) = index.value_of(slot, key) else { continue };
                    values.push((slot, value));
                    if !answers.contains_key(&value) {
                        // Taken for "no" until it is asked about, right below.
                        answers.insert(value, false);
                        unknown.extend(names.name(value).map(|name| (value, Arc::clone(name))));
                    }
                }
            }
            answers.extend(unknown.into_iter().map(|(value, name)| (value, self.ask(&name, holds))));
            let holds_for = |(_, value): &&(u32, u32)| answers.get(value).copied().unwrap_or(false);
            matching.extend(values.iter().filter(holds_for).map(|&(slot, _)| slot));
        }
        matching
    }

    fn series_with_tags(&self, count: usize, candidates: &RoaringBitmap) -> RoaringBitmap {
        let mut matching = RoaringBitmap::new();
        let mut candidates = candidates.iter().peekable();
        while candidates.peek().is_some() {
            let index = self.index.read();
            let some = candidates.by_ref().take(COPIED_PER_LOCK);
            matching.extend(some.filter(|&slot| index.series(slot).is_some_and(|series| series.tags.len() == count)));
        }
        matching
    }

    fn ask(&self, value: &str, holds: &dyn Fn(&str) -> bool) -> bool {
        !self.is_cancelled.load(Ordering::Relaxed) && holds(value)
    }
}
