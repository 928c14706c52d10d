//! What an entry is, by the first byte of its key.

use std::fmt;

/// Kinds of entries, as `docs/format/key-space.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// `V`: version of the store and number of shards.
    Store,
    /// `W`: last writer number given out.
    Writers,
    /// `S`: a fence.
    Fence,
    /// `L`: a segment of the log, or a deletion.
    Log,
    /// `X`: a tombstone.
    Tombstone,
    /// `B`: a group of blocks.
    Group,
    /// `D`: a page of a directory.
    Directory,
    /// `R`: a group of rollups.
    RollupGroup,
    /// `Y`: a directory of rollups.
    RollupDirectory,
    /// `Q`: who is replacing generations.
    Claim,
    /// `C`: how many names and series there are.
    Counters,
    /// `U`: a name.
    Name,
    /// `N`: a series.
    Series,
    /// `A`: what a metric means.
    Metadata,
    /// `G`: something known of what tags name.
    TagMetadata,
    /// `J`: that a tag is in a key of `G`.
    TagReference,
    /// `O`: an annotation.
    Annotation,
    /// `P`: series without points.
    Presence,
    /// `T`: a document.
    Document,
    /// `I`: names and series that were created, for other processes.
    IndexLog,
    /// `K` and `k`: directories that changed, for other processes.
    ChangeLog,
    /// `!`: how far a restore is.
    Restore,
    /// Nothing that this program knows.
    Unknown,
}

impl EntryKind {
    /// The kind of the entry with this key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        match key.first() {
            Some(b'V') => Self::Store,
            Some(b'W') => Self::Writers,
            Some(b'S') => Self::Fence,
            Some(b'L') => Self::Log,
            Some(b'X') => Self::Tombstone,
            Some(b'B') => Self::Group,
            Some(b'D') => Self::Directory,
            Some(b'R') => Self::RollupGroup,
            Some(b'Y') => Self::RollupDirectory,
            Some(b'Q') => Self::Claim,
            Some(b'C') => Self::Counters,
            Some(b'U') => Self::Name,
            Some(b'N') => Self::Series,
            Some(b'A') => Self::Metadata,
            Some(b'G') => Self::TagMetadata,
            Some(b'J') => Self::TagReference,
            Some(b'O') => Self::Annotation,
            Some(b'P') => Self::Presence,
            Some(b'T') => Self::Document,
            Some(b'I') => Self::IndexLog,
            Some(b'K' | b'k') => Self::ChangeLog,
            Some(b'!') => Self::Restore,
            _ => Self::Unknown,
        }
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Writers => "writers",
            Self::Fence => "fence",
            Self::Log => "log",
            Self::Tombstone => "tombstone",
            Self::Group => "group",
            Self::Directory => "directory",
            Self::RollupGroup => "rollup group",
            Self::RollupDirectory => "rollup directory",
            Self::Claim => "claim",
            Self::Counters => "counters",
            Self::Name => "name",
            Self::Series => "series",
            Self::Metadata => "metadata",
            Self::TagMetadata => "metadata of tags",
            Self::TagReference => "reference of a tag",
            Self::Annotation => "annotation",
            Self::Presence => "presence",
            Self::Document => "document",
            Self::IndexLog => "index log",
            Self::ChangeLog => "change log",
            Self::Restore => "restore",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::NameKind;

    use super::*;
    use crate::keys;

    #[test]
    fn every_kind_of_key_is_told_from_the_others() {
        let identity = crate::codec::LogIdentity { writer: 1, sequence: 2 };
        let tombstone = keys::TombstoneKey { shard: 1, epoch: 2, identity };
        let rollups = keys::RollupKey { shard: 0, interval_ms: 3_600_000, span: 7, metric: 1 };
        let keys = [
            (keys::fence(7), EntryKind::Fence),
            (keys::log_prefix(7, 1), EntryKind::Log),
            (tombstone.encode(), EntryKind::Tombstone),
            (keys::name(NameKind::TagKey, "host"), EntryKind::Name),
            (keys::series(1, 2), EntryKind::Series),
            (keys::metadata("os.cpu"), EntryKind::Metadata),
            (keys::tag_metadata(&[], "model"), EntryKind::TagMetadata),
            (keys::tag_reference(&Default::default(), b"G"), EntryKind::TagReference),
            (keys::annotation(None, 1), EntryKind::Annotation),
            (keys::presence(1, 0), EntryKind::Presence),
            (keys::collection("rules").into(), EntryKind::Document),
            (keys::index_log(1, 0), EntryKind::IndexLog),
            (rollups.encode(), EntryKind::RollupDirectory),
            (rollups.range_of_groups().start, EntryKind::RollupGroup),
            (keys::claim(0, crate::Bucket::of(crate::Tier::Day, 0), 1), EntryKind::Claim),
            (keys::change_log(3), EntryKind::ChangeLog),
            (keys::change_log_mark(3), EntryKind::ChangeLog),
            (bytes::Bytes::from_static(keys::STORE), EntryKind::Store),
            (bytes::Bytes::from_static(keys::WRITERS), EntryKind::Writers),
            (bytes::Bytes::from_static(keys::COUNTERS), EntryKind::Counters),
            (bytes::Bytes::from_static(keys::RESTORE), EntryKind::Restore),
            (bytes::Bytes::from_static(b"z"), EntryKind::Unknown),
            (bytes::Bytes::new(), EntryKind::Unknown),
        ];
        for (key, kind) in keys {
            assert_eq!(EntryKind::of(&key), kind, "{key:?}");
        }
    }
}
