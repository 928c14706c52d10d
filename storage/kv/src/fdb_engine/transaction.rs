//! A commit as transactions of FoundationDB.

use std::{pin::Pin, time::Duration};

use foundationdb::{
    FdbError, FdbResult, Transaction, TransactionCommitError, TransactionCommitted, future::FdbSlice,
    options::MutationType,
};
use futures_util::future::{try_join, try_join_all};

use super::{
    cluster::{Cluster, Failed},
    failure::{self, Fate},
};
use crate::{COMMIT_BYTES_MAX, Commit, CommitOutcome, Expectation, KvError, Operation, Versionstamp};

/// How often a commit is tried. The client library waits in between: at most 10 ms at first, twice as long each time, at
/// most 1 s, each wait drawn by chance below that.
const ATTEMPTS_MAX: usize = 20;
/// A transaction whose read version is so much older than the cluster's is refused: five seconds of versions, and as
/// many again for clusters that allow more.
const VERSIONS_IN_FLIGHT_MAX: i64 = 10_000_000;
/// How often to look whether a transaction is out of date.
const PAUSE: Duration = Duration::from_millis(500);

/// A wait after which the transaction can be tried again.
type Backoff = Pin<Box<dyn Future<Output = FdbResult<Transaction>> + Send>>;

/// What one attempt came to.
enum Attempt {
    Ended(CommitOutcome),
    Again(FdbError, Backoff),
}

/// Checks the expectations and applies the operations in one transaction, again when others were in the way.
pub(super) async fn commit(cluster: &Cluster, commit: &Commit) -> CommitOutcome {
    let mut next = commit.check_limits().and_then(|()| cluster.begin());
    let mut reason = None;
    for _ in 0..ATTEMPTS_MAX {
        let transaction = match next {
            Ok(transaction) => transaction,
            Err(error) => return CommitOutcome::Refused(error),
        };
        match attempt(cluster, commit, transaction).await {
            Attempt::Ended(outcome) => return outcome,
            Attempt::Again(error, backoff) => {
                reason = Some(error);
                next = backoff.await.map_err(|error| cluster.unavailable("wait for another try", error));
            }
        }
    }
    let reason = reason.map_or_else(String::new, |error| error.to_string());
    CommitOutcome::Refused(KvError::Unavailable(format!(
        "commit to {cluster}: tried {ATTEMPTS_MAX} times, at last: {reason}"
    )))
}

async fn attempt(cluster: &Cluster, commit: &Commit, transaction: Transaction) -> Attempt {
    let version = match read(cluster, commit, &transaction).await {
        Ok(version) => version,
        Err(Failed::Cluster(error)) if error.is_retryable() => {
            return Attempt::Again(error, Box::pin(transaction.on_error(error)));
        }
        Err(Failed::Cluster(error)) => {
            return Attempt::Ended(CommitOutcome::Refused(cluster.unavailable("read for a commit", error)));
        }
        Err(Failed::Here(error)) => return Attempt::Ended(CommitOutcome::Refused(error)),
    };
    if !write(cluster, commit, &transaction) {
        // A transaction that writes nothing has no versionstamp. What it read was true at its read version.
        return Attempt::Ended(CommitOutcome::Done(Versionstamp::new(version.cast_unsigned(), 0)));
    }
    let stamp = transaction.get_versionstamp();
    match transaction.commit().await {
        Ok(committed) => Attempt::Ended(done(cluster, committed, stamp.await)),
        Err(error) => failed(cluster, commit, error, version).await,
    }
}

/// Gets the read version and checks the expectations at it; they become read conflicts, so that the commit is refused if
/// one of the keys is written before it.
///
/// This part ends in time, and while nothing is in flight: of a cluster that does not answer, a commit is refused rather
/// than unknown.
async fn read(cluster: &Cluster, commit: &Commit, transaction: &Transaction) -> Result<i64, Failed> {
    let prefix = &cluster.options.key_prefix;
    let reading = async {
        let get = |expectation: &Expectation| transaction.get(&prefix.key(&expectation.key), false);
        // The client library sends the reads as soon as it has the version.
        let (version, values) = (transaction.get_read_version(), commit.expectations.iter().map(get));
        let (version, values) = try_join(version, try_join_all(values)).await?;
        let changed = commit.expectations.iter().zip(values);
        let mut changed = changed.filter(|(expectation, value)| value.as_deref() != expectation.value.as_deref());
        match changed.next() {
            Some((expectation, _)) => Err(Failed::Here(KvError::conflict(&expectation.key))),
            None => Ok(version),
        }
    };
    match tokio::time::timeout(cluster.options.read_timeout, reading).await {
        Ok(read) => read,
        Err(_) => Err(Failed::Here(cluster.silent("read for a commit"))),
    }
}

/// Adds the operations to the transaction, in order; false when there are none that could change anything.
fn write(cluster: &Cluster, commit: &Commit, transaction: &Transaction) -> bool {
    let prefix = &cluster.options.key_prefix;
    let mut order = 0_u16;
    let mut writes = false;
    for operation in &commit.operations {
        match operation {
            Operation::Put { key, value } => transaction.set(&prefix.key(key), value),
            Operation::PutVersionstamped { prefix: before, suffix, value } => {
                let key = prefix.versionstamped(before, order, suffix);
                transaction.atomic_op(&key, value, MutationType::SetVersionstampedKey);
                order = order.saturating_add(1);
            }
            Operation::Delete { key } => transaction.clear(&prefix.key(key)),
            Operation::DeleteRange(range) if range.is_empty() => continue,
            Operation::DeleteRange(range) => {
                transaction.clear_range(&prefix.key(&range.start), &prefix.key(&range.end));
            }
        }
        writes = true;
    }
    writes
}

fn done(cluster: &Cluster, committed: TransactionCommitted, stamp: FdbResult<FdbSlice>) -> CommitOutcome {
    drop(committed);
    let stamp = match stamp {
        Ok(stamp) => Versionstamp::of_commit(&stamp).ok_or_else(|| format!("a versionstamp of {} bytes", stamp.len())),
        Err(error) => Err(error.to_string()),
    };
    match stamp {
        Ok(stamp) => CommitOutcome::Done(stamp),
        Err(reason) => CommitOutcome::Unknown(KvError::Unavailable(format!(
            "the commit to {cluster} succeeded, but its place in the order of commits is not known: {reason}"
        ))),
    }
}

async fn failed(cluster: &Cluster, commit: &Commit, error: TransactionCommitError, version: i64) -> Attempt {
    let cause = *error;
    let refused = || cluster.unavailable("commit to", cause);
    match failure::fate(cause) {
        Fate::TryAgain => Attempt::Again(cause, Box::pin(error.on_error())),
        Fate::Refused if failure::is_too_large(cause) => {
            let (bytes, limit) = (commit.bytes(), COMMIT_BYTES_MAX);
            Attempt::Ended(CommitOutcome::Refused(KvError::TooLarge { what: "commit", bytes, limit }))
        }
        Fate::Refused => Attempt::Ended(CommitOutcome::Refused(refused())),
        Fate::Unknown => {
            if cause.code() != failure::COMMIT_UNKNOWN_RESULT {
                outlive(cluster, version).await;
            }
            Attempt::Ended(CommitOutcome::Unknown(refused()))
        }
    }
}

/// Waits until a transaction that read at `version` can no longer be committed, however late it arrives.
async fn outlive(cluster: &Cluster, version: i64) {
    loop {
        match cluster.begin_reading().await {
            Ok((_, now)) if now > version.saturating_add(VERSIONS_IN_FLIGHT_MAX) => return,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot tell yet what became of a commit"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
