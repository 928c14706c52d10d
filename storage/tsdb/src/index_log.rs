//! New names and series in the order of their creation, and names that were changed, for the other processes of a shared
//! store. Byte map: `docs/format/index-log.md`.
//!
//! The rows of the index are found by name and by metric, not by age. So each commit that creates names or series, or
//! changes names, also writes that down under the number of names, series and changes that there were before it; a process
//! that knows so many reads on from there. Everybody meets at the counters, so these numbers come without a gap. Old
//! entries are cleared: a process that is further behind reads all rows.

use std::sync::Arc;

use parking_lot::RwLock;
use tidemark_kv::{Commit, KeyRange, KvSnapshot};
use tidemark_model::NameKind;

use crate::{
    ByteReader, Index, Scan, StoreError,
    index::{self, Rename, TagIds},
    index_counts::IndexCounts,
    index_rows::NAME_KINDS,
    keys, put_text, put_varint, stored_value,
};

const FORMAT: u8 = 1;
/// Of entries with names that were changed.
const RENAMES_FORMAT: u8 = 2;
/// Names, series and changes that the log reaches back.
const KEPT: u64 = 200_000;
/// Bytes of one entry before another is begun.
const ENTRY_BYTES: usize = 60_000;

/// Metric, number among its series, ids of key and value of each tag.
pub(crate) type NewSeries = (u32, u32, TagIds);

/// What a commit creates.
pub(crate) struct Created<'a> {
    pub(crate) names: &'a [(NameKind, String, u32)],
    pub(crate) series: &'a [NewSeries],
}

/// What an entry says.
enum Entry<'a> {
    Created(Vec<Item<'a>>),
    /// How many names were changed before, and those that were.
    Renamed(u64, Vec<Rename>),
}

/// Something that was created.
enum Item<'a> {
    Name(NameKind, &'a str, u32),
    Series(u32, u32, TagIds),
}

/// Writes down what a commit creates; there were `before` names and series and changes of names.
pub(crate) fn note(commit: &mut Commit, before: u64, created: &Created<'_>) {
    let names = created.names.iter().map(|(kind, name, id)| {
        let mut item = vec![keys::kind_byte(*kind)];
        put_varint(&mut item, u64::from(*id));
        put_text(&mut item, name);
        item
    });
    let series = created.series.iter().map(|(metric, number, tags)| {
        let mut item = vec![SERIES];
        put_varint(&mut item, u64::from(*metric));
        put_varint(&mut item, u64::from(*number));
        put_varint(&mut item, tags.len() as u64);
        for &(key, value) in tags {
            put_varint(&mut item, u64::from(key));
            put_varint(&mut item, u64::from(value));
        }
        item
    });
    put_parts(commit, before, FORMAT, names.chain(series), |_, _| {});
}

/// Writes down which names a commit changes.
pub(crate) fn note_renames(commit: &mut Commit, before: &IndexCounts, changes: &[Rename]) {
    let items = changes.iter().map(|Rename { kind, id, name }| {
        let mut item = vec![keys::kind_byte(*kind)];
        put_varint(&mut item, u64::from(*id));
        put_text(&mut item, name);
        item
    });
    let put_age = |out: &mut Vec<u8>, items| put_varint(out, before.renames.saturating_add(items));
    put_parts(commit, before.total(), RENAMES_FORMAT, items, put_age);
}

/// Puts entries with all items, none of them too long, and clears what is too old. `put_more` puts something in front of each,
/// for which it is told how many items there were in those before.
fn put_parts(
    commit: &mut Commit,
    before: u64,
    format: u8,
    items: impl Iterator<Item = Vec<u8>>,
    put_more: impl Fn(&mut Vec<u8>, u64),
) {
    let (mut part, mut done) = (0_u16, 0);
    let (mut body, mut count) = (Vec::new(), 0_u64);
    let mut items = items.peekable();
    while let Some(item) = items.next() {
        body.extend_from_slice(&item);
        count += 1;
        if body.len() > ENTRY_BYTES || items.peek().is_none() {
            let value = stored_value::build(format, |out| {
                put_more(out, done);
                put_varint(out, count);
                out.extend_from_slice(&body);
            });
            commit.put(keys::index_log(before, part), value);
            body.clear();
            done += std::mem::take(&mut count);
            part += 1;
        }
    }
    if let Some(old) = before.checked_sub(KEPT) {
        commit.delete_range(KeyRange::new(keys::index_log(0, 0), keys::index_log(old, 0)));
    }
}

