//! The rows of jobs that have not ended: most of what is written and deleted.
//!
//! Jobs of one transaction whose numbers follow each other share a row, a **block**, which costs a fraction of a row for
//! each. A block is never rewritten: of a job that left it, a bit is set in a small row beside it, and both rows go with
//! the last of its jobs. A job that waits for its next attempt moves into a row of its own.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, Transaction, params};

use super::store::damaged;
use crate::{
    BrokerError, attempt_note, length_prefixed, record_codec,
    table::{Change, JobTable, Now, StoredJob},
};

/// Tables of blocks; part of the schema since layout 5.
pub(super) const SCHEMA: &str = "
    CREATE TABLE block(first INTEGER PRIMARY KEY, jobs BLOB NOT NULL);
    CREATE TABLE block_gone(first INTEGER PRIMARY KEY, gone INTEGER NOT NULL);
";

/// Fewer jobs get rows of their own.
const BLOCK_JOBS_MIN: usize = 4;
/// Most jobs of a block: as many as its row of those that are gone has bits.
const BLOCK_JOBS_MAX: usize = 64;
/// A block that has reached this many bytes takes no further job: a job that stays long keeps its neighbours on disk.
const BLOCK_BYTES_MAX: usize = 64 * 1024;
/// A longer job gets a row of its own.
const BLOCK_JOB_BYTES_MAX: usize = 4 * 1024;

/// The jobs of one block, and which of them are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    jobs: u64,
    gone: u64,
}

impl Block {
    /// Whether the job of this place is gone.
    fn is_gone(self, place: u64) -> bool {
        self.gone >> place & 1 == 1
    }

    fn is_over(self) -> bool {
        u64::from(self.gone.count_ones()) >= self.jobs
    }
}

/// The blocks of the file by the number of their first job.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Blocks(BTreeMap<u64, Block>);

/// The block that has a place for this number.
fn covering(blocks: &BTreeMap<u64, Block>, sequence: u64) -> Option<(u64, Block)> {
    let (first, block) = blocks.range(..=sequence).next_back()?;
    (sequence - first < block.jobs).then_some((*first, *block))
}

impl Blocks {
    /// Enters what a transaction that is committed did.
    pub(super) fn enter(&mut self, changed: ChangedBlocks) {
        for (first, block) in changed.0 {
            if block.is_over() {
                self.0.remove(&first);
            } else {
                self.0.insert(first, block);
            }
        }
    }
}

/// Blocks as they are after a transaction, of those that it changed.
pub(super) struct ChangedBlocks(BTreeMap<u64, Block>);

/// The rows of jobs as one transaction changes them.
pub(super) struct JobRows<'a> {
    transaction: &'a Transaction<'a>,
    before: &'a Blocks,
    changed: BTreeMap<u64, Block>,
    /// Blocks whose changes are not in the file yet.
    unwritten: Vec<u64>,
    /// Jobs that come next, as a block if they are enough.
    run: Vec<(u64, &'a [u8])>,
    run_bytes: usize,
}

impl<'a> JobRows<'a> {
    pub(super) fn new(transaction: &'a Transaction<'a>, before: &'a Blocks) -> Self {
        Self { transaction, before, changed: BTreeMap::new(), unwritten: Vec::new(), run: Vec::new(), run_bytes: 0 }
    }

    /// Deletes jobs that were there before this transaction.
    pub(super) fn delete(&mut self, numbers: Vec<u64>) -> rusqlite::Result<()> {
        let transaction = self.transaction;
        let mut statement = transaction.prepare_cached("DELETE FROM job WHERE sequence BETWEEN ?1 AND ?2")?;
        for (first, last) in ranges(numbers) {
            statement.execute(params![first, last])?;
            self.leave_blocks(first, last);
        }
        self.write_blocks()
    }

    fn block_of(&self, sequence: u64) -> Option<(u64, Block)> {
        covering(&self.changed, sequence).or_else(|| covering(&self.before.0, sequence))
    }

    /// Takes jobs out of the blocks that they are in.
    fn leave_blocks(&mut self, first: u64, last: u64) {
        let mut next = first;
        while next <= last {
            let Some((start, mut block)) = self.block_of(next) else {
                // Numbers between blocks are few, or there are no blocks at all.
                let later = |blocks: &BTreeMap<u64, Block>| blocks.range(next..).next().map(|(start, _)| *start);
                let nearest = later(&self.changed).into_iter().chain(later(&self.before.0)).min();
                next = nearest.unwrap_or(u64::MAX);
                if next == u64::MAX {
                    return;
                }
                continue;
            };
            let end = last.min(start + block.jobs - 1);
            let count = end - next + 1;
            let bits = if count >= 64 { u64::MAX } else { ((1 << count) - 1) << (next - start) };
            block.gone |= bits;
            self.changed.insert(start, block);
            self.unwritten.push(start);
            next = end + 1;
        }
    }

