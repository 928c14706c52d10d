//! Bytes of a backup. Byte map: `docs/format/backup.md`.

use bytes::Bytes;
use tidemark_kv::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use xxhash_rust::xxh3::xxh3_64;

use super::{BackupCursor, BackupError};
use crate::{ByteReader, put_varint};

const MAGIC: &[u8; 8] = b"TIDEBACK";
const VERSION: u8 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 8 + 1 + 16 + 8 + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 8;
/// Bytes of the length in front of a chunk.
pub(super) const LENGTH_BYTES: usize = 4;
/// Bytes of entries from which on a chunk is closed.
pub(super) const CHUNK_BYTES: usize = 1 << 20;
/// Most bytes of entries of a chunk: one more entry than it takes to close it.
const ENTRIES_BYTES_MAX: usize = CHUNK_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX + 20;
/// Most bytes of a chunk behind its length.
pub(super) const CHUNK_BYTES_MAX: usize = 2 * ENTRIES_BYTES_MAX;
const COMPRESSION_LEVEL: i32 = 3;

/// What a backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupHeader {
    /// Tells backups apart, so that a restore goes on with the one that it began with.
    pub id: [u8; 16],
    /// When it was begun, in milliseconds since the epoch.
    pub created_ms: i64,
}

/// A part of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// What is in it.
    pub kind: ChunkKind,
    /// Where to go on behind it.
    pub cursor: BackupCursor,
    /// Keys and values.
    pub(crate) entries: Vec<(Bytes, Bytes)>,
}

/// Kinds of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// Entries.
    Entries,
    /// The log of a shard in the chunks before is void.
    ForgetLog(u16),
    /// What is kept under names in the chunks before is void.
    ForgetNames,
    /// Nothing follows.
    End,
}

impl BackupHeader {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.extend_from_slice(&xxh3_64(&out).to_le_bytes());
        out.into()
    }

    /// The header at the start of a backup.
    ///
    /// # Errors
    /// [`BackupError::NotABackup`], [`BackupError::NewerVersion`], or [`BackupError::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BackupError> {
        let mut reader = ByteReader::new(bytes.strip_prefix(MAGIC).ok_or(BackupError::NotABackup)?);
        let torn = BackupError::Torn { offset: 0 };
        match reader.byte() {
            Some(VERSION) => {}
            Some(found) => return Err(BackupError::NewerVersion { found, known: VERSION }),
            None => return Err(torn),
        }
        let (content, checksum) =
            bytes.get(..HEADER_BYTES).and_then(<[u8]>::split_last_chunk::<CHECKSUM_BYTES>).ok_or(torn)?;
        if xxh3_64(content) != u64::from_le_bytes(*checksum) {
            return Err(BackupError::Damaged {
                offset: 0,
                reason: "the checksum of the header does not match".to_owned(),
            });
        }
        let mut fields = || {
            let id = reader.bytes(16)?.try_into().ok()?;
            Some(Self { id, created_ms: i64::from_le_bytes(reader.bytes(8)?.try_into().ok()?) })
        };
        fields().ok_or(BackupError::Torn { offset: 0 })
    }
}

impl Chunk {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Its bytes, with the length in front.
    ///
    /// # Errors
    /// When the compressor fails.
    pub(super) fn encode(&self) -> Result<Bytes, BackupError> {
        let mut entries = Vec::new();
        for (key, value) in &self.entries {
            for part in [key, value] {
                put_varint(&mut entries, part.len() as u64);
                entries.extend_from_slice(part);
            }
        }
        let packed = zstd::bulk::compress(&entries, COMPRESSION_LEVEL)?;
        let cursor = self.cursor.encode();
        let mut out = vec![0; LENGTH_BYTES];
        match self.kind {
            ChunkKind::Entries => out.push(1),
            ChunkKind::ForgetLog(shard) => {
                out.push(2);
                put_varint(&mut out, u64::from(shard));
            }
            ChunkKind::End => out.push(3),
            ChunkKind::ForgetNames => out.push(4),
        }
        put_varint(&mut out, cursor.len() as u64);
        out.extend_from_slice(&cursor);
        put_varint(&mut out, entries.len() as u64);
        out.extend_from_slice(&packed);
        let length = u32::try_from(out.len() + CHECKSUM_BYTES - LENGTH_BYTES).unwrap_or(u32::MAX);
        out.iter_mut().zip(length.to_le_bytes()).for_each(|(to, from)| *to = from);
        out.extend_from_slice(&xxh3_64(&out).to_le_bytes());
        Ok(out.into())
    }

