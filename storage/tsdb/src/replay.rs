//! From the log of an epoch back to its head.

use hashbrown::HashSet;
use parking_lot::RwLock;
use tidemark_kv::{KeyRange, KvSnapshot};
use tidemark_model::SeriesId;

use crate::{Head, Index, Scan, StoreError, codec, head::Row, keys, stored_value};

/// Reads the log of an epoch in the order of its commits.
///
/// An entry that was committed twice, because its writer was not told of the first time, counts once. A damaged entry is
/// refused: it was acknowledged.
pub(crate) async fn replay(
    snapshot: &dyn KvSnapshot,
    shard: u16,
    epoch: u64,
    index: &RwLock<Index>,
) -> Result<Head, StoreError> {
    let mut head = Head::default();
    let mut seen = HashSet::new();
    let mut scan = Scan::new(KeyRange::prefix(&keys::log_prefix(shard, epoch)));
    while let Some(entries) = scan.next(snapshot).await? {
        let index = index.read();
        for (key, value) in entries {
            add_segment(&mut head, &mut seen, &index, &key, &value)?;
        }
    }
    Ok(head)
}

fn add_segment(
    head: &mut Head,
    seen: &mut HashSet<(u64, u64)>,
    index: &Index,
    key: &[u8],
    value: &[u8],
) -> Result<(), StoreError> {
    let damaged = |reason: String| stored_value::damaged(key, reason);
    let (header, rows) = codec::decode_segment(value).map_err(|error| damaged(error.to_string()))?;
    head.segments += 1;
    head.log_bytes += value.len() as u64;
    if !seen.insert((header.writer, header.sequence)) {
        return Ok(());
    }
    for row in rows {
        let (series, timestamp, value) = row.map_err(|error| damaged(error.to_string()))?;
        let id = SeriesId(series);
        let series = index.by_id(id).ok_or_else(|| damaged(format!("series {series} is not in the index")))?;
        head.push(&Row::new(id, series.target.local, timestamp, value));
    }
    Ok(())
}

/// Number of entries in the log of an epoch.
pub(crate) async fn count_segments(snapshot: &dyn KvSnapshot, shard: u16, epoch: u64) -> Result<u64, StoreError> {
    let mut count = 0;
    let mut scan = Scan::new(KeyRange::prefix(&keys::log_prefix(shard, epoch)));
    while let Some(entries) = scan.next(snapshot).await? {
        count += entries.len() as u64;
    }
    Ok(count)
}
