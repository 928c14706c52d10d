//! Takes entries one after the other and gathers what is wrong.

use std::collections::BTreeMap;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;
use tidemark_model::NameKind;

use super::{
    CheckReport, EntryKind, Finding, FindingKind, KindTotals,
    decoding::{self, GroupFacts},
    metric_places::MetricPlaces,
};
use crate::{
    Fence, GroupKey, StoreError, annotations, change_log, documents, index_counts::IndexCounts, index_log, index_rows,
    keys, metadata, presence, replacement, restore_mark, rollup::RollupGroupInfo, store_version, tag_metadata,
};

/// What the entries are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A store: index and fences come first.
    Store,
    /// A backup, which has no counters and may hold a group twice or one that nothing names.
    Backup,
}

/// Checks entries. Groups of a window come before its directories, and then [`Checker::end_window`].
#[derive(Debug)]
pub(crate) struct Checker {
    subject: Subject,
    report: CheckReport,
    shards: Option<u16>,
    fences: BTreeMap<u16, Fence>,
    counters: Option<IndexCounts>,
    /// Ids of the names of each kind.
    names: [RoaringBitmap; 3],
    /// Names whose id another name has, too.
    names_twice: Vec<(Bytes, u32)>,
    places: MetricPlaces,
    /// The greatest id of a name that a series uses, with the series' key.
    names_used: [Option<(u32, Bytes)>; 3],
    /// Series by metric.
    series: HashMap<u32, RoaringBitmap>,
    /// The greatest number of a series that points use, with the key of the entry that has them.
    series_used: HashMap<u32, (u32, Bytes)>,
    /// Groups of the window that no directory has named so far.
    groups: BTreeMap<Bytes, Option<GroupFacts>>,
    /// Groups of rollups that no directory has named so far; a backup has those of rows that stand alone.
    rollup_groups: BTreeMap<Bytes, Option<RollupGroupInfo>>,
    /// Groups of a backup that no directory has named: it was broken off in the middle of their window.
    unnamed: HashSet<Bytes>,
}

impl Checker {
    pub(crate) fn new(subject: Subject) -> Self {
        Self {
            subject,
            report: CheckReport::default(),
            shards: None,
            fences: BTreeMap::new(),
            counters: None,
            names: Default::default(),
            names_twice: Vec::new(),
            places: MetricPlaces::default(),
            names_used: Default::default(),
            series: HashMap::new(),
            series_used: HashMap::new(),
            groups: BTreeMap::new(),
            rollup_groups: BTreeMap::new(),
            unnamed: HashSet::new(),
        }
    }

    /// Looks at an entry.
    pub(crate) fn entry(&mut self, key: &Bytes, value: &Bytes) {
        self.report.note(key, value);
        if let Err(error) = self.look_at(key, value) {
            self.refuse(key, &error);
        }
    }

    /// The directories of the groups so far are complete.
    pub(crate) fn end_window(&mut self) {
        for (key, _) in std::mem::take(&mut self.groups) {
            match self.subject {
                Subject::Store => self.unnamed_group(&key),
                Subject::Backup => {
                    self.unnamed.insert(key);
                }
            }
        }
    }

    /// The directories of the rollups so far are complete.
    pub(crate) fn end_rollups(&mut self) {
        for key in std::mem::take(&mut self.rollup_groups).into_keys() {
            match self.subject {
                Subject::Store => self.report.add(Finding::orphan(&key, "no directory of rollups names it")),
                // Another reading of the span, after the backup had been broken off, found others.
                Subject::Backup => {
                    self.unnamed.insert(key);
                }
            }
        }
    }

    /// What is known of the fences so far.
    pub(crate) fn fences(&self) -> &BTreeMap<u16, Fence> {
        &self.fences
    }

    /// Names are read anew: those so far do not count.
    pub(crate) fn forget_names(&mut self) {
        self.names = Default::default();
        self.names_twice.clear();
        self.places.forget_names();
    }

    /// Ids of the names of a kind.
    pub(crate) fn names(&self, kind: NameKind) -> &RoaringBitmap {
        let [metrics, keys, values] = &self.names;
        match kind {
            NameKind::Metric => metrics,
            NameKind::TagKey => keys,
            NameKind::TagValue => values,
        }
    }

    /// Groups of a backup that no directory has named.
    pub(crate) fn unnamed(&self) -> &HashSet<Bytes> {
        &self.unnamed
    }

    /// Number of series so far.
    pub(crate) fn series_count(&self) -> u64 {
        self.series.values().map(RoaringBitmap::len).sum()
    }

