//! From a closed epoch to visible blocks, in steps that may each crash and be done again.
//!
//! 1. Begin: the fence moves to the next epoch and names the sealer. No flush reaches the old epoch any more.
//! 2. Build: the head becomes groups of blocks; when the log has entries that the head lacks, the log is replayed first.
//! 3. Write: commits below the limit, each expecting the fence with the sealer's token. The blocks' generation is the
//!    epoch, which is above what the fence calls sealed, so nobody sees them yet. Done again, they are the same entries.
//! 4. Publish: one commit moves the fence and clears the log; readers change from head to blocks under one lock.
//!
//! Then days that are over and quiet are compacted (`compaction.rs`), and buckets that late points left with many
//! generations get one (`merger.rs`). A backfill touches so many that this takes longer than memory takes to fill again,
//! so the next seal does not wait for it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use tidemark_kv::{CommitOutcome, Kv, KvError};
use tidemark_model::{Clock, NameKind, TimestampMs};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Bucket, Fence, Head, Index, Retention, Shard, StoreError, Tombstones, change_log,
    commits::Commits,
    compaction::{CompactionRules, Wanted, compact_day, wanted_days},
    expiry::{ExpiryReport, clear_bucket, clear_rollups, expired},
    expiry_clock::ExpiryClock,
    fence::{SealToken, Sealing},
    figures::Counters,
    follower::{Follower, read_fence},
    index_rows, keys,
    merger::merge_bucket,
    new_generation::NewGeneration,
    purge::{PurgeReport, purge_shard},
    replay::{count_segments, replay},
    retention::Horizons,
    rollup::{RowsWanted, forget_expired_days, has_all_rows, let_stand_alone},
    shard::{FenceChange, ShardMessage, TakeOver},
};

/// How long another process may take for one seal before it counts as dead.
pub(crate) const TAKE_OVER_AFTER: Duration = Duration::from_secs(120);
/// How often a purge begins again because another process changed a bucket at the same time.
const PURGE_ATTEMPTS_MAX: usize = 8;

/// Why a seal is done; it decides nothing and is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealReason {
    /// The schedule says so.
    Scheduled,
    /// The open epoch has as many points as memory is meant for.
    HeadFull,
    /// A seal was under way when the store was opened.
    Resumed,
    /// Somebody asked for it.
    Requested,
}

/// What a seal did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealReport {
    /// Shards whose epoch was sealed; the others had nothing to seal.
    pub shards: u64,
    /// Points in the new blocks.
    pub points: u64,
    /// Groups of blocks that were written.
    pub groups: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a compaction of everything that is due did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionReport {
    /// Days of metrics that were compacted.
    pub days: u64,
    /// Points in their new blocks.
    pub points: u64,
    /// Bytes of the groups of these.
    pub bytes: u64,
}

/// Seals, one shard after the other, one seal at a time.
pub(crate) struct Sealer {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) index: Arc<RwLock<Index>>,
    pub(crate) shards: Arc<[Arc<Shard>]>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tracker: TaskTracker,
    pub(crate) closing: CancellationToken,
    pub(crate) dropped: CancellationToken,
    pub(crate) seal_points: u64,
    pub(crate) writer: u64,
    pub(crate) attempts: AtomicU64,
    pub(crate) turn: tokio::sync::Mutex<()>,
    pub(crate) follower: Follower,
    /// Seals of other processes, by shard, and since when they are known.
    pub(crate) foreign: Mutex<HashMap<u16, (SealToken, Duration)>>,
    /// Shard, metric and bucket of what was sealed and perhaps has to be merged.
    pub(crate) unmerged: Mutex<BTreeSet<(u16, u32, Bucket)>>,
    pub(crate) merge_turn: tokio::sync::Mutex<()>,
    pub(crate) compaction: CompactionRules,
    /// Whether days without rows were looked for since the store was opened, perhaps with other intervals than before.
    pub(crate) looked_for_rows: AtomicBool,
    pub(crate) retention: Retention,
    pub(crate) expiry_clock: ExpiryClock,
}

