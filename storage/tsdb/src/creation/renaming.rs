//! Other names for what there is: one commit that takes the old names away and puts the new ones, and expects the counters
//! as everybody does who changes the index.
//!
//! Everything else in the store is under ids and stays as it is. A metric stays in its shard, which was that of its first
//! name. To move the points was turned down: it is all of them that would have to be written again.

use std::sync::Arc;

use tidemark_kv::{Commit, CommitOutcome, KvError};
use tidemark_model::{
    MetricSpace, NameCharacters, NameKind, RefusalReason, RenameRefusal, WriteRefusal, check_stored_name, is_reserved,
};

use super::{ATTEMPTS_MAX, SeriesCreator};
use crate::{
    Index, StoreError,
    index::{self, Rename, shard_of},
    index_counts::IndexCounts,
    index_log,
    index_rows::NameRow,
    keys, metadata,
    refusal::refusal_of,
    store_version,
};

/// What errors say that was not done.
const WHAT: &str = "the name was not changed";

impl SeriesCreator {
    /// Whether a name could be changed now.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_rename(&self, kind: NameKind, old: &str, new: &str) -> Result<(), RenameRefusal> {
        changes(&self.index.read(), kind, old, new).map(drop)
    }

    /// Gives what has a name another one. What is known of a metric under its name goes with it.
    ///
    /// # Errors
    /// Why nothing was changed, or that this is not known.
    pub(crate) async fn rename(&self, kind: NameKind, old: &str, new: &str) -> Result<(), RenameRefusal> {
        let _turn = self.turn.lock().await;
        // What a commit would have changed of which nobody knows the outcome.
        let mut tried: Option<Vec<Rename>> = None;
        for _ in 0..ATTEMPTS_MAX {
            if tried.take().is_some_and(|changes| are_made(&self.index.read(), &changes)) {
                return Ok(());
            }
            let (mut commit, after, changes) = self.plan_rename(kind, old, new)?;
            if kind == NameKind::Metric {
                self.take_metadata_along(&mut commit, old, new).await.map_err(|error| unavailable(&error))?;
            }
            match self.kv.commit(commit).await {
                CommitOutcome::Done(_) => {
                    let renamed = index::rename(&self.index, after.renames, move |_| changes.clone()).await;
                    if !renamed.map_err(|error| RenameRefusal::Unknown(error.to_string()))? {
                        tracing::error!(%kind, old, new, "a name that was changed could not be changed in the index");
                    }
                    return Ok(());
                }
                CommitOutcome::Refused(KvError::Conflict { .. }) => {
                    self.reload().await.map_err(|error| unavailable(&error))?;
                }
                CommitOutcome::Unknown(error) => {
                    self.reload().await.map_err(|_| RenameRefusal::Unknown(error.to_string()))?;
                    tried = Some(changes);
                }
                CommitOutcome::Refused(error) => return Err(RenameRefusal::Store(refusal_of(WHAT, &error))),
            }
        }
        if tried.is_some_and(|changes| are_made(&self.index.read(), &changes)) {
            return Ok(());
        }
        let message = format!("{WHAT}: other processes create series all the time; try again");
        Err(RenameRefusal::Store(WriteRefusal::new(RefusalReason::Busy, message)))
    }

    /// What to commit, what the index has afterwards, and what is called otherwise then.
    fn plan_rename(
        &self,
        kind: NameKind,
        old: &str,
        new: &str,
    ) -> Result<(Commit, IndexCounts, Vec<Rename>), RenameRefusal> {
        let index = self.index.read();
        let before = IndexCounts::of(&index);
        let changes = changes(&index, kind, old, new)?;
        let mut commit = Commit::new();
        commit.expect(keys::COUNTERS, before.expected());
        for Rename { id, name, .. } in &changes {
            let Some(old) = index.names(kind).name(*id) else { continue };
            let shard = index.metric(*id).filter(|_| kind == NameKind::Metric).map(|metric| metric.shard);
            let shard = shard.filter(|shard| *shard != shard_of(name, index.shards()));
            commit.delete(keys::name(kind, old)).put(keys::name(kind, name), NameRow { id: *id, shard }.encode());
        }
        if before.renames == 0 {
            // IMPORTANT: from now on programs that would misread rows of series refuse the store.
            commit.put(keys::STORE, store_version::renamed(index.shards()));
        }
        let after = before.renamed(changes.len());
        commit.put(keys::COUNTERS, after.encode());
        if self.sharing.is_shared() {
            index_log::note_renames(&mut commit, &before, &changes);
        }
        Ok((commit, after, changes))
    }

    async fn take_metadata_along(&self, commit: &mut Commit, old: &str, new: &str) -> Result<(), StoreError> {
        let snapshot = self.kv.snapshot().await?;
        metadata::take_along(commit, snapshot.as_ref(), old, new).await
    }
}

/// What has to be called otherwise: of a metric also what it is called in other spaces.
fn changes(index: &Index, kind: NameKind, old: &str, new: &str) -> Result<Vec<Rename>, RenameRefusal> {
    const { &NameCharacters::STORABLE }.check(new).map_err(RenameRefusal::Illegal)?;
    let names = index.names(kind);
    let having = |name: &str| -> Vec<(Arc<str>, u32)> {
        match kind {
            NameKind::Metric => names.of_metric(name),
            NameKind::TagKey | NameKind::TagValue => {
                names.id(name).map(|id| (Arc::from(name), id)).into_iter().collect()
            }
        }
    };
    // What only the program writes goes with the metric that was written.
    let found = if is_reserved(old) { Vec::new() } else { having(old) };
    if found.is_empty() {
        return Err(RenameRefusal::NoSuchName);
    }
    if let Some(&(_, id)) = having(new).first() {
        return Err(RenameRefusal::Taken { id });
    }
    let change = |(name, id): (Arc<str>, u32)| {
        let name =
            MetricSpace::of_stored_name(&name).map_or_else(|| new.to_owned(), |(space, _)| space.stored_name(new));
        check_stored_name(&name).map_err(RenameRefusal::Illegal)?;
        Ok(Rename { kind, id, name: name.into() })
    };
    found.into_iter().map(change).collect()
}

fn are_made(index: &Index, changes: &[Rename]) -> bool {
    changes.iter().all(|change| index.names(change.kind).name(change.id) == Some(&change.name))
}

fn unavailable(error: &StoreError) -> RenameRefusal {
    RenameRefusal::Store(WriteRefusal::new(RefusalReason::Unavailable, format!("{WHAT}: {error}")))
}
