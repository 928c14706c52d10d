//! One redb transaction for a group of commits.

use redb::{ReadableTable, Table};

use super::{
    ENTRIES, SEQUENCE, STATE,
    database::{DatabaseFile, Durability},
    failure::Failure,
    journal::Journal,
};
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

/// Applies `commits` in order on top of commit number `sequence`, and makes them durable: small groups in the journal,
/// where that is allowed.
pub(super) fn write_group(
    database: &DatabaseFile,
    commits: &[&Commit],
    sequence: u64,
    journal_allowed: bool,
) -> GroupOutcome {
    let mut journal = database.journal();
    let bytes = commits.iter().map(|commit| commit.bytes()).sum();
    let durability =
        if journal_allowed && journal.has_room(bytes) { Durability::InJournal } else { Durability::InFile };
    let transaction = match database.begin_write(durability) {
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
        Ok(answers) => {
            if let Durability::InJournal = durability
                && let Err(failure) = append(&mut journal, sequence, commits, &answers)
            {
                if let Err(error) = transaction.abort() {
                    tracing::debug!(%error, "abort of a transaction failed after the journal had");
                }
                return GroupOutcome::Unclear(failure, answers, last);
            }
            // IMPORTANT: readers see the group from here on, so it must be in the journal by now.
            match transaction.commit() {
                Ok(()) => {
                    if let Durability::InFile = durability {
                        journal.start_over();
                    }
                    GroupOutcome::Durable(answers, last)
                }
                Err(error) => GroupOutcome::Unclear(error.into(), answers, last),
            }
        }
        Err(failure) => {
            // Nothing was published, whether or not redb manages to tidy up.
            if let Err(error) = transaction.abort() {
                tracing::debug!(%error, "abort of a failed transaction failed too");
            }
            GroupOutcome::NotWritten(failure)
        }
    }
}

/// Adds the commits that changed something to the journal.
fn append(
    journal: &mut Journal,
    sequence: u64,
    commits: &[&Commit],
    answers: &[Result<Versionstamp, KvError>],
) -> Result<(), Failure> {
    let applied =
        commits.iter().zip(answers).filter(|(commit, answer)| answer.is_ok() && !commit.operations.is_empty());
    journal.append(sequence, applied.map(|(commit, _)| commit.operations.as_slice()))
}

/// Applies what the journal holds beyond commit number `sequence` of the file. It stays in the journal.
pub(super) fn replay(database: &DatabaseFile, journal: &mut Journal, sequence: u64) -> Result<(), Failure> {
    let frames = journal.read(sequence).map_err(Failure::NotOpen)?;
    if frames.is_empty() {
        return Ok(());
    }
    let transaction = database.begin_write(Durability::InJournal)?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        let mut last = sequence;
        for operations in frames.iter().flat_map(|frame| &frame.commits) {
            last += 1;
            apply_operations(&mut entries, operations, last)?;
        }
        transaction.open_table(STATE)?.insert(SEQUENCE, last)?;
        tracing::info!(commits = last - sequence, journal = %journal.path().display(), "read the journal of the store");
    }
    Ok(transaction.commit()?)
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
    apply_operations(entries, &commit.operations, *sequence)?;
    Ok(Ok(Versionstamp::new(*sequence, 0)))
}

/// Applies the operations of commit number `sequence`.
fn apply_operations(entries: &mut Entries<'_>, operations: &[Operation], sequence: u64) -> Result<(), Failure> {
    let mut order = 0;
    operations.iter().try_for_each(|operation| apply_operation(entries, operation, sequence, &mut order))
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