impl Sealer {
    /// Seals the open epoch of every shard that has points, or of one, finishing a seal under way first.
    /// [`Sealer::follow_up`] has to follow.
    pub(crate) async fn seal(&self, only: Option<u16>, reason: SealReason) -> Result<SealReport, StoreError> {
        let _turn = self.turn.lock().await;
        let (mut report, mut under_way) = (SealReport::default(), None);
        for shard in self.shards.iter().filter(|shard| only.is_none_or(|only| only == shard.number)) {
            match self.seal_whole_shard(shard, reason, &mut report).await {
                // The others can be sealed all the same.
                Err(error @ StoreError::SealUnderWay { .. }) => under_way = Some(error),
                other => other?,
            }
        }
        under_way.map_or(Ok(report), Err)
    }

    async fn seal_whole_shard(
        &self,
        shard: &Shard,
        reason: SealReason,
        report: &mut SealReport,
    ) -> Result<(), StoreError> {
        self.follower.catch_up(shard).await?;
        let began = shard.state.read().fence.sealing.is_some();
        self.seal_shard(shard, reason, report).await?;
        if began {
            self.seal_shard(shard, reason, report).await?;
        }
        Ok(())
    }

    /// Whether a shard holds as many points as memory is meant for, or a seal is unfinished.
    pub(crate) fn is_wanted(&self) -> bool {
        self.shards.iter().any(|shard| {
            let state = shard.state.read();
            let points = state.open.points().max(shard.written.load(Ordering::Relaxed));
            points >= self.seal_points || state.sealing.is_some()
        })
    }

    async fn seal_shard(&self, shard: &Shard, reason: SealReason, report: &mut SealReport) -> Result<(), StoreError> {
        let started = self.clock.monotonic();
        match self.try_seal_shard(shard).await {
            Ok(None) => Ok(()),
            Ok(Some(sealed)) => {
                let took = self.clock.monotonic().saturating_sub(started);
                self.counters.note_seal(took);
                self.counters.sealed_points.add(sealed.points);
                self.counters.sealed_bytes.add(sealed.bytes);
                let SealReport { points, groups, bytes, .. } = sealed;
                tracing::info!(shard = shard.number, ?reason, points, groups, bytes, ?took, "sealed an epoch");
                report.shards += 1;
                report.points += points;
                report.groups += groups;
                report.bytes += bytes;
                Ok(())
            }
            Err(error) => {
                self.counters.seals_failed.add(1);
                Err(error)
            }
        }
    }

    async fn try_seal_shard(&self, shard: &Shard) -> Result<Option<SealReport>, StoreError> {
        let token = SealToken { writer: self.writer, attempt: self.attempts.fetch_add(1, Ordering::Relaxed) };
        let take_over = self.take_over(shard).await?;
        let fence = self.change_fence(shard, FenceChange::Begin(token, take_over)).await?;
        let Some(sealing) = fence.sealing else { return Ok(None) };
        let head = self.complete_head(shard, sealing.epoch).await?;
        let (number, epoch) = (shard.number, sealing.epoch);
        let built = self.tracker.spawn_blocking(move || NewGeneration::of_head(number, epoch, &head)).await;
        let unbuilt = |reason: String| KvError::Unavailable(format!("the blocks could not be built: {reason}"));
        let sealed = built.map_err(|error| unbuilt(error.to_string()))?.map_err(|error| unbuilt(error.to_string()))?;
        if self.closing.is_cancelled() {
            return Err(StoreError::Closed);
        }
        let commits = Commits::new(self.kv.as_ref()).expecting(keys::fence(number), fence.encode());
        commits.put_all(sealed.groups.into_iter().chain(sealed.directory)).await.map_err(|error| match error {
            KvError::Conflict { .. } => StoreError::SealTakenOver { shard: number, epoch },
            other => other.into(),
        })?;
        let catalogue = &sealed.catalogue;
        let report =
            SealReport { shards: 1, points: catalogue.points, groups: catalogue.groups, bytes: catalogue.bytes };
        let touched: Vec<_> =
            catalogue.metrics_and_buckets().map(|(metric, bucket)| (number, metric, bucket)).collect();
        self.change_fence(shard, FenceChange::Publish(token, Box::new(sealed.catalogue))).await?;
        self.unmerged.lock().extend(touched);
        if shard.sharing.is_shared() {
            self.clear_change_log(number).await?;
        }
        Ok(Some(report))
    }

