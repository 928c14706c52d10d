//! What listings show of the index: series whose points are all gone are hidden, and names that have no other series.

use std::collections::BTreeSet;

use roaring::RoaringBitmap;
use tidemark_model::{NameKind, SeriesId};

use super::{Index, SeriesEntry, metric_of, number_of, of_kind};

impl Index {
    pub(crate) fn hidden(&self) -> &RoaringBitmap {
        &self.hidden
    }

    pub(crate) fn slot_of(&self, id: SeriesId) -> Option<u32> {
        self.metric(metric_of(id))?.by_number.get(number_of(id) as usize).copied()
    }

    /// A series has no points.
    pub(crate) fn hide(&mut self, slot: u32) {
        let Some(metric) = self.series(slot).map(SeriesEntry::metric) else { return };
        if self.hidden.insert(slot) {
            *self.hidden_of.entry(metric).or_default() += 1;
            self.count_shown(slot, false);
        }
    }

    /// A series has points.
    pub(crate) fn show(&mut self, slot: u32) {
        let Some(metric) = self.series(slot).map(SeriesEntry::metric) else { return };
        if self.hidden.remove(slot) {
            if let Some(count) = self.hidden_of.get_mut(&metric) {
                *count -= 1;
            }
            self.hidden_of.retain(|_, count| *count > 0);
            self.count_shown(slot, true);
        }
    }

    /// Points of the metric went away: the next check of presence looks at its series. Deletions and retention say so.
    pub(crate) fn doubt_presence(&self, metric: u32) {
        self.doubts.lock().insert(metric);
    }

    /// Metrics that have hidden series, and those in doubt, which no longer are.
    pub(crate) fn take_doubts(&self) -> BTreeSet<u32> {
        let mut metrics = std::mem::take(&mut *self.doubts.lock());
        metrics.extend(self.hidden_of.keys());
        metrics
    }

    /// Numbers of the hidden series of a metric.
    pub(crate) fn hidden_numbers(&self, metric: u32) -> RoaringBitmap {
        let Some(entry) = self.metric(metric).filter(|_| self.hidden_of.contains_key(&metric)) else {
            return RoaringBitmap::new();
        };
        let hidden = &entry.slots & &self.hidden;
        hidden.iter().filter_map(|slot| Some(number_of(self.series(slot)?.target.id))).collect()
    }

    /// Whether a name is to be suggested: it has series with points, or never had a series.
    pub(crate) fn is_suggested(&self, kind: NameKind, id: u32) -> bool {
        !of_kind(&self.used, kind).contains(id) || self.shown(kind, id) > 0
    }

    /// How many series with points have a name.
    pub(crate) fn shown(&self, kind: NameKind, id: u32) -> u32 {
        let counts = of_kind(&self.shown, kind);
        id.checked_sub(1).and_then(|position| counts.get(position as usize)).copied().unwrap_or(0)
    }

    /// Counts a series for its names.
    pub(super) fn count_shown(&mut self, slot: u32, is_shown: bool) {
        let Some(series) = self.series.get(slot as usize) else { return };
        let [metrics, keys, values] = &mut self.shown;
        let [used_metrics, used_keys, used_values] = &mut self.used;
        let count = |counts: &mut Vec<u32>, used: &mut RoaringBitmap, id: u32| {
            let Some(position) = id.checked_sub(1) else { return };
            let position = position as usize;
            if counts.len() <= position {
                counts.resize(position + 1, 0);
            }
            if is_shown && counts.get(position) == Some(&0) {
                used.insert(id);
            }
            if let Some(count) = counts.get_mut(position) {
                *count = if is_shown { *count + 1 } else { count.saturating_sub(1) };
            }
        };
        count(metrics, used_metrics, series.metric());
        for &(key, value) in &series.tags {
            count(keys, used_keys, key);
            count(values, used_values, value);
        }
    }
}
