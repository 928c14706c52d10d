//! What every stored value has around its body: a format byte before it, a checksum behind it.
//!
//! Byte map: `docs/format/stored-value.md`. Segments of the log and the blocks inside groups have envelopes of their
//! own, which the codec writes.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::{ByteReader, StoreError};

/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 8;
/// Bytes that the envelope adds to a body.
pub(crate) const ENVELOPE_BYTES: usize = 1 + CHECKSUM_BYTES;

/// Builds a value: `write` appends the body.
pub(crate) fn build(format: u8, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(64);
    out.push(format);
    write(&mut out);
    finish(out)
}

/// Appends the checksum to a format byte and a body.
pub(crate) fn finish(mut out: Vec<u8>) -> Bytes {
    let checksum = xxh3_64(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    Bytes::from(out)
}

/// Takes the envelope off: the body, or what is wrong.
pub(crate) fn open(format: u8, value: &[u8]) -> Result<&[u8], String> {
    let (content, checksum) = value.split_last_chunk::<CHECKSUM_BYTES>().ok_or("it is too short")?;
    if xxh3_64(content) != u64::from_le_bytes(*checksum) {
        return Err("its checksum does not match".to_owned());
    }
    match content.split_first() {
        Some((&found, body)) if found == format => Ok(body),
        Some((&found, _)) => Err(format!("its format is {found}, this program reads {format}")),
        None => Err("it has no format byte".to_owned()),
    }
}

/// Reads a value that nothing may follow.
pub(crate) fn read<T>(
    format: u8,
    key: &[u8],
    value: &[u8],
    parse: impl FnOnce(&mut ByteReader<'_>) -> Option<T>,
) -> Result<T, StoreError> {
    let body = open(format, value).map_err(|reason| damaged(key, reason))?;
    let mut reader = ByteReader::new(body);
    match parse(&mut reader) {
        Some(parsed) if reader.is_empty() => Ok(parsed),
        Some(_) => Err(damaged(key, "bytes are left over")),
        None => Err(damaged(key, "its fields make no sense")),
    }
}

/// The error that names a damaged entry.
pub(crate) fn damaged(key: &[u8], reason: impl Into<String>) -> StoreError {
    StoreError::Corrupt { key: key.escape_ascii().to_string(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_is_found_and_the_key_is_named() {
        let value = build(3, |out| out.extend_from_slice(b"body"));
        assert_eq!(open(3, &value), Ok(&b"body"[..]));
        assert!(open(4, &value).is_err());
        for position in 0..value.len() {
            let mut rotten = value.to_vec();
            rotten[position] ^= 0x10;
            let error = read(3, b"K\x01", &rotten, |reader| reader.bytes(4).map(<[u8]>::to_vec)).unwrap_err();
            assert!(error.to_string().contains("K\\x01"), "{error}");
        }
        assert!(open(3, &[]).is_err());
    }
}