    async fn clear_change_log(&self, shard: u16) -> Result<(), StoreError> {
        if let Some(commit) = change_log::clearing(self.kv.snapshot().await?.as_ref(), shard).await? {
            // The next seal tries again; nothing depends on it.
            if let CommitOutcome::Refused(error) | CommitOutcome::Unknown(error) = self.kv.commit(commit).await {
                tracing::debug!(shard, %error, "old notes of changes were not cleared");
            }
        }
        Ok(())
    }

    /// Compacts the days that seals leave alone, and merges the generations of the buckets that were sealed since the
    /// last time. What fails is left for the seal that touches the bucket next.
    pub(crate) async fn merge(&self) {
        let _turn = self.merge_turn.lock().await;
        let touched = std::mem::take(&mut *self.unmerged.lock());
        let without_rows = !self.looked_for_rows.swap(true, Ordering::Relaxed);
        for shard in self.shards.iter() {
            // Nothing is added to a shard that was not sealed, so that all it has is quiet.
            let is_idle = touched.iter().all(|(number, ..)| *number != shard.number);
            if let Err(error) = self.compact_quiet_days(shard, is_idle, without_rows).await {
                tracing::warn!(shard = shard.number, %error, "days were not compacted");
            }
            if let Err(error) = self.follower.catch_up(shard).await {
                tracing::warn!(shard = shard.number, %error, "generations were not merged");
                return;
            }
        }
        let mut newest = HashMap::<u32, Bucket>::new();
        for &(_, metric, bucket) in &touched {
            newest.entry(metric).and_modify(|newest| *newest = bucket.max(*newest)).or_insert(bucket);
        }
        for (number, metric, bucket) in touched {
            let Some(shard) = self.shards.get(usize::from(number)) else { continue };
            let settled = newest.get(&metric).is_some_and(|&newest| bucket < newest);
            if self.is_ending() {
                return;
            }
            let (rules, version) = (&self.compaction, self.version());
            match merge_bucket(&self.kv, shard, metric, bucket, settled, rules, version).await {
                Ok(true) => self.counters.merges.add(1),
                Ok(false) => {}
                // Another process is at it.
                Err(StoreError::Kv(KvError::Conflict { .. })) if shard.sharing.is_shared() => {}
                Err(error) => {
                    tracing::warn!(metric, bucket_start = bucket.start(), %error, "generations were not merged");
                }
            }
        }
    }

    /// What has to follow a seal.
    pub(crate) async fn follow_up(&self) {
        self.merge().await;
        if let Err(error) = self.purge().await {
            tracing::warn!(%error, "deleted points were not taken from the disk");
        }
        match self.expire().await {
            Ok(ExpiryReport { buckets: 0, .. }) => {}
            Ok(ExpiryReport { buckets, points, bytes }) => {
                tracing::info!(buckets, points, bytes, "took points from the disk that are older than their retention");
            }
            Err(error) => tracing::warn!(%error, "points that are older than their retention are still there"),
        }
    }

    /// Takes buckets away that are older than the retention of their metric. Goes on with other metrics when one fails, and
    /// gives the first error.
    pub(crate) async fn expire(&self) -> Result<ExpiryReport, StoreError> {
        let (mut report, mut outcome) = (ExpiryReport::default(), Ok(()));
        if self.retention.keeps_everything() {
            return Ok(report);
        }
        let _turn = self.merge_turn.lock().await;
        let now = self.expiry_clock.now_ms(self.clock.as_ref());
        for shard in self.shards.iter() {
            self.follower.catch_up(shard).await?;
            let metrics: BTreeSet<u32> = {
                let catalogue = &shard.state.read().catalogue;
                catalogue.metrics().chain(catalogue.rollups.metrics()).collect()
            };
            for metric in metrics {
                // The others can go all the same, and give back the space that this one may need for its rows.
                outcome = outcome.and(self.expire_metric(shard, metric, now, &mut report).await);
                if self.is_ending() {
                    return outcome.map(|()| report);
                }
            }
        }
        outcome.map(|()| report)
    }

