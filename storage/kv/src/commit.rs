//! What a writer hands over.

use bytes::Bytes;

use crate::{COMMIT_BYTES_MAX, KEY_BYTES_MAX, KeyRange, KvError, VALUE_BYTES_MAX, Versionstamp};

/// What every expectation and operation counts besides its keys and values. Bounds the memory of a commit of empty
/// values, and keeps the versionstamped operations of a commit below the 65,536 that their two bytes can order.
pub const OPERATION_BYTES: usize = 16;

/// Most bytes that a commit puts to still count as a deletion.
const NOTE_BYTES_MAX: usize = 4096;

/// Expectations and operations, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// What must be there. Checked against the state that the operations are applied to.
    pub expectations: Vec<Expectation>,
    /// Applied in order: a later operation on a key wins.
    pub operations: Vec<Operation>,
}

/// A key and the value it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The key.
    pub key: Bytes,
    /// Its value, or `None` when it must not exist.
    pub value: Option<Bytes>,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets a value.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Sets a value under `prefix`, the operation's [`Versionstamp`] (12 bytes) and `suffix`.
    PutVersionstamped {
        /// The key before the stamp.
        prefix: Bytes,
        /// The key after the stamp.
        suffix: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Removes a key, if it is there.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Removes every key of a range.
    DeleteRange(KeyRange),
}

/// What became of a commit. Matched exhaustively: "unknown" is neither success nor failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Durable; the stamp is the one of its first versionstamped operation.
    Done(Versionstamp),
    /// Nothing was written.
    Refused(KvError),
    /// It was written or it was not; it is no longer in flight.
    Unknown(KvError),
}

impl Commit {
    /// An empty commit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an expectation.
    pub fn expect(&mut self, key: impl Into<Bytes>, value: Option<Bytes>) -> &mut Self {
        self.expectations.push(Expectation { key: key.into(), value });
        self
    }

    /// Adds a [`Operation::Put`].
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> &mut Self {
        self.operations.push(Operation::Put { key: key.into(), value: value.into() });
        self
    }

    /// Adds a [`Operation::PutVersionstamped`] without a suffix.
    pub fn put_versionstamped(&mut self, prefix: impl Into<Bytes>, value: impl Into<Bytes>) -> &mut Self {
        let (prefix, value) = (prefix.into(), value.into());
        self.operations.push(Operation::PutVersionstamped { prefix, suffix: Bytes::new(), value });
        self
    }

    /// Adds a [`Operation::Delete`].
    pub fn delete(&mut self, key: impl Into<Bytes>) -> &mut Self {
        self.operations.push(Operation::Delete { key: key.into() });
        self
    }

    /// Adds a [`Operation::DeleteRange`].
    pub fn delete_range(&mut self, range: KeyRange) -> &mut Self {
        self.operations.push(Operation::DeleteRange(range));
        self
    }

    /// Bytes of keys and values, and [`OPERATION_BYTES`] for each expectation and operation.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let expected = self.expectations.iter().map(Expectation::bytes);
        let parts = expected.chain(self.operations.iter().map(Operation::bytes));
        parts.map(|bytes| bytes + OPERATION_BYTES).sum()
    }

    /// Whether it deletes, and puts no more than a note of that: such commits go on when space is low.
    pub(crate) fn mostly_deletes(&self) -> bool {
        let deletes = |operation: &Operation| matches!(operation, Operation::Delete { .. } | Operation::DeleteRange(_));
        let puts = self.operations.iter().filter(|operation| !deletes(operation));
        self.operations.iter().any(deletes) && puts.map(Operation::bytes).sum::<usize>() <= NOTE_BYTES_MAX
    }

    /// Checks the limits, which are the same on every engine.
    ///
    /// # Errors
    /// [`KvError::TooLarge`] says what is too large.
    pub fn check_limits(&self) -> Result<(), KvError> {
        self.expectations.iter().try_for_each(|expectation| within("key", expectation.key.len(), KEY_BYTES_MAX))?;
        self.operations.iter().try_for_each(Operation::check_limits)?;
        within("commit", self.bytes(), COMMIT_BYTES_MAX)
    }
}

impl Expectation {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

impl Operation {
    fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::PutVersionstamped { prefix, suffix, value } => {
                prefix.len() + Versionstamp::BYTES + suffix.len() + value.len()
            }
            Self::Delete { key } => key.len(),
            Self::DeleteRange(range) => range.start.len() + range.end.len(),
        }
    }

    fn check_limits(&self) -> Result<(), KvError> {
        let (key_bytes, value_bytes) = match self {
            Self::Put { key, value } => (key.len(), value.len()),
            Self::PutVersionstamped { prefix, suffix, value } => {
                (prefix.len() + Versionstamp::BYTES + suffix.len(), value.len())
            }
            Self::Delete { key } => (key.len(), 0),
            Self::DeleteRange(range) => (range.start.len().max(range.end.len()), 0),
        };
        within("key", key_bytes, KEY_BYTES_MAX)?;
        within("value", value_bytes, VALUE_BYTES_MAX)
    }
}

fn within(what: &'static str, bytes: usize, limit: usize) -> Result<(), KvError> {
    if bytes <= limit { Ok(()) } else { Err(KvError::TooLarge { what, bytes, limit }) }
}
