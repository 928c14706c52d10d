//! The engine.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    fault_plan::{CommitFault, FaultDice, FaultPlan},
    versioned_map::VersionedMap,
};
use crate::{
    BoxFuture, COMMIT_BYTES_MAX, Commit, CommitOutcome, KeyRange, Kv, KvError, KvSnapshot, Operation, RangeLimit,
    RangePage, Versionstamp,
};

/// An ordered key-value store in memory. A clone is another handle to the same store.
#[derive(Clone, Debug)]
pub struct MemoryKv {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    dice: Mutex<FaultDice>,
    full: AtomicBool,
    unavailable: AtomicBool,
    /// Whether every commit is durable at once.
    synced: bool,
}

#[derive(Debug, Default)]
struct State {
    map: VersionedMap,
    /// Version of the newest commit; its versionstamp.
    version: u64,
    /// What a crash goes back to.
    synced_version: u64,
    /// Crashes so far; a snapshot from before a crash is too old.
    crashes: u64,
    /// How many snapshots read at each version.
    readers: BTreeMap<u64, usize>,
}

impl MemoryKv {
    /// An empty store without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::with_faults(FaultPlan::default())
    }

    /// An empty store that misbehaves as planned.
    #[must_use]
    pub fn with_faults(plan: FaultPlan) -> Self {
        Self::build(plan, true)
    }

    /// An empty store that is not durable: [`MemoryKv::crash`] loses what was committed after the last
    /// [`MemoryKv::sync`].
    #[must_use]
    pub fn unsynced(plan: FaultPlan) -> Self {
        Self::build(plan, false)
    }

    fn build(plan: FaultPlan, synced: bool) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            dice: Mutex::new(FaultDice::new(plan)),
            full: AtomicBool::new(false),
            unavailable: AtomicBool::new(false),
            synced,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Misbehaves as planned from now on.
    pub fn set_faults(&self, plan: FaultPlan) {
        *self.shared.dice.lock() = FaultDice::new(plan);
    }

    /// Refuses commits with [`KvError::Full`] until it is told otherwise; reads go on, and so do commits that delete and
    /// put at most 4 KiB.
    pub fn set_full(&self, full: bool) {
        self.shared.full.store(full, Ordering::SeqCst);
    }

    /// Refuses snapshots and commits with [`KvError::Unavailable`] until it is told otherwise.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.shared.unavailable.store(unavailable, Ordering::SeqCst);
    }

    /// Makes everything committed so far survive a crash.
    pub fn sync(&self) {
        let mut state = self.shared.state.lock();
        state.synced_version = state.version;
        state.forget();
    }

    /// Goes back to the state of the last [`MemoryKv::sync`]; a store that is not [`MemoryKv::unsynced`] loses nothing.
    /// Snapshots from before are too old afterwards.
    pub fn crash(&self) {
        let mut state = self.shared.state.lock();
        let survives = state.synced_version;
        state.map.forget_after(survives);
        state.version = survives;
        state.crashes += 1;
        state.readers.clear();
    }

    fn take_snapshot(&self) -> Result<Arc<dyn KvSnapshot>, KvError> {
        self.shared.check_available()?;
        let mut state = self.shared.state.lock();
        let version = state.version;
        *state.readers.entry(version).or_default() += 1;
        Ok(Arc::new(MemorySnapshot { shared: Arc::clone(&self.shared), version, crashes: state.crashes }))
    }

    async fn commit_with_faults(&self, commit: &Commit) -> CommitOutcome {
        if let Err(error) = commit.check_limits().and_then(|()| self.shared.check_available()) {
            return CommitOutcome::Refused(error);
        }
        let (delay, fault) = {
            let mut dice = self.shared.dice.lock();
            (dice.delay(), dice.commit_fault())
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        let full = self.shared.full.load(Ordering::SeqCst);
        let unknown = || CommitOutcome::Unknown(KvError::Unavailable("the answer to the commit was lost".into()));
        match fault {
            CommitFault::Full => CommitOutcome::Refused(disk_full()),
            _ if full && !commit.mostly_deletes() => CommitOutcome::Refused(disk_full()),
            CommitFault::TooLarge => {
                let (bytes, limit) = (commit.bytes(), COMMIT_BYTES_MAX);
                CommitOutcome::Refused(KvError::TooLarge { what: "commit", bytes, limit })
            }
            CommitFault::Conflict => CommitOutcome::Refused(KvError::conflict(b"drawn from the fault plan")),
            CommitFault::Unknown { committed: false } => unknown(),
            CommitFault::Unknown { committed: true } => match self.shared.apply(commit) {
                Ok(_) => unknown(),
                Err(error) => CommitOutcome::Refused(error),
            },
            CommitFault::None => match self.shared.apply(commit) {
                Ok(stamp) => CommitOutcome::Done(stamp),
                Err(error) => CommitOutcome::Refused(error),
            },
        }
    }
}

