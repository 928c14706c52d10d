//! One frame of the journal: a group of commits. Byte map: `docs/journal.md`.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::{KeyRange, Operation};

/// Frames begin at multiples of this.
pub(super) const FRAME_ALIGNMENT: usize = 4096;

const MAGIC: [u8; 8] = *b"tmkjrnl\x01";
const HEADER_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 8;

const PUT: u8 = 0;
const PUT_VERSIONSTAMPED: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;

/// The operations of a group of commits, each of which takes the next number after `sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Of the store whose journal it is in.
    pub(super) store: u64,
    /// Number of the newest commit before.
    pub(super) sequence: u64,
    /// Operations of each commit.
    pub(super) commits: Vec<Vec<Operation>>,
}

impl Frame {
    /// Number of its newest commit.
    pub(super) fn end(&self) -> u64 {
        self.sequence.saturating_add(self.commits.len() as u64)
    }
}

/// Replaces what is in `out` with a frame, padded to a multiple of [`FRAME_ALIGNMENT`]. `None` when it is too large to
/// be described.
pub(super) fn encode_frame<'a>(
    store: u64,
    sequence: u64,
    commits: impl Iterator<Item = &'a [Operation]>,
    out: &mut Vec<u8>,
) -> Option<()> {
    out.clear();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&store.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.resize(HEADER_BYTES, 0);
    let mut count = 0_u32;
    for operations in commits {
        count += 1;
        out.extend_from_slice(&u32::try_from(operations.len()).ok()?.to_le_bytes());
        for operation in operations {
            let (kind, parts): (u8, [&[u8]; 3]) = match operation {
                Operation::Put { key, value } => (PUT, [key, value, b""]),
                Operation::PutVersionstamped { prefix, suffix, value } => (PUT_VERSIONSTAMPED, [prefix, suffix, value]),
                Operation::Delete { key } => (DELETE, [key, b"", b""]),
                Operation::DeleteRange(range) => (DELETE_RANGE, [&range.start, &range.end, b""]),
            };
            out.push(kind);
            for part in parts.iter().take(parts_of(kind)?) {
                out.extend_from_slice(&u32::try_from(part.len()).ok()?.to_le_bytes());
                out.extend_from_slice(part);
            }
        }
    }
    let body = u32::try_from(out.len() - HEADER_BYTES).ok()?;
    out.get_mut(24..28)?.copy_from_slice(&count.to_le_bytes());
    out.get_mut(28..HEADER_BYTES)?.copy_from_slice(&body.to_le_bytes());
    out.extend_from_slice(&xxh3_64(out).to_le_bytes());
    out.resize(out.len().next_multiple_of(FRAME_ALIGNMENT), 0);
    Some(())
}

/// The frame that `bytes` begin with and its length without the padding; `None` when there is no whole one.
pub(super) fn decode_frame(bytes: &Bytes) -> Option<(Frame, usize)> {
    let mut header = Reader { bytes: bytes.clone(), at: 0 };
    if header.take(MAGIC.len())? != MAGIC[..] {
        return None;
    }
    let (store, sequence) = (header.u64()?, header.u64()?);
    let (commits, body) = (header.u32()?, header.u32()? as usize);
    let end = HEADER_BYTES.checked_add(body)?;
    let checksum = bytes.get(end..end.checked_add(CHECKSUM_BYTES)?)?;
    if xxh3_64(bytes.get(..end)?).to_le_bytes() != checksum {
        return None;
    }
    let mut reader = Reader { bytes: bytes.slice(..end), at: HEADER_BYTES };
    let mut frame = Frame { store, sequence, commits: Vec::new() };
    for _ in 0..commits {
        let count = reader.u32()?;
        let mut operations = Vec::new();
        for _ in 0..count {
            operations.push(reader.operation()?);
        }
        frame.commits.push(operations);
    }
    (reader.at == end).then_some((frame, end + CHECKSUM_BYTES))
}

/// Parts of an operation of this kind.
fn parts_of(kind: u8) -> Option<usize> {
    match kind {
        PUT | DELETE_RANGE => Some(2),
        PUT_VERSIONSTAMPED => Some(3),
        DELETE => Some(1),
        _ => None,
    }
}

struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    fn take(&mut self, count: usize) -> Option<Bytes> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len())?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.as_ref().try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.as_ref().try_into().ok()?))
    }

    fn part(&mut self) -> Option<Bytes> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn operation(&mut self) -> Option<Operation> {
        let kind = self.take(1)?;
        Some(match *kind.first()? {
            PUT => Operation::Put { key: self.part()?, value: self.part()? },
            PUT_VERSIONSTAMPED => {
                Operation::PutVersionstamped { prefix: self.part()?, suffix: self.part()?, value: self.part()? }
            }
            DELETE => Operation::Delete { key: self.part()? },
            DELETE_RANGE => Operation::DeleteRange(KeyRange { start: self.part()?, end: self.part()? }),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn operation() -> impl Strategy<Value = Operation> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        prop_oneof![
            (bytes(), bytes()).prop_map(|(key, value)| Operation::Put { key, value }),
            (bytes(), bytes(), bytes()).prop_map(|(prefix, suffix, value)| Operation::PutVersionstamped {
                prefix,
                suffix,
                value
            }),
            bytes().prop_map(|key| Operation::Delete { key }),
            (bytes(), bytes()).prop_map(|(start, end)| Operation::DeleteRange(KeyRange { start, end })),
        ]
    }

    fn encoded(frame: &Frame) -> Vec<u8> {
        let mut out = Vec::new();
        encode_frame(frame.store, frame.sequence, frame.commits.iter().map(Vec::as_slice), &mut out).unwrap();
        out
    }

    /// A frame as version 1 writes it; stores with such journals must be readable for ever.
    #[test]
    fn a_frame_of_version_1_is_read() {
        let commits =
            vec![vec![Operation::Put { key: "k".into(), value: "v".into() }, Operation::Delete { key: "d".into() }]];
        let frame = Frame { store: 1, sequence: 2, commits };
        let mut golden = b"tmkjrnl\x01\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\x15\0\0\0".to_vec();
        golden.extend_from_slice(b"\x02\0\0\0\x00\x01\0\0\0k\x01\0\0\0v\x02\x01\0\0\0d");
        let checksum = xxh3_64(&golden);
        golden.extend_from_slice(&checksum.to_le_bytes());
        let bytes = golden.len();
        golden.resize(4096, 0);
        assert_eq!(encoded(&frame), golden);
        assert_eq!(decode_frame(&golden.into()), Some((frame, bytes)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_flipped_bit_goes_unnoticed(
            store: u64,
            sequence: u64,
            commits in prop::collection::vec(prop::collection::vec(operation(), 0..5), 0..4),
            flip: prop::sample::Index,
            cut: prop::sample::Index,
        ) {
            let frame = Frame { store, sequence, commits };
            let bytes = encoded(&frame);
            prop_assert_eq!(bytes.len() % FRAME_ALIGNMENT, 0);
            let (read, length) = decode_frame(&bytes.clone().into()).unwrap();
            prop_assert_eq!(&read, &frame);
            let bit = flip.index(length * 8);
            let mut rotten = bytes.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode_frame(&rotten.into()), None);
            prop_assert_eq!(decode_frame(&bytes[..cut.index(length)].to_vec().into()), None);
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _unused = decode_frame(&bytes.clone().into());
            bytes.splice(0..0, MAGIC);
            let _unused = decode_frame(&bytes.into());
        }
    }
}
