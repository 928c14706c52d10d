//! One redb transaction for a group of commits.

use redb::{ReadableTable, Table};

use super::{ENTRIES, SEQUENCE, STATE, database::DatabaseFile, failure::Failure};
use crate::{Commit, Expectation, KeyRange, KvError, Operation, Versionstamp};

type Entries<'transaction> = Table<'transaction, &'static [u8], &'static [u8]>;

/// What became of a group.
pub(super) enum GroupOutcome {
    /// All of it is durable; what to tell each commit, and the sequence number of the last.
    Durable(Vec<Result<Versionstamp, KvError>>, u64),
    /// None of it was published.
    NotWritten(Failure),
    /// The commit itself failed: the group is in the file or it is not. What to tell each commit if it is, and the
    /// sequence number that is stored with it.
    Unclear(Failure, Vec<Result<Versionstamp, KvError>>, u64),
}

/// Applies `commits` in order on top of commit number `sequence`.
pub(super) fn write_group(database: &DatabaseFile, commits: &[&Commit], sequence: u64) -> GroupOutcome {
    let transaction = match database.begin_write() {
        Ok(transaction) => transaction,
        Err(failure) => return GroupOutcome::NotWritten(failure),
    };
    let mut last = sequence;
    let mut apply = || -> Result<Vec<Result<Versionstamp, KvError>>, Failure> {
        let mut entries = transaction.open_table(ENTRIES)?;
        let answers = commits.iter().map(|commit| apply_commit(&mut entries, commit, &mut last)).collect();
        if last != sequence {
            transaction.open_table(STATE)?.insert(SEQUENCE, last)?;
        }
        answers
    };
    match apply() {
        Ok(answers) if last == sequence => match transaction.abort() {
            Ok(()) => GroupOutcome::Durable(answers, last),
            Err(error) => GroupOutcome::NotWritten(error.into()),
        },
        Ok(answers) => match transaction.commit() {
            Ok(()) => GroupOutcome::Durable(answers, last),
            Err(error) => GroupOutcome::Unclear(error.into(), answers, last),
        },
        Err(failure) => {
            // Nothing was published, whether or not redb manages to tidy up.
            if let Err(error) = transaction.abort() {
                tracing::debug!(%error, "abort of a failed transaction failed too");
            }
            GroupOutcome::NotWritten(failure)
        }
    }
}

/// Checks and applies one commit; the inner error is the commit's own, the outer one ends the group.
fn apply_commit(
    entries: &mut Entries<'_>,
    commit: &Commit,
    sequence: &mut u64,
) -> Result<Result<Versionstamp, KvError>, Failure> {
    for expectation in &commit.expectations {
        if !is_met(entries, expectation)? {
            return Ok(Err(KvError::conflict(&expectation.key)));
        }
    }
    if commit.operations.is_empty() {
        return Ok(Ok(Versionstamp::new(*sequence, 0)));
    }
    *sequence += 1;
    let mut order = 0;
    for operation in &commit.operations {
        apply_operation(entries, operation, *sequence, &mut order)?;
    }
    Ok(Ok(Versionstamp::new(*sequence, 0)))
}

fn is_met(entries: &Entries<'_>, expectation: &Expectation) -> Result<bool, Failure> {
    let found = entries.get(&expectation.key[..])?;
    Ok(found.as_ref().map(|value| value.value()) == expectation.value.as_deref())
}

fn apply_operation(
    entries: &mut Entries<'_>,
    operation: &Operation,
    sequence: u64,
    order: &mut u16,
) -> Result<(), Failure> {
    match operation {
        Operation::Put { key, value } => {
            entries.insert(&key[..], &value[..])?;
        }
        Operation::PutVersionstamped { prefix, suffix, value } => {
            let key = Versionstamp::new(sequence, *order).key(prefix, suffix);
            entries.insert(&key[..], &value[..])?;
            *order = order.saturating_add(1);
        }
        Operation::Delete { key } => {
            entries.remove(&key[..])?;
        }
        Operation::DeleteRange(range) => delete_range(entries, range)?,
    }
    Ok(())
}

fn delete_range(entries: &mut Entries<'_>, range: &KeyRange) -> Result<(), Failure> {
    if range.is_empty() {
        return Ok(());
    }
    Ok(entries.retain_in::<&[u8], _>(&range.start[..]..&range.end[..], |_, _| false)?)
}
