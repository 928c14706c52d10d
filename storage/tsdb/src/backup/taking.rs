//! Reads a store into chunks.

mod names;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use hashbrown::HashSet;
use tidemark_kv::{KeyRange, Kv, KvError, KvSnapshot, RangeLimit};
use tidemark_model::{BoxFuture, Clock};

use super::{BackupCursor, BackupError, Chunk, ChunkKind, chunk::CHUNK_BYTES, cursor::Position};
use crate::{
    DirectoryKey, Fence, Scan, StoreError, directory,
    inspect::{BlockWindow, BlockWindows},
    keys::{self, RollupKey},
    rollup::SpanRollups,
    scan::after,
    store_version, stored_value,
};

/// Entries and bytes that are read at once.
const PAGE: RangeLimit = RangeLimit { entries: 10_000, bytes: 2_000_000, reverse: false };

/// How a backup is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupOptions {
    /// Bytes of keys and values from which on a chunk is closed; at most 1 MiB, which is the default.
    pub chunk_bytes: usize,
    /// How long one snapshot is used, 10 minutes: an embedded engine cannot use pages again that a snapshot still sees.
    pub snapshot_age_max: Duration,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self { chunk_bytes: CHUNK_BYTES, snapshot_age_max: Duration::from_secs(600) }
    }
}

/// A chunk of a backup that is being taken.
#[derive(Clone, Debug)]
pub struct TakenChunk {
    /// Its bytes, to be appended to the backup.
    pub bytes: Bytes,
    /// Bytes of its keys and values before compression.
    pub entry_bytes: u64,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// Where chunks go.
pub trait BackupSink: Send {
    /// Takes a chunk; the reading waits until it is taken.
    ///
    /// # Errors
    /// [`BackupError::Gone`] when no more are wanted, or what went wrong.
    fn take(&mut self, chunk: TakenChunk) -> BoxFuture<'_, Result<(), BackupError>>;
}

/// Reads a store from `cursor` on and hands over chunk after chunk, while others write. The [module](super) says what is
/// in a backup that was taken so.
///
/// # Errors
/// [`BackupError::NoStore`]; [`BackupError::Store`] when the directories name a group that is gone; what the engine or the
/// sink says.
///
/// # Cancel safety
/// Dropping the future has no effect on stored data.
pub async fn take_backup(
    kv: &dyn Kv,
    clock: &dyn Clock,
    cursor: BackupCursor,
    options: BackupOptions,
    sink: &mut dyn BackupSink,
) -> Result<(), BackupError> {
    let view = View::take(kv, clock).await?;
    let version = view.snapshot.get(keys::STORE).await?.ok_or(BackupError::NoStore)?;
    let shards = store_version::read_shards(&version)?;
    let options = BackupOptions { chunk_bytes: options.chunk_bytes.clamp(1, CHUNK_BYTES), ..options };
    let mut taking = Taking { kv, clock, options, view, sink, position: cursor.0, entries: Vec::new(), bytes: 0 };
    taking.run(shards).await
}

/// One snapshot and the fences in it.
struct View {
    snapshot: Arc<dyn KvSnapshot>,
    fences: BTreeMap<u16, Fence>,
    taken: Duration,
}

impl View {
    async fn take(kv: &dyn Kv, clock: &dyn Clock) -> Result<Self, BackupError> {
        loop {
            let (snapshot, taken) = (kv.snapshot().await?, clock.monotonic());
            match read_fences(snapshot.as_ref()).await {
                Err(BackupError::Kv(KvError::TooOld)) => {}
                fences => return Ok(Self { snapshot, fences: fences?, taken }),
            }
        }
    }
}

async fn read_fences(snapshot: &dyn KvSnapshot) -> Result<BTreeMap<u16, Fence>, BackupError> {
    let mut fences = BTreeMap::new();
    let mut scan = Scan::new(keys::all_fences());
    while let Some(entries) = scan.next(snapshot).await? {
        for (key, value) in entries {
            let (shard, fence) = Fence::read(&key, &value)?;
            fences.insert(shard, fence);
        }
    }
    Ok(fences)
}

struct Taking<'a> {
    kv: &'a dyn Kv,
    clock: &'a dyn Clock,
    options: BackupOptions,
    view: View,
    sink: &'a mut dyn BackupSink,
    /// Where to go on behind the entries gathered so far.
    position: Position,
    /// Entries of the next chunk.
    entries: Vec<(Bytes, Bytes)>,
    bytes: usize,
}

