//! Blocks of several series in one entry of just under two pages, with a directory. Byte map: `docs/format/group.md`.
//!
//! An entry costs 40 to 60 bytes around its value and a B-tree rounds values up to whole pages, while a block of two
//! hours has 50 to 700 bytes: packed, that overhead is 1 to 2 %.

use std::ops::Range;

use bytes::Bytes;
use tidemark_model::{TimestampMs, Value};

use crate::{
    Bucket, ByteReader, GroupKey, StoreError, Tier,
    packed::{self, Packed, PackedBlocks},
    point_stream::value_of,
    put_varint, stored_value, unzigzag, zigzag,
};

const FORMAT: u8 = 1;
/// Most bytes that the directory has for one block.
const ENTRY_BYTES_MAX: usize = 40;

/// What a group's directory says of one block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BlockEntry {
    /// Number of the series in its metric.
    pub(crate) number: u32,
    pub(crate) points: u32,
    pub(crate) min: TimestampMs,
    pub(crate) max: TimestampMs,
    /// The value at `max`.
    pub(crate) last: Value,
    /// Where the block is in the group's value.
    pub(crate) bytes: Range<usize>,
}

/// A group that is being filled with blocks of one metric and bucket, in order of series.
#[derive(Debug)]
pub(crate) struct GroupBuilder {
    bucket: Bucket,
    packed: PackedBlocks,
    points: u32,
}

/// A finished group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) value: Bytes,
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) points: u32,
}

/// One block on its way into a group.
#[derive(Debug)]
pub(crate) struct NewBlock<'a> {
    pub(crate) number: u32,
    pub(crate) points: u32,
    pub(crate) min: TimestampMs,
    pub(crate) max: TimestampMs,
    pub(crate) last: Value,
    pub(crate) bytes: &'a [u8],
}

/// Bytes of key and value of a full group: what still fits a page of the engine with its own bytes. Pages have sizes of
/// 4 KiB times a power of two; larger ones cost less around the points, and small ones let a reader of one series take
/// little that it does not want. A value has at most 100,000 bytes on every engine.
const fn group_bytes(tier: Tier) -> usize {
    match tier {
        Tier::TwoHours => 7_900,
        Tier::Day => 32_500,
    }
}

impl GroupBuilder {
    /// An empty group of a bucket.
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self { bucket, packed: PackedBlocks::default(), points: 0 }
    }

    /// Whether the block would make the group too large. An empty group takes any block.
    pub(crate) fn is_full_for(&self, block: &NewBlock<'_>) -> bool {
        self.room().is_some_and(|room| block.bytes.len() > room)
    }

    /// Bytes that a further block may have; `None` for an empty group, which takes any block.
    pub(crate) fn room(&self) -> Option<usize> {
        let bytes = GroupKey::BYTES + self.packed.bytes() + ENTRY_BYTES_MAX;
        (!self.packed.is_empty()).then(|| group_bytes(self.bucket.tier).saturating_sub(bytes))
    }

    /// Adds a block of the same series as the one before, or of a later one.
    pub(crate) fn push(&mut self, block: &NewBlock<'_>) {
        let bucket_start = self.bucket.start();
        self.packed.push(block.number, block.bytes, |directory| {
            put_varint(directory, u64::from(block.points) << 1 | u64::from(!block.last.is_int()));
            put_varint(directory, (block.min - bucket_start).cast_unsigned());
            put_varint(directory, (block.max - block.min).cast_unsigned());
            match block.last {
                Value::Int(int) => put_varint(directory, zigzag(int)),
                Value::Float(float) => directory.extend_from_slice(&float.to_bits().to_le_bytes()),
            }
        });
        self.points = self.points.saturating_add(block.points);
    }

    /// The group, and an empty builder in its place; `None` when nothing was added.
    pub(crate) fn take(&mut self) -> Option<Group> {
        let Packed { value, first, last } = self.packed.take(FORMAT)?;
        Some(Group { value, first, last, points: std::mem::take(&mut self.points) })
    }
}

