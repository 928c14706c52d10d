//! The rows of the index in the store. Byte maps: `docs/format/names.md`, `docs/format/series.md`.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use tidemark_kv::KvSnapshot;
use tidemark_model::NameKind;

use crate::{
    ByteReader, Index, NAME_ID_MAX, Scan, StoreError,
    index::{self, Rename, TagIds},
    index_counts::IndexCounts,
    index_log, keys, put_varint, stored_value,
};

const NAME_FORMAT: u8 = 1;
/// Of a metric whose shard is not that of its name.
const PLACED_NAME_FORMAT: u8 = 2;
const SERIES_FORMAT: u8 = 1;

/// The kinds of names, in the order of the counters.
pub(crate) const NAME_KINDS: [NameKind; 3] = [NameKind::Metric, NameKind::TagKey, NameKind::TagValue];

/// What the row of a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameRow {
    pub(crate) id: u32,
    /// Of a metric, when it is not that of the name.
    pub(crate) shard: Option<u16>,
}

impl NameRow {
    /// Of a name that nothing had before.
    pub(crate) fn new(id: u32) -> Self {
        Self { id, shard: None }
    }

    pub(crate) fn encode(self) -> Bytes {
        let Some(shard) = self.shard else {
            return stored_value::build(NAME_FORMAT, |out| put_varint(out, u64::from(self.id)));
        };
        stored_value::build(PLACED_NAME_FORMAT, |out| {
            put_varint(out, u64::from(self.id));
            put_varint(out, u64::from(shard));
        })
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        if value.first() != Some(&PLACED_NAME_FORMAT) {
            return stored_value::read(NAME_FORMAT, key, value, |reader| Some(Self::new(reader.varint_u32()?)));
        }
        stored_value::read(PLACED_NAME_FORMAT, key, value, |reader| {
            let id = reader.varint_u32()?;
            Some(Self { id, shard: Some(u16::try_from(reader.varint()?).ok()?) })
        })
    }
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

/// Adds what other processes created and changes the names that they changed, from the index log as far as it reaches.
pub(crate) async fn catch_up(snapshot: &dyn KvSnapshot, index: &Arc<RwLock<Index>>) -> Result<(), StoreError> {
    let Some(value) = snapshot.get(keys::COUNTERS).await? else { return Ok(()) };
    let stored = IndexCounts::decode(&value)?.total();
    let known = IndexCounts::of(&index.read()).total();
    // What this process did since the snapshot may be in the index already.
    if stored <= known || index_log::apply_since(snapshot, known, index).await? {
        return Ok(());
    }
    load(snapshot, index).await
}

/// Brings `index` up to the rows: adds all of them when a store is opened, and when another process was busy meanwhile
/// those that are missing, after the names that were changed.
pub(crate) async fn load(snapshot: &dyn KvSnapshot, index: &Arc<RwLock<Index>>) -> Result<(), StoreError> {
    let counters = snapshot.get(keys::COUNTERS).await?;
    let counts = counters.map(|value| IndexCounts::decode(&value)).transpose()?.unwrap_or_default();
    let mut names = Vec::with_capacity(NAME_KINDS.len());
    for kind in NAME_KINDS {
        let mut rows = Vec::new();
        let mut scan = Scan::new(keys::names(kind));
        while let Some(page) = scan.next(snapshot).await? {
            for (key, value) in page {
                rows.push((NameRow::decode(&key, &value)?, key));
            }
        }
        rows.sort_unstable_by_key(|(row, _)| row.id);
        names.push((kind, rows));
    }
    let names = Arc::new(names);
    let rows = Arc::clone(&names);
    // IMPORTANT: first, since a name that was changed may have become that of something new.
    if !index::rename(index, counts.renames, move |index| changed_names(index, &rows)).await? {
        return Err(stored_value::damaged(keys::COUNTERS, "names that were changed contradict each other"));
    }
    for (kind, rows) in names.iter() {
        add_names(&mut index.write(), *kind, rows)?;
    }
    let mut scan = Scan::new(keys::all_series());
    while let Some(page) = scan.next(snapshot).await? {
        let mut index = index.write();
        page.iter().try_for_each(|(key, value)| add_series(&mut index, key, value))?;
    }
    Ok(())
}

/// Rows of names of each kind, with their keys.
type NameRows = [(NameKind, Vec<(NameRow, Bytes)>)];

/// What the index knows under other names.
fn changed_names(index: &Index, names: &NameRows) -> Vec<Rename> {
    let rows = names.iter().flat_map(|(kind, rows)| rows.iter().map(|(row, key)| (*kind, row.id, key)));
    let changed = rows.filter_map(|(kind, id, key)| {
        let (known, name) = (index.names(kind).name(id)?, keys::name_of(key)?);
        (known.as_ref() != name).then(|| Rename { kind, id, name: name.into() })
    });
    changed.collect()
}

fn add_names(index: &mut Index, kind: NameKind, rows: &[(NameRow, Bytes)]) -> Result<(), StoreError> {
    for (NameRow { id, shard }, key) in rows {
        let name = keys::name_of(key).ok_or_else(|| stored_value::damaged(key, "its name is not UTF-8"))?;
        let known = index.names(kind).len();
        if *id as usize > known && !index.add_name(kind, name, *id, *shard) {
            let problem = format!("its id {id} does not follow {known}, or it lies in a shard that there is not");
            return Err(stored_value::damaged(key, problem));
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

fn read_tags(reader: &mut ByteReader<'_>) -> Option<TagIds> {
    let count = reader.varint()?;
    (0..count).map(|_| Some((reader.varint_u32()?, reader.varint_u32()?))).collect()
}

/// The kind of a name, and its row.
pub(crate) fn read_name(key: &[u8], value: &[u8]) -> Result<(NameKind, NameRow), StoreError> {
    let kind = NAME_KINDS.into_iter().find(|kind| key.starts_with(&keys::names(*kind).start));
    let kind = kind.ok_or_else(|| stored_value::damaged(key, "it is the name of nothing known"))?;
    let name = keys::name_of(key).ok_or_else(|| stored_value::damaged(key, "its name is not UTF-8"))?;
    tidemark_model::check_stored_name(name).map_err(|error| stored_value::damaged(key, error.to_string()))?;
    let row = NameRow::decode(key, value)?;
    if row.id == 0 || row.id > NAME_ID_MAX {
        return Err(stored_value::damaged(key, format!("{} is no id of a name", row.id)));
    }
    if row.shard.is_some() && kind != NameKind::Metric {
        return Err(stored_value::damaged(key, "only metrics have a shard"));
    }
    Ok((kind, row))
}

/// Metric and number of a series, and its tags.
pub(crate) fn read_series(key: &[u8], value: &[u8]) -> Result<(u32, u32, TagIds), StoreError> {
    let (metric, number) = keys::series_of(key).ok_or_else(|| stored_value::damaged(key, "it is no series key"))?;
    Ok((metric, number, stored_value::read(SERIES_FORMAT, key, value, read_tags)?))
}
