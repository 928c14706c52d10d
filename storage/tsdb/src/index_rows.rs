//! The rows of the index in the store. Byte maps: `docs/format/names.md`, `docs/format/series.md`,
//! `docs/format/counters.md`.

use bytes::Bytes;
use parking_lot::RwLock;
use tidemark_kv::KvSnapshot;
use tidemark_model::NameKind;

use crate::{ByteReader, Index, NAME_ID_MAX, Scan, StoreError, index_log, keys, put_varint, stored_value};

const NAME_FORMAT: u8 = 1;
const SERIES_FORMAT: u8 = 1;
const COUNTERS_FORMAT: u8 = 1;

/// The kinds of names, in the order of the counters.
pub(crate) const NAME_KINDS: [NameKind; 3] = [NameKind::Metric, NameKind::TagKey, NameKind::TagValue];

pub(crate) fn encode_name(id: u32) -> Bytes {
    stored_value::build(NAME_FORMAT, |out| put_varint(out, u64::from(id)))
}

pub(crate) fn encode_series(tags: &[(u32, u32)]) -> Bytes {
    stored_value::build(SERIES_FORMAT, |out| {
        put_varint(out, tags.len() as u64);
        for &(key, value) in tags {
            put_varint(out, u64::from(key));
            put_varint(out, u64::from(value));
        }
    })
}

/// Names of each kind and series: what a creator expects to find unchanged.
pub(crate) fn encode_counters(counts: [usize; 4]) -> Bytes {
    stored_value::build(COUNTERS_FORMAT, |out| counts.iter().for_each(|&count| put_varint(out, count as u64)))
}

fn decode_counters(value: &[u8]) -> Result<[usize; 4], StoreError> {
    stored_value::read(COUNTERS_FORMAT, keys::COUNTERS, value, |reader| {
        let mut counts = [0; 4];
        for count in &mut counts {
            *count = usize::try_from(reader.varint()?).ok()?;
        }
        Some(counts)
    })
}

/// Names of each kind and series that `index` has.
pub(crate) fn counts(index: &Index) -> [usize; 4] {
    let [metrics, tag_keys, tag_values] = NAME_KINDS.map(|kind| index.names(kind).len());
    [metrics, tag_keys, tag_values, index.len()]
}

/// Names and series together: what the index log counts by.
pub(crate) fn total(counts: [usize; 4]) -> u64 {
    counts.into_iter().map(|count| count as u64).sum()
}

/// Adds what other processes created, from the index log as far as it reaches.
pub(crate) async fn catch_up(snapshot: &dyn KvSnapshot, index: &RwLock<Index>) -> Result<(), StoreError> {
    let Some(value) = snapshot.get(keys::COUNTERS).await? else { return Ok(()) };
    let stored = total(decode_counters(&value)?);
    let known = total(counts(&index.read()));
    // What this process created since the snapshot may be in the index already.
    if stored <= known {
        return Ok(());
    }
    if index_log::apply_since(snapshot, known, |change| change(&mut index.write())).await? {
        return Ok(());
    }
    load(snapshot, |change| change(&mut index.write())).await
}

/// Adds the rows that `index` does not have yet: all of them when a store is opened, a few when another process
/// created series meanwhile.
pub(crate) async fn load(
    snapshot: &dyn KvSnapshot,
    mut apply: impl FnMut(&mut dyn FnMut(&mut Index) -> Result<(), StoreError>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for kind in NAME_KINDS {
        let mut rows = Vec::new();
        let mut scan = Scan::new(keys::names(kind));
        while let Some(page) = scan.next(snapshot).await? {
            for (key, value) in page {
                let id = stored_value::read(NAME_FORMAT, &key, &value, |reader| reader.varint_u32())?;
                rows.push((id, key));
            }
        }
        rows.sort_unstable();
        apply(&mut |index| add_names(index, kind, &rows))?;
    }
    let mut scan = Scan::new(keys::all_series());
    while let Some(page) = scan.next(snapshot).await? {
        apply(&mut |index| page.iter().try_for_each(|(key, value)| add_series(index, key, value)))?;
    }
    Ok(())
}

fn add_names(index: &mut Index, kind: NameKind, rows: &[(u32, Bytes)]) -> Result<(), StoreError> {
    for (id, key) in rows {
        let name = keys::name_of(key).ok_or_else(|| stored_value::damaged(key, "its name is not UTF-8"))?;
        let names = index.names_mut(kind);
        if *id as usize > names.len() && !names.insert(name, *id) {
            return Err(stored_value::damaged(key, format!("its id {id} does not follow {}", names.len())));
        }
    }
    Ok(())
}

fn add_series(index: &mut Index, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let (metric, number) = keys::series_of(key).ok_or_else(|| stored_value::damaged(key, "it is no series key"))?;
    if (number as usize) < index.metric_len(metric) {
        return Ok(());
    }
    let tags = stored_value::read(SERIES_FORMAT, key, value, read_tags)?;
    match index.insert(metric, number, tags) {
        Some(_) => Ok(()),
        None => Err(stored_value::damaged(key, "its names are unknown, or its number does not follow")),
    }
}

fn read_tags(reader: &mut ByteReader<'_>) -> Option<Box<[(u32, u32)]>> {
    let count = reader.varint()?;
    (0..count).map(|_| Some((reader.varint_u32()?, reader.varint_u32()?))).collect()
}

/// The counters: names of each kind and series.
pub(crate) fn read_counters(value: &[u8]) -> Result<[u64; 4], StoreError> {
    stored_value::read(COUNTERS_FORMAT, keys::COUNTERS, value, |reader| {
        Some([reader.varint()?, reader.varint()?, reader.varint()?, reader.varint()?])
    })
}

/// The kind of a name and its id.
pub(crate) fn read_name(key: &[u8], value: &[u8]) -> Result<(NameKind, u32), StoreError> {
    let kind = NAME_KINDS.into_iter().find(|kind| key.starts_with(&keys::names(*kind).start));
    let kind = kind.ok_or_else(|| stored_value::damaged(key, "it is the name of nothing known"))?;
    let name = keys::name_of(key).ok_or_else(|| stored_value::damaged(key, "its name is not UTF-8"))?;
    tidemark_model::check_stored_name(name).map_err(|error| stored_value::damaged(key, error.to_string()))?;
    let id = stored_value::read(NAME_FORMAT, key, value, |reader| reader.varint_u32())?;
    if id == 0 || id > NAME_ID_MAX {
        return Err(stored_value::damaged(key, format!("{id} is no id of a name")));
    }
    Ok((kind, id))
}

/// Ids of key and value of each tag.
type TagIds = Box<[(u32, u32)]>;

/// Metric and number of a series, and its tags.
pub(crate) fn read_series(key: &[u8], value: &[u8]) -> Result<(u32, u32, TagIds), StoreError> {
    let (metric, number) = keys::series_of(key).ok_or_else(|| stored_value::damaged(key, "it is no series key"))?;
    Ok((metric, number, stored_value::read(SERIES_FORMAT, key, value, read_tags)?))
}
