//! Generations of a metric become one generation of one bucket: of the same bucket when they are merged, of a day when
//! the day is compacted.
//!
//! The new groups are written first. Nobody finds them, because readers follow the directory; the commit that changes
//! the directory takes the old groups away and expects the old directory to be as it was, so of two replacements one
//! wins. A claim keeps them apart before that: each of them writes its name into it with its first groups and expects
//! it there with all further ones, so that groups of two replacements are never mixed under the same keys. Whoever dies
//! in between leaves groups that nobody finds.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tidemark_kv::{Commit, CommitOutcome, Kv, KvError, KvSnapshot};
use tidemark_model::{PointColumns, TimeRange};

use crate::{
    Bucket, CodecError, Generation, GroupKey, Shard, StoreError,
    change_log::DirectoryId,
    codec,
    commits::Commits,
    directory::{self, GenerationGroups},
    group::{self, BlockEntry},
    index::series_id,
    keys,
    merge::merge_runs,
    new_generation::{GenerationBuilder, NewGeneration},
    put_varint,
    reader::fetch_groups,
    renewing_snapshot::RenewingSnapshot,
    rollup::{DayRows, SpanUpdate},
    stored_value,
    tombstones::{Tombstone, hidden},
};

const CLAIM_FORMAT: u8 = 1;
/// Bytes of keys that the commit of a replacement may delete and expect; what needs more stays as it is.
const DIRECTORY_BYTES_MAX: usize = 700_000;
/// How often the last commit is repeated when its outcome is unknown.
const ATTEMPTS_MAX: usize = 8;

/// What is replaced by one generation of a bucket.
pub(crate) struct Replacement<'a> {
    pub(crate) kv: &'a Arc<dyn Kv>,
    pub(crate) shard: &'a Shard,
    pub(crate) metric: u32,
    /// Where the new generation goes.
    pub(crate) bucket: Bucket,
    pub(crate) old: Vec<BucketGenerations>,
    /// What is deleted of these. IMPORTANT: of the same moment, so that no generation is newer than a deletion that is
    /// missing here.
    pub(crate) tombstones: Vec<Arc<Tombstone>>,
    /// The name of this replacement; no other one ever has it.
    pub(crate) version: u64,
}

/// All generations that a metric has in a bucket.
#[derive(Clone, Debug)]
pub(crate) struct BucketGenerations {
    pub(crate) bucket: Bucket,
    pub(crate) generations: Vec<GenerationGroups>,
}

/// What was written.
pub(crate) struct Replaced {
    pub(crate) points: u64,
    pub(crate) bytes: u64,
}

/// New blocks, and new rows of the same points.
struct Built {
    new: NewGeneration,
    rollups: Vec<SpanUpdate>,
}

