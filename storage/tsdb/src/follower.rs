//! Learning what other processes did to a shared store, before each read.
//!
//! A read has to see every point that was acknowledged before it, through whichever process. So it first brings the
//! shard up to a snapshot of the engine that was taken after the read was asked for: series that were created, the rest
//! of the log, moves of the fence, directories that changed. All of that becomes visible under one lock, so log and
//! blocks of an epoch are never both counted, nor neither.
//!
//! At most one such round is under way for a shard. Who comes meanwhile waits for the next one, never for the one that
//! is running, whose snapshot may be older than a write that they know of. A watch on the fence was turned down: it
//! says that something happened, not that nothing did.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::HashMap;
use parking_lot::RwLock;
use tidemark_kv::{Kv, KvError, KvSnapshot};
use tidemark_model::TimeRange;

use crate::{
    BlockCatalogue, Fence, Head, Index, Shard, Sharing, StoreError, Tier, Tombstones,
    change_log::{self, ChangePosition, Changes, DirectoryId},
    codec::Deletion,
    directory::GenerationGroups,
    index_rows, keys,
    replay::{LogChange, LogRecord, LogTail, replay},
    rollup::{MetricRollups, RollupCatalogue},
    shard::{SealedLast, emptied},
    stored_value,
};

/// How often a round starts again because its snapshot grew too old. What it read of the log stays read.
const ATTEMPTS_MAX: usize = 20;

/// Brings shards up to what the engine has. Does nothing for a store that belongs to this process alone.
#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) index: Arc<RwLock<Index>>,
    pub(crate) sharing: Sharing,
}

/// The rounds of one shard.
#[derive(Debug)]
pub(crate) struct Rounds {
    asked: AtomicU64,
    /// All that asked up to this one have been served.
    served: AtomicU64,
    position: tokio::sync::Mutex<Position>,
}

/// How far a shard was followed.
#[derive(Debug)]
pub(crate) struct Position {
    /// The log of the epoch that the shard's state calls open.
    pub(crate) log: LogTail,
    pub(crate) changes: ChangePosition,
    /// Whether the log had a deletion whose tombstone is not known yet.
    pub(crate) tombstones_due: bool,
}

/// Heads of epochs that are newer than the one that was known as open.
pub(crate) struct NewerHeads {
    pub(crate) sealing: Option<Head>,
    pub(crate) open: Head,
}

/// Directories as they are now.
pub(crate) enum Directories {
    These(Vec<(DirectoryId, Vec<GenerationGroups>)>, Vec<(u32, MetricRollups)>),
    All(BlockCatalogue),
}

impl Rounds {
    pub(crate) fn new(position: Position) -> Self {
        Self { asked: AtomicU64::new(0), served: AtomicU64::new(0), position: tokio::sync::Mutex::new(position) }
    }
}

impl Follower {
    /// Returns when the shard's state has everything that was committed before the call.
    ///
    /// # Cancel safety
    /// Whoever asks next goes on.
    pub(crate) async fn catch_up(&self, shard: &Shard) -> Result<(), StoreError> {
        if !self.sharing.is_shared() {
            return Ok(());
        }
        let mine = shard.rounds.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut position = shard.rounds.position.lock().await;
        if shard.rounds.served.load(Ordering::SeqCst) >= mine {
            return Ok(());
        }
        let asked = shard.rounds.asked.load(Ordering::SeqCst);
        let mut outcome = Ok(());
        for _ in 0..ATTEMPTS_MAX {
            outcome = self.round(shard, &mut position).await;
            if outcome != Err(StoreError::Kv(KvError::TooOld)) {
                break;
            }
        }
        if outcome.is_ok() {
            shard.rounds.served.store(asked, Ordering::SeqCst);
        }
        outcome
    }

    /// Returns when the index has every series that was created before the call.
    pub(crate) async fn catch_up_index(&self) -> Result<(), StoreError> {
        if !self.sharing.is_shared() {
            return Ok(());
        }
        index_rows::catch_up(self.kv.snapshot().await?.as_ref(), &self.index).await
    }

