//! What the parts of the engine share.

use std::{fmt, time::Duration};

use foundationdb::{Database, FdbError, Transaction, options::TransactionOption};

use super::{FdbOptions, failure};
use crate::KvError;

/// How long to wait before a read that failed for the moment is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection to a cluster, and how it is used.
pub(super) struct Cluster {
    pub(super) database: Database,
    /// Path of the cluster file, for people.
    pub(super) file: String,
    pub(super) options: FdbOptions,
}

impl Cluster {
    /// A transaction whose writes its own reads do not see: nothing here depends on that, and operations then stay in
    /// order.
    pub(super) fn begin(&self) -> Result<Transaction, KvError> {
        let begin = || {
            let transaction = self.database.create_trx()?;
            transaction.set_option(TransactionOption::ReadYourWritesDisable)?;
            Ok(transaction)
        };
        begin().map_err(|error| self.unavailable("begin a transaction", error))
    }

    /// The state of now as a transaction that reads it, with its version.
    ///
    /// Everything whose commit was acknowledged before is in it, whoever committed.
    pub(super) async fn begin_reading(&self) -> Result<(Transaction, i64), KvError> {
        // A transaction keeps the outcome of its first try, so that each try needs one of its own.
        let begin = || async {
            let transaction = self.begin()?;
            let version = transaction.get_read_version().await?;
            Ok((transaction, version))
        };
        self.in_time("get a read version", begin).await
    }

    /// Reads, tries again what failed for the moment, and gives up when the time for reading is over.
    pub(super) async fn in_time<T, R>(&self, what: &'static str, read: impl Fn() -> R) -> Result<T, KvError>
    where
        R: Future<Output = Result<T, Failed>>,
    {
        let reading = async {
            loop {
                match read().await {
                    Ok(found) => return Ok(found),
                    Err(Failed::Cluster(error)) if failure::is_passing(error) => tokio::time::sleep(PAUSE).await,
                    Err(Failed::Cluster(error)) if failure::is_too_old(error) => return Err(KvError::TooOld),
                    Err(Failed::Cluster(error)) => return Err(self.unavailable(what, error)),
                    Err(Failed::Here(error)) => return Err(error),
                }
            }
        };
        match tokio::time::timeout(self.options.read_timeout, reading).await {
            Ok(done) => done,
            Err(_) => Err(self.silent(what)),
        }
    }

    pub(super) fn unavailable(&self, what: &str, error: FdbError) -> KvError {
        KvError::Unavailable(format!("{what} of {self}: {error} (error {})", error.code()))
    }

    /// The cluster does not answer.
    pub(super) fn silent(&self, what: &str) -> KvError {
        KvError::Unavailable(format!(
            "{what} of {self}: no answer within {:?}; check that it runs, and that the client library is of its version",
            self.options.read_timeout
        ))
    }
}

/// Why a read failed.
pub(super) enum Failed {
    /// The cluster or the client library says so.
    Cluster(FdbError),
    Here(KvError),
}

impl From<FdbError> for Failed {
    fn from(error: FdbError) -> Self {
        Self::Cluster(error)
    }
}

impl From<KvError> for Failed {
    fn from(error: KvError) -> Self {
        Self::Here(error)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the FoundationDB cluster of `{}`", self.file)
    }
}
