//! What a store is: its version and what is fixed when it is created. Byte map: `docs/format/store.md`.

use bytes::Bytes;
use tidemark_kv::{Commit, CommitOutcome, Kv, KvError};

use crate::{ByteReader, StoreError, keys, put_varint, stored_value};

const FORMAT: u8 = 1;
const WRITERS_FORMAT: u8 = 1;
/// Version of the key space and of all formats in it together. A program refuses a store above the newest that it knows,
/// and takes one below this over: 2 came with buckets of days, rollups, deletions and what several processes tell each
/// other, which a program of version 1 would not find.
const STORE_VERSION: u64 = 2;
/// Of a store in which a name was changed. Rows of series may then have their tags in another order than that of the names,
/// of which a program of version 2 would make other series.
const RENAMED_VERSION: u64 = 3;
/// How often opening starts again because another process opens the same store.
const ATTEMPTS_MAX: usize = 16;

/// Checks that this program may use the store, or makes a new one.
pub(crate) async fn check_or_create(kv: &dyn Kv, shards: u16) -> Result<(), StoreError> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(value) = kv.snapshot().await?.get(keys::STORE).await? {
            if check(&value, shards)? >= STORE_VERSION {
                return Ok(());
            }
            let newest = encode(STORE_VERSION, shards);
            // IMPORTANT: before anything is written that an older program would misread.
            let mut upgrade = Commit::new();
            upgrade.expect(keys::STORE, Some(value)).put(keys::STORE, newest);
            match kv.commit(upgrade).await {
                CommitOutcome::Done(_) => {
                    tracing::info!(version = STORE_VERSION, "took an older store over; older programs will refuse it");
                    return Ok(());
                }
                CommitOutcome::Refused(KvError::Conflict { .. }) | CommitOutcome::Unknown(_) => continue,
                CommitOutcome::Refused(error) => return Err(error.into()),
            }
        }
        if kv.snapshot().await?.get(keys::RESTORE).await?.is_some() {
            return Err(StoreError::RestoreUnfinished);
        }
        let mut commit = Commit::new();
        commit.expect(keys::RESTORE, None);
        commit.expect(keys::STORE, None).put(keys::STORE, encode(STORE_VERSION, shards));
        match kv.commit(commit).await {
            CommitOutcome::Done(_) => return Ok(()),
            CommitOutcome::Refused(KvError::Conflict { .. }) | CommitOutcome::Unknown(_) => {}
            CommitOutcome::Refused(error) => return Err(error.into()),
        }
    }
    Err(KvError::Unavailable("the store could not be created: others change it all the time".to_owned()).into())
}

/// The number of shards of a store that this program may use.
pub(crate) async fn shards(kv: &dyn Kv) -> Result<Option<u16>, StoreError> {
    let value = kv.snapshot().await?.get(keys::STORE).await?;
    value.map(|value| read_shards(&value)).transpose()
}

/// A number that no other opening of this store has, so that segments say whose they are.
pub(crate) async fn new_writer(kv: &dyn Kv) -> Result<u64, StoreError> {
    for _ in 0..ATTEMPTS_MAX {
        let before = kv.snapshot().await?.get(keys::WRITERS).await?;
        let last = match &before {
            Some(value) => stored_value::read(WRITERS_FORMAT, keys::WRITERS, value, |reader| reader.varint())?,
            None => 0,
        };
        let writer = last + 1;
        let value = stored_value::build(WRITERS_FORMAT, |out| put_varint(out, writer));
        let mut commit = Commit::new();
        commit.expect(keys::WRITERS, before).put(keys::WRITERS, value);
        match kv.commit(commit).await {
            CommitOutcome::Done(_) => return Ok(writer),
            // After an unknown outcome the number may be given out to nobody, which is harmless.
            CommitOutcome::Refused(KvError::Conflict { .. }) | CommitOutcome::Unknown(_) => {}
            CommitOutcome::Refused(error) => return Err(error.into()),
        }
    }
    Err(KvError::Unavailable("no writer number could be had: others take them all the time".to_owned()).into())
}

fn encode(version: u64, shards: u16) -> Bytes {
    stored_value::build(FORMAT, |out| {
        put_varint(out, version);
        put_varint(out, u64::from(shards));
    })
}

/// The value of [`keys::STORE`] of a store in which a name was changed.
pub(crate) fn renamed(shards: u16) -> Bytes {
    encode(RENAMED_VERSION, shards)
}

/// The version of a store with so many shards.
fn check(value: &[u8], asked: u16) -> Result<u64, StoreError> {
    let (version, stored) = read(value)?;
    if stored == asked { Ok(version) } else { Err(StoreError::ShardCount { stored, asked }) }
}

/// The number of shards of a store that this program may use.
pub(crate) fn read_shards(value: &[u8]) -> Result<u16, StoreError> {
    read(value).map(|(_, shards)| shards)
}

/// The version is read before anything that a newer version might have changed, the checksum excepted.
fn read(value: &[u8]) -> Result<(u64, u16), StoreError> {
    let body = stored_value::open(FORMAT, value).map_err(|reason| stored_value::damaged(keys::STORE, reason))?;
    let mut reader = ByteReader::new(body);
    let found = reader.varint().ok_or_else(|| stored_value::damaged(keys::STORE, "it has no version"))?;
    if found > RENAMED_VERSION {
        return Err(StoreError::NewerVersion { found, known: RENAMED_VERSION });
    }
    let shards = reader.varint().and_then(|shards| u16::try_from(shards).ok());
    Ok((found, shards.ok_or_else(|| stored_value::damaged(keys::STORE, "it has no number of shards"))?))
}

/// The last writer number given out.
pub(crate) fn read_writer(value: &[u8]) -> Result<u64, StoreError> {
    stored_value::read(WRITERS_FORMAT, keys::WRITERS, value, |reader| reader.varint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_older_store_is_taken_over() {
        let kv = tidemark_kv::MemoryKv::new();
        let mut commit = Commit::new();
        commit.put(keys::STORE, encode(1, 3));
        assert!(matches!(kv.commit(commit).await, CommitOutcome::Done(_)));
        assert_eq!(check_or_create(&kv, 2).await, Err(StoreError::ShardCount { stored: 3, asked: 2 }));
        assert_eq!(check_or_create(&kv, 3).await, Ok(()));
        let stored = async || kv.snapshot().await.unwrap().get(keys::STORE).await.unwrap();
        assert_eq!(stored().await, Some(encode(STORE_VERSION, 3)));
        // One with changed names stays what it is.
        let mut commit = Commit::new();
        commit.put(keys::STORE, renamed(3));
        assert!(matches!(kv.commit(commit).await, CommitOutcome::Done(_)));
        assert_eq!(check_or_create(&kv, 3).await, Ok(()));
        assert_eq!(stored().await, Some(renamed(3)));
    }

    #[test]
    fn a_newer_store_is_refused_in_words() {
        let error = check(&encode(RENAMED_VERSION + 1, 1), 1).unwrap_err();
        assert!(error.to_string().contains("start a newer program"), "{error}");
        assert_eq!(check(&encode(STORE_VERSION, 1), 1), Ok(STORE_VERSION));
        assert_eq!(check(&encode(STORE_VERSION, 1), 2), Err(StoreError::ShardCount { stored: 1, asked: 2 }));
    }
}
