//! The store: what it consists of, how it opens and how it ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tidemark_kv::{Commit, CommitOutcome, Kv, KvError, KvSnapshot};
use tidemark_model::{Clock, TimeRange};
use tokio::sync::Notify;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    BlockCatalogue, ExpiryReport, Fence, Index, MetricDay, PurgeReport, Shard, StoreError, StoreOptions, Tombstones,
    change_log,
    compaction::CompactionRules,
    creation::SeriesCreator,
    expiry_clock::ExpiryClock,
    figures::{Counters, StoreFigures},
    flusher::{Flusher, FlusherParts},
    follower::{Follower, Position},
    index_rows, keys, presence,
    replay::replay,
    sealer::{CompactionReport, SealReason, SealReport, Sealer, TAKE_OVER_AFTER},
    shard::{SealedLast, ShardMessage, ShardState},
    store_version,
    writer::WriteLimits,
};

/// How long after a seal that failed the next one is tried.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Most shards of a store.
const SHARDS_MAX: u16 = 1_024;

/// The time-series layer over an ordered key-value store. Cheap to clone; all clones are one store.
///
/// Write through [`tidemark_model::PointSink`], read through [`tidemark_model::SeriesReader`] and
/// [`tidemark_model::SeriesCatalog`]. When the last clone is dropped without [`Store::close`], writes that wait are
/// refused and nothing that was acknowledged is lost.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
    _dropped: Arc<DropGuard>,
}

pub(crate) struct Inner {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) index: Arc<RwLock<Index>>,
    pub(crate) creator: SeriesCreator,
    pub(crate) follower: Follower,
    pub(crate) shards: Arc<[Arc<Shard>]>,
    pub(crate) closing: CancellationToken,
    pub(crate) options: StoreOptions,
    /// When a write looked last whether others changed names, in milliseconds of the monotonic clock.
    pub(crate) looked_for_renames_ms: AtomicU64,
    sealer: Arc<Sealer>,
    counters: Arc<Counters>,
    pub(crate) tracker: TaskTracker,
}

impl Inner {
    pub(crate) fn limits(&self) -> WriteLimits {
        WriteLimits {
            queued_points_max: self.options.queued_points_max,
            head_points_max: self.options.head_points_max,
            future_max: self.options.future_max,
        }
    }
}

impl Store {
    /// How long another process may take for one seal before it counts as dead and its seal is taken over.
    pub const TAKE_OVER_AFTER: Duration = TAKE_OVER_AFTER;

    /// Number of shards.
    #[must_use]
    pub fn shards(&self) -> u16 {
        u16::try_from(self.inner.shards.len()).unwrap_or(u16::MAX)
    }

    /// Opens the store in `kv`, or makes a new one: reads the index and the directories of the blocks and replays the log
    /// of the epochs that are not sealed. Must be called in a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::NewerVersion`] and [`StoreError::ShardCount`] for a store that is not for this program or these
    /// options; [`StoreError::Corrupt`] names an entry that is damaged.
    pub async fn open(kv: Arc<dyn Kv>, clock: Arc<dyn Clock>, mut options: StoreOptions) -> Result<Self, StoreError> {
        options.shards = options.shards.clamp(1, SHARDS_MAX);
        // Writes that are refused for full heads need a seal that makes room.
        options.seal_points = options.seal_points.min(options.head_points_max / 2).max(1);
        store_version::check_or_create(kv.as_ref(), options.shards).await?;
        let writer = store_version::new_writer(kv.as_ref()).await?;
        let fences = create_fences(kv.as_ref(), options.shards).await?;
        let snapshot = kv.snapshot().await?;
        let index = Arc::new(RwLock::new(Index::new(options.shards)));
        index_rows::load(snapshot.as_ref(), &index).await?;
        presence::load(snapshot.as_ref(), &index).await?;
        let mut states = Vec::with_capacity(fences.len());
        for (shard, fence) in (0..).zip(fences) {
            states.push(read_shard(snapshot.as_ref(), shard, fence, &index).await?);
        }
        drop(snapshot);
        Ok(Self::start(kv, clock, options, writer, index, states))
    }

