//! Many entries in commits below the limit.

use std::iter::Peekable;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tidemark_kv::{Commit, CommitOutcome, Expectation, Kv, KvError, OPERATION_BYTES};

/// Bytes of one commit when the engine is a file: the fewer, the better.
const COMMIT_BYTES: usize = 900_000;
/// Bytes of one commit to a cluster, where large ones take seconds now and then and hold up others.
const SHARED_COMMIT_BYTES: usize = 250_000;
/// Commits that are on their way to a cluster at once.
const SHARED_IN_FLIGHT: usize = 4;
/// How often a commit is repeated when its outcome is unknown. It sets the same entries again, which is harmless, or
/// expects what it changes.
const ATTEMPTS_MAX: usize = 8;

/// Sets entries, as many in a commit as its limit allows.
pub(crate) struct Commits<'a> {
    kv: &'a dyn Kv,
    expectation: Option<Expectation>,
    claim: Option<Expectation>,
}

impl<'a> Commits<'a> {
    pub(crate) fn new(kv: &'a dyn Kv) -> Self {
        Self { kv, expectation: None, claim: None }
    }

    /// Expects an entry in each of the commits.
    pub(crate) fn expecting(self, key: Bytes, value: Bytes) -> Self {
        Self { expectation: Some(Expectation { key, value: Some(value) }), ..self }
    }

    /// Sets an entry with the first commit, whoever set it before, and expects it in all further ones.
    pub(crate) fn claiming(self, key: Bytes, value: Bytes) -> Self {
        Self { claim: Some(Expectation { key, value: Some(value) }), ..self }
    }

    /// Sets all entries, in no order that others could rely on.
    ///
    /// # Errors
    /// What the engine refused; some of the entries may be there then.
    pub(crate) async fn put_all(&self, entries: impl Iterator<Item = (Bytes, Bytes)>) -> Result<(), KvError> {
        let (bytes, in_flight) =
            if self.kv.is_shared() { (SHARED_COMMIT_BYTES, SHARED_IN_FLIGHT) } else { (COMMIT_BYTES, 1) };
        let (expectation, claim) = (self.expectation.clone(), self.claim.clone());
        let mut commits = Cut { entries: entries.peekable(), bytes, expectation, claim };
        if self.claim.is_some()
            && let Some(first) = commits.next()
        {
            // IMPORTANT: the others expect what it sets.
            self.commit(first).await?;
        }
        let commits = stream::iter(commits).map(|commit| Ok(self.commit(commit)));
        commits.try_buffer_unordered(in_flight).try_collect().await
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

/// Commits a change of the entry at `key`, which the commit expects as it was before and which is `after` then.
///
/// # Errors
/// What the engine refused: a conflict, when somebody else changed the entry.
pub(crate) async fn commit_change(
    kv: &dyn Kv,
    commit: Commit,
    key: &[u8],
    after: Option<&Bytes>,
) -> Result<(), KvError> {
    let mut unknown = None;
    for _ in 0..ATTEMPTS_MAX {
        match kv.commit(commit.clone()).await {
            CommitOutcome::Done(_) => return Ok(()),
            // It was done before, when the outcome was unknown.
            CommitOutcome::Refused(KvError::Conflict { .. })
                if unknown.is_some() && kv.snapshot().await?.get(key).await?.as_ref() == after =>
            {
                return Ok(());
            }
            CommitOutcome::Refused(error) => return Err(error),
            CommitOutcome::Unknown(error) => unknown = Some(error),
        }
    }
    Err(unknown.unwrap_or(KvError::Closed))
}

/// Entries, cut into commits.
struct Cut<I: Iterator<Item = (Bytes, Bytes)>> {
    entries: Peekable<I>,
    bytes: usize,
    expectation: Option<Expectation>,
    /// Set by the first commit and expected by the others.
    claim: Option<Expectation>,
}

impl<I: Iterator<Item = (Bytes, Bytes)>> Iterator for Cut<I> {
    type Item = Commit;

    fn next(&mut self) -> Option<Commit> {
        let of = |(key, value): &(Bytes, Bytes)| key.len() + value.len() + OPERATION_BYTES;
        let mut commit =
            Commit { expectations: self.expectation.clone().into_iter().collect(), operations: Vec::new() };
        if let Some(claim) = self.claim.take() {
            commit.put(claim.key.clone(), claim.value.clone().unwrap_or_default());
            self.expectation = Some(claim);
        } else if self.entries.peek().is_none() {
            return None;
        }
        let (mut bytes, limit) = (0, self.bytes);
        if let Some((key, value)) = self.entries.next() {
            bytes += key.len() + value.len() + OPERATION_BYTES;
            commit.put(key, value);
        }
        while let Some((key, value)) = self.entries.next_if(|entry| bytes + of(entry) <= limit) {
            bytes += key.len() + value.len() + OPERATION_BYTES;
            commit.put(key, value);
        }
        Some(commit)
    }
}
