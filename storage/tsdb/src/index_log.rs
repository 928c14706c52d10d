//! New names and series in the order of their creation, for the other processes of a shared store. Byte map:
//! `docs/format/index-log.md`.
//!
//! The rows of the index are found by name and by metric, not by age. So each commit that creates names or series also
//! writes them down under the number of names and series that there were before it; a process that knows so many reads
//! on from there. Creators meet at the counters, so these numbers come without a gap. Old entries are cleared: a process
//! that is further behind reads all rows.

use bytes::Bytes;
use tidemark_kv::{Commit, KeyRange, KvSnapshot};
use tidemark_model::NameKind;

use crate::{ByteReader, Index, Scan, StoreError, index_rows::NAME_KINDS, keys, put_text, put_varint, stored_value};

const FORMAT: u8 = 1;
/// Names and series that the log reaches back.
const KEPT: u64 = 200_000;
/// Bytes of one entry before another is begun.
const ENTRY_BYTES: usize = 60_000;

/// Metric, number among its series, ids of key and value of each tag.
pub(crate) type NewSeries = (u32, u32, Box<[(u32, u32)]>);

/// What a commit creates.
pub(crate) struct Created<'a> {
    pub(crate) names: &'a [(NameKind, String, u32)],
    pub(crate) series: &'a [NewSeries],
}

/// Something that was created.
enum Item<'a> {
    Name(NameKind, &'a str, u32),
    Series(u32, u32, Box<[(u32, u32)]>),
}

/// Writes down what a commit creates; there were `before` names and series.
pub(crate) fn note(commit: &mut Commit, before: u64, created: &Created<'_>) {
    let (mut part, mut body, mut count) = (0_u16, Vec::new(), 0_u64);
    let mut write = |body: &mut Vec<u8>, count: &mut u64| {
        let value = stored_value::build(FORMAT, |out| {
            put_varint(out, *count);
            out.extend_from_slice(body);
        });
        commit.put(keys::index_log(before, part), value);
        body.clear();
        *count = 0;
        part += 1;
    };
    for (kind, name, id) in created.names {
        body.push(keys::kind_byte(*kind));
        put_varint(&mut body, u64::from(*id));
        put_text(&mut body, name);
        count += 1;
        if body.len() > ENTRY_BYTES {
            write(&mut body, &mut count);
        }
    }
    for (metric, number, tags) in created.series {
        body.push(SERIES);
        put_varint(&mut body, u64::from(*metric));
        put_varint(&mut body, u64::from(*number));
        put_varint(&mut body, tags.len() as u64);
        for &(key, value) in tags {
            put_varint(&mut body, u64::from(key));
            put_varint(&mut body, u64::from(value));
        }
        count += 1;
        if body.len() > ENTRY_BYTES {
            write(&mut body, &mut count);
        }
    }
    if count > 0 {
        write(&mut body, &mut count);
    }
    if let Some(old) = before.checked_sub(KEPT) {
        commit.delete_range(KeyRange::new(keys::index_log(0, 0), keys::index_log(old, 0)));
    }
}

/// Adds everything that was created after the first `known` names and series; says whether the log reaches back so far.
pub(crate) async fn apply_since(
    snapshot: &dyn KvSnapshot,
    known: u64,
    mut apply: impl FnMut(&mut dyn FnMut(&mut Index) -> Result<(), StoreError>) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    let mut scan = Scan::new(KeyRange::new(keys::index_log(known, 0), keys::index_log_end()));
    let mut is_first = true;
    while let Some(entries) = scan.next(snapshot).await? {
        for (key, value) in entries {
            if std::mem::take(&mut is_first) && key != keys::index_log(known, 0) {
                return Ok(false);
            }
            let body = stored_value::open(FORMAT, &value).map_err(|reason| stored_value::damaged(&key, reason))?;
            let items = read_items(body).ok_or_else(|| stored_value::damaged(&key, "its fields make no sense"))?;
            apply(&mut |index| items.iter().try_for_each(|item| add(index, &key, item)))?;
        }
    }
    Ok(!is_first)
}

/// Adds what is not there yet: the creator itself may have been faster.
fn add(index: &mut Index, key: &Bytes, item: &Item<'_>) -> Result<(), StoreError> {
    let added = match item {
        Item::Name(kind, name, id) => {
            let names = index.names_mut(*kind);
            *id as usize <= names.len() || names.insert(name, *id)
        }
        Item::Series(metric, number, tags) => {
            (*number as usize) < index.metric_len(*metric) || index.insert(*metric, *number, tags.clone()).is_some()
        }
    };
    if added { Ok(()) } else { Err(stored_value::damaged(key, "what it names does not follow what there is")) }
}

const SERIES: u8 = b's';

fn read_items(body: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut reader = ByteReader::new(body);
    let count = reader.varint()?;
    let mut items = Vec::new();
    for _ in 0..count {
        let kind = reader.byte()?;
        items.push(match NAME_KINDS.into_iter().find(|known| keys::kind_byte(*known) == kind) {
            Some(kind) => {
                let id = reader.varint_u32()?;
                Item::Name(kind, reader.text()?, id)
            }
            None if kind == SERIES => read_series(&mut reader)?,
            None => return None,
        });
    }
    reader.is_empty().then_some(items)
}

fn read_series<'a>(reader: &mut ByteReader<'a>) -> Option<Item<'a>> {
    let (metric, number) = (reader.varint_u32()?, reader.varint_u32()?);
    let count = reader.varint()?;
    let tags = (0..count).map(|_| Some((reader.varint_u32()?, reader.varint_u32()?)));
    Some(Item::Series(metric, number, tags.collect::<Option<_>>()?))
}

/// Reads an entry and says what is wrong with it.
pub(crate) fn check(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let body = stored_value::open(FORMAT, value).map_err(|reason| stored_value::damaged(key, reason))?;
    read_items(body).map(drop).ok_or_else(|| stored_value::damaged(key, "its fields make no sense"))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_bytes_give_items_or_nothing(body in proptest::collection::vec(0_u8.., 0..80)) {
            if let Some(items) = read_items(&body) {
                assert!(items.len() <= body.len());
            }
        }
    }
}