    /// The number of shards of the store in `kv`, which is fixed; `None` when there is no store yet.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn stored_shards(kv: &dyn Kv) -> Result<Option<u16>, StoreError> {
        store_version::shards(kv).await
    }

    fn start(
        kv: Arc<dyn Kv>,
        clock: Arc<dyn Clock>,
        options: StoreOptions,
        writer: u64,
        index: Arc<RwLock<Index>>,
        states: Vec<(ShardState, Position)>,
    ) -> Self {
        let (counters, seal_wanted) = (Arc::new(Counters::default()), Arc::new(Notify::new()));
        let (tracker, dropped, closing) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let parts = FlusherParts {
            kv: Arc::clone(&kv),
            clock: Arc::clone(&clock),
            index: Arc::clone(&index),
            counters: Arc::clone(&counters),
            seal_wanted: Arc::clone(&seal_wanted),
            seal_points: options.seal_points,
            tombstones_max: options.tombstones_max,
            writer,
        };
        let resume = states.iter().any(|(state, _)| state.fence.sealing.is_some());
        let follower = Follower { kv: Arc::clone(&kv), index: Arc::clone(&index), sharing: options.sharing };
        let shards = (0..).zip(states).map(|(number, (state, position))| {
            let (shard, receiver) = Shard::new(number, options.sharing, state, position);
            tracker.spawn(Flusher::new(parts.clone(), Arc::clone(&shard), receiver).run(dropped.clone()));
            shard
        });
        let shards: Arc<[_]> = shards.collect();
        let sealer = Arc::new(Sealer {
            kv: Arc::clone(&kv),
            clock: Arc::clone(&clock),
            index: Arc::clone(&index),
            shards: Arc::clone(&shards),
            counters: Arc::clone(&counters),
            tracker: tracker.clone(),
            closing: closing.clone(),
            dropped: dropped.clone(),
            seal_points: options.seal_points,
            writer,
            attempts: AtomicU64::new(1),
            turn: tokio::sync::Mutex::new(()),
            follower: follower.clone(),
            foreign: parking_lot::Mutex::default(),
            unmerged: parking_lot::Mutex::default(),
            merge_turn: tokio::sync::Mutex::new(()),
            compaction: CompactionRules {
                intervals: options.rollup_intervals.clone(),
                bytes_max: options.merge_bytes_max,
            },
            looked_for_rows: AtomicBool::new(false),
            retention: options.retention.clone(),
            expiry_clock: ExpiryClock::new(clock.as_ref()),
        });
        tracker.spawn(seal_when_wanted(Arc::clone(&sealer), seal_wanted, closing.clone(), dropped.clone(), resume));
        let creator = SeriesCreator::new(Arc::clone(&kv), Arc::clone(&clock), Arc::clone(&index), &options);
        let inner = Inner {
            kv,
            clock,
            index,
            creator,
            follower,
            shards,
            closing,
            options,
            looked_for_renames_ms: AtomicU64::new(0),
            sealer,
            counters,
            tracker,
        };
        Self { inner: Arc::new(inner), _dropped: Arc::new(dropped.drop_guard()) }
    }

    /// Turns the points in memory into blocks and clears their log. Seals that are asked for meanwhile come after it.
    ///
    /// # Errors
    /// What the engine refused, [`StoreError::SealTakenOver`] when another process seals, [`StoreError::Closed`]. Nothing
    /// is lost: the next seal goes on from there.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the seal.
    pub async fn seal(&self, reason: SealReason) -> Result<SealReport, StoreError> {
        self.seal_some(None, reason).await
    }

    /// As [`Store::seal`] for one shard; a number that there is no shard of does nothing.
    ///
    /// # Errors
    /// As [`Store::seal`].
    pub async fn seal_shard(&self, shard: u16, reason: SealReason) -> Result<SealReport, StoreError> {
        self.seal_some(Some(shard), reason).await
    }

    async fn seal_some(&self, only: Option<u16>, reason: SealReason) -> Result<SealReport, StoreError> {
        let sealer = Arc::clone(&self.inner.sealer);
        let sealing = async move {
            let sealed = sealer.seal(only, reason).await;
            // The shards that nobody else is sealing have been sealed.
            if matches!(sealed, Ok(_) | Err(StoreError::SealUnderWay { .. })) {
                sealer.follow_up().await;
            }
            sealed
        };
        let report = self.in_task("seal", sealing).await?;
        if let Err(error) = self.check_presence().await {
            tracing::warn!(%error, "which series have no points left was not found out; the next seal tries again");
        }
        Ok(report)
    }

    /// Takes the points of deletions whose epoch is sealed from the disk, without waiting for the next seal to do so.
    ///
    /// # Errors
    /// What the engine refused or which entry is damaged. The points stay hidden, and the next purge goes on.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the purge.
    pub async fn purge(&self) -> Result<PurgeReport, StoreError> {
        let sealer = Arc::clone(&self.inner.sealer);
        self.in_task("purge", async move { sealer.purge().await }).await
    }

    /// Compacts every day of every metric that ended two hours ago or earlier, whether or not points still come in for it,
    /// and makes the rollups that are missing. Seals do this by themselves for days that are quiet.
    ///
    /// # Errors
    /// What the engine refused first, or [`StoreError::Closed`]; the other days were compacted all the same.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the compaction.
    pub async fn compact(&self) -> Result<CompactionReport, StoreError> {
        let sealer = Arc::clone(&self.inner.sealer);
        self.in_task("compaction", async move { sealer.compact().await }).await
    }

    /// The days of `range` that ended two hours ago or earlier and have points on the disk, of the metric of this name or of
    /// all. Days that rollups have outlived are left out, since there is nothing to make them of.
    ///
    /// # Errors
    /// What the engine refused.
    pub async fn days(&self, range: TimeRange, metric: Option<&str>) -> Result<Vec<MetricDay>, StoreError> {
        self.inner.sealer.days(range, metric).await
    }

    /// Compacts a day of a metric and makes its rollups, also when that was done before. A day that is larger than
    /// [`StoreOptions::merge_bytes_max`] stays as it is, and so does one that another process is changing.
    ///
    /// # Errors
    /// What the engine refused or which entry is damaged; the day is then as it was.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the compaction.
    pub async fn compact_day(&self, day: MetricDay) -> Result<CompactionReport, StoreError> {
        let sealer = Arc::clone(&self.inner.sealer);
        self.in_task("compaction", async move { sealer.compact_again(day).await }).await
    }

    /// Takes points from the disk that are older than the retention of their metric, without waiting for the next seal
    /// to do so: buckets as a whole, so that points may stay for the length of a bucket longer. Points in memory stay
    /// until they are sealed.
    ///
    /// # Errors
    /// What the engine refused; the next time goes on.
    ///
    /// # Cancel safety
    /// Dropping the future does not end it.
    pub async fn expire(&self) -> Result<ExpiryReport, StoreError> {
        let sealer = Arc::clone(&self.inner.sealer);
        let expired = self.in_task("expiry", async move { sealer.expire().await }).await;
        if let Err(error) = self.check_presence().await {
            tracing::warn!(%error, "which series have no points left was not found out; the next seal tries again");
        }
        expired
    }

    /// Runs to its end whether or not anybody waits for it, because what is in memory has to follow what was committed.
    async fn in_task<T: Send + 'static>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ended = self.inner.tracker.spawn(work).await;
        ended.map_err(|error| KvError::Unavailable(format!("the {what} ended early: {error}")))?
    }

    /// The state of the store now.
    #[must_use]
    pub fn figures(&self) -> StoreFigures {
        let mut figures = StoreFigures {
            series: self.inner.index.read().len() as u64,
            disk_bytes: self.inner.kv.disk_bytes(),
            flushes: self.inner.counters.flushes(),
            seals: self.inner.counters.seals(),
            ..StoreFigures::default()
        };
        for shard in self.inner.shards.iter() {
            let state = shard.state.read();
            for head in state.heads() {
                figures.head_points += head.points();
                figures.head_bytes += head.memory_bytes() as u64;
                figures.log_bytes += head.log_bytes;
            }
            figures.block_points += state.catalogue.points;
            figures.tombstones += state.tombstones.len() as u64;
            figures.block_bytes += state.catalogue.bytes;
            let (rows, bytes) = state.catalogue.rollups.totals();
            figures.rollup_rows += rows;
            figures.rollup_bytes += bytes;
        }
        figures
    }

    /// Ends the store: refuses new writes, flushes those that wait, leaves a seal under way for the next start.
    ///
    /// Returns when all of its tasks have ended. Points in memory stay in the log and are replayed.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        for shard in self.inner.shards.iter() {
            // A flusher that has ended already needs no telling.
            shard.queue.send(ShardMessage::Stop).await.ok();
        }
        self.inner.tracker.close();
        self.inner.tracker.wait().await;
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Store").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

