//! Blocks of several series in one value, behind a directory of them: what groups of blocks and groups of rollups share.
//!
//! A value has the number of blocks, then for each the step from the number of the series before, the length of the block
//! and what its kind of group says of it, then the blocks. Byte maps: `docs/format/group.md`, `docs/format/rollup.md`.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    ByteReader, put_varint,
    stored_value::{self, ENVELOPE_BYTES},
};

/// A value that is being filled, in order of series.
#[derive(Debug, Default)]
pub(crate) struct PackedBlocks {
    directory: Vec<u8>,
    blocks: Vec<u8>,
    count: u32,
    first: u32,
    last: u32,
}

/// A finished value and its first and last series.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) value: Bytes,
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl PackedBlocks {
    /// Whether there is no block yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the value so far.
    pub(crate) fn bytes(&self) -> usize {
        ENVELOPE_BYTES + self.directory.len() + self.blocks.len()
    }

    /// Adds a block of the same series as the one before, or of a later one. `describe` appends what else the directory
    /// says of it.
    pub(crate) fn push(&mut self, number: u32, block: &[u8], describe: impl FnOnce(&mut Vec<u8>)) {
        if self.count == 0 {
            self.first = number;
            self.last = number;
        }
        put_varint(&mut self.directory, u64::from(number - self.last));
        put_varint(&mut self.directory, block.len() as u64);
        describe(&mut self.directory);
        self.blocks.extend_from_slice(block);
        self.last = number;
        self.count += 1;
    }

    /// The value in its envelope, leaving nothing behind; `None` when nothing was added.
    pub(crate) fn take(&mut self, format: u8) -> Option<Packed> {
        let Self { directory, blocks, count, first, last } = std::mem::take(self);
        if count == 0 {
            return None;
        }
        let mut value = Vec::with_capacity(ENVELOPE_BYTES + 5 + directory.len() + blocks.len());
        value.push(format);
        put_varint(&mut value, u64::from(count));
        value.extend_from_slice(&directory);
        value.extend_from_slice(&blocks);
        Some(Packed { value: stored_value::finish(value), first, last })
    }
}

/// Reads the directory in the body of a value whose first series is `first`. `entry` makes an entry of a series' number,
/// of where its block is, and of what else there is to read; `bytes_of` is that place in it.
pub(crate) fn read_entries<E>(
    first: u32,
    body: &[u8],
    mut entry: impl FnMut(u32, Range<usize>, &mut ByteReader<'_>) -> Option<E>,
    bytes_of: impl Fn(&mut E) -> &mut Range<usize>,
) -> Option<Vec<E>> {
    let mut reader = ByteReader::new(body);
    let count = usize::try_from(reader.varint()?).ok().filter(|&count| count <= body.len())?;
    let mut entries = Vec::with_capacity(count);
    let (mut number, mut offset) = (first, 0_usize);
    for _ in 0..count {
        number = number.checked_add(reader.varint_u32()?)?;
        let end = offset.checked_add(usize::try_from(reader.varint()?).ok()?)?;
        entries.push(entry(number, offset..end, &mut reader)?);
        offset = end;
    }
    if reader.rest().len() != offset {
        return None;
    }
    // The blocks begin behind the directory, whose length is known by now; the value has a format byte before the body.
    let start = 1 + body.len() - offset;
    for entry in &mut entries {
        let bytes = bytes_of(entry);
        *bytes = bytes.start + start..bytes.end + start;
    }
    Some(entries)
}