impl Replacement<'_> {
    /// The new generation; `None` when it cannot be counted any further or there is nothing to replace.
    fn generation(&self) -> Option<Generation> {
        let old = self.old.iter().flat_map(|old| &old.generations);
        old.map(|generation| generation.generation).max()?.merged()
    }

    /// Bytes of the old groups.
    pub(crate) fn bytes(&self) -> u64 {
        self.old.iter().flat_map(|old| &old.generations).map(|generation| generation.totals().2).sum()
    }

    /// Does it, with the rows of the day, if there are any to be made. `None` when it cannot be done, and then nothing
    /// changes.
    ///
    /// # Errors
    /// What the engine refused or which group is damaged. Nothing is lost, the generations just stay apart.
    pub(crate) async fn run(self, rows: Vec<DayRows>, orphans: Vec<Bytes>) -> Result<Option<Replaced>, StoreError> {
        let Some(into) = self.generation() else { return Ok(None) };
        let groups = self.read_groups().await?;
        let (shard, metric, bucket, version) = (self.shard.number, self.metric, self.bucket, self.version);
        let source = Source { metric, groups, tombstones: self.tombstones.clone() };
        let build = move || build(GenerationBuilder::new(shard, bucket.tier, into), source, rows, into, version);
        let built = tokio::task::spawn_blocking(build).await;
        let Built { new, rollups } =
            built.map_err(|error| KvError::Unavailable(format!("the merge was not finished: {error}")))??;
        let mut commit = self.change_of_directory(&new, &rollups, orphans);
        let changed = self.old.iter().map(|old| old.bucket).chain([bucket]);
        self.shard.note_changes(&mut commit, changed.map(|bucket| DirectoryId { metric, bucket }));
        if commit.bytes() > DIRECTORY_BYTES_MAX {
            return Ok(None);
        }
        let of_rollups = rollups.iter().flat_map(|update| &update.groups);
        let entries: Vec<(Bytes, Bytes)> = new.groups.iter().chain(of_rollups).cloned().collect();
        Commits::new(self.kv.as_ref()).claiming(self.claim_key(), self.claim()).put_all(entries.into_iter()).await?;
        self.publish(commit, &new).await?;
        self.shard.changed(|state| {
            for old in &self.old {
                state.catalogue.remove(metric, old.bucket, &old.generations);
            }
            state.catalogue.extend(&new.catalogue);
            for update in &rollups {
                state.catalogue.rollups.set(&update.of, Arc::clone(&update.rollups));
            }
        });
        Ok(Some(Replaced { points: new.catalogue.points, bytes: new.catalogue.bytes }))
    }

    async fn read_groups(&self) -> Result<Vec<(GroupKey, Bytes)>, StoreError> {
        // Groups are never written over, so that it does not matter of which moment each is.
        let snapshot = &RenewingSnapshot::take(self.kv).await?;
        let mut groups = Vec::new();
        for old in &self.old {
            let mut wanted: Vec<GroupKey> = self.keys_of(old).collect();
            wanted.sort_unstable();
            let fetched = fetch_groups(snapshot, &wanted, wanted.len()).await?;
            // Both are in order of keys.
            let found = fetched.iter().map(|(key, _)| Some(key)).chain(std::iter::repeat(None));
            if let Some((missing, _)) = wanted.iter().zip(found).find(|(key, found)| *found != Some(key)) {
                self.check_directory(snapshot).await?;
                return Err(stored_value::damaged(&missing.encode(), "the directory names it and it is gone"));
            }
            groups.extend(fetched);
        }
        Ok(groups)
    }

    /// Whether the directory is still as it is known here; another process may have changed it.
    async fn check_directory(&self, snapshot: &dyn KvSnapshot) -> Result<(), StoreError> {
        for (key, value) in self.old_pages() {
            if snapshot.get(&key).await?.as_ref() != Some(&value) {
                return Err(KvError::Conflict { key: key.escape_ascii().to_string() }.into());
            }
        }
        Ok(())
    }

    fn old_pages(&self) -> impl Iterator<Item = (Bytes, Bytes)> + '_ {
        self.old.iter().flat_map(move |old| {
            old.generations.iter().flat_map(move |GenerationGroups { generation, groups }| {
                directory::pages(self.shard.number, old.bucket, self.metric, *generation, groups)
            })
        })
    }

    fn keys_of<'a>(&'a self, old: &'a BucketGenerations) -> impl Iterator<Item = GroupKey> + 'a {
        old.generations.iter().flat_map(move |GenerationGroups { generation, groups }| {
            groups.iter().map(move |group| group.key(self.shard.number, old.bucket, self.metric, *generation))
        })
    }

    /// The keys of all old groups.
    pub(crate) fn old_keys(&self) -> impl Iterator<Item = GroupKey> + '_ {
        self.old.iter().flat_map(|old| self.keys_of(old))
    }

    fn change_of_directory(&self, new: &NewGeneration, rollups: &[SpanUpdate], orphans: Vec<Bytes>) -> Commit {
        let mut commit = Commit::new();
        for (key, value) in self.old_pages() {
            commit.expect(key.clone(), Some(value)).delete(key);
        }
        commit.expect(self.claim_key(), Some(self.claim())).delete(self.claim_key());
        for key in self.old_keys() {
            commit.delete(key.encode());
        }
        let written: std::collections::HashSet<&Bytes> = new.groups.iter().map(|(key, _)| key).collect();
        for orphan in orphans {
            // A generation that was written once already, by somebody who died then, has the same keys.
            if !written.contains(&orphan) {
                commit.delete(orphan);
            }
        }
        for (key, value) in &new.directory {
            commit.put(key.clone(), value.clone());
        }
        for update in rollups {
            update.add_to(&mut commit);
        }
        commit
    }

    fn claim_key(&self) -> Bytes {
        keys::claim(self.shard.number, self.bucket, self.metric)
    }

    fn claim(&self) -> Bytes {
        claim(self.version)
    }

    /// Commits the change of the directory. Its first expectation is a page that it deletes, and nobody writes that page
    /// again.
    async fn publish(&self, commit: Commit, new: &NewGeneration) -> Result<(), StoreError> {
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            match self.kv.commit(commit.clone()).await {
                CommitOutcome::Done(_) => return Ok(()),
                CommitOutcome::Refused(error) => return Err(error.into()),
                CommitOutcome::Unknown(error) => {
                    let snapshot = self.kv.snapshot().await?;
                    let is_gone = match commit.expectations.first() {
                        Some(page) => snapshot.get(&page.key).await?.is_none(),
                        None => false,
                    };
                    let is_ours = match new.directory.first() {
                        Some((key, value)) => snapshot.get(key).await?.as_ref() == Some(value),
                        None => true,
                    };
                    if is_gone && is_ours {
                        return Ok(());
                    }
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or(KvError::Closed).into())
    }
}