async fn create_fences(kv: &dyn Kv, shards: u16) -> Result<Vec<Fence>, StoreError> {
    let mut fences = Vec::with_capacity(usize::from(shards));
    for shard in 0..shards {
        fences.push(create_fence(kv, shard).await?);
    }
    Ok(fences)
}

async fn create_fence(kv: &dyn Kv, shard: u16) -> Result<Fence, StoreError> {
    let key = keys::fence(shard);
    loop {
        if let Some(value) = kv.snapshot().await?.get(&key).await? {
            return Fence::decode(shard, &value);
        }
        let mut commit = Commit::new();
        commit.expect(key.clone(), None).put(key.clone(), Fence::NEW.encode());
        match kv.commit(commit).await {
            CommitOutcome::Done(_) | CommitOutcome::Refused(KvError::Conflict { .. }) => {}
            CommitOutcome::Refused(error) | CommitOutcome::Unknown(error) => return Err(error.into()),
        }
    }
}

async fn read_shard(
    snapshot: &dyn KvSnapshot,
    shard: u16,
    created: Fence,
    index: &RwLock<Index>,
) -> Result<(ShardState, Position), StoreError> {
    // The fence of the same snapshot as the log and the blocks.
    let fence = match snapshot.get(&keys::fence(shard)).await? {
        Some(value) => Fence::decode(shard, &value)?,
        None => created,
    };
    let catalogue = BlockCatalogue::load(snapshot, shard, &fence).await?;
    let sealing = match fence.sealing {
        Some(sealing) => Some(Arc::new(replay(snapshot, shard, sealing.epoch, index).await?.0)),
        None => None,
    };
    let (open, log) = replay(snapshot, shard, fence.open, index).await?;
    let changes = change_log::newest(snapshot, shard).await?;
    let position = Position { log, changes, tombstones_due: false };
    let tombstones = Tombstones::load(snapshot, shard).await?;
    let sealed_last = SealedLast::unread(index.read().shard_len(shard) as usize);
    Ok((ShardState { fence, open, sealing, catalogue, tombstones, sealed_last, deletions: 0 }, position))
}

