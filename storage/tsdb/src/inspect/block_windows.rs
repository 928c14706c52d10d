//! Directories and the groups beside them, a bounded number of buckets at a time.
//!
//! The keys of both go on with tier, shard, bucket and metric, a **unit** here. A window has the directories of whole units
//! and says between which keys the groups of these units lie; windows follow each other without a gap, so that groups
//! without a directory are inside one, too.

use bytes::{BufMut, Bytes, BytesMut};
use tidemark_kv::{KeyRange, KvError, KvSnapshot, RangeLimit};

use crate::{directory, keys, scan::after};

/// Bytes of a unit in a key: tier, shard, bucket, metric.
const UNIT_BYTES: usize = 1 + 2 + 4 + 4;
/// Directory pages that are read at once.
const PAGE: RangeLimit = RangeLimit { entries: 1_000, bytes: 2_000_000, reverse: false };
/// Bytes of groups of one window, unless a single unit has more.
const GROUP_BYTES_MAX: u64 = 32 << 20;

/// Directories of whole units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockWindow {
    /// Keys and values of the directory pages, in order. Empty in the last window.
    pub(crate) directories: Vec<(Bytes, Bytes)>,
    /// Where the groups of the window are.
    pub(crate) groups: KeyRange,
    /// Where the next window begins among the directories; `None` behind the last.
    pub(crate) next: Option<Bytes>,
}

/// Reads windows one after the other.
#[derive(Clone, Debug)]
pub(crate) struct BlockWindows {
    directories: KeyRange,
    groups_end: Bytes,
}

impl BlockWindows {
    /// All windows of a store.
    pub(crate) fn all() -> Self {
        Self::from(keys::all_directories().start)
    }

    /// The windows from `start` on, which is the `next` of an earlier one.
    pub(crate) fn from(start: Bytes) -> Self {
        Self { directories: KeyRange { start, ..keys::all_directories() }, groups_end: keys::all_groups().end }
    }

    /// The window that begins where this one does. Reading it again gives the same as long as nobody changes the store.
    pub(crate) async fn window(&self, snapshot: &dyn KvSnapshot) -> Result<BlockWindow, KvError> {
        let mut page = snapshot.range(self.directories.clone(), PAGE).await?;
        // A unit that does not end in the page is left to the next window, unless it is all there is.
        while page.more {
            let last = page.entries.last().map(|(key, _)| key.clone()).unwrap_or_default();
            let whole = page.entries.partition_point(|(key, _)| unit_of(key) < unit_of(&last));
            if whole > 0 {
                page.entries.truncate(whole);
                break;
            }
            let more = snapshot.range(KeyRange::new(after(&last), self.directories.end.clone()), PAGE).await?;
            page.entries.extend(more.entries);
            page.more = more.more;
        }
        let read_all = !page.more && self.keep_bounded(&mut page.entries);
        let start = self.groups_start();
        let (groups, next) = match page.entries.last() {
            Some((last, _)) if !read_all => {
                let next = behind_unit(last);
                (KeyRange::new(start, as_group_key(&next)), Some(next))
            }
            _ => (KeyRange::new(start, self.groups_end.clone()), None),
        };
        Ok(BlockWindow { directories: page.entries, groups, next })
    }

    /// Drops units at the end that make the window too large; says whether none was dropped.
    fn keep_bounded(&self, entries: &mut Vec<(Bytes, Bytes)>) -> bool {
        let (mut bytes, mut kept) = (0, 0);
        for unit in entries.chunk_by(|(left, _), (right, _)| unit_of(left) == unit_of(right)) {
            bytes += unit.iter().map(|(key, value)| directory::group_bytes(key, value)).sum::<u64>();
            if bytes > GROUP_BYTES_MAX && kept > 0 {
                entries.truncate(kept);
                return false;
            }
            kept += unit.len();
        }
        true
    }

    /// Groups before the first unit belong to the first window.
    fn groups_start(&self) -> Bytes {
        if self.directories.start == keys::all_directories().start {
            return keys::all_groups().start;
        }
        as_group_key(&self.directories.start)
    }
}

fn unit_of(key: &[u8]) -> &[u8] {
    key.get(1..=UNIT_BYTES).unwrap_or(key)
}

/// The first key behind all keys of the unit of `key`.
fn behind_unit(key: &Bytes) -> Bytes {
    KeyRange::prefix(key.get(..=UNIT_BYTES).unwrap_or(key)).end
}

/// The same place among the groups.
fn as_group_key(directory: &[u8]) -> Bytes {
    let groups = keys::all_groups();
    // Behind the last unit there is there is no key with the prefix of directories any more.
    if directory >= &keys::all_directories().end[..] {
        return groups.end;
    }
    let mut key = BytesMut::with_capacity(directory.len());
    key.put_slice(&groups.start);
    key.put_slice(directory.get(1..).unwrap_or_default());
    key.freeze()
}
