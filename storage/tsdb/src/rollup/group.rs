//! Rollup blocks of several series in one entry, with a directory. Byte map: `docs/format/rollup.md`.

use std::ops::Range;

use bytes::Bytes;

use super::Magnitude;
use crate::{
    ByteReader, StoreError,
    keys::RollupGroupKey,
    put_varint,
    stored_value::{self, ENVELOPE_BYTES},
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
    directory: Vec<u8>,
    blocks: Vec<u8>,
    count: u32,
    rows: u32,
    first: u32,
    last: u32,
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
        let bytes = RollupGroupKey::BYTES + ENVELOPE_BYTES + self.directory.len() + self.blocks.len();
        self.count > 0 && bytes + ENTRY_BYTES_MAX + block.len() > GROUP_BYTES
    }

    pub(super) fn push(&mut self, number: u32, rows: u32, magnitude: Magnitude, block: &[u8]) {
        if self.count == 0 {
            self.first = number;
            self.last = number;
        }
        put_varint(&mut self.directory, u64::from(number - self.last));
        put_varint(&mut self.directory, block.len() as u64);
        put_varint(&mut self.directory, u64::from(rows));
        self.directory.push(magnitude.byte());
        self.blocks.extend_from_slice(block);
        self.last = number;
        self.rows = self.rows.saturating_add(rows);
        self.count += 1;
    }

    /// The group, and an empty builder in its place; `None` when nothing was added.
    pub(super) fn take(&mut self) -> Option<RollupGroup> {
        let Self { directory, blocks, count, rows, first, last } = std::mem::take(self);
        if count == 0 {
            return None;
        }
        let mut value = Vec::with_capacity(ENVELOPE_BYTES + 5 + directory.len() + blocks.len());
        value.push(FORMAT);
        put_varint(&mut value, u64::from(count));
        value.extend_from_slice(&directory);
        value.extend_from_slice(&blocks);
        Some(RollupGroup { value: stored_value::finish(value), first, last, rows })
    }
}

/// Reads a group's directory, checking the checksum over all of it.
pub(crate) fn read_directory(key: &RollupGroupKey, value: &[u8]) -> Result<Vec<RollupEntry>, StoreError> {
    let damaged = |reason: String| stored_value::damaged(&key.encode(), reason);
    let body = stored_value::open(FORMAT, value).map_err(damaged)?;
    read_entries(key.first, body).ok_or_else(|| damaged("its directory makes no sense".to_owned()))
}

fn read_entries(first: u32, body: &[u8]) -> Option<Vec<RollupEntry>> {
    let mut reader = ByteReader::new(body);
    let count = usize::try_from(reader.varint()?).ok().filter(|&count| count <= body.len())?;
    let mut entries = Vec::with_capacity(count);
    let (mut number, mut offset) = (first, 0_usize);
    for _ in 0..count {
        number = number.checked_add(reader.varint_u32()?)?;
        let end = offset.checked_add(usize::try_from(reader.varint()?).ok()?)?;
        let rows = reader.varint_u32()?;
        let magnitude = Magnitude::of_byte(reader.byte()?)?;
        entries.push(RollupEntry { number, rows, magnitude, bytes: offset..end });
        offset = end;
    }
    if reader.rest().len() != offset {
        return None;
    }
    let start = 1 + body.len() - offset;
    for entry in &mut entries {
        entry.bytes = entry.bytes.start + start..entry.bytes.end + start;
    }
    Some(entries)
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