impl Default for MemoryKv {
    fn default() -> Self {
        Self::new()
    }
}

impl Kv for MemoryKv {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn KvSnapshot>, KvError>> {
        Box::pin(async { self.take_snapshot() })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome> {
        Box::pin(async move { self.commit_with_faults(&commit).await })
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn disk_bytes(&self) -> Option<u64> {
        None
    }
}

impl Shared {
    fn check_available(&self) -> Result<(), KvError> {
        if self.unavailable.load(Ordering::SeqCst) {
            Err(KvError::Unavailable("the memory engine was told to be unavailable".into()))
        } else {
            Ok(())
        }
    }

    fn apply(&self, commit: &Commit) -> Result<Versionstamp, KvError> {
        let mut state = self.state.lock();
        let now = state.version;
        let changed = |expectation: &&crate::Expectation| state.map.get(&expectation.key, now) != expectation.value;
        if let Some(expectation) = commit.expectations.iter().find(changed) {
            return Err(KvError::conflict(&expectation.key));
        }
        if commit.operations.is_empty() {
            return Ok(Versionstamp::new(now, 0));
        }
        let version = now + 1;
        let mut order = 0;
        for operation in &commit.operations {
            state.apply(operation, version, &mut order);
        }
        state.version = version;
        if self.synced {
            state.synced_version = version;
        }
        state.forget();
        Ok(Versionstamp::new(version, 0))
    }
}

impl State {
    fn apply(&mut self, operation: &Operation, version: u64, order: &mut u16) {
        match operation {
            Operation::Put { key, value } => self.map.set(key.clone(), Some(value.clone()), version),
            Operation::PutVersionstamped { prefix, suffix, value } => {
                let key = Versionstamp::new(version, *order).key(prefix, suffix);
                self.map.set(key.into(), Some(value.clone()), version);
                *order = order.saturating_add(1);
            }
            Operation::Delete { key } => {
                if self.map.get(key, version).is_some() {
                    self.map.set(key.clone(), None, version);
                }
            }
            Operation::DeleteRange(range) => self.map.delete_range(range, version),
        }
    }

    fn forget(&mut self) {
        let oldest_reader = self.readers.keys().next().copied().unwrap_or(self.version);
        self.map.forget_before(oldest_reader.min(self.synced_version));
    }
}

/// What [`MemoryKv`] was at one version.
#[derive(Debug)]
struct MemorySnapshot {
    shared: Arc<Shared>,
    version: u64,
    crashes: u64,
}

impl MemorySnapshot {
    fn read<T>(&self, read: impl FnOnce(&VersionedMap) -> T) -> Result<T, KvError> {
        self.shared.check_available()?;
        let state = self.shared.state.lock();
        if state.crashes != self.crashes || self.shared.dice.lock().snapshot_is_too_old() {
            return Err(KvError::TooOld);
        }
        Ok(read(&state.map))
    }
}

impl KvSnapshot for MemorySnapshot {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, KvError>> {
        Box::pin(async move { self.read(|map| map.get(key, self.version)) })
    }

    fn range(&self, range: KeyRange, limit: RangeLimit) -> BoxFuture<'_, Result<RangePage, KvError>> {
        Box::pin(async move { self.read(|map| map.range(&range, limit, self.version)) })
    }
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        if state.crashes != self.crashes {
            return;
        }
        if let Some(readers) = state.readers.get_mut(&self.version) {
            *readers -= 1;
            if *readers == 0 {
                state.readers.remove(&self.version);
            }
        }
    }
}

