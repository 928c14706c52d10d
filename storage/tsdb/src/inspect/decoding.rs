//! Checks of one entry alone: every byte of it is read.

use bytes::Bytes;
use tidemark_model::{PointColumns, SeriesId, TimeRange};

use crate::{
    DirectoryKey, GroupKey, StoreError,
    codec::{self, Deletion, LogEntry, RollupColumns, RollupField},
    directory::{self, GroupInfo},
    group,
    index::{metric_of, number_of},
    keys::{self, RollupGroupKey, RollupKey},
    rollup::{self, Magnitude, RollupGroupInfo, SpanRollups},
    stored_value, tombstones,
};

/// What a segment of the log has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentFacts {
    pub(super) points: u64,
    /// Its greatest series: metric and number.
    pub(super) series_max: Vec<(u32, u32)>,
}

/// What a group has, to be compared with its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupFacts {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) bytes: u32,
    pub(super) points: u32,
}

/// Reads all rows of a segment, or a deletion.
pub(super) fn segment(key: &[u8], value: &[u8]) -> Result<SegmentFacts, StoreError> {
    let damaged = |error: codec::CodecError| stored_value::damaged(key, error.to_string());
    let mut facts = SegmentFacts::default();
    let rows = match codec::decode_log_entry(value).map_err(damaged)? {
        LogEntry::Segment(_, rows) => rows,
        LogEntry::Deletion(_, deletion) => return Ok(of_deletion(&deletion)),
    };
    for row in rows {
        let (series, ..) = row.map_err(damaged)?;
        facts.points += 1;
        let id = SeriesId(series);
        let (metric, number) = (metric_of(id), number_of(id));
        match facts.series_max.iter_mut().find(|(of, _)| *of == metric) {
            Some((_, max)) => *max = number.max(*max),
            None => facts.series_max.push((metric, number)),
        }
    }
    Ok(facts)
}

/// Reads a tombstone.
pub(super) fn tombstone(key: &Bytes, value: &[u8]) -> Result<SegmentFacts, StoreError> {
    tombstones::read(key, value).map(|tombstone| of_deletion(&tombstone.deletion))
}

fn of_deletion(deletion: &Deletion) -> SegmentFacts {
    let series_max = deletion.series.max().map(|number| (deletion.metric, number));
    SegmentFacts { points: 0, series_max: series_max.into_iter().collect() }
}

/// Decodes all blocks of a group and compares them with the group's own directory.
pub(super) fn group(key: &GroupKey, value: &Bytes) -> Result<GroupFacts, StoreError> {
    let damaged = |reason: String| stored_value::damaged(&key.encode(), reason);
    let entries = group::read_directory(key, value)?;
    let (mut points, mut columns) = (0_u32, PointColumns::default());
    for entry in &entries {
        let of = |reason: String| damaged(format!("the block of series {}: {reason}", entry.number));
        let block = value.get(entry.bytes.clone()).ok_or_else(|| of("it is outside its group".to_owned()))?;
        columns.clear();
        codec::decode_block(block, TimeRange::ALL, &mut columns).map_err(|error| of(error.to_string()))?;
        let (first, last) = (columns.get(0), columns.get(columns.len().saturating_sub(1)));
        let (Some(first), Some(last)) = (first, last) else { return Err(of("it has no points".to_owned())) };
        let tells_the_truth = columns.len() == entry.points as usize
            && (first.timestamp, last.timestamp) == (entry.min, entry.max)
            && last.value.same_bits(entry.last);
        if !tells_the_truth {
            return Err(of("it is not what the directory of its group says".to_owned()));
        }
        points = points.saturating_add(entry.points);
    }
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Err(damaged("it has no blocks".to_owned()));
    };
    let bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
    Ok(GroupFacts { first: first.number, last: last.number, bytes, points })
}

/// Decodes all blocks of a group of rollups; the key, and what a directory has to say of the group.
pub(super) fn rollup_group(key: &[u8], value: &Bytes) -> Result<(RollupGroupKey, RollupGroupInfo), StoreError> {
    let damaged = |reason: String| stored_value::damaged(key, reason);
    let decoded = RollupGroupKey::decode(key).ok_or_else(|| damaged("it is no key of rollups".to_owned()))?;
    let entries = rollup::read_directory(&decoded, value)?;
    let (mut rows, mut columns) = (0_u32, RollupColumns::default());
    for entry in &entries {
        let of = |reason: String| damaged(format!("the block of series {}: {reason}", entry.number));
        let block = value.get(entry.bytes.clone()).ok_or_else(|| of("it is outside its group".to_owned()))?;
        codec::decode_rollup_block(block, &RollupField::ALL, &mut columns).map_err(|error| of(error.to_string()))?;
        if columns.len() != entry.rows as usize || Magnitude::of(&columns) != entry.magnitude {
            return Err(of("it is not what the directory of its group says".to_owned()));
        }
        rows = rows.saturating_add(entry.rows);
    }
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Err(damaged("it has no blocks".to_owned()));
    };
    let bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
    Ok((decoded, RollupGroupInfo { first: first.number, last: last.number, bytes, rows }))
}

/// The groups that a directory of rollups names, by their keys.
pub(super) fn rollup_directory(key: &[u8], value: &[u8]) -> Result<Vec<(Bytes, RollupGroupInfo)>, StoreError> {
    let of = RollupKey::decode(key).ok_or_else(|| stored_value::damaged(key, "it is no key of rollups"))?;
    let rollups = SpanRollups::decode(&of, value)?;
    Ok(rollups.groups.iter().map(|info| (info.key(of, rollups.version).encode(), *info)).collect())
}

impl GroupFacts {
    /// Whether this is the group that a directory means.
    pub(super) fn is(&self, info: &GroupInfo) -> bool {
        (self.first, self.last, self.bytes, self.points) == (info.first, info.last, info.bytes, info.points)
    }
}

/// The groups that a page of a directory names, by their keys.
pub(super) fn directory(key: &[u8], value: &[u8]) -> Result<(DirectoryKey, Vec<(Bytes, GroupInfo)>), StoreError> {
    let page = DirectoryKey::decode(key).ok_or_else(|| stored_value::damaged(key, "it is no key of a directory"))?;
    let groups = directory::read_groups(key, value)?;
    let named = groups
        .into_iter()
        .map(|info| (info.key(page.shard, page.bucket, page.metric, page.generation).encode(), info))
        .collect();
    Ok((page, named))
}

/// The shard and the epoch of a segment.
pub(super) fn log_key(key: &[u8]) -> Result<(u16, u64), StoreError> {
    keys::log_position(key).ok_or_else(|| stored_value::damaged(key, "it is no key of the log"))
}