    async fn expire_metric(
        &self,
        shard: &Shard,
        metric: u32,
        now: TimestampMs,
        report: &mut ExpiryReport,
    ) -> Result<(), StoreError> {
        let horizons = {
            let index = self.index.read();
            let name = index.names(NameKind::Metric).name(metric);
            name.and_then(|name| self.retention.horizons(name, now))
        };
        let Some(horizons) = horizons else { return Ok(()) };
        let mut buckets = expired(&shard.state.read().catalogue, metric, horizons.points);
        if horizons.keep_rollups_longer() && !self.compaction.intervals.is_empty() {
            let postponed = self.keep_rows(shard, metric, horizons, &buckets).await?;
            buckets = expired(&shard.state.read().catalogue, metric, horizons.points);
            // Rows are made of whole days.
            buckets.retain(|bucket| bucket.day().end() <= horizons.points && !postponed.contains(&bucket.day()));
        }
        self.clear_buckets(shard, metric, buckets, report).await?;
        self.expire_rollups(shard, metric, horizons).await
    }

    /// Lets rows answer for the days that are about to go, making them first where they are missing. The days that have
    /// to wait for the next time, because something of them is deleted that is still on the disk, or because another
    /// process changes them.
    async fn keep_rows(
        &self,
        shard: &Shard,
        metric: u32,
        horizons: Horizons,
        buckets: &[Bucket],
    ) -> Result<BTreeSet<Bucket>, StoreError> {
        let days: BTreeSet<Bucket> = buckets.iter().map(|bucket| bucket.day()).collect();
        let due = days.into_iter().filter(|day| day.end() <= horizons.points && day.end() > horizons.rollups);
        let mut postponed = BTreeSet::new();
        for day in due {
            if self.is_ending() {
                return Err(StoreError::Closed);
            }
            let kept = match self.keep_rows_of(shard, metric, day).await {
                // Another process is at it.
                Err(StoreError::Kv(KvError::Conflict { .. })) if shard.sharing.is_shared() => false,
                other => other?,
            };
            if !kept {
                postponed.insert(day);
            }
        }
        self.follower.catch_up(shard).await?;
        Ok(postponed)
    }

    /// `false` when the day has to wait.
    async fn keep_rows_of(&self, shard: &Shard, metric: u32, day: Bucket) -> Result<bool, StoreError> {
        let CompactionRules { intervals, bytes_max } = &self.compaction;
        let (is_alone, is_deleted, has_all) = {
            let state = shard.state.read();
            let is_alone = state.catalogue.rollups.days_alone(metric).contains(&day.number);
            let is_deleted = !state.tombstones.of_metric(metric, day.range()).is_empty();
            (is_alone, is_deleted, has_all_rows(&state.catalogue, metric, day, intervals))
        };
        // Also when its rows stand alone: those that are deleted are still on the disk then, and once they are gone, points
        // that were written after the deletion may be all that there is of the day.
        if is_deleted {
            return Ok(false);
        }
        if !is_alone && !has_all {
            let (rules, version) = (&self.compaction, self.version());
            compact_day(&self.kv, shard, metric, day, rules, RowsWanted::Always, version).await?;
            self.follower.catch_up(shard).await?;
            if !has_all_rows(&shard.state.read().catalogue, metric, day, intervals) {
                let day_start = day.start();
                tracing::warn!(
                    metric,
                    day_start,
                    bytes_max,
                    "points that are older than their retention go without rollups: a day is larger than \
                     `limits.merge_bytes`"
                );
            }
        }
        let_stand_alone(&self.kv, shard, metric, day, intervals).await
    }