fn disk_full() -> KvError {
    KvError::Full("the memory engine was told to be full".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn value(store: &MemoryKv, key: &[u8]) -> Option<Bytes> {
        store.snapshot().await.unwrap().get(key).await.unwrap()
    }

    async fn put(store: &MemoryKv, key: &'static str, value: &'static str) -> CommitOutcome {
        let mut commit = Commit::new();
        commit.put(key, value);
        store.commit(commit).await
    }

    #[tokio::test]
    async fn a_crash_loses_what_was_not_synced_and_nothing_else() {
        let store = MemoryKv::unsynced(FaultPlan::default());
        put(&store, "a", "1").await;
        store.sync();
        put(&store, "a", "2").await;
        put(&store, "b", "1").await;
        let before = store.snapshot().await.unwrap();
        store.crash();
        assert_eq!(value(&store, b"a").await.as_deref(), Some(&b"1"[..]));
        assert_eq!(value(&store, b"b").await, None);
        assert_eq!(before.get(b"a").await, Err(KvError::TooOld));
        put(&store, "b", "3").await;
        drop(before);
        assert_eq!(value(&store, b"b").await.as_deref(), Some(&b"3"[..]));
    }

    #[tokio::test]
    async fn a_crash_of_a_durable_store_loses_nothing() {
        let store = MemoryKv::new();
        put(&store, "a", "1").await;
        store.crash();
        assert_eq!(value(&store, b"a").await.as_deref(), Some(&b"1"[..]));
    }

    #[tokio::test]
    async fn half_of_the_unknown_commits_are_there() {
        let store = MemoryKv::with_faults(FaultPlan { seed: 3, unknown_per_mille: 1000, ..FaultPlan::default() });
        for number in 0..400_u32 {
            let mut commit = Commit::new();
            commit.put(number.to_be_bytes().to_vec(), "x");
            assert!(matches!(store.commit(commit).await, CommitOutcome::Unknown(KvError::Unavailable(_))));
        }
        let all = KeyRange::prefix(b"");
        let there = store.snapshot().await.unwrap().range(all, RangeLimit::PAGE).await.unwrap().entries.len();
        assert!((150..250).contains(&there), "{there} of 400");
    }

    #[tokio::test]
    async fn a_full_store_refuses_commits_and_still_reads() {
        let store = MemoryKv::new();
        put(&store, "a", "1").await;
        store.set_full(true);
        assert!(matches!(put(&store, "a", "2").await, CommitOutcome::Refused(KvError::Full(_))));
        assert_eq!(value(&store, b"a").await.as_deref(), Some(&b"1"[..]));
        let mut deletes = Commit::new();
        deletes.delete("a");
        assert!(matches!(store.commit(deletes).await, CommitOutcome::Done(_)));
        store.set_full(false);
        assert!(matches!(put(&store, "a", "2").await, CommitOutcome::Done(_)));
    }

    #[tokio::test]
    async fn planned_conflicts_large_commits_old_snapshots_and_outages_are_reported_as_such() {
        let store = MemoryKv::with_faults(FaultPlan { seed: 1, conflict_per_mille: 1000, ..FaultPlan::default() });
        assert!(matches!(put(&store, "a", "1").await, CommitOutcome::Refused(KvError::Conflict { .. })));
        store.set_faults(FaultPlan { seed: 1, too_large_per_mille: 1000, ..FaultPlan::default() });
        assert!(matches!(
            put(&store, "a", "1").await,
            CommitOutcome::Refused(KvError::TooLarge { what: "commit", .. })
        ));
        store.set_faults(FaultPlan { seed: 1, too_old_per_mille: 1000, ..FaultPlan::default() });
        assert_eq!(store.snapshot().await.unwrap().get(b"a").await, Err(KvError::TooOld));
        store.set_faults(FaultPlan::default());
        store.set_unavailable(true);
        assert!(matches!(put(&store, "a", "1").await, CommitOutcome::Refused(KvError::Unavailable(_))));
        assert!(matches!(store.snapshot().await.map(|_| ()), Err(KvError::Unavailable(_))));
    }

    #[tokio::test]
    async fn a_slow_commit_takes_the_planned_time() {
        let slow = std::time::Duration::from_millis(20);
        let store = MemoryKv::with_faults(FaultPlan { seed: 1, slow_per_mille: 1000, slow, ..FaultPlan::default() });
        let started = tokio::time::Instant::now();
        assert!(matches!(put(&store, "a", "1").await, CommitOutcome::Done(_)));
        assert!(started.elapsed() >= slow);
    }
}