    /// Writes down which jobs of blocks are gone.
    fn write_blocks(&mut self) -> rusqlite::Result<()> {
        self.unwritten.sort_unstable();
        self.unwritten.dedup();
        for first in std::mem::take(&mut self.unwritten) {
            let Some(block) = self.changed.get(&first) else { continue };
            if !block.is_over() {
                let gone = block.gone.cast_signed();
                let statement = "INSERT OR REPLACE INTO block_gone(first, gone) VALUES(?1, ?2)";
                self.transaction.prepare_cached(statement)?.execute(params![first, gone])?;
                continue;
            }
            self.transaction.prepare_cached("DELETE FROM block WHERE first = ?1")?.execute([first])?;
            self.transaction.prepare_cached("DELETE FROM block_gone WHERE first = ?1")?.execute([first])?;
        }
        Ok(())
    }

    /// Adds a new job; numbers grow.
    pub(super) fn insert(&mut self, sequence: u64, body: &'a [u8]) -> rusqlite::Result<()> {
        let follows = self.run.last().is_none_or(|(last, _)| last + 1 == sequence);
        if !follows || self.run.len() >= BLOCK_JOBS_MAX || self.run_bytes >= BLOCK_BYTES_MAX {
            self.end_run()?;
        }
        if body.len() > BLOCK_JOB_BYTES_MAX {
            self.end_run()?;
            return self.insert_alone(sequence, body);
        }
        self.run.push((sequence, body));
        self.run_bytes += body.len();
        Ok(())
    }

    /// Gives a job a row of its own.
    fn insert_alone(&self, sequence: u64, body: &[u8]) -> rusqlite::Result<()> {
        let statement = "INSERT INTO job(sequence, attempts, rescues, body) VALUES(?1, 0, 0, ?2)";
        self.transaction.prepare_cached(statement)?.execute(params![sequence, body]).map(drop)
    }

    fn end_run(&mut self) -> rusqlite::Result<()> {
        let run = std::mem::take(&mut self.run);
        let bytes = std::mem::take(&mut self.run_bytes);
        let Some((first, _)) = run.first().copied() else { return Ok(()) };
        if run.len() < BLOCK_JOBS_MIN {
            return run.into_iter().try_for_each(|(sequence, body)| self.insert_alone(sequence, body));
        }
        let mut jobs = Vec::with_capacity(bytes + 4 * run.len());
        for (_, body) in &run {
            length_prefixed::put(&mut jobs, body);
        }
        self.transaction
            .prepare_cached("INSERT INTO block(first, jobs) VALUES(?1, ?2)")?
            .execute(params![first, jobs])?;
        self.changed.insert(first, Block { jobs: run.len() as u64, gone: 0 });
        Ok(())
    }

    /// Writes what became of a job that waits for its next attempt.
    pub(super) fn update(&mut self, change: &Change) -> rusqlite::Result<()> {
        let Change::Update { sequence, record, attempts, rescues, run_at_ms, error, attempts_made } = change else {
            return Ok(());
        };
        self.end_run()?;
        if self.block_of(*sequence).is_some_and(|(first, block)| !block.is_gone(sequence - first)) {
            self.leave_blocks(*sequence, *sequence);
            self.insert_alone(*sequence, &record_codec::encode(record))?;
        }
        let statement = "UPDATE job SET attempts = ?2, rescues = ?3, run_at_ms = ?4, error = ?5, attempts_made = ?6
            WHERE sequence = ?1";
        self.transaction.prepare_cached(statement)?.execute(params![
            sequence,
            attempts,
            rescues,
            run_at_ms,
            error,
            attempt_note::encode(attempts_made)
        ])?;
        Ok(())
    }

    /// Writes what is left to write.
    pub(super) fn finish(mut self) -> rusqlite::Result<ChangedBlocks> {
        self.end_run()?;
        self.write_blocks()?;
        Ok(ChangedBlocks(self.changed))
    }
}

