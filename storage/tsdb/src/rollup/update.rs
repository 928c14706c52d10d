//! The rows of one more day in the rollups of a span: read, change, write under a version of its own.
//!
//! Groups are never written over: a reader of the old ones finds them until the commit that changes the directory, and
//! that commit takes them away. It expects the directory as it was read, so of two changes one wins; what the other one
//! wrote is taken away by the next change, because that reads all groups of the span.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use tidemark_kv::{Commit, KvSnapshot};
use tidemark_model::{PointColumns, TimeRange};

use super::{
    Magnitude, RollupInterval, SpanRollups,
    directory::{DayOrigin, GROUPS_MAX, RollupGroupInfo},
    group::{RollupGroupBuilder, read_directory},
    rows::add_rows,
};
use crate::{
    Bucket, CodecError, Generation, Scan, StoreError, Tier,
    bucket::DAY_MS,
    codec::{RollupColumns, RollupField, decode_rollup_block, encode_rollup_block},
    keys::{RollupGroupKey, RollupKey},
    stored_value,
    tombstones::Tombstone,
};

/// A day gets rows when it has at least so many points to a row; with fewer, the points are as fast and the rows cost
/// more than they.
const POINTS_PER_ROW_MIN: u64 = 4;

/// The rollups of one span as they are stored.
pub(crate) struct StoredSpan {
    pub(crate) interval: RollupInterval,
    of: RollupKey,
    /// The directory's value.
    directory: Option<Bytes>,
    rollups: SpanRollups,
    /// The groups that the directory names, in order.
    groups: Vec<(RollupGroupKey, Bytes)>,
    /// Groups that nobody finds.
    orphans: Vec<Bytes>,
}

/// The rows of a day on their way into a span, series by series.
pub(crate) struct DayRows {
    stored: StoredSpan,
    day: Bucket,
    wanted: RowsWanted,
    bytes_max: usize,
    rows: RollupColumns,
    /// Blocks of this day alone.
    blocks: Vec<u8>,
    series: Vec<(u32, Range<usize>)>,
    points: u64,
    row_count: u64,
}

/// Which days get rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowsWanted {
    /// Those with enough points to a row.
    WhereFasterThanPoints,
    /// All, because the points are about to go.
    Always,
}

/// What changes in the rollups of a span.
#[derive(Debug)]
pub(crate) struct SpanUpdate {
    pub(crate) of: RollupKey,
    /// Keys and values of the new groups.
    pub(crate) groups: Vec<(Bytes, Bytes)>,
    /// The directory before and after.
    before: Option<Bytes>,
    after: Bytes,
    /// Groups that go.
    gone: Vec<Bytes>,
    pub(crate) rollups: Arc<SpanRollups>,
}

impl StoredSpan {
    /// Reads the rollups of a span. `None` when they are larger than `bytes_max`, which a directory of an older
    /// configuration may be.
    pub(crate) async fn read(
        snapshot: &dyn KvSnapshot,
        of: RollupKey,
        bytes_max: u64,
    ) -> Result<Option<Self>, StoreError> {
        let Some(interval) = RollupInterval::of_key(of.interval_ms) else { return Ok(None) };
        let directory = snapshot.get(&of.encode()).await?;
        let rollups = match &directory {
            Some(value) => SpanRollups::decode(&of, value)?,
            None => SpanRollups::default(),
        };
        if rollups.bytes() > bytes_max {
            return Ok(None);
        }
        let mut stored = Self { interval, of, directory, rollups, groups: Vec::new(), orphans: Vec::new() };
        stored.read_groups(snapshot).await?;
        Ok(Some(stored))
    }

    async fn read_groups(&mut self, snapshot: &dyn KvSnapshot) -> Result<(), StoreError> {
        let mut named = self.rollups.group_keys(self.of).peekable();
        let mut scan = Scan::new(self.of.range_of_groups());
        while let Some(entries) = scan.next(snapshot).await? {
            for (key, value) in entries {
                match named.next_if(|named| named.encode() == key) {
                    Some(named) => self.groups.push((named, value)),
                    None => self.orphans.push(key),
                }
            }
        }
        match named.next() {
            Some(missing) => Err(stored_value::damaged(&missing.encode(), "the directory names it and it is gone")),
            None => Ok(()),
        }
    }
}

impl DayRows {
    pub(crate) fn new(stored: StoredSpan, day: Bucket, wanted: RowsWanted, bytes_max: u64) -> Self {
        Self {
            stored,
            day,
            wanted,
            bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            rows: RollupColumns::default(),
            blocks: Vec::new(),
            series: Vec::new(),
            points: 0,
            row_count: 0,
        }
    }