    /// What was seen so far.
    pub(crate) fn totals(&self) -> KindTotals {
        self.report.totals()
    }

    /// What is wrong so far, without a comparison with entries that were not seen.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.report.findings
    }

    /// Compares what can only be compared when everything was seen.
    pub(crate) fn finish(mut self) -> CheckReport {
        self.end_window();
        self.end_rollups();
        self.report.series = self.series_count();
        self.check_presence();
        self.check_index();
        let mut used: Vec<_> = std::mem::take(&mut self.series_used).into_iter().collect();
        used.sort_unstable();
        for (metric, (number, key)) in used {
            if !self.series.get(&metric).is_some_and(|numbers| numbers.contains(number)) {
                let problem = format!("it has points of series {number} of metric {metric}, which is not in the index");
                self.report.add(Finding::new(FindingKind::Contradiction, &key, problem));
            }
        }
        self.report
    }

    fn refuse(&mut self, key: &[u8], error: &StoreError) {
        let finding = match error {
            StoreError::Corrupt { reason, .. } if reason.starts_with("its format is") => {
                Finding::new(FindingKind::Unknown, key, reason.clone())
            }
            StoreError::Corrupt { reason, .. } => Finding::new(FindingKind::Damaged, key, reason.clone()),
            StoreError::NewerVersion { .. } => Finding::new(FindingKind::Unknown, key, error.to_string()),
            other => Finding::new(FindingKind::Damaged, key, other.to_string()),
        };
        self.report.add(finding);
    }

    fn look_at(&mut self, key: &Bytes, value: &Bytes) -> Result<(), StoreError> {
        match EntryKind::of(key) {
            EntryKind::Store => self.shards = Some(store_version::read_shards(value)?),
            EntryKind::Writers => drop(store_version::read_writer(value)?),
            EntryKind::Counters => self.counters = Some(IndexCounts::decode(value)?),
            EntryKind::Fence => {
                let (shard, fence) = Fence::read(key, value)?;
                self.fences.insert(shard, fence);
            }
            EntryKind::Log => self.log(key, value)?,
            EntryKind::Tombstone => {
                for (metric, number) in decoding::tombstone(key, value)?.series_max {
                    self.note_used(metric, number, key);
                }
            }
            EntryKind::Group => return self.group(key, value),
            EntryKind::Directory => self.directory(key, value)?,
            EntryKind::RollupGroup => return self.rollup_group(key, value),
            EntryKind::RollupDirectory => self.rollup_directory(key, value)?,
            EntryKind::Claim => replacement::check_claim(key, value)?,
            EntryKind::Name => self.name(key, value)?,
            EntryKind::Series => self.series(key, value)?,
            EntryKind::Metadata => metadata::check(key, value)?,
            EntryKind::TagMetadata => drop(tag_metadata::decode(key, value)?),
            EntryKind::TagReference => tag_metadata::check_reference(key, value)?,
            EntryKind::Presence => presence::check(key, value)?,
            EntryKind::Document => documents::check(key, value)?,
            EntryKind::Annotation => annotations::check(key, value)?,
            EntryKind::IndexLog => index_log::check(key, value)?,
            EntryKind::ChangeLog => change_log::check(key, value)?,
            EntryKind::Restore => {
                let mark = restore_mark::read(value)?;
                let problem = format!("a restore was broken off after {} chunks", mark.chunks);
                self.report.add(Finding::new(FindingKind::Unfinished, key, problem));
            }
            EntryKind::Unknown => {
                let problem = "this program knows no such kind of entry";
                self.report.add(Finding::new(FindingKind::Unknown, key, problem));
            }
        }
        Ok(())
    }

    fn log(&mut self, key: &Bytes, value: &Bytes) -> Result<(), StoreError> {
        let (shard, epoch) = decoding::log_key(key)?;
        if self.subject == Subject::Store
            && let Some(fence) = self.fences.get(&shard)
        {
            if epoch <= fence.sealed {
                let problem = format!("epoch {epoch} of shard {shard} is sealed and its log was to be cleared");
                self.report.add(Finding::orphan(key, problem));
            } else if epoch > fence.open {
                let problem = format!("the fence of shard {shard} has not opened epoch {epoch} yet");
                self.report.add(Finding::new(FindingKind::Contradiction, key, problem));
            }
        }
        let facts = decoding::segment(key, value)?;
        self.report.log_points += facts.points;
        for (metric, number) in facts.series_max {
            self.note_used(metric, number, key);
            self.places.note_used(metric, shard, key);
        }
        Ok(())
    }

    /// A group that cannot be read is remembered all the same, so that it does not pass for missing.
    fn group(&mut self, key: &Bytes, value: &Bytes) -> Result<(), StoreError> {
        let facts = match GroupKey::decode(key) {
            Some(decoded) => decoding::group(&decoded, value),
            None => Err(crate::stored_value::damaged(key, "it is no key of a group")),
        };
        self.groups.insert(key.clone(), facts.as_ref().ok().copied());
        facts.map(drop)
    }

    fn directory(&mut self, key: &Bytes, value: &Bytes) -> Result<(), StoreError> {
        let (page, named) = decoding::directory(key, value)?;
        self.places.note_used(page.metric, page.shard, key);
        let fence = self.fences.get(&page.shard);
        let is_visible = fence.is_none_or(|fence| page.generation.epoch() <= fence.sealed);
        if let Some(fence) = fence
            && page.generation.epoch() > fence.open
        {
            let problem = format!("the fence of shard {} has not opened its epoch yet", page.shard);
            self.report.add(Finding::new(FindingKind::Contradiction, key, problem));
        }
        for (group, info) in named {
            let found = self.groups.remove(&group).map(|facts| facts.is_none_or(|facts| facts.is(&info)));
            // A backup that goes on in the middle of the directories of a window reads the whole window again.
            self.unnamed.remove(&group);
            // A seal that is not finished writes its groups again.
            if found.is_some() || is_visible {
                self.named(key, &group, found);
            }
            if is_visible {
                self.report.block_points += u64::from(info.points);
                self.note_used(page.metric, info.last, key);
            }
        }
        Ok(())
    }

    /// As [`Self::group`]. Their directories come after all of them.
    fn rollup_group(&mut self, key: &Bytes, value: &Bytes) -> Result<(), StoreError> {
        let facts = decoding::rollup_group(key, value);
        self.rollup_groups.insert(key.clone(), facts.as_ref().ok().map(|(_, info)| *info));
        let (decoded, info) = facts?;
        self.note_used(decoded.of.metric, info.last, key);
        Ok(())
    }

    fn rollup_directory(&mut self, key: &Bytes, value: &Bytes) -> Result<(), StoreError> {
        for (group, info) in decoding::rollup_directory(key, value)? {
            let found = self.rollup_groups.remove(&group).map(|facts| facts.is_none_or(|facts| facts == info));
            self.named(key, &group, found);
        }
        Ok(())
    }

    /// A directory names a group: `None` when that is not there, else whether it is the one that the directory means; one
    /// that cannot be read has a finding of its own.
    fn named(&mut self, directory: &[u8], group: &[u8], is_meant: Option<bool>) {
        let directory = directory.escape_ascii();
        let (kind, problem) = match is_meant {
            None => (FindingKind::Missing, format!("directory {directory} names it and it is gone")),
            Some(false) => {
                (FindingKind::Contradiction, format!("it is not the group that directory {directory} means"))
            }
            Some(true) => return,
        };
        self.report.add(Finding::new(kind, group, problem));
    }

    fn unnamed_group(&mut self, key: &Bytes) {
        let Some(group) = GroupKey::decode(key) else { return };
        let fence = self.fences.get(&group.shard).copied();
        match fence {
            // The seal under way names it when all of its groups are written.
            Some(fence) if group.generation.epoch() > fence.sealed && group.generation.epoch() < fence.open => {}
            _ => self.report.add(Finding::orphan(key, "no directory names it")),
        }
    }

    fn name(&mut self, key: &Bytes, value: &Bytes) -> Result<(), StoreError> {
        let (kind, row) = index_rows::read_name(key, value)?;
        if kind == NameKind::Metric {
            self.places.note_name(key, row);
        }
        let [metrics, keys, values] = &mut self.names;
        let ids = match kind {
            NameKind::Metric => metrics,
            NameKind::TagKey => keys,
            NameKind::TagValue => values,
        };
        if !ids.insert(row.id) {
            self.names_twice.push((key.clone(), row.id));
        }
        Ok(())
    }

    fn series(&mut self, key: &Bytes, value: &Bytes) -> Result<(), StoreError> {
        let (metric, number, tags) = index_rows::read_series(key, value)?;
        self.series.entry(metric).or_default().insert(number);
        let [metrics, tag_keys, tag_values] = &mut self.names_used;
        note_greatest(metrics, metric, key);
        for &(tag_key, tag_value) in &tags {
            note_greatest(tag_keys, tag_key, key);
            note_greatest(tag_values, tag_value, key);
        }
        Ok(())
    }

    fn note_used(&mut self, metric: u32, number: u32, key: &Bytes) {
        let used = self.series_used.entry(metric).or_insert_with(|| (number, key.clone()));
        if number > used.0 {
            *used = (number, key.clone());
        }
    }

    fn check_presence(&mut self) {
        let Some(shards) = self.shards else {
            // An empty store has nothing at all.
            if self.report.totals().entries > 0 && self.report.kinds.keys().all(|kind| *kind != EntryKind::Restore) {
                self.report.add(Finding::new(FindingKind::Missing, keys::STORE, "the store has no version"));
            }
            return;
        };
        self.places.findings(shards).into_iter().for_each(|finding| self.report.add(finding));
        for shard in (0..shards).filter(|shard| !self.fences.contains_key(shard)) {
            // A store that was just made gets its fences when it is first opened.
            let has_points = self.report.block_points + self.report.log_points > 0;
            if has_points {
                let problem = format!("shard {shard} has no fence");
                self.report.add(Finding::new(FindingKind::Missing, &keys::fence(shard), problem));
            }
        }
        let beyond: Vec<u16> = self.fences.keys().copied().filter(|&shard| shard >= shards).collect();
        for shard in beyond {
            let problem = format!("the store has {shards} shards");
            self.report.add(Finding::new(FindingKind::Contradiction, &keys::fence(shard), problem));
        }
    }

    /// Ids and numbers count without a gap, what is used is there, and the counters are true.
    fn check_index(&mut self) {
        let twice = std::mem::take(&mut self.names_twice)
            .into_iter()
            .map(|(key, id)| Finding::new(FindingKind::Contradiction, &key, format!("another name has its id {id}")));
        let mut findings: Vec<_> = twice.collect();
        let kinds = index_rows::NAME_KINDS.into_iter().zip(&self.names).zip(&self.names_used);
        for ((kind, ids), used) in kinds {
            // A backup may hold names that were made while it was taken; a restore leaves out those behind a gap.
            let gap = first_gap(ids);
            if self.subject == Subject::Store
                && let Some(id) = ids.iter().find(|&id| id >= gap)
            {
                let problem = format!("the {kind} with the id {gap} is missing although there is one with the id {id}");
                findings.push(Finding::new(FindingKind::Missing, &keys::names(kind).start, problem));
            }
            if let Some((id, key)) = used.as_ref().filter(|(id, _)| *id >= gap) {
                let problem = format!("it uses the {kind} with the id {id}, which is not in the index");
                findings.push(Finding::new(FindingKind::Contradiction, key, problem));
            }
        }
        for (&metric, numbers) in &self.series {
            if numbers.max().map(u64::from) != numbers.len().checked_sub(1) {
                let missing = (0..).find(|&number| !numbers.contains(number)).unwrap_or(0);
                let problem = "series with greater numbers are there and this one is missing";
                findings.push(Finding::new(FindingKind::Missing, &keys::series(metric, missing), problem));
            }
        }
        let [metrics, tag_keys, tag_values] = &self.names;
        let counted = self.counters.unwrap_or_default();
        let names = [metrics.len(), tag_keys.len(), tag_values.len()];
        let found = IndexCounts { names, series: self.series_count(), ..counted };
        if self.subject == Subject::Store && counted != found {
            let told = |counts: IndexCounts| format!("{:?} and {}", counts.names, counts.series);
            let problem = format!(
                "metrics, tag keys, tag values and series: it says {} and there are {}",
                told(counted),
                told(found)
            );
            findings.push(Finding::new(FindingKind::Contradiction, keys::COUNTERS, problem));
        }
        findings.sort_by(|left, right| left.key.cmp(&right.key));
        findings.into_iter().for_each(|finding| self.report.add(finding));
    }
}

/// The least id from 1 that is not there.
pub(crate) fn first_gap(ids: &RoaringBitmap) -> u32 {
    let mut expected = 1;
    for id in ids {
        if id > expected {
            break;
        }
        expected = id.saturating_add(1).max(expected);
    }
    expected
}

fn note_greatest(greatest: &mut Option<(u32, Bytes)>, id: u32, key: &Bytes) {
    if greatest.as_ref().is_none_or(|(known, _)| id > *known) {
        *greatest = Some((id, key.clone()));
    }
}
