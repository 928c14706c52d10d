//! Which directories changed, for the other processes of a shared store. Byte map: `docs/format/change-log.md`.
//!
//! Every commit that changes what readers may see of the blocks of a shard also notes which directories it changed, in
//! commit order. A process reads on from the last note that it knows and loads these directories again. Notes that are
//! old are cleared, and a mark says up to which: a process that was away for longer loads all directories.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidemark_kv::{Commit, KeyRange, KvSnapshot, RangeLimit};

use crate::{Bucket, Scan, StoreError, Tier, keys, put_varint, scan::after, stored_value};

const FORMAT: u8 = 1;
/// Directories that one note names; a change of more says "all".
const NAMED_MAX: usize = 4_000;
/// Notes of a shard above which older ones are cleared by whoever adds one.
const NOTES_MAX: usize = 2_000;
/// Notes that stay when others are cleared.
const NOTES_KEPT: usize = 500;

/// The directory of one metric in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DirectoryId {
    pub(crate) metric: u32,
    pub(crate) bucket: Bucket,
}

/// What changed since a process looked last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changes {
    /// These directories; perhaps none.
    Of(BTreeSet<DirectoryId>),
    /// More than is worth naming, or more than is still known.
    All,
}

/// How far a process has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangePosition {
    next: Bytes,
}

/// Notes in a commit which directories of a shard it changes.
pub(crate) fn note(commit: &mut Commit, shard: u16, changed: impl IntoIterator<Item = DirectoryId>) {
    let changed: BTreeSet<DirectoryId> = changed.into_iter().collect();
    if !changed.is_empty() {
        let changes = if changed.len() > NAMED_MAX { Changes::All } else { Changes::Of(changed) };
        commit.put_versionstamped(keys::change_log(shard), encode(&changes));
    }
}

/// The position behind everything that `snapshot` has.
pub(crate) async fn newest(snapshot: &dyn KvSnapshot, shard: u16) -> Result<ChangePosition, StoreError> {
    let range = KeyRange::prefix(&keys::change_log(shard));
    let start = range.start.clone();
    let page = snapshot.range(range, RangeLimit::last()).await?;
    Ok(ChangePosition { next: page.entries.first().map_or(start, |(key, _)| after(key)) })
}

/// What changed since `position`, and the position after it.
pub(crate) async fn read(
    snapshot: &dyn KvSnapshot,
    shard: u16,
    position: &ChangePosition,
) -> Result<(Changes, ChangePosition), StoreError> {
    let mark_key = keys::change_log_mark(shard);
    let (mark, found) = tokio::join!(snapshot.get(&mark_key), read_from(snapshot, shard, position));
    let (changes, next) = found?;
    let cleared = match mark? {
        Some(value) => stored_value::read(FORMAT, &mark_key, &value, |reader| {
            let length = reader.rest().len();
            Some(Bytes::copy_from_slice(reader.bytes(length)?))
        })?,
        None => Bytes::new(),
    };
    let is_behind = position.next <= cleared;
    Ok((if is_behind { Changes::All } else { changes }, next))
}

async fn read_from(
    snapshot: &dyn KvSnapshot,
    shard: u16,
    position: &ChangePosition,
) -> Result<(Changes, ChangePosition), StoreError> {
    let mut next = position.next.clone();
    let mut all = false;
    let mut changed = BTreeSet::new();
    let mut scan = Scan::new(KeyRange::new(next.clone(), KeyRange::prefix(&keys::change_log(shard)).end));
    while let Some(entries) = scan.next(snapshot).await? {
        for (key, value) in entries {
            match decode(&key, &value)? {
                Changes::Of(more) => changed.extend(more),
                Changes::All => all = true,
            }
            next = after(&key);
        }
    }
    Ok((if all { Changes::All } else { Changes::Of(changed) }, ChangePosition { next }))
}

/// The commit that clears old notes, when there are many.
pub(crate) async fn clearing(snapshot: &dyn KvSnapshot, shard: u16) -> Result<Option<Commit>, StoreError> {
    let range = KeyRange::prefix(&keys::change_log(shard));
    let page = snapshot.range(range.clone(), RangeLimit::entries(NOTES_MAX + 1)).await?;
    let keep_from = page.entries.len().saturating_sub(NOTES_KEPT);
    let last = keep_from.checked_sub(1).and_then(|last| page.entries.get(last));
    let Some((last, _)) = last.filter(|_| page.entries.len() > NOTES_MAX) else { return Ok(None) };
    let mut commit = Commit::new();
    let mark = stored_value::build(FORMAT, |out| out.extend_from_slice(last));
    commit.put(keys::change_log_mark(shard), mark).delete_range(KeyRange::new(range.start, after(last)));
    Ok(Some(commit))
}

