//! Rollup blocks of several series in one entry, with a directory. Byte map: `docs/format/rollup.md`.

use std::ops::Range;

use bytes::Bytes;

use super::Magnitude;
use crate::{
    ByteReader, StoreError,
    keys::RollupGroupKey,
    packed::{self, Packed, PackedBlocks},
    put_varint, stored_value,
};

const FORMAT: u8 = 1;
/// Bytes of key and value of a full group: what fits a page of 16 KiB of the engine.
const GROUP_BYTES: usize = 16_200;
/// Most bytes that the directory has for one block.
const ENTRY_BYTES_MAX: usize = 16;

/// What a group's directory says of the block of one series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RollupEntry {
    /// Number of the series in its metric.
    pub(crate) number: u32,
    pub(crate) rows: u32,
    pub(crate) magnitude: Magnitude,
    /// Where the block is in the group's value.
    pub(crate) bytes: Range<usize>,
}

/// A group that is being filled with blocks, in order of series.
#[derive(Debug, Default)]
pub(super) struct RollupGroupBuilder {
    packed: PackedBlocks,
    rows: u32,
}

/// A finished group.
#[derive(Debug)]
pub(super) struct RollupGroup {
    pub(super) value: Bytes,
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) rows: u32,
}

impl RollupGroupBuilder {
    /// Whether a block would make the group too large. An empty group takes any block.
    pub(super) fn is_full_for(&self, block: &[u8]) -> bool {
        let bytes = RollupGroupKey::BYTES + self.packed.bytes();
        !self.packed.is_empty() && bytes + ENTRY_BYTES_MAX + block.len() > GROUP_BYTES
    }

    pub(super) fn push(&mut self, number: u32, rows: u32, magnitude: Magnitude, block: &[u8]) {
        self.packed.push(number, block, |directory| {
            put_varint(directory, u64::from(rows));
            directory.push(magnitude.byte());
        });
        self.rows = self.rows.saturating_add(rows);
    }

    /// The group, and an empty builder in its place; `None` when nothing was added.
    pub(super) fn take(&mut self) -> Option<RollupGroup> {
        let Packed { value, first, last } = self.packed.take(FORMAT)?;
        Some(RollupGroup { value, first, last, rows: std::mem::take(&mut self.rows) })
    }
}

/// Reads a group's directory, checking the checksum over all of it.
pub(crate) fn read_directory(key: &RollupGroupKey, value: &[u8]) -> Result<Vec<RollupEntry>, StoreError> {
    let damaged = |reason: String| stored_value::damaged(&key.encode(), reason);
    let body = stored_value::open(FORMAT, value).map_err(damaged)?;
    read_entries(key.first, body).ok_or_else(|| damaged("its directory makes no sense".to_owned()))
}

fn read_entries(first: u32, body: &[u8]) -> Option<Vec<RollupEntry>> {
    let entry = |number, bytes, reader: &mut ByteReader<'_>| {
        let rows = reader.varint_u32()?;
        Some(RollupEntry { number, rows, magnitude: Magnitude::of_byte(reader.byte()?)?, bytes })
    };
    packed::read_entries(first, body, entry, |entry| &mut entry.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::RollupKey;

    const KEY: RollupGroupKey = RollupGroupKey {
        of: RollupKey { shard: 0, interval_ms: 3_600_000, span: 2_071, metric: 1 },
        first: 3,
        version: 1,
    };

    #[test]
    fn blocks_are_found_through_the_directory() {
        let mut builder = RollupGroupBuilder::default();
        builder.push(3, 24, Magnitude::Whole(40), b"abc");
        builder.push(900, 1, Magnitude::Rounded, b"d");
        let group = builder.take().unwrap();
        assert_eq!((group.first, group.last, group.rows), (3, 900, 25));
        let entries = read_directory(&KEY, &group.value).unwrap();
        let found: Vec<_> = entries
            .iter()
            .map(|entry| (entry.number, entry.rows, entry.magnitude, &group.value[entry.bytes.clone()]))
            .collect();
        let expect = [(3, 24, Magnitude::Whole(40), &b"abc"[..]), (900, 1, Magnitude::Rounded, b"d")];
        assert_eq!(found, expect);
        assert!(builder.take().is_none());
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
}