/// Does everything that was done after the first `known` names, series and changes; says whether the log reaches back so far.
pub(crate) async fn apply_since(
    snapshot: &dyn KvSnapshot,
    known: u64,
    index: &Arc<RwLock<Index>>,
) -> Result<bool, StoreError> {
    let mut scan = Scan::new(KeyRange::new(keys::index_log(known, 0), keys::index_log_end()));
    let mut is_first = true;
    while let Some(entries) = scan.next(snapshot).await? {
        for (key, value) in entries {
            if std::mem::take(&mut is_first) && key != keys::index_log(known, 0) {
                return Ok(false);
            }
            apply(index, &key, read_entry(&key, &value)?).await?;
        }
    }
    Ok(!is_first)
}

async fn apply(index: &Arc<RwLock<Index>>, key: &[u8], entry: Entry<'_>) -> Result<(), StoreError> {
    let (before, changes) = match entry {
        Entry::Created(items) => {
            let mut index = index.write();
            return items.iter().try_for_each(|item| add(&mut index, key, item));
        }
        Entry::Renamed(before, changes) => (before, changes),
    };
    let (follows, after) = (index.read().renames() >= before, before + changes.len() as u64);
    if follows && index::rename(index, after, move |_| changes.clone()).await? {
        return Ok(());
    }
    Err(stored_value::damaged(key, "the names that it changes are not those that there are"))
}

/// Adds what is not there yet: the creator itself may have been faster.
fn add(index: &mut Index, key: &[u8], item: &Item<'_>) -> Result<(), StoreError> {
    let added = match item {
        Item::Name(kind, name, id) => {
            *id as usize <= index.names(*kind).len() || index.add_name(*kind, name, *id, None)
        }
        Item::Series(metric, number, tags) => {
            (*number as usize) < index.metric_len(*metric) || index.insert(*metric, *number, tags.clone()).is_some()
        }
    };
    if added { Ok(()) } else { Err(stored_value::damaged(key, "what it names does not follow what there is")) }
}

const SERIES: u8 = b's';

fn read_entry<'a>(key: &[u8], value: &'a [u8]) -> Result<Entry<'a>, StoreError> {
    let format = if value.first() == Some(&RENAMES_FORMAT) { RENAMES_FORMAT } else { FORMAT };
    let body = stored_value::open(format, value).map_err(|reason| stored_value::damaged(key, reason))?;
    let entry = match format {
        RENAMES_FORMAT => read_renames(body),
        _ => read_items(body).map(Entry::Created),
    };
    entry.ok_or_else(|| stored_value::damaged(key, "its fields make no sense"))
}

fn read_renames(body: &[u8]) -> Option<Entry<'_>> {
    let mut reader = ByteReader::new(body);
    let (before, count) = (reader.varint()?, reader.varint()?);
    let mut changes = Vec::new();
    for _ in 0..count {
        let kind = reader.byte()?;
        let kind = NAME_KINDS.into_iter().find(|known| keys::kind_byte(*known) == kind)?;
        changes.push(Rename { kind, id: reader.varint_u32()?, name: reader.text()?.into() });
    }
    before.checked_add(count)?;
    reader.is_empty().then_some(Entry::Renamed(before, changes))
}

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
    read_entry(key, value).map(drop)
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
            if let Some(Entry::Renamed(_, changes)) = read_renames(&body) {
                assert!(changes.len() <= body.len());
            }
        }
    }
}