    /// Adds the points that a series has in the day. Series come in order of their numbers.
    pub(crate) fn add(&mut self, number: u32, points: &PointColumns) -> Result<(), CodecError> {
        self.points += points.len() as u64;
        if points.is_empty() || self.blocks.len() > self.bytes_max {
            return Ok(());
        }
        self.rows.clear();
        let interval = self.stored.interval;
        add_rows(points, interval, interval.span_start(self.stored.of.span), &mut self.rows);
        let start = self.blocks.len();
        encode_rollup_block(&self.rows, &mut self.blocks)?;
        self.row_count += self.rows.len() as u64;
        self.series.push((number, start..self.blocks.len()));
        Ok(())
    }

    /// The change of the span, when `generation` is all that there is of the day. `version` is nobody else's.
    pub(crate) fn finish(self, generation: Generation, version: u64) -> Result<SpanUpdate, StoreError> {
        let is_dense = self.row_count * POINTS_PER_ROW_MIN <= self.points;
        let is_worth_it = is_dense || self.wanted == RowsWanted::Always;
        if is_worth_it
            && self.blocks.len() <= self.bytes_max
            && let Some(update) = self.with_rows(generation, version)?
        {
            return Ok(update);
        }
        Ok(self.without_rows(generation))
    }

    /// `None` when the span would become too large.
    fn with_rows(&self, generation: Generation, version: u64) -> Result<Option<SpanUpdate>, StoreError> {
        let rollups = self.rollups(generation, !self.series.is_empty());
        let mut writer = SpanWriter::new(self.stored.of, rollups, version);
        for (number, (stored, fresh)) in self.by_series()? {
            self.write_series(&mut writer, number, stored, fresh)?;
            if writer.groups.len() > GROUPS_MAX {
                return Ok(None);
            }
        }
        writer.close();
        let SpanWriter { rollups, groups, .. } = writer;
        if rollups.bytes() > self.bytes_max as u64 {
            return Ok(None);
        }
        Ok(Some(self.stored.update(rollups, groups, self.stored.all_groups())))
    }

    /// The rows of other days stay as they are.
    fn without_rows(&self, generation: Generation) -> SpanUpdate {
        self.stored.update(self.rollups(generation, false), Vec::new(), self.stored.orphans.clone())
    }

    /// The directory with the day's new origin. A day without points has none.
    fn rollups(&self, generation: Generation, has_rows: bool) -> SpanRollups {
        let mut rollups = self.stored.rollups.clone();
        if self.points > 0 {
            rollups.days.insert(self.day.number, DayOrigin::new(generation, has_rows));
        } else {
            rollups.days.remove(&self.day.number);
        }
        rollups
    }

    /// The stored block of each series and that of the new day.
    #[expect(clippy::type_complexity, reason = "it is looked at in one place")]
    fn by_series(&self) -> Result<BTreeMap<u32, (Option<(&RollupGroupKey, &[u8])>, Option<&[u8]>)>, StoreError> {
        let mut series = BTreeMap::<u32, (Option<(&RollupGroupKey, &[u8])>, Option<&[u8]>)>::new();
        for (key, value) in &self.stored.groups {
            for entry in read_directory(key, value)? {
                let block = value.get(entry.bytes).unwrap_or_default();
                series.entry(entry.number).or_default().0 = Some((key, block));
            }
        }
        for (number, bytes) in &self.series {
            series.entry(*number).or_default().1 = self.blocks.get(bytes.clone());
        }
        Ok(series)
    }

    fn write_series(
        &self,
        writer: &mut SpanWriter,
        number: u32,
        stored: Option<(&RollupGroupKey, &[u8])>,
        fresh: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let (mut old, mut new) = (RollupColumns::default(), RollupColumns::default());
        if let Some((key, block)) = stored {
            let damaged = |error: CodecError| stored_value::damaged(&key.encode(), error.to_string());
            decode_rollup_block(block, &RollupField::ALL, &mut old).map_err(damaged)?;
        }
        if let Some(block) = fresh {
            decode_rollup_block(block, &RollupField::ALL, &mut new).map_err(unencodable)?;
        }
        let rows_per_day = (DAY_MS / self.stored.interval.millis()) as u32;
        let first = (self.day.number % self.stored.interval.span_days()) * rows_per_day;
        let before = old.intervals.partition_point(|&interval| interval < first);
        let after = old.intervals.partition_point(|&interval| interval < first + rows_per_day);
        let mut rows = RollupColumns::default();
        rows.append(&old, 0..before);
        rows.append(&new, 0..new.len());
        rows.append(&old, after..old.len());
        if !rows.is_empty() {
            writer.push(number, &rows).map_err(unencodable)?;
        }
        Ok(())
    }
}

