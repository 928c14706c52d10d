//! Series whose points are ready to be decoded.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use hashbrown::HashMap;
use tidemark_model::{
    PointColumns, ReadError, ReadStatistics, RollupFunction, RollupRows, SeriesInfo, SeriesSet, TimeRange, TimestampMs,
    ValueColumn,
};

use crate::{
    Generation, RangeSet,
    codec::{self, RollupColumns, RollupField},
    index::metric_of,
    merge::merge_runs,
    point_stream::StreamSnapshot,
    rollup::fields_of,
    tombstones::{Tombstone, hidden},
};

/// Generation of what is in a head: newer than all blocks.
const HEAD: Generation = Generation(u64::MAX);

/// A block of one series.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Position of the series in the set.
    pub(crate) position: u32,
    pub(crate) generation: Generation,
    pub(crate) min: TimestampMs,
    pub(crate) max: TimestampMs,
    pub(crate) points: u32,
    pub(crate) bytes: Bytes,
}

/// The points of one series in one head.
#[derive(Debug)]
pub(crate) struct HeadPoints {
    /// Position of the series in the set.
    pub(crate) position: u32,
    pub(crate) epoch: u64,
    pub(crate) points: StreamSnapshot,
}

/// Deletions that may hide points of what is read, by metric.
pub(crate) type Hiding = HashMap<u32, Vec<Arc<Tombstone>>>;

/// A block of rows of one series.
#[derive(Debug)]
pub(crate) struct RollupChunk {
    /// Position of the series in the set.
    pub(crate) position: u32,
    /// Start of the interval with number 0.
    pub(crate) start: TimestampMs,
    pub(crate) interval_ms: i64,
    /// Which rows count.
    pub(crate) rows: Arc<[TimeRange]>,
    pub(crate) bytes: Bytes,
}

/// What a read selected and fetched.
#[derive(Debug)]
pub(crate) struct StoredSeries {
    infos: Vec<SeriesInfo>,
    range: TimeRange,
    /// By series, then by first timestamp, then by generation.
    chunks: Vec<Chunk>,
    /// By series; of one series the older epoch first.
    heads: Vec<HeadPoints>,
    hiding: Hiding,
    /// By series, then by time.
    rollups: Vec<RollupChunk>,
    function: Option<RollupFunction>,
    statistics: ReadStatistics,
}

/// Points of one series in order of time, and what they win over.
struct Run<'a> {
    position: u32,
    epoch: u64,
    min: TimestampMs,
    max: TimestampMs,
    /// Later generations win; of two heads the later epoch.
    rank: (Generation, usize),
    points: RunPoints<'a>,
}

