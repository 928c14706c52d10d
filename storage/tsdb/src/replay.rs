//! From the log of an epoch back to its head.

use bytes::Bytes;
use hashbrown::HashSet;
use parking_lot::RwLock;
use tidemark_kv::{KeyRange, KvSnapshot};
use tidemark_model::{SeriesId, TimeRange};

use crate::{
    Head, Index, Scan, StoreError,
    codec::{LogEntry, LogIdentity, decode_log_entry},
    head::Row,
    keys,
    scan::after,
    stored_value,
};

/// How far the log of an epoch was read.
///
/// An entry that was committed twice, because its writer was not told of the first time, counts once. A damaged entry is
/// refused: it was acknowledged.
#[derive(Debug)]
pub(crate) struct LogTail {
    rest: KeyRange,
    seen: HashSet<LogIdentity>,
}

/// An entry of the log as heads take it.
#[derive(Debug)]
pub(crate) struct LogRecord {
    pub(crate) change: LogChange,
    pub(crate) bytes: u64,
}

/// What an entry of the log does to a head.
#[derive(Debug)]
pub(crate) enum LogChange {
    /// None for an entry that was there before.
    Points(Vec<Row>),
    /// Hides what these series, by their numbers in the shard, have in a range of time.
    Deletion(Vec<u32>, TimeRange),
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
        mut apply: impl FnMut(&LogRecord),
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

    fn decode(&mut self, index: &Index, key: &Bytes, value: &[u8]) -> Result<LogRecord, StoreError> {
        let damaged = |reason: String| stored_value::damaged(key, reason);
        let entry = decode_log_entry(value).map_err(|error| damaged(error.to_string()))?;
        let (identity, bytes) = (entry.identity(), value.len() as u64);
        let mut points = Vec::new();
        if self.seen.contains(&identity) {
            return Ok(LogRecord { change: LogChange::Points(points), bytes });
        }
        let change = match entry {
            LogEntry::Segment(_, rows) => {
                for row in rows {
                    let (series, timestamp, value) = row.map_err(|error| damaged(error.to_string()))?;
                    let id = SeriesId(series);
                    let series =
                        index.by_id(id).ok_or_else(|| damaged(format!("series {series} is not in the index")))?;
                    points.push(Row::new(id, series.target.local, timestamp, value));
                }
                LogChange::Points(points)
            }
            LogEntry::Deletion(_, deletion) => {
                LogChange::Deletion(index.locals(deletion.metric, &deletion.series), deletion.range)
            }
        };
        self.seen.insert(identity);
        Ok(LogRecord { change, bytes })
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
    tail.read(snapshot, index, |entry| head.add(entry)).await?;
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
