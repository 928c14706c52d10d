//! The points of one epoch of one shard in memory.

use tidemark_model::{SeriesId, TimeRange, TimestampMs, Value};

use crate::{
    PointStream,
    point_stream::value_of,
    replay::{LogChange, LogRecord},
};

/// The head of an epoch: everything that its log has, by series.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// By the series' number in its shard.
    series: Vec<HeadSeries>,
    points: u64,
    /// Entries of the log that are in here, and their bytes.
    pub(crate) segments: u64,
    pub(crate) log_bytes: u64,
}

#[derive(Debug, Default)]
struct HeadSeries {
    id: u64,
    stream: PointStream,
}

/// Series that are looked at ahead: as many misses as a processor has under way at once, more or less.
const ROWS_AHEAD: usize = 16;

/// A point on its way into the log and the head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) id: SeriesId,
    pub(crate) timestamp: TimestampMs,
    pub(crate) bits: u64,
    pub(crate) local: u32,
    pub(crate) float: bool,
}

impl Row {
    pub(crate) fn new(id: SeriesId, local: u32, timestamp: TimestampMs, value: Value) -> Self {
        match value {
            Value::Int(int) => Self { id, timestamp, bits: int.cast_unsigned(), local, float: false },
            Value::Float(float) => Self { id, timestamp, bits: float.to_bits(), local, float: true },
        }
    }

    pub(crate) fn value(&self) -> Value {
        value_of(self.bits, self.float)
    }
}

impl Head {
    /// An empty head with room for so many series.
    pub(crate) fn with_capacity(series: usize) -> Self {
        Self { series: Vec::with_capacity(series), ..Self::default() }
    }

    /// Adds a point; it wins over all before it.
    pub(crate) fn push(&mut self, row: &Row) {
        let position = row.local as usize;
        if position >= self.series.len() {
            self.series.resize_with(position + 1, HeadSeries::default);
        }
        if let Some(series) = self.series.get_mut(position) {
            series.id = row.id.0;
            series.stream.push(row.timestamp, row.bits, row.float);
            self.points += 1;
        }
    }

    /// Adds points; later ones win over earlier ones.
    ///
    /// Each is of another series, and nothing of that is in a cache when there are many: so some series are looked at
    /// ahead, which the processor does at the same time, before points are added to them, which it does one by one.
    pub(crate) fn push_all(&mut self, rows: &[Row]) {
        for some in rows.chunks(ROWS_AHEAD) {
            let looked_at =
                some.iter().filter_map(|row| Some(self.series.get(row.local as usize)?.stream.look_at_end()));
            std::hint::black_box(looked_at.fold(0, |all, one| all ^ one));
            some.iter().for_each(|row| self.push(row));
        }
    }

    /// Adds an entry of the log.
    pub(crate) fn add(&mut self, entry: &LogRecord) {
        match &entry.change {
            LogChange::Points(rows) => self.push_all(rows),
            LogChange::Deletion(locals, range) => self.delete(locals, *range),
        }
        self.segments += 1;
        self.log_bytes += entry.bytes;
    }

    /// Hides the points of some series in a range of time that are there now. What that adds to the memory of a series
    /// counts as a point.
    pub(crate) fn delete(&mut self, locals: &[u32], range: TimeRange) {
        for &local in locals {
            if let Some(series) = self.series.get_mut(local as usize) {
                self.points += u64::from(series.stream.delete(range));
            }
        }
    }

    /// Points, counting overwritten and deleted ones, and deletions.
    pub(crate) fn points(&self) -> u64 {
        self.points
    }

    pub(crate) fn series_len(&self) -> usize {
        self.series.len()
    }

    /// The points of a series.
    pub(crate) fn stream(&self, local: u32) -> Option<&PointStream> {
        self.series.get(local as usize).map(|series| &series.stream).filter(|stream| stream.count() > 0)
    }

    /// The series that have points, by id.
    pub(crate) fn by_id(&self) -> Vec<(SeriesId, &PointStream)> {
        let mut series: Vec<_> = self
            .series
            .iter()
            .filter(|series| series.stream.count() > 0)
            .map(|series| (SeriesId(series.id), &series.stream))
            .collect();
        series.sort_unstable_by_key(|(id, _)| *id);
        series
    }

    /// The newest point of each series that has one, by its number in the shard.
    pub(crate) fn last(&self) -> impl Iterator<Item = (usize, SeriesId, (TimestampMs, Value))> + '_ {
        let last = |(local, series): (usize, &HeadSeries)| Some((local, SeriesId(series.id), series.stream.last()?));
        self.series.iter().enumerate().filter_map(last)
    }

    /// Bytes of memory, roughly.
    pub(crate) fn memory_bytes(&self) -> usize {
        let streams: usize = self.series.iter().map(|series| series.stream.memory_bytes()).sum();
        streams + self.series.capacity() * size_of::<HeadSeries>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_about_its_series_alone() {
        let mut head = Head::default();
        for local in 0..3 {
            head.push(&Row { id: SeriesId(u64::from(local)), timestamp: 5, bits: 7, local, float: false });
        }
        head.delete(&[1, 2, 99], TimeRange::new(0, 6));
        assert_eq!(head.by_id().iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [0]);
        assert_eq!(head.points(), 5);
    }

    #[test]
    fn series_come_in_order_of_their_ids_and_empty_ones_not_at_all() {
        let mut head = Head::with_capacity(2);
        let row = |id, local| Row { id: SeriesId(id), timestamp: 5, bits: 7, local, float: false };
        head.push(&row(30, 4));
        head.push(&row(10, 6));
        head.push(&row(30, 4));
        assert_eq!(head.by_id().iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [10, 30]);
        assert_eq!(head.points(), 3);
        assert!(head.stream(5).is_none() && head.stream(99).is_none());
        assert_eq!(head.last().map(|(local, ..)| local).collect::<Vec<_>>(), [4, 6]);
    }
}