impl Taking<'_> {
    async fn run(&mut self, shards: u16) -> Result<(), BackupError> {
        loop {
            self.position = match self.position.clone() {
                Position::Log { shard, sealed, after } if shard < shards => {
                    self.log(shard, sealed, after).await?;
                    Position::Log { shard: shard + 1, sealed: None, after: None }
                }
                Position::Log { .. } => Position::BeforeBlocks { range: 0, next: None },
                Position::BeforeBlocks { range, next } => match keys::before_blocks().get(range) {
                    Some(whole) => {
                        let position = |next| Position::BeforeBlocks { range, next };
                        self.range(whole, next, position).await?;
                        Position::BeforeBlocks { range: range + 1, next: None }
                    }
                    None => Position::Blocks { next: None },
                },
                Position::Blocks { next } => {
                    self.blocks(next).await?;
                    Position::Series { next: None }
                }
                Position::Series { next } => {
                    self.range(&keys::all_series(), next, |next| Position::Series { next }).await?;
                    Position::Named { renames: None, range: 0, next: None }
                }
                Position::Named { renames, range, next } => {
                    self.named(renames, range, next).await?;
                    Position::AfterNames { range: 0, next: None }
                }
                Position::AfterNames { range, next } => match keys::after_names().get(range) {
                    Some(whole) => {
                        let position = |next| Position::AfterNames { range, next };
                        self.range(whole, next, position).await?;
                        Position::AfterNames { range: range + 1, next: None }
                    }
                    None => Position::Rollups { next: None },
                },
                Position::Rollups { next } => {
                    self.rollups(next).await?;
                    Position::Last
                }
                Position::Last => return self.last().await,
            };
        }
    }

    /// The log of a shard as it is at the end of the reading: as long as no epoch was sealed meanwhile, it only grew.
    async fn log(
        &mut self,
        shard: u16,
        mut sealed: Option<u64>,
        mut after_key: Option<Bytes>,
    ) -> Result<(), BackupError> {
        loop {
            let Some(fence) = self.view.fences.get(&shard).copied() else { return Ok(()) };
            if sealed != Some(fence.sealed) {
                if sealed.is_some() {
                    self.hand_over(ChunkKind::Entries).await?;
                    self.position = Position::Log { shard, sealed: Some(fence.sealed), after: None };
                    self.hand_over(ChunkKind::ForgetLog(shard)).await?;
                }
                (sealed, after_key) = (Some(fence.sealed), None);
            }
            let mut range = keys::log_from(shard, fence.sealed.saturating_add(1));
            if let Some(key) = &after_key {
                range.start = after(key);
            }
            let page = match self.view.snapshot.range(range, PAGE).await {
                Err(KvError::TooOld) => {
                    self.renew().await?;
                    continue;
                }
                page => page?,
            };
            for (key, value) in page.entries {
                after_key = Some(key.clone());
                self.position = Position::Log { shard, sealed, after: after_key.clone() };
                self.push(key, value).await?;
            }
            if !page.more {
                return Ok(());
            }
            self.renew_if_old().await?;
        }
    }

    async fn range(
        &mut self,
        whole: &KeyRange,
        next: Option<Bytes>,
        position: impl Fn(Option<Bytes>) -> Position,
    ) -> Result<(), BackupError> {
        let mut range = KeyRange { start: next.unwrap_or_else(|| whole.start.clone()), ..whole.clone() };
        loop {
            let page = match self.view.snapshot.range(range.clone(), PAGE).await {
                Err(KvError::TooOld) => {
                    self.renew().await?;
                    continue;
                }
                page => page?,
            };
            for (key, value) in page.entries {
                range.start = after(&key);
                self.position = position(Some(range.start.clone()));
                if !keys::is_left_out_of_backups(&key) {
                    self.push(key, value).await?;
                }
            }
            if !page.more {
                return Ok(());
            }
            self.renew_if_old().await?;
        }
    }

    async fn blocks(&mut self, next: Option<Bytes>) -> Result<(), BackupError> {
        let mut windows = next.map_or_else(BlockWindows::all, BlockWindows::from);
        loop {
            let next = self.window(&windows).await?;
            // Chunks that are handed over in the middle of a window lead back to its beginning.
            self.position = Position::Blocks { next: next.clone() };
            match next {
                Some(next) => windows = BlockWindows::from(next),
                None => return Ok(()),
            }
            self.renew_if_old().await?;
        }
    }

    /// Takes the visible groups of a window and then the directories that name them; where the next window begins.
    async fn window(&mut self, windows: &BlockWindows) -> Result<Option<Bytes>, BackupError> {
        let mut window = self.read_window(windows).await?;
        'window: loop {
            let (visible, mut named) = self.visible(&window)?;
            let mut range = window.groups.clone();
            while !range.is_empty() && !named.is_empty() {
                let page = match self.view.snapshot.range(range.clone(), PAGE).await {
                    Err(KvError::TooOld) => {
                        self.renew().await?;
                        let now = self.read_window(windows).await?;
                        // The groups are the same as long as the directories are.
                        if now != window || self.visible(&now)?.0 != visible {
                            window = now;
                            continue 'window;
                        }
                        continue;
                    }
                    page => page?,
                };
                range.start = match page.entries.last() {
                    Some((last, _)) if page.more => after(last),
                    _ => range.end.clone(),
                };
                for (key, value) in page.entries {
                    if named.remove(&key) {
                        self.push(key, value).await?;
                    }
                }
            }
            if let Some(missing) = named.into_iter().min() {
                return Err(stored_value::damaged(&missing, "its directory names it and it is gone").into());
            }
            for (key, value) in visible {
                self.push(key, value).await?;
            }
            return Ok(window.next);
        }
    }

    /// Rows that stand alone, since nothing is left that they could be made of. Read behind the blocks: rows stand alone
    /// before their points go.
    async fn rollups(&mut self, next: Option<Bytes>) -> Result<(), BackupError> {
        let whole = keys::all_rollup_directories();
        let mut range = KeyRange { start: next.unwrap_or(whole.start), ..whole };
        loop {
            // Chunks that are handed over in the middle of a span lead back to its beginning.
            self.position = Position::Rollups { next: Some(range.start.clone()) };
            let next = match self.next_span(range.clone()).await {
                Err(BackupError::Kv(KvError::TooOld) | BackupError::Store(StoreError::Kv(KvError::TooOld))) => {
                    self.renew().await?;
                    continue;
                }
                next => next?,
            };
            let Some(next) = next else { return Ok(()) };
            range.start = next;
            self.renew_if_old().await?;
        }
    }

    /// Takes the first span of a range of directories; where the next one begins.
    async fn next_span(&mut self, range: KeyRange) -> Result<Option<Bytes>, BackupError> {
        let page = self.view.snapshot.range(range, RangeLimit::entries(1)).await?;
        let Some((key, value)) = page.entries.into_iter().next() else { return Ok(None) };
        let of = RollupKey::decode(&key).ok_or_else(|| stored_value::damaged(&key, "it is no key"))?;
        if let Some(alone) = SpanRollups::decode(&of, &value)?.only_alone() {
            for group in alone.group_keys(of).map(|group| group.encode()) {
                let rows = self.view.snapshot.get(&group).await?;
                let rows =
                    rows.ok_or_else(|| stored_value::damaged(&group, "its directory names it and it is gone"))?;
                self.push(group, rows).await?;
            }
            self.push(key.clone(), alone.encode()).await?;
        }
        Ok(Some(after(&key)))
    }

    async fn read_window(&mut self, windows: &BlockWindows) -> Result<BlockWindow, BackupError> {
        loop {
            match windows.window(self.view.snapshot.as_ref()).await {
                Err(KvError::TooOld) => self.renew().await?,
                window => return Ok(window?),
            }
        }
    }

    /// The directories that readers see, and the keys of the groups that they name.
    #[expect(clippy::type_complexity, reason = "two lists that belong together and go no further")]
    fn visible(&self, window: &BlockWindow) -> Result<(Vec<(Bytes, Bytes)>, HashSet<Bytes>), BackupError> {
        let (mut visible, mut named) = (Vec::new(), HashSet::new());
        for (key, value) in &window.directories {
            let page = DirectoryKey::decode(key).ok_or_else(|| stored_value::damaged(key, "it is no key"))?;
            let sealed = self.view.fences.get(&page.shard).map_or(0, |fence| fence.sealed);
            if page.generation.epoch() <= sealed {
                let groups = directory::read_groups(key, value)?;
                let key_of =
                    |group: directory::GroupInfo| group.key(page.shard, page.bucket, page.metric, page.generation);
                named.extend(groups.into_iter().map(|group| key_of(group).encode()));
                visible.push((key.clone(), value.clone()));
            }
        }
        Ok((visible, named))
    }

    /// Version, writers and fences of the newest snapshot, which has seen every epoch that is in the backup.
    async fn last(&mut self) -> Result<(), BackupError> {
        self.position = Position::Last;
        self.hand_over(ChunkKind::Entries).await?;
        let last = loop {
            match read_last(self.view.snapshot.as_ref()).await {
                Err(KvError::TooOld) => self.renew().await?,
                last => break last?,
            }
        };
        for (key, value) in last {
            self.push(key, value).await?;
        }
        self.hand_over(ChunkKind::Entries).await?;
        self.hand_over(ChunkKind::End).await
    }

    async fn renew_if_old(&mut self) -> Result<(), BackupError> {
        if self.clock.monotonic().saturating_sub(self.view.taken) >= self.options.snapshot_age_max {
            self.renew().await?;
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), BackupError> {
        self.view = View::take(self.kv, self.clock).await?;
        Ok(())
    }

    async fn push(&mut self, key: Bytes, value: Bytes) -> Result<(), BackupError> {
        self.bytes += key.len() + value.len();
        self.entries.push((key, value));
        if self.bytes >= self.options.chunk_bytes { self.hand_over(ChunkKind::Entries).await } else { Ok(()) }
    }

    async fn hand_over(&mut self, kind: ChunkKind) -> Result<(), BackupError> {
        let entries = std::mem::take(&mut self.entries);
        let entry_bytes = std::mem::take(&mut self.bytes) as u64;
        if kind == ChunkKind::Entries && entries.is_empty() {
            return Ok(());
        }
        let chunk = Chunk { kind, cursor: BackupCursor(self.position.clone()), entries };
        let encoded = tokio::task::spawn_blocking(move || chunk.encode()).await;
        let bytes = encoded.map_err(|error| KvError::Unavailable(format!("a chunk was not finished: {error}")))??;
        self.sink.take(TakenChunk { bytes, entry_bytes, is_last: kind == ChunkKind::End }).await
    }
}

async fn read_last(snapshot: &dyn KvSnapshot) -> Result<Vec<(Bytes, Bytes)>, KvError> {
    let mut entries = Vec::new();
    for key in [keys::STORE, keys::WRITERS] {
        entries.extend(snapshot.get(key).await?.map(|value| (Bytes::from_static(key), value)));
    }
    let mut scan = Scan::new(keys::all_fences());
    while let Some(fences) = scan.next(snapshot).await? {
        entries.extend(fences);
    }
    Ok(entries)
}
