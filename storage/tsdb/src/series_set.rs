//! Series whose points are ready to be decoded.

use bytes::Bytes;
use tidemark_model::{PointColumns, ReadError, ReadStatistics, SeriesInfo, SeriesSet, TimeRange, TimestampMs};

use crate::{Generation, codec, merge::merge_runs, point_stream::StreamSnapshot};

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

/// What a read selected and fetched.
#[derive(Debug)]
pub(crate) struct StoredSeries {
    infos: Vec<SeriesInfo>,
    range: TimeRange,
    /// By series, then by first timestamp, then by generation.
    chunks: Vec<Chunk>,
    /// By series; of one series the older epoch first.
    heads: Vec<(u32, StreamSnapshot)>,
    statistics: ReadStatistics,
}

/// Points of one series in order of time, and what they win over.
struct Run<'a> {
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
        mut heads: Vec<(u32, StreamSnapshot)>,
        statistics: ReadStatistics,
    ) -> Self {
        chunks.sort_by_key(|chunk| (chunk.position, chunk.min, chunk.generation));
        heads.sort_by_key(|(position, _)| *position);
        Self { infos, range, chunks, heads, statistics }
    }

    fn chunks_of(&self, position: u32) -> &[Chunk] {
        let start = self.chunks.partition_point(|chunk| chunk.position < position);
        let end = self.chunks.partition_point(|chunk| chunk.position <= position);
        self.chunks.get(start..end).unwrap_or_default()
    }

    fn heads_of(&self, position: u32) -> &[(u32, StreamSnapshot)] {
        let start = self.heads.partition_point(|(of, _)| *of < position);
        let end = self.heads.partition_point(|(of, _)| *of <= position);
        self.heads.get(start..end).unwrap_or_default()
    }

    fn decode(&self, run: &Run<'_>, columns: &mut PointColumns) -> Result<(), ReadError> {
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
        columns.clear();
        let Ok(position) = u32::try_from(index) else { return Ok(()) };
        let (chunks, heads) = (self.chunks_of(position), self.heads_of(position));
        let points: usize = chunks.iter().map(|chunk| chunk.points as usize).sum();
        columns.timestamps.reserve(points);
        let blocks = chunks.iter().map(|chunk| Run {
            min: chunk.min,
            max: chunk.max,
            rank: (chunk.generation, 0),
            points: RunPoints::Block(chunk),
        });
        let heads = heads.iter().enumerate().map(|(order, (_, head))| Run {
            min: head.min,
            max: head.max,
            rank: (HEAD, order),
            points: RunPoints::Head(head),
        });
        let mut runs: Vec<_> = blocks.chain(heads).collect();
        runs.sort_by_key(|run| run.min);
        let mut rest = runs.as_mut_slice();
        while !rest.is_empty() {
            let (together, later) = rest.split_at_mut(overlapping(rest));
            match together {
                [alone] => self.decode(alone, columns)?,
                several => self.decode_overlapping(several, columns)?,
            }
            rest = later;
        }
        Ok(())
    }

    fn statistics(&self) -> ReadStatistics {
        self.statistics
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
