//! Items one after the other, each behind its length (u32, little-endian): frames in Redis, blocks in the embedded file.

/// Adds an item.
pub(crate) fn put(into: &mut Vec<u8>, item: &[u8]) {
    into.extend(u32::try_from(item.len()).unwrap_or(u32::MAX).to_le_bytes());
    into.extend_from_slice(item);
}

/// Takes the first item; `None` when no length is left, `Some(None)` when less than the item is.
pub(crate) fn take<'a>(from: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, rest) = from.split_first_chunk()?;
    let taken = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
    *from = taken.map_or(rest, |(_, left)| left);
    Some(taken.map(|(item, _)| item))
}