    /// Takes rows away that are older than the retention of their metric.
    async fn expire_rollups(&self, shard: &Shard, metric: u32, horizons: Horizons) -> Result<(), StoreError> {
        let (spans, days) = {
            let rollups = &shard.state.read().catalogue.rollups;
            let days = rollups.with_expired_days(shard.number, metric, horizons);
            (rollups.expired(shard.number, metric, horizons), days)
        };
        if !spans.is_empty() || !days.is_empty() {
            self.index.read().doubt_presence(metric);
        }
        for span in &spans {
            clear_rollups(&self.kv, shard, span).await?;
        }
        for span in days.iter().filter(|span| !spans.contains(span)) {
            forget_expired_days(&self.kv, shard, span, horizons).await?;
        }
        Ok(())
    }

    async fn clear_buckets(
        &self,
        shard: &Shard,
        metric: u32,
        buckets: Vec<Bucket>,
        report: &mut ExpiryReport,
    ) -> Result<(), StoreError> {
        if buckets.is_empty() {
            return Ok(());
        }
        let locals = self.index.read().locals_of_metric(metric);
        // Also when it is broken off: some may be gone by then.
        self.index.read().doubt_presence(metric);
        for bucket in buckets {
            if self.is_ending() {
                return Ok(());
            }
            let cleared = clear_bucket(&self.kv, shard, metric, bucket, &locals).await?;
            report.buckets += cleared.buckets;
            report.points += cleared.points;
            report.bytes += cleared.bytes;
        }
        Ok(())
    }

    /// Takes deleted points from the disk. What fails is left for the next time.
    pub(crate) async fn purge(&self) -> Result<PurgeReport, StoreError> {
        let _turn = self.merge_turn.lock().await;
        let mut report = PurgeReport::default();
        for shard in self.shards.iter() {
            let purged = self.purge_one(shard).await?;
            report.buckets += purged.buckets;
            report.deletions += purged.deletions;
        }
        Ok(report)
    }