    async fn round(&self, shard: &Shard, position: &mut Position) -> Result<(), StoreError> {
        let snapshot = self.kv.snapshot().await?;
        let snapshot = snapshot.as_ref();
        // IMPORTANT: the index of the same snapshot as the log, whose series it has to know, and before it.
        let ((), fence, (changes, next)) = tokio::try_join!(
            index_rows::catch_up(snapshot, &self.index),
            read_fence(snapshot, shard.number),
            change_log::read(snapshot, shard.number, &position.changes),
        )?;
        let known = shard.state.read().fence;
        // Whether nothing is missing in the head of the epoch that was open when we looked last.
        let is_complete = fence.sealed < known.open;
        if is_complete {
            let Position { log, tombstones_due, .. } = &mut *position;
            let add = |entry: &LogRecord| {
                *tombstones_due |= matches!(entry.change, LogChange::Deletion(..));
                shard.state.write().open.add(entry);
            };
            log.read(snapshot, &self.index, add).await?;
        }
        let tombstones = match position.tombstones_due || fence != known {
            true => Some(self.load_tombstones(snapshot, shard).await?),
            false => None,
        };
        let newer = self.newer_heads(snapshot, shard.number, &known, &fence).await?;
        let directories = load_directories(snapshot, shard.number, &fence, changes).await?;
        let series = self.index.read().shard_len(shard.number) as usize;
        let locals = self.locals_of_emptied(&directories);
        // Nothing is awaited from here on: all of it or none.
        let mut state = shard.state.write();
        if let Some((tombstones, new)) = tombstones {
            state.take_tombstones(tombstones, &new);
            position.tombstones_due = false;
        }
        let newer = newer.map(|(heads, tail)| {
            position.log = tail;
            heads
        });
        state.follow(fence, newer, is_complete, series);
        match directories {
            Directories::All(catalogue) => {
                // Some may be gone that had newest points.
                state.catalogue = catalogue;
                state.sealed_last = SealedLast::unread(series);
                state.deletions += 1;
            }
            Directories::These(changed, rollups) => {
                state.take_directories(changed, &locals);
                rollups.into_iter().for_each(|(metric, rollups)| state.catalogue.rollups.set_metric(metric, rollups));
            }
        }
        shard.note_head_points(state.head_points());
        drop(state);
        position.changes = next;
        Ok(())
    }

    /// All tombstones, and of each that was not known which series, by their numbers in the shard, it is about.
    async fn load_tombstones(
        &self,
        snapshot: &dyn KvSnapshot,
        shard: &Shard,
    ) -> Result<(Tombstones, Vec<(Vec<u32>, TimeRange)>), StoreError> {
        let tombstones = Tombstones::load(snapshot, shard.number).await?;
        let new: Vec<_> = {
            let state = shard.state.read();
            tombstones.iter().filter(|tombstone| !state.tombstones.has(tombstone)).cloned().collect()
        };
        let index = self.index.read();
        let new = new.iter().map(|tombstone| {
            let Deletion { metric, series, range } = &tombstone.deletion;
            (index.locals(*metric, series), *range)
        });
        let new = new.collect();
        Ok((tombstones, new))
    }

    /// The series, by their numbers in the shard, of each metric that has a directory less.
    fn locals_of_emptied(&self, directories: &Directories) -> HashMap<u32, Vec<u32>> {
        let Directories::These(changed, _) = directories else { return HashMap::new() };
        let metrics: BTreeSet<u32> = emptied(changed).map(|id| id.metric).collect();
        let index = self.index.read();
        metrics.into_iter().map(|metric| (metric, index.locals_of_metric(metric))).collect()
    }

    async fn newer_heads(
        &self,
        snapshot: &dyn KvSnapshot,
        shard: u16,
        known: &Fence,
        fence: &Fence,
    ) -> Result<Option<(NewerHeads, LogTail)>, StoreError> {
        if fence.open == known.open {
            return Ok(None);
        }
        let sealing = match fence.sealing.filter(|sealing| sealing.epoch != known.open) {
            Some(sealing) => Some(replay(snapshot, shard, sealing.epoch, &self.index).await?.0),
            None => None,
        };
        let (open, tail) = replay(snapshot, shard, fence.open, &self.index).await?;
        Ok(Some((NewerHeads { sealing, open }, tail)))
    }
}

/// The fence of a shard in a snapshot.
pub(crate) async fn read_fence(snapshot: &dyn KvSnapshot, shard: u16) -> Result<Fence, StoreError> {
    let key = keys::fence(shard);
    let value = snapshot.get(&key).await?.ok_or_else(|| stored_value::damaged(&key, "it is gone"))?;
    Fence::decode(shard, &value)
}

async fn load_directories(
    snapshot: &dyn KvSnapshot,
    shard: u16,
    fence: &Fence,
    changes: Changes,
) -> Result<Directories, StoreError> {
    match changes {
        Changes::All => Ok(Directories::All(BlockCatalogue::load(snapshot, shard, fence).await?)),
        Changes::Of(changed) => {
            let (mut loaded, mut rollups) = (Vec::with_capacity(changed.len()), Vec::new());
            // Rows change with the days that they are made of.
            let days = changed.iter().filter(|id| id.bucket.tier == Tier::Day);
            let metrics: BTreeSet<u32> = days.map(|id| id.metric).collect();
            for metric in metrics {
                rollups.push((metric, RollupCatalogue::load_metric(snapshot, shard, metric).await?));
            }
            for id in changed {
                loaded.push((id, BlockCatalogue::load_one(snapshot, shard, fence, id).await?));
            }
            Ok(Directories::These(loaded, rollups))
        }
    }
}
