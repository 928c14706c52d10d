//! A deletion: points of some series of a metric in a range of time are gone. Byte map: `docs/format/deletion.md`.
//!
//! It lies in the log between the segments, so that the order of commits says which points it hides, and once more as
//! a tombstone for the blocks. The set of series is written as runs of numbers: a whole metric takes a few bytes, and a
//! reader knows before it builds the set how large it will be. The serialised form of a roaring bitmap was turned down,
//! because its reader trusts the bytes more than a file deserves.

use roaring::RoaringBitmap;
use tidemark_model::TimeRange;

use super::{
    CodecError, SEGMENT_BYTES_MAX,
    byte_reader::{ByteReader, write_signed_varint, write_varint},
    log_entry::{close_entry, open_entry},
};

/// The format byte. Segments have 1 and 2.
pub(super) const DELETION: u8 = 3;
/// Most series of one deletion, so that few bytes cannot ask for much memory.
pub const DELETION_SERIES_MAX: u64 = 1 << 20;
/// Most bytes of the runs; the rest of a segment's bytes is more than what is around them.
const RUNS_BYTES_MAX: usize = SEGMENT_BYTES_MAX - 100;
/// Most bytes of one run.
const RUN_BYTES_MAX: usize = 10;

/// Which points are gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Deletion {
    /// Number of the metric.
    pub metric: u32,
    /// Numbers of the series in their metric.
    pub series: RoaringBitmap,
    /// Timestamps in milliseconds since the epoch; not empty.
    pub range: TimeRange,
}

impl Deletion {
    /// Deletions that together are this one and of which each can be encoded. None when there is nothing to delete.
    #[must_use]
    pub fn split(self) -> Vec<Self> {
        let Self { metric, series, range } = self;
        if range.is_empty() {
            return Vec::new();
        }
        let mut parts = Vec::new();
        let (mut part, mut count, mut bytes) = (RoaringBitmap::new(), 0, 0);
        for (first, last) in runs(&series).flat_map(cut) {
            let run = u64::from(last - first) + 1;
            let gap = first - part.max().unwrap_or(0);
            let run_bytes = varint_bytes(u64::from(gap)) + varint_bytes(run);
            if count > 0 && (count + run > DELETION_SERIES_MAX || bytes + run_bytes > RUNS_BYTES_MAX) {
                parts.push(Self { metric, series: std::mem::take(&mut part), range });
                (count, bytes) = (0, 0);
            }
            part.insert_range(first..=last);
            count += run;
            bytes += if bytes == 0 { RUN_BYTES_MAX } else { run_bytes };
        }
        if !part.is_empty() {
            parts.push(Self { metric, series: part, range });
        }
        parts
    }
}

/// The runs of consecutive numbers of a set, each with its first and its last.
fn runs(series: &RoaringBitmap) -> impl Iterator<Item = (u32, u32)> + '_ {
    let mut numbers = series.iter().peekable();
    std::iter::from_fn(move || {
        let first = numbers.next()?;
        let mut last = first;
        while let Some(next) = numbers.next_if(|&next| last.checked_add(1) == Some(next)) {
            last = next;
        }
        Some((first, last))
    })
}

/// Pieces of a run that are each small enough for a deletion of their own.
fn cut((first, last): (u32, u32)) -> impl Iterator<Item = (u32, u32)> {
    let step = DELETION_SERIES_MAX as u32;
    (first..=last).step_by(step as usize).map(move |first| (first, last.min(first.saturating_add(step - 1))))
}