impl StoredSpan {
    /// The change that leaves out the rows of days that stand alone and that tombstones hide; `None` when there are none.
    /// `version` is nobody else's.
    pub(crate) fn without(self, tombstones: &[Arc<Tombstone>], version: u64) -> Result<Option<SpanUpdate>, StoreError> {
        let mut writer = SpanWriter::new(self.of, self.rollups.clone(), version);
        let is_hidden = |number, epoch, row| tombstones.iter().any(|tombstone| tombstone.hides_row(number, epoch, row));
        let (mut left, mut dropped) = (BTreeSet::new(), 0_usize);
        let (mut all, mut kept) = (RollupColumns::default(), RollupColumns::default());
        for (key, value) in &self.groups {
            for entry in read_directory(key, value)? {
                let block = value.get(entry.bytes).unwrap_or_default();
                let damaged = |error: CodecError| stored_value::damaged(&key.encode(), error.to_string());
                decode_rollup_block(block, &RollupField::ALL, &mut all).map_err(damaged)?;
                kept.clear();
                for (row, &interval) in all.intervals.iter().enumerate() {
                    let range = self.range_of(interval);
                    let day = Bucket::of(Tier::Day, range.start).number;
                    let alone = self.rollups.days.get(&day).filter(|origin| origin.is_alone);
                    if alone.is_some_and(|origin| is_hidden(entry.number, origin.generation.epoch(), range)) {
                        dropped += 1;
                    } else {
                        left.insert(day);
                        kept.append(&all, row..row + 1);
                    }
                }
                if !kept.is_empty() {
                    writer.push(entry.number, &kept).map_err(unencodable)?;
                }
            }
        }
        writer.close();
        let SpanWriter { mut rollups, groups, .. } = writer;
        rollups.days.retain(|day, origin| !origin.is_alone || left.contains(day));
        Ok((dropped > 0).then(|| self.update(rollups, groups, self.all_groups())))
    }

    /// The keys of its groups and of those that nobody finds.
    fn all_groups(&self) -> Vec<Bytes> {
        self.groups.iter().map(|(key, _)| key.encode()).chain(self.orphans.iter().cloned()).collect()
    }

    fn range_of(&self, interval: u32) -> TimeRange {
        let start = self.interval.span_start(self.of.span) + i64::from(interval) * self.interval.millis();
        TimeRange::new(start, start + self.interval.millis())
    }

    fn update(&self, rollups: SpanRollups, groups: Vec<(Bytes, Bytes)>, gone: Vec<Bytes>) -> SpanUpdate {
        SpanUpdate {
            of: self.of,
            groups,
            before: self.directory.clone(),
            after: rollups.encode(),
            gone,
            rollups: Arc::new(rollups),
        }
    }
}

fn unencodable(error: CodecError) -> StoreError {
    tidemark_kv::KvError::Unavailable(format!("the rollups were not encoded: {error}")).into()
}

/// Fills groups.
struct SpanWriter {
    of: RollupKey,
    rollups: SpanRollups,
    filling: RollupGroupBuilder,
    groups: Vec<(Bytes, Bytes)>,
}

impl SpanWriter {
    /// Writes all groups of a span anew; of `before` only the days stay.
    fn new(of: RollupKey, before: SpanRollups, version: u64) -> Self {
        let rollups = SpanRollups { version, groups: Vec::new(), ..before };
        Self { of, rollups, filling: RollupGroupBuilder::default(), groups: Vec::new() }
    }

    fn push(&mut self, number: u32, rows: &RollupColumns) -> Result<(), CodecError> {
        let mut block = Vec::new();
        encode_rollup_block(rows, &mut block)?;
        if self.filling.is_full_for(&block) {
            self.close();
        }
        self.filling.push(number, rows.len() as u32, Magnitude::of(rows), &block);
        Ok(())
    }

    fn close(&mut self) {
        if let Some(group) = self.filling.take() {
            let bytes = u32::try_from(group.value.len()).unwrap_or(u32::MAX);
            let info = RollupGroupInfo { first: group.first, last: group.last, bytes, rows: group.rows };
            self.rollups.groups.push(info);
            self.groups.push((info.key(self.of, self.rollups.version).encode(), group.value));
        }
    }
}

impl SpanUpdate {
    /// Adds the change of the directory to the commit that makes it visible.
    pub(crate) fn add_to(&self, commit: &mut Commit) {
        let key = self.of.encode();
        commit.expect(key.clone(), self.before.clone());
        for gone in &self.gone {
            commit.delete(gone.clone());
        }
        match self.after_commit() {
            None => commit.delete(key),
            Some(after) => commit.put(key, after),
        };
    }

    /// The directory as it is afterwards; `None` when there is none.
    pub(crate) fn after_commit(&self) -> Option<Bytes> {
        let has_any = !self.rollups.days.is_empty() || !self.rollups.groups.is_empty();
        has_any.then(|| self.after.clone())
    }
}