/// Numbers that follow each other, as first and last.
fn ranges(mut numbers: Vec<u64>) -> Vec<(u64, u64)> {
    numbers.sort_unstable();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if number <= *last + 1 => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// Fills a table with the jobs of the file, in the order of their numbers.
pub(super) fn load(connection: &Connection, table: &mut JobTable, now: Now) -> Result<Blocks, BrokerError> {
    let mut blocks = Blocks::default();
    let singles =
        "SELECT sequence, attempts, rescues, run_at_ms, error, body, attempts_made FROM job ORDER BY sequence";
    let mut singles = connection.prepare(singles).map_err(damaged)?;
    let mut singles = singles.query([]).map_err(damaged)?;
    let mut single = singles.next().map_err(damaged)?.map(single_of).transpose()?;
    let rows = "SELECT first, jobs, gone FROM block LEFT JOIN block_gone USING(first) ORDER BY first";
    let mut rows = connection.prepare(rows).map_err(damaged)?;
    let mut rows = rows.query([]).map_err(damaged)?;
    while let Some(row) = rows.next().map_err(damaged)? {
        let first: u64 = row.get(0).map_err(damaged)?;
        let gone = row.get::<_, Option<i64>>(2).map_err(damaged)?.unwrap_or(0).cast_unsigned();
        let jobs = row.get_ref(1).map_err(damaged)?;
        let jobs = jobs.as_blob().map_err(|error| BrokerError::Corrupt(error.to_string()))?;
        let in_block = |reason| BrokerError::Corrupt(format!("block of jobs from number {first} on: {reason}"));
        let bodies = split(jobs).map_err(in_block)?;
        let block = Block { jobs: bodies.len() as u64, gone };
        blocks.0.insert(first, block);
        table.restore_numbers(first.saturating_add(block.jobs));
        for (sequence, body) in (first..).zip(bodies) {
            if block.is_gone(sequence - first) {
                continue;
            }
            while let Some(earlier) = single.take_if(|single| single.sequence < sequence) {
                table.restore_job(now, earlier);
                single = singles.next().map_err(damaged)?.map(single_of).transpose()?;
            }
            table.restore_job(now, new_job(sequence, body)?);
        }
    }
    while let Some(job) = single.take() {
        table.restore_job(now, job);
        single = singles.next().map_err(damaged)?.map(single_of).transpose()?;
    }
    Ok(blocks)
}

/// The jobs of a block.
fn split(mut jobs: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut bodies = Vec::new();
    while let Some(body) = length_prefixed::take(&mut jobs) {
        bodies.push(body.ok_or("it ends in the middle of a job")?);
    }
    if !jobs.is_empty() || bodies.is_empty() || bodies.len() > BLOCK_JOBS_MAX {
        return Err(format!("{} bytes are left over after {} jobs", jobs.len(), bodies.len()));
    }
    Ok(bodies)
}

/// A job of which nothing has become so far.
fn new_job(sequence: u64, body: &[u8]) -> Result<StoredJob, BrokerError> {
    let record = record_codec::decode(body)
        .map_err(|reason| BrokerError::Corrupt(format!("job number {sequence}: {reason}")))?;
    let run_at_ms = record.due_ms();
    Ok(StoredJob { sequence, record, attempts: 0, rescues: 0, run_at_ms, error: None, attempts_made: Vec::new() })
}

/// The job of a row of its own.
fn single_of(row: &Row<'_>) -> Result<StoredJob, BrokerError> {
    let body = row.get_ref(5).map_err(damaged)?;
    let body = body.as_blob().map_err(|error| BrokerError::Corrupt(error.to_string()))?;
    let job = new_job(row.get(0).map_err(damaged)?, body)?;
    let attempts_made: Option<Vec<u8>> = row.get(6).map_err(damaged)?;
    Ok(StoredJob {
        attempts: row.get(1).map_err(damaged)?,
        rescues: row.get(2).map_err(damaged)?,
        run_at_ms: row.get::<_, Option<i64>>(3).map_err(damaged)?.unwrap_or(job.run_at_ms),
        error: row.get(4).map_err(damaged)?,
        // What is remembered of attempts is worth no failure.
        attempts_made: attempt_note::decode(&attempts_made.unwrap_or_default()).unwrap_or_default(),
        ..job
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{BrokerOptions, JobId, JobKind, NewJob, embedded::store::JobStore};

    #[test]
    fn neighbours_are_deleted_together() {
        assert_eq!(ranges(vec![7, 3, 1, 2, 9, 8]), [(1, 3), (7, 9)]);
        assert_eq!(ranges(Vec::new()), []);
    }

    #[test]
    fn a_block_that_is_damaged_says_how() {
        assert_eq!(split(&[2, 0, 0, 0, 7]), Err("it ends in the middle of a job".to_owned()));
        assert_eq!(split(&[0, 0, 0, 0, 7]), Err("1 bytes are left over after 1 jobs".to_owned()));
        assert_eq!(split(&[]), Err("0 bytes are left over after 0 jobs".to_owned()));
        assert_eq!(split(&[1, 0, 0, 0, 7, 0, 0, 0, 0]), Ok(vec![&[7][..], &[]]));
    }

    /// What happens in one transaction.
    #[derive(Clone, Debug)]
    struct Group {
        /// Bytes of the payloads of new jobs.
        new: Vec<usize>,
        /// Places among the jobs there are, from the oldest on, of those that end.
        ended: std::ops::Range<usize>,
        /// Further ones, anywhere.
        others: Vec<usize>,
        retried: Vec<usize>,
        reopen: bool,
    }

    fn group() -> impl Strategy<Value = Group> {
        let sizes = prop_oneof![9 => 0..40_usize, 1 => Just(5_000)];
        let few = || proptest::collection::vec(0..1_000_usize, 0..3);
        (proptest::collection::vec(sizes, 0..150), 0..4_usize, 0..150_usize, few(), few(), any::<bool>()).prop_map(
            |(new, from, count, others, retried, reopen)| Group {
                new,
                ended: from..from + count,
                others,
                retried,
                reopen,
            },
        )
    }

    fn record(sequence: u64, bytes: usize) -> std::sync::Arc<crate::JobRecord> {
        let id = JobId::from_bytes(u128::from(sequence).to_be_bytes());
        NewJob::from_bytes(JobKind::Write, vec![7; bytes].into()).into_record(id, 5).into()
    }

    fn update(sequence: u64, record: std::sync::Arc<crate::JobRecord>, attempts: u32) -> Change {
        let (error, attempts_made) = (Some("no luck".to_owned()), Vec::new());
        Change::Update { sequence, record, attempts, rescues: 0, run_at_ms: 5, error, attempts_made }
    }

    /// The jobs that a file has: number, failed attempts, record.
    fn jobs_of(store: &JobStore) -> Vec<(u64, u32, Vec<u8>)> {
        let connection = store.connection();
        let mut singles = connection.prepare("SELECT sequence, attempts, body FROM job").unwrap();
        let singles = singles.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let mut jobs: Vec<(u64, u32, Vec<u8>)> = singles.map(Result::unwrap).collect();
        let rows = "SELECT first, jobs, coalesce(gone, 0) FROM block LEFT JOIN block_gone USING(first)";
        let mut rows = connection.prepare(rows).unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        for row in rows {
            let (first, bodies, gone): (u64, Vec<u8>, i64) = row.unwrap();
            let bodies = (first..).zip(split(&bodies).unwrap());
            let left: Vec<_> = bodies.filter(|(sequence, _)| gone >> (sequence - first) & 1 == 0).collect();
            assert!(!left.is_empty(), "a block of jobs that are all gone");
            jobs.extend(left.into_iter().map(|(sequence, body)| (sequence, 0, body.to_vec())));
        }
        jobs.sort();
        jobs
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_file_has_the_jobs_that_are_there(groups in proptest::collection::vec(group(), 1..12)) {
            let folder = tempfile::tempdir().unwrap();
            let now = Now { wall_ms: 5, monotonic: std::time::Duration::ZERO };
            let open = || JobStore::open(&folder.path().join("queue.db"), BrokerOptions::default(), now, None).unwrap();
            let (mut store, _) = open();
            let mut there: BTreeMap<u64, (u32, std::sync::Arc<crate::JobRecord>)> = BTreeMap::new();
            let mut next = 1;
            for group in groups {
                let mut changes = Vec::new();
                for bytes in group.new {
                    let record = record(next, bytes);
                    changes.push(Change::Insert { sequence: next, body: record_codec::encode(&record), stands: false });
                    there.insert(next, (0, record));
                    next += 1;
                }
                let at = |there: &BTreeMap<u64, _>, place: usize| there.keys().nth(place % there.len().max(1)).copied();
                for place in group.retried {
                    let Some(sequence) = at(&there, place) else { continue };
                    let (attempts, record) = there.get_mut(&sequence).unwrap();
                    *attempts += 1;
                    changes.push(update(sequence, record.clone(), *attempts));
                }
                let mut ended: Vec<u64> = there.keys().copied().skip(group.ended.start).take(group.ended.len()).collect();
                ended.extend(group.others.into_iter().filter_map(|place| at(&there, place)));
                for sequence in ended {
                    if there.remove(&sequence).is_some() {
                        changes.push(Change::Delete { sequence });
                    }
                }
                store.write(&changes).unwrap();
                if group.reopen {
                    store.close().unwrap();
                    drop(store);
                    store = open().0;
                }
                let expected: Vec<_> = there.iter().map(|(sequence, (attempts, record))| (*sequence, *attempts, record_codec::encode(record))).collect();
                prop_assert_eq!(jobs_of(&store), expected);
                let mut table = JobTable::new(BrokerOptions::default());
                let loaded = load(store.connection(), &mut table, now).unwrap();
                prop_assert_eq!(&loaded, store.blocks());
                prop_assert_eq!(table.queue_stats(now).iter().map(|queue| queue.ready).sum::<u64>(), there.len() as u64);
            }
        }
    }
}