/// Reads a group's directory, checking the checksum over all of it.
pub(crate) fn read_directory(key: &GroupKey, value: &[u8]) -> Result<Vec<BlockEntry>, StoreError> {
    let damaged = |reason: String| stored_value::damaged(&key.encode(), reason);
    let body = stored_value::open(FORMAT, value).map_err(damaged)?;
    read_entries(key, body).ok_or_else(|| damaged("its directory makes no sense".to_owned()))
}

fn read_entries(key: &GroupKey, body: &[u8]) -> Option<Vec<BlockEntry>> {
    let entry = |number, bytes, reader: &mut ByteReader<'_>| {
        let points_and_type = reader.varint()?;
        let min = key.bucket.start().checked_add_unsigned(reader.varint()?)?;
        let max = min.checked_add_unsigned(reader.varint()?)?;
        let last = match points_and_type & 1 {
            0 => Value::Int(unzigzag(reader.varint()?)),
            _ => value_of(u64::from_le_bytes(*reader.bytes(8)?.first_chunk()?), true),
        };
        let points = u32::try_from(points_and_type >> 1).ok()?;
        Some(BlockEntry { number, points, min, max, last, bytes })
    };
    packed::read_entries(key.first, body, entry, |entry| &mut entry.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Generation;

    const BUCKET: Bucket = Bucket { tier: Tier::TwoHours, number: 10 };
    const KEY: GroupKey =
        GroupKey { shard: 0, bucket: BUCKET, metric: 1, first: 3, part: 0, generation: Generation(1) };

    fn block(number: u32, bytes: &[u8]) -> NewBlock<'_> {
        let min = BUCKET.start() + 15_000;
        let last = if number.is_multiple_of(2) { Value::Int(-5) } else { Value::Float(0.1) };
        NewBlock { number, points: 480, min, max: min + 7_000_000, last, bytes }
    }

    #[test]
    fn blocks_are_found_through_the_directory() {
        let mut builder = GroupBuilder::new(BUCKET);
        for (number, bytes) in [(3, &b"abc"[..]), (4, b""), (4, b"de"), (900, b"f")] {
            builder.push(&block(number, bytes));
        }
        let group = builder.take().unwrap();
        assert_eq!((group.first, group.last, group.points), (3, 900, 4 * 480));
        let entries = read_directory(&KEY, &group.value).unwrap();
        let found: Vec<_> = entries.iter().map(|entry| (entry.number, &group.value[entry.bytes.clone()])).collect();
        assert_eq!(found, [(3, &b"abc"[..]), (4, b""), (4, b"de"), (900, b"f")]);
        assert_eq!(entries[0].last, Value::Float(0.1));
        assert_eq!((entries[1].min, entries[1].last), (BUCKET.start() + 15_000, Value::Int(-5)));
        assert!(builder.take().is_none());
    }

    #[test]
    fn groups_stay_below_a_page_unless_one_block_is_larger() {
        for tier in Tier::ALL {
            let mut builder = GroupBuilder::new(Bucket { tier, number: 1 });
            let mut number = 0;
            while !builder.is_full_for(&block(number, &[7; 700])) {
                builder.push(&block(number, &[7; 700]));
                number += 1;
            }
            let bytes = builder.take().unwrap().value.len() + GroupKey::BYTES;
            assert!((group_bytes(tier) - 900..=group_bytes(tier)).contains(&bytes), "{bytes}");
            assert!(!builder.is_full_for(&block(0, &[7; 60_000])));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_entries_inside_the_value_or_an_error(body in proptest::collection::vec(0_u8.., 0..300)) {
            let value = stored_value::build(FORMAT, |out| out.extend_from_slice(&body));
            if let Ok(entries) = read_directory(&KEY, &value) {
                assert!(entries.iter().all(|entry| value.get(entry.bytes.clone()).is_some()));
            }
        }
    }

    #[test]
    fn rot_is_found() {
        let mut builder = GroupBuilder::new(BUCKET);
        builder.push(&block(3, b"abc"));
        let mut value = builder.take().unwrap().value.to_vec();
        value[4] ^= 1;
        assert!(matches!(read_directory(&KEY, &value), Err(StoreError::Corrupt { .. })));
    }
}
