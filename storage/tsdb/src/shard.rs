//! A shard: what its readers see, and the queue of its flusher.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use hashbrown::HashMap;
use parking_lot::RwLock;
use tidemark_kv::Commit;
use tidemark_model::{PointBatch, PointColumns, SeriesId, TimeRange, TimestampMs, Value, WriteRefusal};
use tokio::sync::{mpsc, oneshot};

use crate::{
    BlockCatalogue, Fence, Head, Sharing, StoreError, Target, Tier, Tombstones,
    change_log::{self, DirectoryId},
    codec::Deletion,
    directory::GenerationGroups,
    fence::SealToken,
    follower::{NewerHeads, Position, Rounds},
};

/// Messages that wait for a flusher. Points are what memory is limited by; this only bounds the channel.
pub(crate) const QUEUE_LENGTH: usize = 4_096;

/// A shard as writers and readers see it.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) number: u16,
    pub(crate) sharing: Sharing,
    pub(crate) state: RwLock<ShardState>,
    pub(crate) queue: mpsc::Sender<ShardMessage>,
    /// Points that wait in the queue.
    pub(crate) queued_points: AtomicUsize,
    /// Points in the heads.
    pub(crate) head_points: AtomicU64,
    /// Points that this process wrote into the open epoch of a shared store, whose head it may not have read.
    pub(crate) written: AtomicU64,
    /// How other processes are followed.
    pub(crate) rounds: Rounds,
}

/// What belongs together: readers take all of it under one lock, so that the log and the blocks of an epoch are never
/// both counted, nor neither.
#[derive(Debug)]
pub(crate) struct ShardState {
    pub(crate) fence: Fence,
    pub(crate) open: Head,
    /// The head of the epoch that is being sealed.
    pub(crate) sealing: Option<Arc<Head>>,
    pub(crate) catalogue: BlockCatalogue,
    /// Deletions that hide points of blocks and of the head that is being sealed.
    pub(crate) tombstones: Tombstones,
    pub(crate) sealed_last: SealedLast,
    /// How often points were deleted: what was worked out without the lock may be out of date by then.
    pub(crate) deletions: u64,
}

/// The newest sealed point of each series, by its number in the shard.
#[derive(Debug)]
pub(crate) struct SealedLast {
    known: Vec<LastSealed>,
    /// Series below this number may have blocks that nobody looked at yet.
    unread_below: usize,
}

/// What is known of the newest sealed point of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LastSealed {
    /// It is in the directories of the blocks, unless it is this one, which was sealed since.
    Unread(Option<(TimestampMs, Value)>),
    /// This, or nothing.
    Known(Option<(TimestampMs, Value)>),
}

/// What a flusher is asked to do.
#[derive(Debug)]
pub(crate) enum ShardMessage {
    Write(PendingWrite),
    Delete(PendingDelete),
    ChangeFence(FenceChange, oneshot::Sender<Result<Fence, StoreError>>),
    Stop,
}

/// Points on their way to the log.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    pub(crate) batch: Arc<PointBatch>,
    /// Where each series of the batch's dictionary goes.
    pub(crate) targets: Arc<[Target]>,
    pub(crate) reply: oneshot::Sender<Flushed>,
}

/// Deletions on their way to the log.
#[derive(Debug)]
pub(crate) struct PendingDelete {
    pub(crate) deletions: Vec<Deletion>,
    pub(crate) reply: oneshot::Sender<Flushed>,
}

/// What became of points in one shard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Flushed {
    Stored,
    Refused(WriteRefusal),
    Unknown(String),
}

/// A step of a seal.
#[derive(Debug)]
pub(crate) enum FenceChange {
    /// Close the open epoch, or take over the seal under way if that is what it is. Nothing happens when there is
    /// nothing to seal.
    Begin(SealToken, TakeOver),
    /// Make the blocks visible and clear the log.
    Publish(SealToken, Box<BlockCatalogue>),
}

