//! Many generations of one metric and bucket become one.
//!
//! The merged groups are written first. Nobody finds them, because readers follow the directory; the commit that changes
//! the directory takes the old groups away and expects the old directory to be as it was, so of two mergers one wins.
//! A merger that dies in between leaves groups that nobody finds and that the next merge of the same generations
//! writes again.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tidemark_kv::{Commit, CommitOutcome, Kv, KvError};
use tidemark_model::{PointColumns, TimeRange};

use crate::{
    Bucket, CodecError, Generation, GroupKey, Shard, StoreError, Tier,
    change_log::DirectoryId,
    codec,
    commits::Commits,
    directory::{self, GenerationGroups},
    group::{self, BlockEntry},
    index::series_id,
    merge::merge_runs,
    new_generation::{GenerationBuilder, NewGeneration},
    reader::fetch_groups,
    stored_value,
    tombstones::{Tombstone, hidden},
};

/// Generations of a metric in a bucket above which they are merged in any case.
const GENERATIONS_MAX: usize = 8;
/// A settled bucket is merged as soon as its newest generation has this share of the points of the others: an epoch
/// that ends in the middle of a bucket leaves two short blocks per series, which cost 3 % more bytes than one. Smaller
/// shares wait, or a backfill series by series would write the same buckets again and again.
const NEWEST_SHARE: u64 = 6;
/// Bytes of groups that one merge may hold. Larger buckets keep their generations.
const MERGE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of keys that the commit of a merge may delete and expect; larger buckets keep their generations.
const DIRECTORY_BYTES_MAX: usize = 700_000;
/// How often the last commit is repeated when its outcome is unknown.
const ATTEMPTS_MAX: usize = 8;

/// Merges the generations of a metric in a bucket if it is worth it; says whether it did. A bucket is settled when the
/// metric has points in a later one.
///
/// # Errors
/// What the engine refused or which group is damaged. Nothing is lost, the generations just stay apart.
pub(crate) async fn merge_bucket(
    kv: &Arc<dyn Kv>,
    shard: &Shard,
    metric: u32,
    bucket: Bucket,
    settled: bool,
) -> Result<bool, StoreError> {
    let generations = shard.state.read().catalogue.generations(metric, bucket).to_vec();
    if is_due(&generations, settled) { rewrite_bucket(kv, shard, metric, bucket).await } else { Ok(false) }
}

/// Makes one generation of those that a metric has in a bucket, without what was deleted. `false` when that would be too
/// large, or there is nothing.
///
/// # Errors
/// What the engine refused or which group is damaged. Nothing is lost, the generations just stay.
pub(crate) async fn rewrite_bucket(
    kv: &Arc<dyn Kv>,
    shard: &Shard,
    metric: u32,
    bucket: Bucket,
) -> Result<bool, StoreError> {
    let (generations, tombstones) = {
        let state = shard.state.read();
        // IMPORTANT: of the same moment, so that no generation is newer than a deletion that is missing here.
        (state.catalogue.generations(metric, bucket).to_vec(), state.tombstones.of_metric(metric, bucket.range()))
    };
    let bytes: u64 = generations.iter().map(|generation| generation.totals().2).sum();
    let newest = generations.last().and_then(|generation| generation.generation.merged());
    let Some(into) = newest.filter(|_| bytes <= MERGE_BYTES_MAX) else {
        return Ok(false);
    };
    let groups = read_groups(kv.as_ref(), shard.number, metric, bucket, &generations).await?;
    let number = shard.number;
    let built = tokio::task::spawn_blocking(move || build(number, bucket.tier, into, groups, &tombstones)).await;
    let new = built.map_err(|error| KvError::Unavailable(format!("the merge was not finished: {error}")))??;
    let mut commit = change_of_directory(shard.number, metric, bucket, &generations, &new);
    shard.note_changes(&mut commit, [DirectoryId { metric, bucket }]);
    if commit.bytes() > DIRECTORY_BYTES_MAX {
        return Ok(false);
    }
    Commits::new(kv.as_ref()).put_all(new.groups.iter().cloned()).await?;
    publish(kv.as_ref(), commit, &new).await?;
    shard.changed(|state| state.catalogue.replace(metric, bucket, &generations, &new.catalogue));
    Ok(true)
}

fn is_due(generations: &[GenerationGroups], settled: bool) -> bool {
    let Some((newest, others)) = generations.split_last() else { return false };
    let others_points: u64 = others.iter().map(|generation| generation.totals().1).sum();
    let is_large = newest.totals().1 >= others_points / NEWEST_SHARE;
    generations.len() > GENERATIONS_MAX || (settled && !others.is_empty() && is_large)
}

