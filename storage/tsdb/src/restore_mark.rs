//! How far a restore is. Byte map: `docs/format/restore.md`.
//!
//! It is there from the first entry of a restore to the commit that makes the store whole, so that nobody opens half of a
//! store and takes it for all there was.

use bytes::Bytes;

use crate::{StoreError, keys, put_varint, stored_value};

const FORMAT: u8 = 1;

/// Which backup is being restored and how much of it is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RestoreMark {
    pub(crate) backup: [u8; 16],
    /// Chunks whose entries are all there.
    pub(crate) chunks: u64,
}

impl RestoreMark {
    pub(crate) fn encode(&self) -> Bytes {
        stored_value::build(FORMAT, |out| {
            out.extend_from_slice(&self.backup);
            put_varint(out, self.chunks);
        })
    }
}

/// Reads the mark.
pub(crate) fn read(value: &[u8]) -> Result<RestoreMark, StoreError> {
    stored_value::read(FORMAT, keys::RESTORE, value, |reader| {
        let backup = reader.bytes(16)?.try_into().ok()?;
        Some(RestoreMark { backup, chunks: reader.varint()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_bytes() {
        let mark = RestoreMark { backup: [7; 16], chunks: 300 };
        assert_eq!(read(&mark.encode()), Ok(mark));
        assert!(read(b"").is_err());
    }
}