    /// Another process may merge a bucket at the same time: then what it made is purged.
    async fn purge_one(&self, shard: &Shard) -> Result<PurgeReport, StoreError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.follower.catch_up(shard).await?;
            match purge_shard(&self.kv, shard, &self.compaction, &|| self.version(), &self.closing).await {
                Err(StoreError::Kv(KvError::Conflict { .. })) if attempts < PURGE_ATTEMPTS_MAX => {}
                outcome => return outcome,
            }
        }
    }

    /// Which seal under way this process may take over. In a shared store that of another process, or of one that died,
    /// only when it has not got on for a while; that of nobody at once.
    async fn take_over(&self, shard: &Shard) -> Result<TakeOver, StoreError> {
        if !shard.sharing.is_shared() {
            return Ok(TakeOver::Any);
        }
        let fence = read_fence(self.kv.snapshot().await?.as_ref(), shard.number).await?;
        let Some(Sealing { owner, .. }) = fence.sealing else { return Ok(TakeOver::Of(None)) };
        let now = self.clock.monotonic();
        let mut foreign = self.foreign.lock();
        let seen = foreign.entry(shard.number).or_insert((owner, now));
        if seen.0 != owner {
            *seen = (owner, now);
        }
        let is_nobodys = owner == SealToken::NOBODY || owner.writer == self.writer;
        let is_dead = is_nobodys || now.saturating_sub(seen.1) >= TAKE_OVER_AFTER;
        Ok(TakeOver::Of(is_dead.then_some(owner)))
    }

    /// Compacts every day that is over, quiet or not, and makes rows that are missing.
    pub(crate) async fn compact(&self) -> Result<CompactionReport, StoreError> {
        let _turn = self.merge_turn.lock().await;
        let mut report = CompactionReport::default();
        let wanted = Wanted { now: self.clock.now_ms(), quiet_until: u64::MAX, without_rows: true };
        for shard in self.shards.iter() {
            self.follower.catch_up(shard).await?;
            self.compact_shard(shard, wanted, &mut report).await?;
        }
        if self.is_ending() { Err(StoreError::Closed) } else { Ok(report) }
    }

    async fn compact_quiet_days(&self, shard: &Shard, is_idle: bool, without_rows: bool) -> Result<(), StoreError> {
        self.follower.catch_up(shard).await?;
        let sealed = shard.state.read().fence.sealed;
        let quiet_until = if is_idle { sealed } else { sealed.saturating_sub(1) };
        let wanted = Wanted { now: self.clock.now_ms(), quiet_until, without_rows };
        self.compact_shard(shard, wanted, &mut CompactionReport::default()).await
    }

    /// Goes on with the other days when one fails, and gives the first error.
    async fn compact_shard(
        &self,
        shard: &Shard,
        wanted: Wanted,
        report: &mut CompactionReport,
    ) -> Result<(), StoreError> {
        let (mut outcome, rules) = (Ok(()), &self.compaction);
        let metrics: Vec<u32> = shard.state.read().catalogue.metrics().collect();
        for metric in metrics {
            let days = wanted_days(&shard.state.read().catalogue, metric, rules, wanted);
            for day in days {
                if self.is_ending() {
                    return outcome;
                }
                let wanted = RowsWanted::WhereFasterThanPoints;
                match compact_day(&self.kv, shard, metric, day, rules, wanted, self.version()).await {
                    Ok(None) => {}
                    Ok(Some(compacted)) => {
                        self.counters.compactions.add(1);
                        report.days += 1;
                        report.points += compacted.points;
                        report.bytes += compacted.bytes;
                    }
                    // Another process is at it.
                    Err(StoreError::Kv(KvError::Conflict { .. })) if shard.sharing.is_shared() => {}
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
        }
        outcome
    }

    fn is_ending(&self) -> bool {
        self.closing.is_cancelled() || self.dropped.is_cancelled()
    }

    /// A number that no other replacement of generations has, in this process or another.
    pub(crate) fn version(&self) -> u64 {
        self.writer << 32 | self.attempts.fetch_add(1, Ordering::Relaxed) & u64::from(u32::MAX)
    }

    async fn change_fence(&self, shard: &Shard, change: FenceChange) -> Result<Fence, StoreError> {
        let (reply, answer) = oneshot::channel();
        let message = ShardMessage::ChangeFence(change, reply);
        shard.queue.send(message).await.map_err(|_ended| StoreError::Closed)?;
        answer.await.map_err(|_ended| StoreError::Closed)?
    }

    /// The head of a closed epoch, from the log if another process wrote to it as well.
    async fn complete_head(&self, shard: &Shard, epoch: u64) -> Result<Arc<Head>, StoreError> {
        if shard.sharing.is_shared() {
            self.follower.catch_up(shard).await?;
            let state = shard.state.read();
            let is_ours = state.fence.sealing.is_some_and(|sealing| sealing.epoch == epoch);
            let head = state.sealing.clone().filter(|_| is_ours);
            return head.ok_or(StoreError::SealTakenOver { shard: shard.number, epoch });
        }
        let head = shard.state.read().sealing.clone();
        let snapshot = self.kv.snapshot().await?;
        let entries = count_segments(snapshot.as_ref(), shard.number, epoch).await?;
        if let Some(head) = head.filter(|head| head.segments == entries) {
            return Ok(head);
        }
        let head = match replay(snapshot.as_ref(), shard.number, epoch, &self.index).await {
            Err(StoreError::Corrupt { .. }) => {
                // Series that the other process created meanwhile.
                index_rows::catch_up(snapshot.as_ref(), &self.index).await?;
                replay(snapshot.as_ref(), shard.number, epoch, &self.index).await?
            }
            other => other?,
        };
        let head = Arc::new(head.0);
        let tombstones = Tombstones::load(snapshot.as_ref(), shard.number).await?;
        let mut state = shard.state.write();
        // IMPORTANT: before the blocks of this epoch, or a merge would take points for newer than their deletion.
        state.tombstones = tombstones;
        state.deletions += 1;
        if state.fence.sealing.is_some_and(|sealing| sealing.epoch == epoch) {
            state.sealing = Some(Arc::clone(&head));
        }
        Ok(head)
    }
}