    /// Reads a chunk with its length in front; what is wrong when it is none.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or("it is too short")?;
        if xxh3_64(content) != u64::from_le_bytes(*checksum) {
            return Err("its checksum does not match".to_owned());
        }
        let mut reader = ByteReader::new(content.get(LENGTH_BYTES..).unwrap_or_default());
        let mut fields = || {
            let kind = match reader.byte()? {
                1 => ChunkKind::Entries,
                2 => ChunkKind::ForgetLog(u16::try_from(reader.varint()?).ok()?),
                3 => ChunkKind::End,
                4 => ChunkKind::ForgetNames,
                _ => return None,
            };
            let cursor = usize::try_from(reader.varint()?).ok()?;
            let cursor = BackupCursor::decode(reader.bytes(cursor)?)?;
            let bytes = usize::try_from(reader.varint()?).ok().filter(|&bytes| bytes <= ENTRIES_BYTES_MAX)?;
            Some((kind, cursor, bytes))
        };
        let (kind, cursor, bytes) = fields().ok_or("its fields make no sense")?;
        let entries = zstd::bulk::decompress(reader.rest(), bytes).map_err(|error| error.to_string())?;
        if entries.len() != bytes {
            return Err(format!("{} bytes of entries were to be {bytes}", entries.len()));
        }
        let entries = read_entries(&entries.into()).ok_or("its entries make no sense")?;
        Ok(Self { kind, cursor, entries })
    }
}

fn read_entries(bytes: &Bytes) -> Option<Vec<(Bytes, Bytes)>> {
    let mut reader = ByteReader::new(bytes);
    let mut part = |bytes_max: usize| {
        let length = usize::try_from(reader.varint()?).ok().filter(|&length| length <= bytes_max)?;
        let part = bytes.slice_ref(reader.bytes(length)?);
        Some((part, reader.is_empty()))
    };
    let mut entries = Vec::new();
    let mut is_empty = bytes.is_empty();
    while !is_empty {
        let (key, _) = part(KEY_BYTES_MAX)?;
        let (value, end) = part(VALUE_BYTES_MAX)?;
        entries.push((key, value));
        is_empty = end;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: ChunkKind) -> Chunk {
        let entries =
            vec![(Bytes::from_static(b"Bkey"), Bytes::from(vec![7; 50_000])), (Bytes::from_static(b"D"), Bytes::new())];
        Chunk { kind, cursor: BackupCursor::start(), entries }
    }

    #[test]
    fn chunks_and_headers_survive_their_bytes() {
        for kind in [ChunkKind::Entries, ChunkKind::ForgetLog(300), ChunkKind::ForgetNames, ChunkKind::End] {
            let bytes = chunk(kind).encode().unwrap();
            assert!(bytes.len() < 1_000);
            assert_eq!(Chunk::decode(&bytes), Ok(chunk(kind)));
        }
        let header = BackupHeader { id: [3; 16], created_ms: 1_789_948_800_000 };
        assert_eq!(BackupHeader::decode(&header.encode()).unwrap(), header);
        assert_eq!(header.encode().len(), HEADER_BYTES);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = chunk(ChunkKind::Entries).encode().unwrap();
        for position in 0..bytes.len() {
            let mut rotten = bytes.to_vec();
            rotten[position] ^= 4;
            assert!(Chunk::decode(&rotten).is_err(), "{position}");
        }
        let header = BackupHeader { id: [3; 16], created_ms: 5 }.encode();
        for position in 0..HEADER_BYTES {
            let mut rotten = header.to_vec();
            rotten[position] ^= 4;
            assert!(BackupHeader::decode(&rotten).is_err(), "{position}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_chunk_or_an_error(body in proptest::collection::vec(0_u8.., 0..200)) {
            let mut bytes = vec![0; LENGTH_BYTES];
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
            if let Ok(chunk) = Chunk::decode(&bytes) {
                assert!(chunk.entries.len() <= ENTRIES_BYTES_MAX);
            }
        }
    }
}