enum RunPoints<'a> {
    Block(&'a Chunk),
    Head(&'a StreamSnapshot),
}

impl StoredSeries {
    pub(crate) fn new(
        infos: Vec<SeriesInfo>,
        range: TimeRange,
        mut chunks: Vec<Chunk>,
        mut heads: Vec<HeadPoints>,
        hiding: Hiding,
        rows: Option<(RollupFunction, Vec<RollupChunk>)>,
        statistics: ReadStatistics,
    ) -> Self {
        chunks.sort_by_key(|chunk| (chunk.position, chunk.min, chunk.generation));
        heads.sort_by_key(|head| head.position);
        let (function, mut rollups) = rows.map_or((None, Vec::new()), |(function, rows)| (Some(function), rows));
        rollups.sort_by_key(|chunk| (chunk.position, chunk.start));
        Self { infos, range, chunks, heads, hiding, rollups, function, statistics }
    }

    fn chunks_of(&self, position: u32) -> &[Chunk] {
        let start = self.chunks.partition_point(|chunk| chunk.position < position);
        let end = self.chunks.partition_point(|chunk| chunk.position <= position);
        self.chunks.get(start..end).unwrap_or_default()
    }

    fn heads_of(&self, position: u32) -> &[HeadPoints] {
        let start = self.heads.partition_point(|head| head.position < position);
        let end = self.heads.partition_point(|head| head.position <= position);
        self.heads.get(start..end).unwrap_or_default()
    }

    fn rollups_of(&self, position: u32) -> &[RollupChunk] {
        let start = self.rollups.partition_point(|chunk| chunk.position < position);
        let end = self.rollups.partition_point(|chunk| chunk.position <= position);
        self.rollups.get(start..end).unwrap_or_default()
    }

    /// Appends the points of a run that were not deleted.
    fn decode(&self, run: &Run<'_>, columns: &mut PointColumns) -> Result<(), ReadError> {
        let hidden = self.hidden(run);
        if hidden.is_empty() {
            return self.decode_all(run, columns);
        }
        if !hidden.covers(run.min, run.max) {
            let mut all = PointColumns::default();
            self.decode_all(run, &mut all)?;
            hidden.copy_outside(&all, columns);
        }
        Ok(())
    }

    fn hidden(&self, run: &Run<'_>) -> RangeSet {
        if self.hiding.is_empty() {
            return RangeSet::default();
        }
        let Some(info) = self.infos.get(run.position as usize) else { return RangeSet::default() };
        let of_metric = self.hiding.get(&metric_of(info.id)).map(Vec::as_slice).unwrap_or_default();
        hidden(of_metric, info.id, run.epoch, run.min, run.max)
    }

    fn decode_all(&self, run: &Run<'_>, columns: &mut PointColumns) -> Result<(), ReadError> {
        match run.points {
            RunPoints::Head(snapshot) => snapshot.read(self.range, columns),
            RunPoints::Block(chunk) => codec::decode_block(&chunk.bytes, self.range, columns).map_err(|error| {
                let info = self.infos.get(chunk.position as usize);
                let series = info.map(|info| info.key.to_string()).unwrap_or_default();
                ReadError::Corrupt(format!("block of {series} from {} on: {error}", chunk.min))
            })?,
        }
        Ok(())
    }

    /// Decodes runs that overlap and merges them.
    fn decode_overlapping(&self, runs: &mut [Run<'_>], columns: &mut PointColumns) -> Result<(), ReadError> {
        runs.sort_by_key(|run| run.rank);
        let mut decoded = Vec::with_capacity(runs.len());
        for run in runs.iter() {
            let mut columns = PointColumns::default();
            self.decode(run, &mut columns)?;
            decoded.push(columns);
        }
        merge_runs(&decoded, columns);
        Ok(())
    }
}

impl SeriesSet for StoredSeries {
    fn series(&self) -> &[SeriesInfo] {
        &self.infos
    }

    fn read(&self, index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
        self.read_while(index, columns, &|| true).map(|_| ())
    }

    fn read_while(
        &self,
        index: usize,
        columns: &mut PointColumns,
        wanted: &dyn Fn() -> bool,
    ) -> Result<bool, ReadError> {
        columns.clear();
        let Ok(position) = u32::try_from(index) else { return Ok(true) };
        let (chunks, heads) = (self.chunks_of(position), self.heads_of(position));
        let points: usize = chunks.iter().map(|chunk| chunk.points as usize).sum();
        columns.timestamps.reserve(points);
        let blocks = chunks.iter().map(|chunk| Run {
            position,
            epoch: chunk.generation.epoch(),
            min: chunk.min,
            max: chunk.max,
            rank: (chunk.generation, 0),
            points: RunPoints::Block(chunk),
        });
        let heads = heads.iter().enumerate().map(|(order, head)| Run {
            position,
            epoch: head.epoch,
            min: head.points.min,
            max: head.points.max,
            rank: (HEAD, order),
            points: RunPoints::Head(&head.points),
        });
        let mut runs: Vec<_> = blocks.chain(heads).collect();
        runs.sort_by_key(|run| run.min);
        let mut rest = runs.as_mut_slice();
        while !rest.is_empty() {
            if !wanted() {
                return Ok(false);
            }
            let (together, later) = rest.split_at_mut(overlapping(rest));
            match together {
                [alone] => self.decode(alone, columns)?,
                several => self.decode_overlapping(several, columns)?,
            }
            rest = later;
        }
        Ok(true)
    }

    fn read_rollups(&self, index: usize, rows: &mut RollupRows) -> Result<bool, ReadError> {
        rows.clear();
        let (Ok(position), Some(function)) = (u32::try_from(index), self.function) else { return Ok(false) };
        let mut columns = RollupColumns::default();
        for chunk in self.rollups_of(position) {
            codec::decode_rollup_block(&chunk.bytes, fields_of(function), &mut columns).map_err(|error| {
                let info = self.infos.get(index);
                let series = info.map(|info| info.key.to_string()).unwrap_or_default();
                ReadError::Corrupt(format!("rollups of {series} from {} on: {error}", chunk.start))
            })?;
            append_rows(chunk, &columns, function, rows);
        }
        Ok(!rows.is_empty())
    }

    fn statistics(&self) -> ReadStatistics {
        self.statistics
    }
}

/// Appends the rows of a block that count.
fn append_rows(chunk: &RollupChunk, columns: &RollupColumns, function: RollupFunction, rows: &mut RollupRows) {
    let start = |row: usize| {
        columns.intervals.get(row).map_or(TimestampMs::MAX, |&row| chunk.start + i64::from(row) * chunk.interval_ms)
    };
    let before =
        |moment| columns.intervals.partition_point(|&row| chunk.start + i64::from(row) * chunk.interval_ms < moment);
    let (values, counts) = match fields_of(function) {
        [value] => (columns.column(*value), None),
        _ => (columns.column(RollupField::Sum), Some(columns.column(RollupField::Count))),
    };
    for counting in chunk.rows.iter() {
        let counting = before(counting.start)..before(counting.end);
        rows.starts.extend(counting.clone().map(start));
        append_doubles(values, counting.clone(), &mut rows.values);
        if let Some(counts) = counts {
            append_doubles(counts, counting, &mut rows.counts);
        }
    }
}

fn append_doubles(values: &ValueColumn, range: Range<usize>, doubles: &mut Vec<f64>) {
    match values {
        ValueColumn::Int(ints) => doubles.extend(ints.get(range).unwrap_or_default().iter().map(|&int| int as f64)),
        ValueColumn::Float(floats) => doubles.extend_from_slice(floats.get(range).unwrap_or_default()),
        ValueColumn::Mixed(values) => {
            doubles.extend(values.get(range).unwrap_or_default().iter().map(|value| value.as_f64()));
        }
    }
}

/// How many of the first runs overlap, directly or through others. The runs are sorted by their first timestamps.
fn overlapping(runs: &[Run<'_>]) -> usize {
    let mut max = TimestampMs::MIN;
    runs.iter()
        .enumerate()
        .position(|(order, run)| {
            let apart = order > 0 && run.min > max;
            max = max.max(run.max);
            apart
        })
        .unwrap_or(runs.len())
}