/// Which seal under way may be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeOver {
    /// Any: no other process could be doing it.
    Any,
    /// This one, whose owner seems to be dead, or none.
    Of(Option<SealToken>),
}

impl Shard {
    pub(crate) fn new(
        number: u16,
        sharing: Sharing,
        state: ShardState,
        position: Position,
    ) -> (Arc<Self>, mpsc::Receiver<ShardMessage>) {
        let (queue, receiver) = mpsc::channel(QUEUE_LENGTH);
        let head_points = AtomicU64::new(state.head_points());
        let (state, rounds) = (RwLock::new(state), Rounds::new(position));
        let queued_points = AtomicUsize::new(0);
        (
            Arc::new(Self {
                number,
                sharing,
                state,
                queue,
                queued_points,
                head_points,
                written: AtomicU64::new(0),
                rounds,
            }),
            receiver,
        )
    }

    /// Notes in a commit which directories it changes, for the other processes of a shared store.
    pub(crate) fn note_changes(&self, commit: &mut Commit, changed: impl IntoIterator<Item = DirectoryId>) {
        if self.sharing.is_shared() {
            change_log::note(commit, self.number, changed);
        }
    }

    /// Changes what readers see after a commit that changed directories. In a shared store they learn of it as they
    /// learn of what others did.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut ShardState)) {
        if !self.sharing.is_shared() {
            change(&mut self.state.write());
        }
    }

    /// After the heads changed.
    pub(crate) fn note_head_points(&self, points: u64) {
        self.head_points.store(points, Ordering::Relaxed);
    }
}

impl ShardState {
    /// Points in the heads.
    pub(crate) fn head_points(&self) -> u64 {
        self.open.points() + self.sealing.as_ref().map_or(0, |head| head.points())
    }

