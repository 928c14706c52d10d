//! A snapshot for reads that may take longer than an engine keeps one.
//!
//! FoundationDB keeps a version for five seconds. What visible generations consist of never changes, so a read of them
//! may go on in a later version; groups that were merged away meanwhile are missing then, and the read starts again.
//! Nothing else may be read like this.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tidemark_kv::{BoxFuture, KeyRange, Kv, KvError, KvSnapshot, RangeLimit, RangePage};

/// How often one read is tried with a new snapshot.
const RENEWALS_MAX: usize = 3;

/// Takes another snapshot whenever the one before has grown too old.
pub(crate) struct RenewingSnapshot {
    kv: Arc<dyn Kv>,
    newest: Mutex<Arc<dyn KvSnapshot>>,
}

impl RenewingSnapshot {
    /// Begins with the state of now.
    pub(crate) async fn take(kv: &Arc<dyn Kv>) -> Result<Self, KvError> {
        let newest = Mutex::new(kv.snapshot().await?);
        Ok(Self { kv: Arc::clone(kv), newest })
    }

    fn newest(&self) -> Arc<dyn KvSnapshot> {
        Arc::clone(&self.newest.lock())
    }

    /// Replaces the snapshot that was too old, unless somebody else has.
    async fn renew(&self, old: &Arc<dyn KvSnapshot>) -> Result<(), KvError> {
        if Arc::ptr_eq(old, &self.newest()) {
            let newer = self.kv.snapshot().await?;
            *self.newest.lock() = newer;
        }
        Ok(())
    }
}

impl KvSnapshot for RenewingSnapshot {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, KvError>> {
        Box::pin(async move {
            for _ in 0..RENEWALS_MAX {
                let snapshot = self.newest();
                match snapshot.get(key).await {
                    Err(KvError::TooOld) => self.renew(&snapshot).await?,
                    other => return other,
                }
            }
            self.newest().get(key).await
        })
    }

    fn range(&self, range: KeyRange, limit: RangeLimit) -> BoxFuture<'_, Result<RangePage, KvError>> {
        Box::pin(async move {
            for _ in 0..RENEWALS_MAX {
                let snapshot = self.newest();
                match snapshot.range(range.clone(), limit).await {
                    Err(KvError::TooOld) => self.renew(&snapshot).await?,
                    other => return other,
                }
            }
            self.newest().range(range, limit).await
        })
    }
}

#[cfg(test)]
mod tests {
    use tidemark_kv::{Commit, CommitOutcome, FaultPlan, MemoryKv};

    use super::*;

    #[tokio::test]
    async fn a_read_goes_on_when_its_snapshot_has_grown_too_old() {
        let memory = Arc::new(MemoryKv::new());
        let mut commit = Commit::new();
        commit.put(&b"a"[..], &b"1"[..]);
        assert!(matches!(memory.commit(commit).await, CommitOutcome::Done(_)));
        let kv = Arc::clone(&memory) as Arc<dyn Kv>;
        for seed in 0..50 {
            memory.set_faults(FaultPlan { seed, too_old_per_mille: 200, ..FaultPlan::default() });
            let snapshot = RenewingSnapshot::take(&kv).await.unwrap();
            for _ in 0..5 {
                match snapshot.get(b"a").await {
                    Ok(value) => assert_eq!(value, Some(Bytes::from_static(b"1"))),
                    Err(error) => assert_eq!(error, KvError::TooOld),
                }
            }
        }
        memory.set_faults(FaultPlan::default());
        let snapshot = RenewingSnapshot::take(&kv).await.unwrap();
        let page = snapshot.range(KeyRange::prefix(b"a"), RangeLimit::PAGE).await.unwrap();
        assert_eq!(page.entries.len(), 1);
    }
}
