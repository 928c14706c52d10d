//! Where in a cluster the keys of one store lie.

use bytes::Bytes;
use thiserror::Error;

use crate::{KEY_BYTES_MAX, KeyRange, Versionstamp};

/// Longest key that FoundationDB takes, in bytes; a versionstamped key counts with its offset.
const FDB_KEY_BYTES_MAX: usize = 10_000;
/// Bytes of the little-endian offset after a versionstamped key.
const OFFSET_BYTES: usize = 4;
/// Bytes of a versionstamp that FoundationDB fills in.
const PLACEHOLDER: [u8; 10] = [0; 10];

/// What every key of a store begins with, so that several stores and other applications can share a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefix(Bytes);

/// Why bytes cannot be a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyPrefixError {
    /// The store would take the whole cluster for its own.
    #[error("the key prefix is empty")]
    Empty,
    /// Prefix and longest key would exceed FoundationDB's limit.
    #[error("the key prefix has {0} bytes, and {max} are the most", max = KeyPrefix::BYTES_MAX)]
    TooLong(usize),
    /// Such keys belong to FoundationDB.
    #[error("the key prefix begins with the byte 0xff, which is FoundationDB's own")]
    Reserved,
}

impl KeyPrefix {
    /// Longest prefix in bytes.
    pub const BYTES_MAX: usize = FDB_KEY_BYTES_MAX - OFFSET_BYTES - KEY_BYTES_MAX;

    /// Checks a prefix.
    ///
    /// # Errors
    /// [`KeyPrefixError`] when it is empty, longer than [`Self::BYTES_MAX`] or begins with `0xff`.
    pub fn new(prefix: impl Into<Bytes>) -> Result<Self, KeyPrefixError> {
        let prefix = prefix.into();
        match prefix.first() {
            None => Err(KeyPrefixError::Empty),
            Some(0xFF) => Err(KeyPrefixError::Reserved),
            Some(_) if prefix.len() > Self::BYTES_MAX => Err(KeyPrefixError::TooLong(prefix.len())),
            Some(_) => Ok(Self(prefix)),
        }
    }

    /// The cluster's key for a key of the store.
    pub(super) fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.0, key].concat()
    }

    /// The store's key for a key of the cluster that begins with this prefix.
    pub(super) fn strip<'a>(&self, key: &'a [u8]) -> &'a [u8] {
        key.get(self.0.len()..).unwrap_or_default()
    }

    /// Every key of the store, in the cluster's keys.
    pub(super) fn whole(&self) -> KeyRange {
        KeyRange::prefix(&self.0)
    }

    /// The parameter of `SetVersionstampedKey`: the key with ten bytes to be filled in, and where they are.
    ///
    /// `order` is that of the operation among the versionstamped ones of its commit; FoundationDB's ten bytes are the
    /// same for all of them.
    pub(super) fn versionstamped(&self, prefix: &[u8], order: u16, suffix: &[u8]) -> Vec<u8> {
        let offset = u32::try_from(self.0.len() + prefix.len()).unwrap_or(u32::MAX);
        [&self.0, prefix, &PLACEHOLDER, &order.to_be_bytes(), suffix, &offset.to_le_bytes()].concat()
    }
}

impl Default for KeyPrefix {
    /// `tidemark/`.
    fn default() -> Self {
        Self(Bytes::from_static(b"tidemark/"))
    }
}

const _: () = assert!(PLACEHOLDER.len() + size_of::<u16>() == Versionstamp::BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_put_before_a_key_and_taken_off_again() {
        let prefix = KeyPrefix::default();
        assert_eq!(prefix.key(b"\xffa"), b"tidemark/\xffa");
        assert_eq!(prefix.strip(b"tidemark/\xffa"), b"\xffa");
        assert_eq!(prefix.whole(), KeyRange::new("tidemark/", "tidemark0"));
    }

    #[test]
    fn a_versionstamped_key_says_where_its_stamp_goes() {
        let prefix = KeyPrefix::new("p").unwrap();
        let expected = [&b"plog/"[..], &[0; 10], &[1, 2], b"/end", &[5, 0, 0, 0]].concat();
        assert_eq!(prefix.versionstamped(b"log/", 0x0102, b"/end"), expected);
    }

    #[test]
    fn what_cannot_be_a_prefix_is_refused_with_the_reason() {
        let refused = |prefix: Vec<u8>| KeyPrefix::new(prefix).unwrap_err().to_string();
        assert_eq!(refused(vec![]), "the key prefix is empty");
        assert_eq!(refused(vec![0xFF, 1]), "the key prefix begins with the byte 0xff, which is FoundationDB's own");
        assert_eq!(refused(vec![1; 97]), "the key prefix has 97 bytes, and 96 are the most");
        assert!(KeyPrefix::new(vec![0xFE; 96]).is_ok());
    }
}
