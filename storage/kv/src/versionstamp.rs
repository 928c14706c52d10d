//! The order of commits.

use std::fmt;

/// Where a commit stands in the order of all commits: 8 bytes that grow from commit to commit and 2 that order the
/// operations inside one, as FoundationDB has it. Compares as its bytes do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Versionstamp(pub [u8; 10]);

impl Versionstamp {
    /// Bytes in a key.
    pub const BYTES: usize = 10;
    /// Before every commit.
    pub const FIRST: Self = Self([0; 10]);
    /// After every commit.
    pub const LAST: Self = Self([0xFF; 10]);

    /// The stamp of operation `order` of commit number `sequence`.
    #[must_use]
    pub fn new(sequence: u64, order: u16) -> Self {
        let mut bytes = [0; 10];
        for (to, from) in bytes.iter_mut().zip(sequence.to_be_bytes().into_iter().chain(order.to_be_bytes())) {
            *to = from;
        }
        Self(bytes)
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
