//! The file: `docs/embedded-layout.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::job_rows::{self, Blocks, JobRows};
use crate::{
    BrokerError, BrokerOptions, JobId, QueueSettings, Rate, Schedule, WorkerId, finished_codec, record_codec,
    table::{Change, JobTable, Now, ShelfKind, StoredLease},
    workflow::{self, Event},
};

/// `application_id` of the file: "TDMQ".
const APPLICATION_ID: i32 = 0x5444_4D51;
/// `user_version` of the file.
const LAYOUT_VERSION: i32 = 5;

const SCHEMA: &str = "
    CREATE TABLE job(sequence INTEGER PRIMARY KEY, attempts INTEGER NOT NULL, rescues INTEGER NOT NULL,
        run_at_ms INTEGER, error TEXT, body BLOB NOT NULL, attempts_made BLOB);
    CREATE TABLE lease(token INTEGER PRIMARY KEY, jobs BLOB NOT NULL, worker TEXT, started_ms INTEGER);
    CREATE TABLE finished(shelf INTEGER NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY(shelf, number)) WITHOUT ROWID;
    CREATE TABLE unique_key(queue TEXT NOT NULL, key TEXT NOT NULL, job BLOB NOT NULL, until_ms INTEGER NOT NULL,
        PRIMARY KEY(queue, key)) WITHOUT ROWID;
    CREATE TABLE schedule(name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE leader(name TEXT PRIMARY KEY, token INTEGER NOT NULL) WITHOUT ROWID;
";

/// Workflows; part of the schema since layout 3.
const WORKFLOW_SCHEMA: &str = "
    CREATE TABLE workflow(id BLOB PRIMARY KEY, ended INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE workflow_event(workflow BLOB NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY(workflow, number)) WITHOUT ROWID;
";

/// What is set about queues; part of the schema since layout 4.
const QUEUE_SCHEMA: &str = "
    CREATE TABLE queue_settings(queue TEXT PRIMARY KEY, paused INTEGER NOT NULL, draining INTEGER NOT NULL,
        rate_jobs INTEGER, rate_ms INTEGER, running_max INTEGER, jobs_max INTEGER, bytes_max INTEGER) WITHOUT ROWID;
";

/// What makes a file of layout 3 one of layout 4, once it has [`QUEUE_SCHEMA`].
const FROM_3_TO_4: &str = "
    INSERT INTO queue_settings(queue, paused, draining) SELECT queue, 1, 0 FROM pause;
    DROP TABLE pause;
";

/// What makes a file of layout 1 one of layout 2. Its records and finished jobs are read as they are.
const FROM_1_TO_2: &str = "
    ALTER TABLE job ADD COLUMN attempts_made BLOB;
    ALTER TABLE lease ADD COLUMN worker TEXT;
    ALTER TABLE lease ADD COLUMN started_ms INTEGER;
";

const SELECT_SETTINGS: &str =
    "SELECT queue, paused, draining, rate_jobs, rate_ms, running_max, jobs_max, bytes_max FROM queue_settings";

pub(super) struct JobStore {
    connection: Connection,
    blocks: Blocks,
    fsyncs: bool,
}

impl JobStore {
    /// Opens or creates the file and fills a table from it.
    pub(super) fn open(
        path: &Path,
        options: BrokerOptions,
        now: Now,
        pages_max: Option<u32>,
    ) -> Result<(Self, JobTable), BrokerError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)
            .map_err(|error| BrokerError::Unavailable(format!("create folder {}: {error}", folder.display())))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| in_file(path, &error))?;
        let mut store = Self { connection, blocks: Blocks::default(), fsyncs: true };
        store.prepare().map_err(|error| in_file(path, &error))?;
        store.check_layout(path)?;
        if let Some(pages) = pages_max {
            store.connection.pragma_update(None, "max_page_count", pages).map_err(|error| in_file(path, &error))?;
        }
        let table = store.load(options, now)?;
        Ok((store, table))
    }

    /// IMPORTANT: exclusive locking comes before the first access, so that a second process is refused and the index of
    /// the write-ahead log needs no shared memory.
    fn prepare(&mut self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(Duration::ZERO)?;
        self.connection.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 8000; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -32768;
             PRAGMA temp_store = MEMORY; BEGIN EXCLUSIVE; COMMIT;",
        )?;
        self.connection.set_prepared_statement_cache_capacity(32);
        Ok(())
    }

    fn check_layout(&mut self, path: &Path) -> Result<(), BrokerError> {
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        let tables = "SELECT count(*) FROM sqlite_schema";
        let read = || -> rusqlite::Result<(i32, i32, i64)> {
            let tables = self.connection.query_row(tables, [], |row| row.get(0))?;
            Ok((pragma("application_id")?, pragma("user_version")?, tables))
        };
        match read().map_err(|error| in_file(path, &error))? {
            (0, 0, 0) => self
                .change_schema(&[SCHEMA, WORKFLOW_SCHEMA, QUEUE_SCHEMA, job_rows::SCHEMA])
                .map_err(|error| in_file(path, &error)),
            (APPLICATION_ID, LAYOUT_VERSION, _) => Ok(()),
            (APPLICATION_ID, version @ 1..=4, _) => {
                tracing::info!(file = %path.display(), from = version, to = LAYOUT_VERSION, "change the queue's layout");
                let steps: [&[&str]; 4] =
                    [&[FROM_1_TO_2], &[WORKFLOW_SCHEMA], &[QUEUE_SCHEMA, FROM_3_TO_4], &[job_rows::SCHEMA]];
                let done = usize::try_from(version - 1).unwrap_or(0);
                self.change_schema(&steps.get(done..).unwrap_or_default().concat())
                    .map_err(|error| in_file(path, &error))
            }
            (APPLICATION_ID, version, _) => Err(BrokerError::Corrupt(format!(
                "{} has layout {version}, this release reads 1 to {LAYOUT_VERSION}",
                path.display()
            ))),
            _ => Err(BrokerError::Corrupt(format!("{} is a SQLite file of something else", path.display()))),
        }
    }

    fn change_schema(&mut self, steps: &[&str]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for statements in steps {
            transaction.execute_batch(statements)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", LAYOUT_VERSION)?;
        transaction.commit()
    }

    /// Reads everything, and writes down at once what reading it changed: rescues of jobs that were running.
    fn load(&mut self, options: BrokerOptions, now: Now) -> Result<JobTable, BrokerError> {
        let mut table = JobTable::new(options);
        self.blocks = job_rows::load(&self.connection, &mut table, now)?;
        self.load_the_rest(&mut table, now)?;
        self.load_workflows(&mut table)?;
        let leases = self.load_leases()?;
        let mut changes = Vec::new();
        for lease in leases {
            table.restore_lease(now, &lease);
            changes.push(Change::Unlease { token: lease.token });
        }
        table.end_lost_nodes(now);
        table.take_became_ready();
        changes.extend(table.take_changes());
        self.write(&changes)?;
        Ok(table)
    }

    fn load_the_rest(&self, table: &mut JobTable, now: Now) -> Result<(), BrokerError> {
        self.each("SELECT shelf, number, body FROM finished ORDER BY shelf, number", |row| {
            let (shelf, number, body): (u8, u64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let shelf = if shelf == 0 { ShelfKind::History } else { ShelfKind::Discarded };
            match finished_codec::decode(&body) {
                Ok(finished) => table.restore_finished(shelf, number, finished),
                Err(reason) => tracing::warn!(number, reason, "pass over a damaged row of the job history"),
            }
            Ok(())
        })?;
        self.each("SELECT queue, key, job, until_ms FROM unique_key", |row| {
            let (queue, key, job): (String, String, [u8; 16]) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if let Ok(queue) = queue.parse() {
                table.restore_key(now, queue, key, JobId::from_bytes(job), row.get(3)?);
            }
            Ok(())
        })?;
        self.each(SELECT_SETTINGS, |row| {
            let (jobs, period_ms): (Option<u32>, Option<u64>) = (row.get(3)?, row.get(4)?);
            let rate = jobs.zip(period_ms).and_then(|(jobs, millis)| Rate::new(jobs, Duration::from_millis(millis)));
            let settings = QueueSettings {
                paused: row.get(1)?,
                draining: row.get(2)?,
                rate,
                running_max: row.get(5)?,
                jobs_max: row.get(6)?,
                bytes_max: row.get(7)?,
            };
            if let Ok(queue) = row.get::<_, String>(0)?.parse() {
                table.restore_settings(&queue, settings);
            }
            Ok(())
        })?;
        self.each("SELECT name, body FROM schedule", |row| {
            let (name, body): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
            match rmp_serde::from_slice::<Schedule>(&body) {
                Ok(schedule) => table.restore_schedule(schedule),
                Err(error) => tracing::error!(name, %error, "pass over a damaged schedule"),
            }
            Ok(())
        })?;
        self.each("SELECT name, token FROM leader", |row| {
            table.restore_leader(row.get(0)?, row.get(1)?);
            Ok(())
        })
    }

    /// A workflow that cannot be read is passed over: its jobs run, and nothing follows from them.
    fn load_workflows(&self, table: &mut JobTable) -> Result<(), BrokerError> {
        let mut events: BTreeMap<Vec<u8>, Vec<Event>> = BTreeMap::new();
        self.each("SELECT workflow, body FROM workflow_event ORDER BY workflow, number", |row| {
            let (workflow, body): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            match workflow::decode_event(&body) {
                Ok(event) => events.entry(workflow).or_default().push(event),
                Err(reason) => tracing::error!(reason, "pass over a damaged event of a workflow"),
            }
            Ok(())
        })?;
        self.each("SELECT id, ended, body FROM workflow", |row| {
            let (id, ended, body): (Vec<u8>, bool, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let restored = if ended {
                workflow::decode_finished(&body).map(|finished| table.restore_finished_workflow(finished))
            } else {
                let events = events.remove(&id).unwrap_or_default();
                workflow::decode_definition(&body).map(|definition| table.restore_workflow(definition, events))
            };
            if let Err(reason) = restored {
                tracing::error!(reason, "pass over a damaged workflow");
            }
            Ok(())
        })
    }

    fn each(
        &self,
        query: &str,
        mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), BrokerError> {
        let mut statement = self.connection.prepare(query).map_err(damaged)?;
        let mut rows = statement.query([]).map_err(damaged)?;
        while let Some(row) = rows.next().map_err(damaged)? {
            take(row).map_err(damaged)?;
        }
        Ok(())
    }

    fn load_leases(&self) -> Result<Vec<StoredLease>, BrokerError> {
        let mut leases = Vec::new();
        self.each("SELECT token, jobs, worker, started_ms FROM lease", |row| {
            let (jobs, worker): (Vec<u8>, Option<String>) = (row.get(1)?, row.get(2)?);
            leases.push(StoredLease {
                token: row.get(0)?,
                jobs: unpack_jobs(&jobs),
                worker: worker.as_deref().map(WorkerId::new),
                started_ms: row.get(3)?,
            });
            Ok(())
        })?;
        Ok(leases)
    }

    /// Writes changes in one transaction; with an fsync when one of them asks for it.
    pub(super) fn write(&mut self, changes: &[Change]) -> Result<(), BrokerError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.set_fsync(changes.iter().any(needs_fsync)).map_err(|error| failed(&error))?;
        self.write_all(changes).map_err(|error| failed(&error))
    }

    fn set_fsync(&mut self, wanted: bool) -> rusqlite::Result<()> {
        if self.fsyncs != wanted {
            let mode = if wanted { "FULL" } else { "NORMAL" };
            self.connection.execute_batch(&format!("PRAGMA synchronous = {mode}"))?;
            self.fsyncs = wanted;
        }
        Ok(())
    }

    fn write_all(&mut self, changes: &[Change]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let (earlier, came_and_went) = deletes(changes);
        let mut jobs = JobRows::new(&transaction, &self.blocks);
        // What goes first makes room for what comes, when the disk is full.
        jobs.delete(earlier)?;
        for change in changes {
            match change {
                Change::Delete { .. } => {}
                Change::Insert { sequence, .. } if came_and_went.contains(sequence) => {}
                Change::Insert { sequence, body, .. } => jobs.insert(*sequence, body)?,
                Change::Update { .. } => jobs.update(change)?,
                _ => write_one(&transaction, change)?,
            }
        }
        let changed = jobs.finish()?;
        transaction.commit()?;
        self.blocks.enter(changed);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    #[cfg(test)]
    pub(super) fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Brings the log back into the file.
    pub(super) fn close(&mut self) -> Result<(), BrokerError> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(|error| failed(&error))
    }
}

/// Numbers of jobs to delete that were there before these changes, and of those that came with them.
fn deletes(changes: &[Change]) -> (Vec<u64>, BTreeSet<u64>) {
    let inserted = changes.iter().filter_map(|change| match change {
        Change::Insert { sequence, .. } => Some(*sequence),
        _ => None,
    });
    // Numbers grow.
    let first_inserted = inserted.min().unwrap_or(u64::MAX);
    let deleted = changes.iter().filter_map(|change| match change {
        Change::Delete { sequence } => Some(*sequence),
        _ => None,
    });
    let (earlier, came_and_went): (Vec<u64>, Vec<u64>) = deleted.partition(|sequence| *sequence < first_inserted);
    (earlier, came_and_went.into_iter().collect())
}

/// Whether a change must survive a power cut, and not just the end of the process.
fn needs_fsync(change: &Change) -> bool {
    let is_redone = matches!(
        change,
        Change::Delete { .. }
            | Change::Lease { .. }
            | Change::LeaseLeft { .. }
            | Change::Unlease { .. }
            | Change::FreeKey { .. }
    );
    !is_redone && !is_history(change)
}

fn is_history(change: &Change) -> bool {
    use crate::JobState;
    match change {
        Change::Shelve(shelved) => shelved.finished.view.state == JobState::Completed,
        Change::Unshelve { shelf, .. } => *shelf == ShelfKind::History,
        _ => false,
    }
}

fn write_one(transaction: &rusqlite::Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    let execute = |sql: &str, values: &[&dyn rusqlite::ToSql]| transaction.prepare_cached(sql)?.execute(values);
    match change {
        Change::Insert { .. } | Change::Delete { .. } | Change::Update { .. } => return Ok(()),
        Change::Lease { token, jobs, worker, started_ms } => execute(
            "INSERT INTO lease(token, jobs, worker, started_ms) VALUES(?1, ?2, ?3, ?4)",
            &[token, &pack_jobs(jobs), &worker.as_str(), started_ms],
        ),
        Change::LeaseLeft { token, jobs } => {
            execute("UPDATE lease SET jobs = ?2 WHERE token = ?1", &[token, &pack_jobs(jobs)])
        }
        Change::Unlease { token } => execute("DELETE FROM lease WHERE token = ?1", &[token]),
        Change::Shelve(shelved) => execute(
            "INSERT OR REPLACE INTO finished(shelf, number, body) VALUES(?1, ?2, ?3)",
            &[&shelf_code(shelved.shelf), &shelved.number, &finished_codec::encode(&shelved.finished)],
        ),
        Change::Unshelve { shelf, number } => {
            execute("DELETE FROM finished WHERE shelf = ?1 AND number = ?2", &[&shelf_code(*shelf), number])
        }
        Change::HoldKey { queue, key, job, until_ms } => execute(
            "INSERT OR REPLACE INTO unique_key(queue, key, job, until_ms) VALUES(?1, ?2, ?3, ?4)",
            &[&queue.as_str(), key, &job.as_bytes().as_slice(), until_ms],
        ),
        Change::FreeKey { queue, key } => {
            execute("DELETE FROM unique_key WHERE queue = ?1 AND key = ?2", &[&queue.as_str(), key])
        }
        Change::SetQueue { queue, settings } if *settings == QueueSettings::default() => {
            execute("DELETE FROM queue_settings WHERE queue = ?1", &[&queue.as_str()])
        }
        Change::SetQueue { queue, settings } => execute(
            "INSERT OR REPLACE INTO queue_settings(queue, paused, draining, rate_jobs, rate_ms, running_max, jobs_max,
                bytes_max) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            &[
                &queue.as_str(),
                &settings.paused,
                &settings.draining,
                &settings.rate.map(|rate| rate.jobs.get()),
                &settings.rate.map(|rate| record_codec::millis(rate.period)),
                &settings.running_max,
                &settings.jobs_max,
                &settings.bytes_max,
            ],
        ),
        Change::PutSchedule(schedule) => {
            let body = rmp_serde::to_vec_named(schedule)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            execute("INSERT OR REPLACE INTO schedule(name, body) VALUES(?1, ?2)", &[&schedule.name, &body])
        }
        Change::DeleteSchedule { name } => execute("DELETE FROM schedule WHERE name = ?1", &[name]),
        Change::Lead { name, token } => {
            execute("INSERT OR REPLACE INTO leader(name, token) VALUES(?1, ?2)", &[name, token])
        }
        Change::StartWorkflow { id, body } => {
            execute("INSERT INTO workflow(id, ended, body) VALUES(?1, 0, ?2)", &[&id.as_bytes().as_slice(), body])
        }
        Change::WorkflowEvent { id, number, body } => execute(
            "INSERT INTO workflow_event(workflow, number, body) VALUES(?1, ?2, ?3)",
            &[&id.as_bytes().as_slice(), number, body],
        ),
        Change::EndWorkflow { id, body } => {
            execute("DELETE FROM workflow_event WHERE workflow = ?1", &[&id.as_bytes().as_slice()])?;
            execute("UPDATE workflow SET ended = 1, body = ?2 WHERE id = ?1", &[&id.as_bytes().as_slice(), body])
        }
        Change::DropWorkflow { id } => execute("DELETE FROM workflow WHERE id = ?1", &[&id.as_bytes().as_slice()]),
    }?;
    Ok(())
}