fn encode(changes: &Changes) -> Bytes {
    stored_value::build(FORMAT, |out| match changes {
        Changes::All => out.push(0),
        Changes::Of(changed) => {
            out.push(1);
            put_varint(out, changed.len() as u64);
            for id in changed {
                out.push(id.bucket.tier.byte());
                put_varint(out, u64::from(id.metric));
                put_varint(out, u64::from(id.bucket.number));
            }
        }
    })
}

fn decode(key: &[u8], value: &[u8]) -> Result<Changes, StoreError> {
    stored_value::read(FORMAT, key, value, |reader| match reader.byte()? {
        0 => Some(Changes::All),
        1 => {
            let count = reader.varint()?;
            let ids = (0..count).map(|_| {
                let tier = Tier::of_byte(reader.byte()?)?;
                let metric = reader.varint_u32()?;
                Some(DirectoryId { metric, bucket: Bucket { tier, number: reader.varint_u32()? } })
            });
            Some(Changes::Of(ids.collect::<Option<_>>()?))
        }
        _ => None,
    })
}

/// Reads an entry, or the mark, and says what is wrong with it.
pub(crate) fn check(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    if keys::is_change_log_mark(key) {
        return stored_value::open(FORMAT, value).map(drop).map_err(|reason| stored_value::damaged(key, reason));
    }
    decode(key, value).map(drop)
}

#[cfg(test)]
mod tests {
    use tidemark_kv::{CommitOutcome, Kv, MemoryKv};

    use super::*;

    fn id(bucket: u32) -> DirectoryId {
        DirectoryId { metric: 7, bucket: Bucket { tier: Tier::TwoHours, number: bucket } }
    }

    async fn commit(kv: &MemoryKv, commit: Commit) {
        assert!(matches!(kv.commit(commit).await, CommitOutcome::Done(_)));
    }

    async fn note_one(kv: &MemoryKv, bucket: u32) {
        let mut change = Commit::new();
        note(&mut change, 3, [id(bucket)]);
        commit(kv, change).await;
    }

    async fn read_on(kv: &MemoryKv, position: &mut ChangePosition) -> Changes {
        let snapshot = kv.snapshot().await.unwrap();
        let (changes, next) = read(snapshot.as_ref(), 3, position).await.unwrap();
        *position = next;
        changes
    }

    #[tokio::test]
    async fn each_change_is_told_once() {
        let kv = MemoryKv::new();
        note_one(&kv, 1).await;
        let mut position = newest(kv.snapshot().await.unwrap().as_ref(), 3).await.unwrap();
        assert_eq!(read_on(&kv, &mut position).await, Changes::Of(BTreeSet::new()));
        note_one(&kv, 2).await;
        note_one(&kv, 3).await;
        assert_eq!(read_on(&kv, &mut position).await, Changes::Of([id(2), id(3)].into()));
        assert_eq!(read_on(&kv, &mut position).await, Changes::Of(BTreeSet::new()));
        let mut change = Commit::new();
        note(&mut change, 3, (0..5_000).map(id));
        commit(&kv, change).await;
        assert_eq!(read_on(&kv, &mut position).await, Changes::All);
    }

    #[tokio::test]
    async fn whoever_was_away_while_notes_were_cleared_is_told_to_load_everything() {
        let kv = MemoryKv::new();
        let mut away = newest(kv.snapshot().await.unwrap().as_ref(), 3).await.unwrap();
        for bucket in 0..2_001 {
            note_one(&kv, bucket).await;
        }
        let mut current = newest(kv.snapshot().await.unwrap().as_ref(), 3).await.unwrap();
        let cleared = clearing(kv.snapshot().await.unwrap().as_ref(), 3).await.unwrap().unwrap();
        commit(&kv, cleared).await;
        assert_eq!(clearing(kv.snapshot().await.unwrap().as_ref(), 3).await.unwrap(), None);
        note_one(&kv, 9_000).await;
        assert_eq!(read_on(&kv, &mut current).await, Changes::Of([id(9_000)].into()));
        assert_eq!(read_on(&kv, &mut away).await, Changes::All);
        assert_eq!(read_on(&kv, &mut away).await, Changes::Of(BTreeSet::new()));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_changes_or_an_error(body in proptest::collection::vec(0_u8.., 0..60)) {
            let value = stored_value::build(FORMAT, |out| out.extend_from_slice(&body));
            if let Ok(changes) = decode(b"K", &value) {
                assert_eq!(decode(b"K", &encode(&changes)), Ok(changes));
            }
        }
    }
}