/// Seals whenever a flusher has gathered enough points, and once at the start when a seal was under way.
async fn seal_when_wanted(
    sealer: Arc<Sealer>,
    wanted: Arc<Notify>,
    closing: CancellationToken,
    dropped: CancellationToken,
    resume: bool,
) {
    let mut reason = SealReason::Resumed;
    if resume {
        wanted.notify_one();
    }
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled() => return,
            () = dropped.cancelled() => return,
            () = wanted.notified() => {}
        }
        // The flusher goes on asking until the epoch is closed; what it asked for may be done by now.
        if reason == SealReason::HeadFull && !sealer.is_wanted() {
            continue;
        }
        let sealed = tokio::select! {
            biased;
            () = dropped.cancelled() => return,
            sealed = sealer.seal(None, reason) => sealed,
        };
        reason = SealReason::HeadFull;
        if sealed.is_ok() {
            let sealer = Arc::clone(&sealer);
            sealer.tracker.clone().spawn(async move { sealer.follow_up().await });
        }
        if let Err(error) = sealed {
            tracing::warn!(%error, "an epoch was not sealed; the next seal goes on from there");
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                () = dropped.cancelled() => return,
                () = tokio::time::sleep(RETRY_AFTER) => wanted.notify_one(),
            }
        }
    }
}