    /// The heads, the older epoch first.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &Head> {
        self.heads_by_epoch().map(|(_, head)| head)
    }

    /// The heads, each with its epoch, the older first. Tombstones of later epochs hide points of the older one.
    pub(crate) fn heads_by_epoch(&self) -> impl Iterator<Item = (u64, &Head)> {
        let sealing = self.sealing.as_deref().map(|head| (self.fence.open.saturating_sub(1), head));
        sealing.into_iter().chain([(self.fence.open, &self.open)])
    }

    /// The newest point of a series in the heads.
    pub(crate) fn last_in_heads(&self, id: SeriesId, local: u32) -> Option<(TimestampMs, Value)> {
        self.heads_by_epoch().fold(None, |last, (epoch, head)| newest(last, self.last_in_head(epoch, head, id, local)))
    }

    fn last_in_head(&self, epoch: u64, head: &Head, id: SeriesId, local: u32) -> Option<(TimestampMs, Value)> {
        let stream = head.stream(local)?;
        let last = stream.last()?;
        let hidden = self.tombstones.hidden(id, epoch, TimestampMs::MIN, last.0);
        if !hidden.contains(last.0) {
            return Some(last);
        }
        let (mut all, mut left) = (PointColumns::default(), PointColumns::default());
        stream.read(TimeRange::ALL, &mut all);
        hidden.copy_outside(&all, &mut left);
        left.iter().last().map(|point| (point.timestamp, point.value))
    }

    /// Hides points of some series from readers of the open head and of newest points. Tombstones do so for the rest.
    pub(crate) fn delete(&mut self, epoch: u64, locals: &[u32], range: TimeRange) {
        if self.fence.open == epoch {
            self.open.delete(locals, range);
        }
        self.sealed_last.forget(locals, range);
        self.deletions += 1;
    }

    /// Takes over the tombstones of a shared store; those of `new` were not known.
    pub(crate) fn take_tombstones(&mut self, tombstones: Tombstones, new: &[(Vec<u32>, TimeRange)]) {
        self.tombstones = tombstones;
        for (locals, range) in new {
            self.sealed_last.forget(locals, *range);
            self.deletions += 1;
        }
    }

    /// Takes over the fence of a seal of our own.
    pub(crate) fn adopt(&mut self, fence: Fence, published: Option<&BlockCatalogue>) {
        self.adopt_heads(fence);
        if let Some(published) = published {
            self.catalogue.extend(published);
        }
    }

    /// Takes over a fence that another process moved.
    pub(crate) fn adopt_foreign(
        &mut self,
        fence: Fence,
        catalogue: BlockCatalogue,
        tombstones: Tombstones,
        series: usize,
    ) {
        self.adopt_heads(fence);
        self.catalogue = catalogue;
        self.tombstones = tombstones;
        self.deletions += 1;
        self.sealed_last = SealedLast::unread(series);
    }

    /// Takes over directories that were changed by this process or another. `locals` are the numbers in the shard of the
    /// series of each metric that may have lost points by it.
    pub(crate) fn take_directories(
        &mut self,
        changed: Vec<(DirectoryId, Vec<GenerationGroups>)>,
        locals: &HashMap<u32, Vec<u32>>,
    ) {
        let emptied: Vec<DirectoryId> = emptied(&changed).collect();
        for (id, generations) in changed {
            self.catalogue.set(id, generations);
        }
        for DirectoryId { metric, bucket } in emptied {
            let has_day = !self.catalogue.generations(metric, bucket.day()).is_empty();
            // A compaction takes points to the bucket of the day.
            if !(bucket.tier == Tier::TwoHours && has_day) {
                self.sealed_last.forget(locals.get(&metric).map(Vec::as_slice).unwrap_or_default(), bucket.range());
                self.deletions += 1;
            }
        }
    }

    /// Takes over what was found out about other processes. `is_complete` says that the open head has all of its epoch;
    /// there are `series` series in the shard now.
    pub(crate) fn follow(&mut self, fence: Fence, newer: Option<NewerHeads>, is_complete: bool, series: usize) {
        let known = self.fence;
        let sealed = match known.sealing {
            Some(sealing) if sealing.epoch <= fence.sealed => self.sealing.take(),
            _ => None,
        };
        if let Some(sealed) = sealed {
            self.sealed_last.note(&sealed, known.open.saturating_sub(1), &self.tombstones);
        }
        if let Some(NewerHeads { sealing, open }) = newer {
            let closed = std::mem::replace(&mut self.open, open);
            if is_complete {
                self.sealing = Some(Arc::new(closed));
            } else {
                // Sealed, and its log gone, before we had read all of it.
                self.sealed_last = SealedLast::unread(series);
                self.sealing = sealing.map(Arc::new);
            }
        }
        self.fence = fence;
    }

    fn adopt_heads(&mut self, fence: Fence) {
        if fence.open != self.fence.open {
            let empty = Head::with_capacity(self.open.series_len());
            let closed = std::mem::replace(&mut self.open, empty);
            let is_sealing = fence.sealing.is_some_and(|sealing| sealing.epoch == self.fence.open);
            self.sealing = is_sealing.then(|| Arc::new(closed));
        }
        if fence.sealing.is_none()
            && let Some(sealed) = self.sealing.take()
        {
            self.sealed_last.note(&sealed, fence.sealed, &self.tombstones);
        }
        self.fence = fence;
    }
}

impl SealedLast {
    /// Nothing is known of the first `series` series; later ones have no blocks.
    pub(crate) fn unread(series: usize) -> Self {
        Self { known: Vec::new(), unread_below: series }
    }

    pub(crate) fn get(&self, local: u32) -> LastSealed {
        let local = local as usize;
        self.known.get(local).copied().unwrap_or_else(|| self.unless_known(local))
    }

    /// Notes what the directories of the blocks say. Of equal timestamps, what was sealed since is the newer one.
    pub(crate) fn set_read(&mut self, local: u32, last: Option<(TimestampMs, Value)>) {
        if let Some(known) = self.entry(local as usize)
            && let LastSealed::Unread(since) = *known
        {
            *known = LastSealed::Known(newest(last, since));
        }
    }