/// What a replacement claims a bucket with.
pub(crate) fn claim(version: u64) -> Bytes {
    stored_value::build(CLAIM_FORMAT, |out| put_varint(out, version))
}

/// Reads a claim, for a check.
pub(crate) fn check_claim(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    stored_value::read(CLAIM_FORMAT, key, value, |reader| reader.varint()).map(drop)
}

/// What a new generation is made of.
struct Source {
    metric: u32,
    groups: Vec<(GroupKey, Bytes)>,
    tombstones: Vec<Arc<Tombstone>>,
}

/// Decodes all blocks of each series, leaves out what was deleted, merges them and encodes the result and its rows.
fn build(
    mut builder: GenerationBuilder,
    source: Source,
    mut rows: Vec<DayRows>,
    into: Generation,
    version: u64,
) -> Result<Built, StoreError> {
    let Source { metric, groups, tombstones } = source;
    let mut blocks = BTreeMap::<u32, Vec<(GroupKey, BlockEntry, Bytes)>>::new();
    for (key, value) in groups {
        for entry in group::read_directory(&key, &value)? {
            let bytes = value.slice(entry.bytes.clone());
            blocks.entry(entry.number).or_default().push((key, entry, bytes));
        }
    }
    let unencodable = |error: CodecError| KvError::Unavailable(format!("the merge was not encoded: {error}"));
    let mut columns = PointColumns::default();
    for (number, mut blocks) in blocks {
        blocks.sort_by_key(|(key, ..)| key.generation);
        let mut runs = Vec::with_capacity(blocks.len());
        for (key, entry, bytes) in &blocks {
            let mut run = PointColumns::default();
            let damaged = |error: CodecError| stored_value::damaged(&key.encode(), error.to_string());
            codec::decode_block(bytes, TimeRange::ALL, &mut run).map_err(damaged)?;
            let id = series_id(metric, number);
            let hidden = hidden(&tombstones, id, key.generation.epoch(), entry.min, entry.max);
            if !hidden.is_empty() {
                let all = std::mem::take(&mut run);
                hidden.copy_outside(&all, &mut run);
            }
            runs.push(run);
        }
        columns.clear();
        merge_runs(&runs, &mut columns);
        builder.add(series_id(metric, number), &columns).map_err(unencodable)?;
        for rows in &mut rows {
            rows.add(number, &columns).map_err(unencodable)?;
        }
    }
    let rollups = rows.into_iter().map(|rows| rows.finish(into, version)).collect::<Result<_, _>>()?;
    Ok(Built { new: builder.finish(), rollups })
}