fn varint_bytes(number: u64) -> usize {
    (64 - (number | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends a deletion of a writer to `out`; what [`Deletion::split`] gives always fits.
///
/// # Errors
/// [`CodecError::Empty`], [`CodecError::TooManyPoints`] with the number of series, or [`CodecError::TooManyBytes`].
/// `out` is then as it was.
pub fn encode_deletion(writer: u64, sequence: u64, deletion: &Deletion, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let Deletion { metric, series, range } = deletion;
    if range.is_empty() || series.is_empty() {
        return Err(CodecError::Empty);
    }
    if series.len() > DELETION_SERIES_MAX {
        return Err(CodecError::TooManyPoints { points: series.len(), limit: DELETION_SERIES_MAX });
    }
    let start = out.len();
    out.push(DELETION);
    out.extend_from_slice(&writer.to_le_bytes());
    write_varint(sequence, out);
    write_varint(u64::from(*metric), out);
    write_signed_varint(range.start, out);
    write_varint(range.end.wrapping_sub(range.start).cast_unsigned(), out);
    let runs: Vec<_> = runs(series).collect();
    write_varint(runs.len() as u64, out);
    let mut next = 0;
    for (first, last) in runs {
        write_varint(u64::from(first) - next, out);
        write_varint(u64::from(last - first), out);
        next = u64::from(last) + 1;
    }
    close_entry(start, out)
}

/// Checks a deletion and gives its writer, its sequence and what is gone.
///
/// # Errors
/// Says what is wrong with the bytes.
pub fn decode_deletion(bytes: &[u8]) -> Result<(u64, u64, Deletion), CodecError> {
    let (_, mut reader) = open_entry(bytes, &[DELETION])?;
    let (writer, sequence) = (reader.u64()?, reader.varint()?);
    let metric = u32::try_from(reader.varint()?).map_err(|_| CodecError::Damaged("the metric is out of range"))?;
    let start = reader.signed_varint()?;
    let end = start.checked_add_unsigned(reader.varint()?).ok_or(CodecError::Damaged("the range ends too late"))?;
    let range = TimeRange::new(start, end);
    if range.is_empty() {
        return Err(CodecError::Damaged("the range is empty"));
    }
    let series = read_series(&mut reader)?;
    reader.finish()?;
    Ok((writer, sequence, Deletion { metric, series, range }))
}

fn read_series(reader: &mut ByteReader<'_>) -> Result<RoaringBitmap, CodecError> {
    let mut series = RoaringBitmap::new();
    let mut next = 0_u64;
    let mut total = 0_u64;
    for _ in 0..reader.varint()? {
        let first = next.saturating_add(reader.varint()?);
        let last = first.saturating_add(reader.varint()?);
        total = total.saturating_add(last - first).saturating_add(1);
        if total > DELETION_SERIES_MAX {
            return Err(CodecError::TooManyPoints { points: total, limit: DELETION_SERIES_MAX });
        }
        let (Ok(from), Ok(to)) = (u32::try_from(first), u32::try_from(last)) else {
            return Err(CodecError::Damaged("a series is out of range"));
        };
        series.insert_range(from..=to);
        next = last + 1;
    }
    if series.is_empty() { Err(CodecError::Damaged("a deletion has at least one series")) } else { Ok(series) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    fn deletion(series: impl IntoIterator<Item = u32>, start: i64, end: i64) -> Deletion {
        Deletion { metric: 7, series: series.into_iter().collect(), range: TimeRange::new(start, end) }
    }

    fn check(deletion: &Deletion) {
        let mut bytes = vec![9];
        encode_deletion(3, 12, deletion, &mut bytes).unwrap();
        assert_eq!(decode_deletion(&bytes[1..]), Ok((3, 12, deletion.clone())));
    }

    #[test]
    fn a_deletion_survives_its_bytes() {
        check(&deletion([0], 0, 1));
        check(&deletion([u32::MAX], i64::MIN, i64::MAX));
        check(&deletion((0..500).chain(600..601).chain(70_000..170_000), -5, 1_789_948_800_000));
    }

    #[test]
    fn a_whole_metric_takes_few_bytes() {
        let mut bytes = Vec::new();
        encode_deletion(1, 1, &deletion(0..500_000, 0, 1 << 40), &mut bytes).unwrap();
        assert!(bytes.len() < 40, "{}", bytes.len());
    }

    #[test]
    fn what_is_too_large_is_split_into_parts_that_fit() {
        for series in [
            deletion(0..2_500_000, 0, 9),
            deletion((0..100_000).map(|number| number * 300), 0, 9),
            deletion((0..3).chain(u32::MAX - 2_000_000..=u32::MAX), 0, 9),
        ] {
            let parts = series.clone().split();
            assert!(parts.len() > 1);
            let mut all = RoaringBitmap::new();
            for part in &parts {
                check(part);
                assert!(all.is_disjoint(&part.series));
                all |= &part.series;
            }
            assert_eq!(all, series.series);
        }
        assert!(deletion([1], 5, 5).split().is_empty() && deletion([], 5, 6).split().is_empty());
    }

    #[test]
    fn rot_and_nonsense_are_refused() {
        let mut bytes = Vec::new();
        encode_deletion(1, 1, &deletion([4, 5, 9], 10, 20), &mut bytes).unwrap();
        for position in 0..bytes.len() {
            let mut rotten = bytes.clone();
            rotten[position] ^= 4;
            assert!(decode_deletion(&rotten).is_err(), "byte {position}");
            assert!(decode_deletion(&bytes[..position]).is_err(), "cut at {position}");
        }
        let mut out = Vec::new();
        assert_eq!(encode_deletion(1, 1, &deletion([1], 5, 5), &mut out), Err(CodecError::Empty));
        assert_eq!(encode_deletion(1, 1, &deletion([], 5, 6), &mut out), Err(CodecError::Empty));
        assert!(encode_deletion(1, 1, &deletion(0..1_048_577, 5, 6), &mut out).is_err() && out.is_empty());
    }

    proptest! {
        #[test]
        fn any_deletion_survives_and_any_bytes_are_harmless(
            series in prop::collection::btree_set(0_u32..3000, 1..200),
            start in i64::MIN..i64::MAX,
            length in 1_i64..,
            body in prop::collection::vec(0_u8.., 0..60),
        ) {
            check(&deletion(series, start, start.saturating_add(length)));
            let mut bytes = vec![DELETION];
            bytes.extend(body);
            bytes.extend(xxh3_64(&bytes).to_le_bytes());
            if let Ok((.., deletion)) = decode_deletion(&bytes) {
                prop_assert!(deletion.series.len() <= DELETION_SERIES_MAX && !deletion.range.is_empty());
            }
        }
    }
}