    /// The head of an epoch was sealed: of equal timestamps its points are the newer ones.
    fn note(&mut self, head: &Head, epoch: u64, tombstones: &Tombstones) {
        for (local, id, last) in head.last() {
            let Some(entry) = self.entry(local) else { continue };
            if tombstones.hidden(id, epoch, last.0, last.0).contains(last.0) {
                // Which point is left is in its block, and it may have replaced the one that is known.
                *entry = LastSealed::Unread(None);
                continue;
            }
            let (LastSealed::Known(known) | LastSealed::Unread(known)) = entry;
            *known = newest(*known, Some(last));
        }
    }

    /// Points of some series in a range of time are gone: newest points that are among them have to be looked up again.
    pub(crate) fn forget(&mut self, locals: &[u32], range: TimeRange) {
        for &local in locals {
            if let Some(known) = self.known.get_mut(local as usize)
                && known.point().is_some_and(|(timestamp, _)| range.contains(timestamp))
            {
                *known = LastSealed::Unread(None);
            }
        }
    }

    fn unless_known(&self, local: usize) -> LastSealed {
        if local < self.unread_below { LastSealed::Unread(None) } else { LastSealed::Known(None) }
    }

    fn entry(&mut self, local: usize) -> Option<&mut LastSealed> {
        while self.known.len() <= local {
            let next = self.unless_known(self.known.len());
            self.known.push(next);
        }
        self.known.get_mut(local)
    }
}

/// The directories among some that have no groups any more: retention took them away, or a compaction put their points
/// elsewhere. IMPORTANT: whether or not they were known to have some. What was sealed and taken away since the last look
/// was only known from a head.
pub(crate) fn emptied(changed: &[(DirectoryId, Vec<GenerationGroups>)]) -> impl Iterator<Item = DirectoryId> + '_ {
    changed.iter().filter(|(_, now)| now.is_empty()).map(|(id, _)| *id)
}

/// The newer of two points; of equal timestamps the one written later.
pub(crate) fn newest(
    before: Option<(TimestampMs, Value)>,
    later: Option<(TimestampMs, Value)>,
) -> Option<(TimestampMs, Value)> {
    match (before, later) {
        (Some(before), Some(later)) if before.0 > later.0 => Some(before),
        (before, None) => before,
        (_, later) => later,
    }
}

impl LastSealed {
    /// The newest sealed point as far as it is known.
    pub(crate) fn point(self) -> Option<(TimestampMs, Value)> {
        match self {
            Self::Unread(point) | Self::Known(point) => point,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: (TimestampMs, Value) = (10, Value::Int(1));
    const NEW: (TimestampMs, Value) = (20, Value::Int(2));

    #[test]
    fn what_the_directories_say_does_not_replace_what_was_sealed_since() {
        let mut last = SealedLast::unread(1);
        assert_eq!(last.get(0), LastSealed::Unread(None));
        assert_eq!(last.get(1), LastSealed::Known(None));
        let mut head = Head::default();
        let id = tidemark_model::SeriesId(1);
        head.push(&crate::head::Row::new(id, 0, NEW.0, NEW.1));
        last.note(&head, 1, &Tombstones::default());
        last.set_read(0, Some(OLD));
        assert_eq!(last.get(0), LastSealed::Known(Some(NEW)));
        last.set_read(0, None);
        assert_eq!(last.get(0).point(), Some(NEW));
        last.forget(&[0, 9], TimeRange::new(0, 20));
        assert_eq!(last.get(0), LastSealed::Known(Some(NEW)));
        last.forget(&[0, 9], TimeRange::new(20, 21));
        assert_eq!((last.get(0), last.get(9)), (LastSealed::Unread(None), LastSealed::Known(None)));
    }
}
