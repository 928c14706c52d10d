//! The order of commits.

use std::fmt;

/// Where a versionstamped operation stands in the order of all commits. Compares as its bytes do.
///
/// | bytes | meaning |
/// |---|---|
/// | 0–7 | big-endian; grows from commit to commit |
/// | 8–9 | big-endian; orders commits with the same first 8 bytes: a batch of FoundationDB's, 0 on the other engines |
/// | 10–11 | big-endian; order of the operation, counted from 0 over the versionstamped operations of its commit |
///
/// FoundationDB's own stamp is the first ten bytes, which all operations of a commit share; the last two are ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Versionstamp(pub [u8; 12]);

impl Versionstamp {
    /// Bytes in a key.
    pub const BYTES: usize = 12;
    /// Before every commit.
    pub const FIRST: Self = Self([0; 12]);
    /// After every commit.
    pub const LAST: Self = Self([0xFF; 12]);

    /// The stamp of operation `order` of commit number `sequence`, on an engine that numbers its commits one by one.
    #[must_use]
    pub fn new(sequence: u64, order: u16) -> Self {
        let mut bytes = [0; Self::BYTES];
        let (sequence, order) = (sequence.to_be_bytes(), order.to_be_bytes());
        let parts = sequence.into_iter().chain([0, 0]).chain(order);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        Self(bytes)
    }

    /// The stamp of operation 0 of a commit whose ten bytes FoundationDB chose; `None` if they are not ten.
    #[cfg(feature = "fdb")]
    pub(crate) fn of_commit(ten_bytes: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::BYTES];
        bytes.first_chunk_mut::<10>()?.copy_from_slice(ten_bytes.as_array::<10>()?);
        Some(Self(bytes))
    }

    /// The key of a [`crate::Operation::PutVersionstamped`].
    pub(crate) fn key(self, prefix: &[u8], suffix: &[u8]) -> Vec<u8> {
        [prefix, &self.0, suffix].concat()
    }
}

impl fmt::Display for Versionstamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_compare_by_commit_then_by_operation() {
        let stamps = [(0, 0), (0, 1), (1, 0), (1, u16::MAX), (256, 0), (u64::MAX, 7)];
        let stamps = stamps.map(|(sequence, order)| Versionstamp::new(sequence, order));
        assert!(stamps.is_sorted_by(|left, right| left < right));
        assert_eq!(stamps[3].to_string(), "00000000000000010000ffff");
    }
}
