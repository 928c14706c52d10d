//! Deleted points go from a bucket that is too large to be rewritten as a whole.
//!
//! Only the groups that have deleted points are written anew, each by itself, as the next generation but with the same
//! epoch; the others stay where they are. So a bucket has two generations for one, which have no point in common: blocks
//! of a series in different groups of a generation do not overlap. As many groups as may be held in memory make a step,
//! whose commit moves them from one directory to the other. Whoever dies in between leaves a bucket that has some deleted
//! points less, and groups that nobody finds.
//!
//! To rewrite the whole bucket range of series by range was turned down: it writes what needs no change, and the commit
//! that makes all of it visible at once would be too large for just those buckets that are.

use std::sync::Arc;

use bytes::Bytes;
use tidemark_kv::{Commit, CommitOutcome, Kv, KvError, Operation};
use tidemark_model::{PointColumns, TimeRange};

use crate::{
    Bucket, CodecError, DirectoryKey, Generation, RangeSet, Shard, StoreError,
    change_log::DirectoryId,
    codec,
    commits::Commits,
    directory::{self, GenerationGroups, GroupInfo},
    group::{self, BlockEntry, GroupBuilder, NewBlock},
    index::series_id,
    keys,
    reader::fetch_groups,
    replacement, stored_value,
    tombstones::{Tombstone, hidden},
};

/// Groups that one step changes; their keys are in one commit.
const STEP_GROUPS: usize = 1_000;
/// Bytes of the commit of a step; a bucket whose directories are larger stays as it is.
const COMMIT_BYTES_MAX: usize = 900_000;
/// How often a commit is repeated when its outcome is unknown.
const ATTEMPTS_MAX: usize = 8;

/// The groups of a metric in a bucket, and what is deleted of them.
pub(crate) struct GroupPurge<'a> {
    kv: &'a Arc<dyn Kv>,
    shard: &'a Shard,
    id: DirectoryId,
    /// As they are now.
    generations: Vec<GenerationGroups>,
    /// What is deleted of them. IMPORTANT: of the same moment or later; generations keep their epochs, so that what is
    /// deleted after that hides points of the new groups as it does of the old ones.
    tombstones: Vec<Arc<Tombstone>>,
}

/// What a step changes.
struct Step {
    /// Groups that go, by position among those of the generation.
    gone: Vec<usize>,
    /// The groups that are left of them, with their values.
    rewritten: Vec<(GroupInfo, Bytes)>,
    /// Where the next step goes on.
    next: usize,
}

impl<'a> GroupPurge<'a> {
    pub(crate) fn new(kv: &'a Arc<dyn Kv>, shard: &'a Shard, metric: u32, bucket: Bucket) -> Self {
        let state = shard.state.read();
        let generations = state.catalogue.generations(metric, bucket).to_vec();
        let tombstones = state.tombstones.of_metric(metric, bucket.range());
        drop(state);
        Self { kv, shard, id: DirectoryId { metric, bucket }, generations, tombstones }
    }