async fn read_groups(
    kv: &dyn Kv,
    shard: u16,
    metric: u32,
    bucket: Bucket,
    generations: &[GenerationGroups],
) -> Result<Vec<(GroupKey, Bytes)>, StoreError> {
    let mut wanted: Vec<GroupKey> = keys_of(shard, metric, bucket, generations).collect();
    wanted.sort_unstable();
    let snapshot = kv.snapshot().await?;
    let fetched = fetch_groups(snapshot.as_ref(), &wanted, wanted.len()).await?;
    // Both are in order of keys.
    let found = fetched.iter().map(|(key, _)| Some(key)).chain(std::iter::repeat(None));
    if let Some((missing, _)) = wanted.iter().zip(found).find(|(key, found)| *found != Some(key)) {
        return Err(stored_value::damaged(&missing.encode(), "the directory names it and it is gone"));
    }
    Ok(fetched)
}

fn keys_of(
    shard: u16,
    metric: u32,
    bucket: Bucket,
    generations: &[GenerationGroups],
) -> impl Iterator<Item = GroupKey> + '_ {
    generations.iter().flat_map(move |generation| {
        generation.groups.iter().map(move |group| group.key(shard, bucket, metric, generation.generation))
    })
}

/// Decodes all blocks of each series, leaves out what was deleted, merges them and encodes the result.
fn build(
    shard: u16,
    tier: Tier,
    into: Generation,
    groups: Vec<(GroupKey, Bytes)>,
    tombstones: &[Arc<Tombstone>],
) -> Result<NewGeneration, StoreError> {
    let mut blocks = BTreeMap::<u32, Vec<(GroupKey, BlockEntry, Bytes)>>::new();
    let Some(metric) = groups.first().map(|(key, _)| key.metric) else {
        return Ok(GenerationBuilder::new(shard, tier, into).finish());
    };
    for (key, value) in groups {
        for entry in group::read_directory(&key, &value)? {
            let bytes = value.slice(entry.bytes.clone());
            blocks.entry(entry.number).or_default().push((key, entry, bytes));
        }
    }
    let mut builder = GenerationBuilder::new(shard, tier, into);
    let mut columns = PointColumns::default();
    for (number, mut blocks) in blocks {
        blocks.sort_by_key(|(key, ..)| key.generation);
        let mut runs = Vec::with_capacity(blocks.len());
        for (key, entry, bytes) in &blocks {
            let mut run = PointColumns::default();
            let damaged = |error: CodecError| stored_value::damaged(&key.encode(), error.to_string());
            codec::decode_block(bytes, TimeRange::ALL, &mut run).map_err(damaged)?;
            let id = series_id(metric, number);
            let hidden = hidden(tombstones, id, key.generation.epoch(), entry.min, entry.max);
            if !hidden.is_empty() {
                let all = std::mem::take(&mut run);
                hidden.copy_outside(&all, &mut run);
            }
            runs.push(run);
        }
        columns.clear();
        merge_runs(&runs, &mut columns);
        let unencodable = |error: CodecError| KvError::Unavailable(format!("the merge was not encoded: {error}"));
        builder.add(series_id(metric, number), &columns).map_err(unencodable)?;
    }
    Ok(builder.finish())
}

fn change_of_directory(
    shard: u16,
    metric: u32,
    bucket: Bucket,
    generations: &[GenerationGroups],
    new: &NewGeneration,
) -> Commit {
    let mut commit = Commit::new();
    for GenerationGroups { generation, groups } in generations {
        for (key, value) in directory::pages(shard, bucket, metric, *generation, groups) {
            commit.expect(key.clone(), Some(value)).delete(key);
        }
    }
    for key in keys_of(shard, metric, bucket, generations) {
        commit.delete(key.encode());
    }
    for (key, value) in &new.directory {
        commit.put(key.clone(), value.clone());
    }
    commit
}

/// Commits a change of a directory. Its first expectation is a page that it deletes, and nobody writes that page again.
async fn publish(kv: &dyn Kv, commit: Commit, new: &NewGeneration) -> Result<(), StoreError> {
    let mut last = None;
    for _ in 0..ATTEMPTS_MAX {
        match kv.commit(commit.clone()).await {
            CommitOutcome::Done(_) => return Ok(()),
            CommitOutcome::Refused(error) => return Err(error.into()),
            CommitOutcome::Unknown(error) => {
                let snapshot = kv.snapshot().await?;
                let is_there = match (commit.expectations.first(), new.directory.first()) {
                    (_, Some((key, value))) => snapshot.get(key).await?.as_ref() == Some(value),
                    // Everything was deleted.
                    (Some(page), None) => snapshot.get(&page.key).await?.is_none(),
                    (None, None) => false,
                };
                if is_there {
                    return Ok(());
                }
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or(KvError::Closed).into())
}
