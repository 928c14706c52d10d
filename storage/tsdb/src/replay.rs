//! From the log of an epoch back to its head.

use bytes::Bytes;
use hashbrown::HashSet;
use parking_lot::RwLock;
use tidemark_kv::{KeyRange, KvSnapshot};
use tidemark_model::SeriesId;

use crate::{Head, Index, Scan, StoreError, codec, head::Row, keys, scan::after, stored_value};

/// How far the log of an epoch was read.
///
/// An entry that was committed twice, because its writer was not told of the first time, counts once. A damaged entry is
/// refused: it was acknowledged.
#[derive(Debug)]
pub(crate) struct LogTail {
    rest: KeyRange,
    seen: HashSet<(u64, u64)>,
}

/// An entry of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Empty for an entry that was there before.
    pub(crate) rows: Vec<Row>,
    pub(crate) bytes: u64,
}

impl LogTail {
    /// At the start of an epoch's log.
    pub(crate) fn new(shard: u16, epoch: u64) -> Self {
        Self { rest: KeyRange::prefix(&keys::log_prefix(shard, epoch)), seen: HashSet::new() }
    }

    /// Reads on to the end, in the order of the commits.
    ///
    /// # Cancel safety
    /// What was handed to `apply` is not read again.
    pub(crate) async fn read(
        &mut self,
        snapshot: &dyn KvSnapshot,
        index: &RwLock<Index>,
        mut apply: impl FnMut(&Segment),
    ) -> Result<(), StoreError> {
        let mut scan = Scan::new(self.rest.clone());
        while let Some(entries) = scan.next(snapshot).await? {
            for (key, value) in entries {
                apply(&self.decode(&index.read(), &key, &value)?);
                self.rest.start = after(&key);
            }
        }
        Ok(())
    }

    fn decode(&mut self, index: &Index, key: &Bytes, value: &[u8]) -> Result<Segment, StoreError> {
        let damaged = |reason: String| stored_value::damaged(key, reason);
        let (header, rows) = codec::decode_segment(value).map_err(|error| damaged(error.to_string()))?;
        let mut segment = Segment { rows: Vec::new(), bytes: value.len() as u64 };
        if self.seen.contains(&(header.writer, header.sequence)) {
            return Ok(segment);
        }
        for row in rows {
            let (series, timestamp, value) = row.map_err(|error| damaged(error.to_string()))?;
            let id = SeriesId(series);
            let series = index.by_id(id).ok_or_else(|| damaged(format!("series {series} is not in the index")))?;
            segment.rows.push(Row::new(id, series.target.local, timestamp, value));
        }
        self.seen.insert((header.writer, header.sequence));
        Ok(segment)
    }
}

/// Reads the log of an epoch; the head that it makes, and where its end was.
pub(crate) async fn replay(
    snapshot: &dyn KvSnapshot,
    shard: u16,
    epoch: u64,
    index: &RwLock<Index>,
) -> Result<(Head, LogTail), StoreError> {
    let mut head = Head::default();
    let mut tail = LogTail::new(shard, epoch);
    tail.read(snapshot, index, |segment| head.add(segment)).await?;
    Ok((head, tail))
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