    /// Does it, holding groups of about `bytes_max` bytes. `version` gives numbers that no other replacement has. `false`
    /// when it cannot be done, and then points are left that are deleted.
    ///
    /// # Errors
    /// What the engine refused or which group is damaged. Nothing is lost, and the points stay hidden.
    pub(crate) async fn run(mut self, bytes_max: u64, version: &(dyn Fn() -> u64 + Sync)) -> Result<bool, StoreError> {
        let all: Vec<Generation> = self.generations.iter().map(|generation| generation.generation).collect();
        for generation in all {
            let mut from = 0;
            while let Some(step) = self.step(generation, from, bytes_max).await? {
                from = step.next;
                if !step.gone.is_empty() && !self.change(generation, step, version()).await? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn groups_of(&self, generation: Generation) -> &[GroupInfo] {
        let found = self.generations.iter().find(|known| known.generation == generation);
        found.map(|known| known.groups.as_ref()).unwrap_or_default()
    }

    /// Reads groups from the position `from` on and writes those anew that have deleted points; `None` when there are no
    /// more.
    async fn step(&self, generation: Generation, from: usize, bytes_max: u64) -> Result<Option<Step>, StoreError> {
        let mut step = Step { gone: Vec::new(), rewritten: Vec::new(), next: from };
        let mut held = 0;
        for (position, group) in self.groups_of(generation).iter().enumerate().skip(from) {
            if held > bytes_max || step.gone.len() >= STEP_GROUPS {
                break;
            }
            if self.may_have_deleted(generation, group)
                && let Some(rewritten) = self.rewrite(generation, group).await?
            {
                step.gone.push(position);
                held += u64::from(group.bytes);
                step.rewritten.extend(rewritten);
            }
            step.next = position + 1;
        }
        let is_done = step.next == from;
        // Those that went are no longer among the groups when the next step begins.
        step.next -= step.gone.len();
        Ok((!is_done).then_some(step))
    }

    fn may_have_deleted(&self, generation: Generation, group: &GroupInfo) -> bool {
        self.tombstones.iter().any(|tombstone| {
            generation.epoch() < tombstone.epoch
                && tombstone.deletion.series.range_cardinality(group.first..=group.last) > 0
        })
    }

    /// A group without its deleted points, which may be nothing; `None` when it has none that are deleted.
    async fn rewrite(
        &self,
        generation: Generation,
        group: &GroupInfo,
    ) -> Result<Option<Option<(GroupInfo, Bytes)>>, StoreError> {
        let DirectoryId { metric, bucket } = self.id;
        let key = group.key(self.shard.number, bucket, metric, generation);
        let snapshot = self.kv.snapshot().await?;
        let Some((_, value)) = fetch_groups(snapshot.as_ref(), &[key], 1).await?.pop() else {
            // Another process rewrote the bucket, or the group is lost.
            for (page, value) in self.pages(generation, self.groups_of(generation)) {
                if snapshot.get(&page).await?.as_ref() != Some(&value) {
                    return Err(KvError::Conflict { key: page.escape_ascii().to_string() }.into());
                }
            }
            return Err(stored_value::damaged(&key.encode(), "the directory names it and it is gone"));
        };
        let entries = group::read_directory(&key, &value)?;
        let is_hit = |entry: &BlockEntry| !self.hidden(generation, entry).is_empty();
        if !entries.iter().any(is_hit) {
            return Ok(None);
        }
        let mut builder = GroupBuilder::new(bucket);
        for entry in &entries {
            let block = value.get(entry.bytes.clone()).unwrap_or_default();
            let damaged = |error: CodecError| stored_value::damaged(&key.encode(), error.to_string());
            self.copy(generation, entry, block, &mut builder).map_err(damaged)?;
        }
        Ok(Some(builder.take().map(|new| {
            let bytes = u32::try_from(new.value.len()).unwrap_or(u32::MAX);
            (GroupInfo { first: new.first, last: new.last, part: 0, bytes, points: new.points }, new.value)
        })))
    }

    fn hidden(&self, generation: Generation, entry: &BlockEntry) -> RangeSet {
        let id = series_id(self.id.metric, entry.number);
        hidden(&self.tombstones, id, generation.epoch(), entry.min, entry.max)
    }

    /// Adds what is left of a block.
    fn copy(
        &self,
        generation: Generation,
        entry: &BlockEntry,
        block: &[u8],
        builder: &mut GroupBuilder,
    ) -> Result<(), CodecError> {
        let hidden = self.hidden(generation, entry);
        let BlockEntry { number, points, min, max, last, .. } = *entry;
        if hidden.is_empty() {
            builder.push(&NewBlock { number, points, min, max, last, bytes: block });
            return Ok(());
        }
        let (mut all, mut left) = (PointColumns::default(), PointColumns::default());
        codec::decode_block(block, TimeRange::ALL, &mut all)?;
        hidden.copy_outside(&all, &mut left);
        let (Some(first), Some(last)) = (left.get(0), left.len().checked_sub(1).and_then(|last| left.get(last))) else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        codec::encode_block(&left.timestamps, &left.values, &mut bytes)?;
        builder.push(&NewBlock {
            number,
            points: u32::try_from(left.len()).unwrap_or(u32::MAX),
            min: first.timestamp,
            max: last.timestamp,
            last: last.value,
            bytes: &bytes,
        });
        Ok(())
    }

    /// The directory of a generation that has these groups.
    fn pages(&self, generation: Generation, groups: &[GroupInfo]) -> Vec<(Bytes, Bytes)> {
        let DirectoryId { metric, bucket } = self.id;
        directory::pages(self.shard.number, bucket, metric, generation, groups).collect()
    }

    /// Writes the new groups and moves them from one directory to the other.
    async fn change(&mut self, generation: Generation, step: Step, version: u64) -> Result<bool, StoreError> {
        let Some(into) = generation.merged() else { return Ok(false) };
        let DirectoryId { metric, bucket } = self.id;
        let shard = self.shard.number;
        let (old, mut new) = (self.groups_of(generation), self.groups_of(into).to_vec());
        let (mut stay, mut gone) = (Vec::with_capacity(old.len()), Vec::with_capacity(step.gone.len()));
        let mut going = step.gone.iter().peekable();
        for (position, group) in old.iter().enumerate() {
            let goes = going.next_if(|going| **going == position).is_some();
            if goes { gone.push(*group) } else { stay.push(*group) }
        }
        let mut entries = Vec::with_capacity(step.rewritten.len());
        for (mut group, value) in step.rewritten {
            let parts = new.iter().filter(|known| known.first == group.first).map(|known| known.part);
            group.part = parts.max().map_or(0, |part| part + 1);
            entries.push((group.key(shard, bucket, metric, into).encode(), value));
            new.push(group);
        }
        new.sort_unstable_by_key(|group| (group.first, group.part));
        let mut commit = Commit::new();
        for (of, now) in [(generation, &stay), (into, &new)] {
            let (before, after) = (self.pages(of, self.groups_of(of)), self.pages(of, now));
            if before.is_empty() {
                let first = DirectoryKey { shard, bucket, metric, generation: of, page: 0 };
                commit.expect(first.encode(), None);
            }
            for (key, value) in before {
                commit.expect(key.clone(), Some(value));
                if after.iter().all(|(kept, _)| *kept != key) {
                    commit.delete(key);
                }
            }
            for (key, value) in after {
                commit.put(key, value);
            }
        }
        let (claim_key, claim) = (keys::claim(shard, bucket, metric), replacement::claim(version));
        commit.expect(claim_key.clone(), Some(claim.clone())).delete(claim_key.clone());
        for group in gone {
            commit.delete(group.key(shard, bucket, metric, generation).encode());
        }
        self.shard.note_changes(&mut commit, [self.id]);
        if commit.bytes() > COMMIT_BYTES_MAX {
            return Ok(false);
        }
        Commits::new(self.kv.as_ref()).claiming(claim_key.clone(), claim).put_all(entries.into_iter()).await?;
        publish(self.kv.as_ref(), commit, &claim_key).await?;
        let now = [(generation, stay), (into, new)].map(|(generation, groups)| {
            (!groups.is_empty()).then(|| GenerationGroups { generation, groups: groups.into() })
        });
        let replace_in = |generations: &mut Vec<GenerationGroups>| {
            generations.retain(|known| known.generation != generation && known.generation != into);
            generations.extend(now.iter().flatten().cloned());
        };
        replace_in(&mut self.generations);
        self.shard.changed(|state| {
            // A seal may have added one meanwhile.
            let mut known = state.catalogue.generations(metric, bucket).to_vec();
            replace_in(&mut known);
            state.catalogue.set(self.id, known);
        });
        Ok(true)
    }
}

/// Commits a step. It takes the claim away, which carries the number of this step: when the outcome was unknown and the
/// claim is no longer there as the commit expects it, the step was done, or another process has taken over.
async fn publish(kv: &dyn Kv, commit: Commit, claim: &Bytes) -> Result<(), StoreError> {
    let mut unknown = None;
    for _ in 0..ATTEMPTS_MAX {
        match kv.commit(commit.clone()).await {
            CommitOutcome::Done(_) => return Ok(()),
            CommitOutcome::Refused(error @ KvError::Conflict { .. }) if unknown.is_some() => {
                let snapshot = kv.snapshot().await?;
                let puts = commit.operations.iter().filter_map(|operation| match operation {
                    Operation::Put { key, value } => Some((key, value)),
                    _ => None,
                });
                for (key, value) in puts {
                    if snapshot.get(key).await?.as_ref() != Some(value) {
                        return Err(error.into());
                    }
                }
                return match snapshot.get(claim).await? {
                    None => Ok(()),
                    Some(_) => Err(error.into()),
                };
            }
            CommitOutcome::Refused(error) => return Err(error.into()),
            CommitOutcome::Unknown(error) => unknown = Some(error),
        }
    }
    Err(unknown.unwrap_or(KvError::Closed).into())
}