fn shelf_code(shelf: ShelfKind) -> u8 {
    match shelf {
        ShelfKind::History => 0,
        ShelfKind::Discarded => 1,
    }
}

/// Twelve bytes a job: number and attempts before.
fn pack_jobs(jobs: &[(u64, u32)]) -> Vec<u8> {
    let pack = |&(sequence, attempts): &(u64, u32)| sequence.to_le_bytes().into_iter().chain(attempts.to_le_bytes());
    jobs.iter().flat_map(pack).collect()
}

fn unpack_jobs(bytes: &[u8]) -> Vec<(u64, u32)> {
    let (jobs, _) = bytes.as_chunks::<12>();
    let unpack = |&[a, b, c, d, e, f, g, h, rest @ ..]: &[u8; 12]| {
        (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes(rest))
    };
    jobs.iter().map(unpack).collect()
}

fn in_file(path: &Path, error: &rusqlite::Error) -> BrokerError {
    let path = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => BrokerError::Unavailable(format!(
            "another process has opened {path}: one data folder serves one process at a time"
        )),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => BrokerError::Corrupt(format!("{path}: {error}")),
        _ => BrokerError::Unavailable(format!("open {path}: {error}")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it can be named in map_err")]
pub(super) fn damaged(error: rusqlite::Error) -> BrokerError {
    BrokerError::Corrupt(error.to_string())
}

fn failed(error: &rusqlite::Error) -> BrokerError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => BrokerError::DiskFull(error.to_string()),
        _ => BrokerError::Unavailable(format!("write the queue's file: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn jobs_of_a_lease_survive_their_bytes(jobs in proptest::collection::vec(any::<(u64, u32)>(), 0..50)) {
            prop_assert_eq!(unpack_jobs(&pack_jobs(&jobs)), jobs);
        }
    }
}
