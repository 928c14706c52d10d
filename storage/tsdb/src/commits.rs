//! Many entries in commits below the limit.

use bytes::Bytes;
use tidemark_kv::{Commit, CommitOutcome, Expectation, Kv, KvError, OPERATION_BYTES};

/// Bytes of one commit.
const COMMIT_BYTES: usize = 900_000;
/// How often a commit is repeated when its outcome is unknown. It sets the same entries again, which is harmless.
const ATTEMPTS_MAX: usize = 8;

/// Sets entries, as many in a commit as its limit allows.
pub(crate) struct Commits<'a> {
    kv: &'a dyn Kv,
    expectation: Option<Expectation>,
}

impl<'a> Commits<'a> {
    pub(crate) fn new(kv: &'a dyn Kv) -> Self {
        Self { kv, expectation: None }
    }

    /// Expects an entry in each of the commits.
    pub(crate) fn expecting(self, key: Bytes, value: Bytes) -> Self {
        Self { expectation: Some(Expectation { key, value: Some(value) }), ..self }
    }

    /// Sets all entries.
    ///
    /// # Errors
    /// What the engine refused; some of the entries may be there then.
    pub(crate) async fn put_all(&self, entries: impl Iterator<Item = (Bytes, Bytes)>) -> Result<(), KvError> {
        let (mut commit, mut bytes) = (self.empty(), 0);
        for (key, value) in entries {
            let entry_bytes = key.len() + value.len() + OPERATION_BYTES;
            if bytes + entry_bytes > COMMIT_BYTES {
                self.commit(std::mem::replace(&mut commit, self.empty())).await?;
                bytes = 0;
            }
            bytes += entry_bytes;
            commit.put(key, value);
        }
        if commit.operations.is_empty() { Ok(()) } else { self.commit(commit).await }
    }

    fn empty(&self) -> Commit {
        Commit { expectations: self.expectation.clone().into_iter().collect(), operations: Vec::new() }
    }

    async fn commit(&self, commit: Commit) -> Result<(), KvError> {
        let mut attempts = 1;
        loop {
            match self.kv.commit(commit.clone()).await {
                CommitOutcome::Done(_) => return Ok(()),
                CommitOutcome::Refused(error) => return Err(error),
                CommitOutcome::Unknown(error) if attempts == ATTEMPTS_MAX => return Err(error),
                CommitOutcome::Unknown(_) => attempts += 1,
            }
        }
    }
}
