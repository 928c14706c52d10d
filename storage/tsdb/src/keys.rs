//! The key space: one prefix byte per kind of entry. `docs/format/key-space.md` has the whole map.
//!
//! Numbers are big-endian, so that keys sort as the numbers do. Blocks are bucket-major inside a shard: a seal appends,
//! retention clears one range a bucket, and the common query, one metric over a day, is one range a bucket. The order
//! metric, series, time was turned down: each small block would be a rewrite of a random leaf.

use bytes::{BufMut, Bytes, BytesMut};
use tidemark_kv::KeyRange;
use tidemark_model::{NameKind, TimestampMs, Tsuid};

use crate::{Bucket, ByteReader, Generation, Tier, codec::LogIdentity};

/// Version of the store and its number of shards.
pub(crate) const STORE: &[u8] = b"V";
/// Counters of the index: the next id of each kind of name, the number of series.
pub(crate) const COUNTERS: &[u8] = b"C";
/// How many times the store was opened: the last writer id given out.
pub(crate) const WRITERS: &[u8] = b"W";
/// How far a restore is.
pub(crate) const RESTORE: &[u8] = b"!";
const FENCE: u8 = b'S';
const LOG: u8 = b'L';
const BLOCKS: u8 = b'B';
const DIRECTORY: u8 = b'D';
const ROLLUPS: u8 = b'R';
const ROLLUP_DIRECTORY: u8 = b'Y';
const CLAIM: u8 = b'Q';
const NAME: u8 = b'U';
const SERIES: u8 = b'N';
const METADATA: u8 = b'A';
const DOCUMENT: u8 = b'T';
const ANNOTATION: u8 = b'O';
const PRESENCE: u8 = b'P';
const TAG_METADATA: u8 = b'G';
const TAG_REFERENCE: u8 = b'J';
/// Ends tags in a key: no name has this character.
const TAGS_END: u8 = 1;
/// In the place of a metric, for annotations about everything: metrics are numbered from 1.
pub(crate) const EVERYTHING: u32 = 0;
const INDEX_LOG: u8 = b'I';
const CHANGE_LOG: u8 = b'K';
const CHANGE_LOG_MARK: u8 = b'k';
const TOMBSTONE: u8 = b'X';

/// The start of a key of one shard, with room for `more` bytes.
fn of_shard(kind: u8, shard: u16, more: usize) -> BytesMut {
    let mut key = BytesMut::with_capacity(3 + more);
    key.put_u8(kind);
    key.put_u16(shard);
    key
}

/// The start of a key of one metric in one bucket, with room for `more` bytes.
fn of_bucket(kind: u8, shard: u16, bucket: Bucket, metric: u32, more: usize) -> BytesMut {
    let mut key = BytesMut::with_capacity(12 + more);
    key.put_slice(&[kind, bucket.tier.byte()]);
    key.put_u16(shard);
    key.put_u32(bucket.number);
    key.put_u32(metric);
    key
}

pub(crate) fn fence(shard: u16) -> Bytes {
    of_shard(FENCE, shard, 0).freeze()
}

/// Before the versionstamp of a segment.
pub(crate) fn log_prefix(shard: u16, epoch: u64) -> Bytes {
    let mut key = of_shard(LOG, shard, 8);
    key.put_u64(epoch);
    key.freeze()
}

/// Before the versionstamp of a note of changed directories.
pub(crate) fn change_log(shard: u16) -> Bytes {
    of_shard(CHANGE_LOG, shard, 0).freeze()
}

/// Up to which key the notes of a shard were cleared.
pub(crate) fn change_log_mark(shard: u16) -> Bytes {
    of_shard(CHANGE_LOG_MARK, shard, 0).freeze()
}

/// What was created when there were `before` names and series.
pub(crate) fn index_log(before: u64, part: u16) -> Bytes {
    let mut key = BytesMut::with_capacity(11);
    key.put_u8(INDEX_LOG);
    key.put_u64(before);
    key.put_u16(part);
    key.freeze()
}

/// Behind the last entry of the index log.
pub(crate) fn index_log_end() -> Bytes {
    KeyRange::prefix(&[INDEX_LOG]).end
}

/// Where a group of blocks is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupKey {
    pub(crate) shard: u16,
    pub(crate) bucket: Bucket,
    pub(crate) metric: u32,
    /// Number of the first series of the group.
    pub(crate) first: u32,
    /// Tells groups apart that begin with the same series, when one series fills several.
    pub(crate) part: u16,
    pub(crate) generation: Generation,
}

impl GroupKey {
    pub(crate) const BYTES: usize = 1 + 1 + 2 + 4 + 4 + 4 + 2 + 8;

    pub(crate) fn encode(&self) -> Bytes {
        let mut key = of_bucket(BLOCKS, self.shard, self.bucket, self.metric, 14);
        key.put_u32(self.first);
        key.put_u16(self.part);
        key.put_u64(self.generation.0);
        key.freeze()
    }

    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(key.strip_prefix(&[BLOCKS])?);
        let tier = Tier::of_byte(reader.byte()?)?;
        let decoded = Self {
            shard: reader.u16_be()?,
            bucket: Bucket { tier, number: reader.u32_be()? },
            metric: reader.u32_be()?,
            first: reader.u32_be()?,
            part: reader.u16_be()?,
            generation: Generation(reader.u64_be()?),
        };
        reader.is_empty().then_some(decoded)
    }
}

/// The groups of one metric in one bucket, those of all generations.
pub(crate) fn groups_of_bucket(shard: u16, bucket: Bucket, metric: u32) -> KeyRange {
    KeyRange::prefix(&of_bucket(BLOCKS, shard, bucket, metric, 0))
}

/// Where a page of the directory of one metric, bucket and generation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DirectoryKey {
    pub(crate) shard: u16,
    pub(crate) bucket: Bucket,
    pub(crate) metric: u32,
    pub(crate) generation: Generation,
    pub(crate) page: u16,
}

impl DirectoryKey {
    pub(crate) fn encode(&self) -> Bytes {
        let mut key = of_bucket(DIRECTORY, self.shard, self.bucket, self.metric, 10);
        key.put_u64(self.generation.0);
        key.put_u16(self.page);
        key.freeze()
    }

    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(key.strip_prefix(&[DIRECTORY])?);
        let tier = Tier::of_byte(reader.byte()?)?;
        let decoded = Self {
            shard: reader.u16_be()?,
            bucket: Bucket { tier, number: reader.u32_be()? },
            metric: reader.u32_be()?,
            generation: Generation(reader.u64_be()?),
            page: reader.u16_be()?,
        };
        reader.is_empty().then_some(decoded)
    }

    /// The directories of one metric in one bucket.
    pub(crate) fn range_of_bucket(shard: u16, bucket: Bucket, metric: u32) -> KeyRange {
        KeyRange::prefix(&of_bucket(DIRECTORY, shard, bucket, metric, 0))
    }

    /// The directories of a tier of a shard.
    pub(crate) fn range_of_shard(tier: Tier, shard: u16) -> KeyRange {
        let [high, low] = shard.to_be_bytes();
        KeyRange::prefix(&[DIRECTORY, tier.byte(), high, low])
    }
}

/// Where the tombstone of a deletion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TombstoneKey {
    pub(crate) shard: u16,
    /// The epoch in whose log the deletion lies.
    pub(crate) epoch: u64,
    pub(crate) identity: LogIdentity,
}

impl TombstoneKey {
    pub(crate) fn encode(&self) -> Bytes {
        let mut key = of_shard(TOMBSTONE, self.shard, 24);
        key.put_u64(self.epoch);
        key.put_u64(self.identity.writer);
        key.put_u64(self.identity.sequence);
        key.freeze()
    }

    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(key.strip_prefix(&[TOMBSTONE])?);
        let shard = reader.u16_be()?;
        let epoch = reader.u64_be()?;
        let identity = LogIdentity { writer: reader.u64_be()?, sequence: reader.u64_be()? };
        reader.is_empty().then_some(Self { shard, epoch, identity })
    }

    /// The tombstones of a shard, in order of their epochs.
    pub(crate) fn range_of_shard(shard: u16) -> KeyRange {
        KeyRange::prefix(&of_shard(TOMBSTONE, shard, 0))
    }
}

/// Where the directory of the rollups of one metric, interval and span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RollupKey {
    pub(crate) shard: u16,
    pub(crate) interval_ms: u32,
    pub(crate) span: u32,
    pub(crate) metric: u32,
}

impl RollupKey {
    const BYTES: usize = 1 + 2 + 4 + 4 + 4;

    /// By metric, so that what a metric has can be loaded again.
    pub(crate) fn encode(&self) -> Bytes {
        let mut key = Self::before_interval(self.shard, self.metric);
        key.put_u32(self.interval_ms);
        key.put_u32(self.span);
        key.freeze()
    }

    fn before_interval(shard: u16, metric: u32) -> BytesMut {
        let mut key = of_shard(ROLLUP_DIRECTORY, shard, Self::BYTES - 3);
        key.put_u32(metric);
        key
    }

    /// Before the first series of a group. By span, so that what is written together is together.
    fn before_groups(&self) -> BytesMut {
        let mut key = of_shard(ROLLUPS, self.shard, RollupGroupKey::BYTES - 3);
        key.put_u32(self.interval_ms);
        key.put_u32(self.span);
        key.put_u32(self.metric);
        key
    }

    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(key.strip_prefix(&[ROLLUP_DIRECTORY])?);
        let decoded = Self {
            shard: reader.u16_be()?,
            metric: reader.u32_be()?,
            interval_ms: reader.u32_be()?,
            span: reader.u32_be()?,
        };
        reader.is_empty().then_some(decoded)
    }

    /// The directories of a shard.
    pub(crate) fn range_of_shard(shard: u16) -> KeyRange {
        KeyRange::prefix(&of_shard(ROLLUP_DIRECTORY, shard, 0))
    }

    /// The directories of a metric.
    pub(crate) fn range_of_metric(shard: u16, metric: u32) -> KeyRange {
        KeyRange::prefix(&Self::before_interval(shard, metric))
    }

    /// The groups, those of all versions.
    pub(crate) fn range_of_groups(&self) -> KeyRange {
        KeyRange::prefix(&self.before_groups())
    }
}

/// Where a group of rollups is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RollupGroupKey {
    pub(crate) of: RollupKey,
    /// Number of the first series of the group.
    pub(crate) first: u32,
    /// Which change of the span wrote it.
    pub(crate) version: u64,
}

impl RollupGroupKey {
    pub(crate) const BYTES: usize = RollupKey::BYTES + 4 + 8;

    pub(crate) fn decode(key: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(key.strip_prefix(&[ROLLUPS])?);
        let shard = reader.u16_be()?;
        let interval_ms = reader.u32_be()?;
        let span = reader.u32_be()?;
        let metric = reader.u32_be()?;
        let first = reader.u32_be()?;
        let of = RollupKey { shard, interval_ms, span, metric };
        let decoded = Self { of, first, version: reader.u64_be()? };
        reader.is_empty().then_some(decoded)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut key = self.of.before_groups();
        key.put_u32(self.first);
        key.put_u64(self.version);
        key.freeze()
    }
}

/// Who is about to replace the generations of a metric in a bucket.
pub(crate) fn claim(shard: u16, bucket: Bucket, metric: u32) -> Bytes {
    of_bucket(CLAIM, shard, bucket, metric, 0).freeze()
}

/// How a kind of name is written, in keys and in the index log.
pub(crate) fn kind_byte(kind: NameKind) -> u8 {
    match kind {
        NameKind::Metric => b'm',
        NameKind::TagKey => b'k',
        NameKind::TagValue => b'v',
    }
}

/// Where the id of a name is.
pub(crate) fn name(kind: NameKind, name: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(2 + name.len());
    key.put_slice(&[NAME, kind_byte(kind)]);
    key.put_slice(name.as_bytes());
    key.freeze()
}

pub(crate) fn names(kind: NameKind) -> KeyRange {
    KeyRange::prefix(&[NAME, kind_byte(kind)])
}

/// The name in a key of [`names`].
pub(crate) fn name_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(2..)?).ok()
}

pub(crate) fn series(metric: u32, number: u32) -> Bytes {
    let mut key = BytesMut::with_capacity(9);
    key.put_u8(SERIES);
    key.put_u32(metric);
    key.put_u32(number);
    key.freeze()
}

pub(crate) fn all_series() -> KeyRange {
    KeyRange::prefix(&[SERIES])
}

/// Metric and number in a key of [`all_series`].
pub(crate) fn series_of(key: &[u8]) -> Option<(u32, u32)> {
    let mut reader = ByteReader::new(key.strip_prefix(&[SERIES])?);
    let metric = reader.u32_be()?;
    let number = reader.u32_be()?;
    reader.is_empty().then_some((metric, number))
}

pub(crate) fn metadata(metric: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(1 + metric.len());
    key.put_u8(METADATA);
    key.put_slice(metric.as_bytes());
    key.freeze()
}

/// Where the annotation of a series, or about everything, is that begins at `start_ms`.
pub(crate) fn annotation(tsuid: Option<&Tsuid>, start_ms: TimestampMs) -> Bytes {
    let mut key = BytesMut::from(annotations_from(tsuid.map_or(EVERYTHING, Tsuid::metric), start_ms));
    key.put_slice(tsuid.and_then(|tsuid| tsuid.as_bytes().get(Tsuid::NAME_ID_BYTES..)).unwrap_or_default());
    key.freeze()
}

/// Before the annotations of a metric that begin at `start_ms` or later.
pub(crate) fn annotations_from(metric: u32, start_ms: TimestampMs) -> Bytes {
    let mut key = BytesMut::with_capacity(12);
    key.put_u8(ANNOTATION);
    key.put_uint(u64::from(metric), Tsuid::NAME_ID_BYTES);
    key.put_i64(start_ms.max(0));
    key.freeze()
}

/// The series in a key of an annotation, `None` inside for one about everything.
pub(crate) fn annotated(key: &[u8]) -> Option<Option<Tsuid>> {
    let mut reader = ByteReader::new(key.strip_prefix(&[ANNOTATION])?);
    let metric = reader.bytes(Tsuid::NAME_ID_BYTES)?;
    reader.bytes(8)?;
    let is_about_everything = metric.iter().all(|byte| *byte == 0) && reader.is_empty();
    if is_about_everything { Some(None) } else { Tsuid::from_bytes(&[metric, reader.rest()].concat()).map(Some) }
}

/// Where it says which series of a metric have no points, `row` by row.
pub(crate) fn presence(metric: u32, row: u32) -> Bytes {
    let mut key = BytesMut::with_capacity(9);
    key.put_u8(PRESENCE);
    key.put_u32(metric);
    key.put_u32(row);
    key.freeze()
}

pub(crate) fn presence_of(metric: u32) -> KeyRange {
    let [a, b, c, d] = metric.to_be_bytes();
    KeyRange::prefix(&[PRESENCE, a, b, c, d])
}

pub(crate) fn all_presence() -> KeyRange {
    KeyRange::prefix(&[PRESENCE])
}

/// Metric and row in a key of [`all_presence`].
pub(crate) fn presence_row(key: &[u8]) -> Option<(u32, u32)> {
    let mut reader = ByteReader::new(key.strip_prefix(&[PRESENCE])?);
    let metric = reader.u32_be()?;
    let row = reader.u32_be()?;
    reader.is_empty().then_some((metric, row))
}

/// Where it says what is known under `name` of the thing that the tags name.
pub(crate) fn tag_metadata(tags: &[(String, String)], name: &str) -> Bytes {
    let mut key = BytesMut::new();
    key.put_u8(TAG_METADATA);
    for (tag_key, value) in tags {
        key.put_slice(tag_key.as_bytes());
        key.put_u8(0);
        key.put_slice(value.as_bytes());
        key.put_u8(0);
    }
    key.put_u8(TAGS_END);
    key.put_slice(name.as_bytes());
    key.freeze()
}

/// Where a tag refers to a key of [`tag_metadata`].
pub(crate) fn tag_reference((tag_key, value): &(String, String), to: &[u8]) -> Bytes {
    let mut key = BytesMut::new();
    key.put_u8(TAG_REFERENCE);
    key.put_slice(tag_key.as_bytes());
    key.put_u8(0);
    key.put_slice(value.as_bytes());
    key.put_u8(TAGS_END);
    key.put_slice(to);
    key.freeze()
}

/// The references of all tags with a key.
pub(crate) fn tag_references_of_key(tag_key: &str) -> KeyRange {
    KeyRange::prefix(&[&[TAG_REFERENCE], tag_key.as_bytes(), &[0]].concat())
}

/// The references of all tags.
pub(crate) fn all_tag_references() -> KeyRange {
    KeyRange::prefix(&[TAG_REFERENCE])
}

/// What a key of [`tag_reference`] refers to.
pub(crate) fn referred(key: &[u8]) -> Option<&[u8]> {
    let end = key.strip_prefix(&[TAG_REFERENCE])?.iter().position(|byte| *byte == TAGS_END)?;
    key.get(end + 2..).filter(|to| described_tags(to).is_some())
}

/// Tags and name in a key of [`tag_metadata`].
pub(crate) fn described_tags(key: &[u8]) -> Option<(Vec<(String, String)>, String)> {
    let text = std::str::from_utf8(key.strip_prefix(&[TAG_METADATA])?).ok()?;
    let (tags, name) = text.split_once(char::from(TAGS_END))?;
    let mut parts = tags.split_terminator('\0').map(str::to_owned);
    let mut pairs = Vec::new();
    while let Some(tag_key) = parts.next() {
        pairs.push((tag_key, parts.next()?));
    }
    Some((pairs, name.to_owned()))
}

/// The metric in a key of [`metadata`].
pub(crate) fn described_metric(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(&[METADATA])?).ok()
}

/// Before the id of a document: the collection with its length, so that no collection is a prefix of another.
pub(crate) fn collection(collection: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(3 + collection.len());
    key.push(DOCUMENT);
    key.extend_from_slice(&u16::try_from(collection.len()).unwrap_or(u16::MAX).to_be_bytes());
    key.extend_from_slice(collection.as_bytes());
    key
}

/// Every fence.
pub(crate) fn all_fences() -> KeyRange {
    KeyRange::prefix(&[FENCE])
}

/// Every page of a directory.
pub(crate) fn all_directories() -> KeyRange {
    KeyRange::prefix(&[DIRECTORY])
}

/// Every group of blocks.
pub(crate) fn all_groups() -> KeyRange {
    KeyRange::prefix(&[BLOCKS])
}

/// Every name of every kind.
pub(crate) fn all_names() -> KeyRange {
    KeyRange::prefix(&[NAME])
}

/// The log of all epochs of a shard from `epoch` on.
pub(crate) fn log_from(shard: u16, epoch: u64) -> KeyRange {
    KeyRange { start: log_prefix(shard, epoch), ..KeyRange::prefix(&of_shard(LOG, shard, 0)) }
}

/// The log of all shards.
pub(crate) fn all_logs() -> KeyRange {
    KeyRange::prefix(&[LOG])
}

/// Shard and epoch of an entry of the log, which has a versionstamp behind them.
pub(crate) fn log_position(key: &[u8]) -> Option<(u16, u64)> {
    let mut reader = ByteReader::new(key.strip_prefix(&[LOG])?);
    let shard = reader.u16_be()?;
    let epoch = reader.u64_be()?;
    (!reader.is_empty()).then_some((shard, epoch))
}

/// The same entry of the log in another epoch: the order inside the epoch stays.
pub(crate) fn log_in_epoch(key: &[u8], shard: u16, epoch: u64) -> Bytes {
    let prefix = log_prefix(shard, epoch);
    let stamp = key.get(prefix.len()..).unwrap_or_default();
    [&prefix[..], stamp].concat().into()
}

/// What a backup reads before the blocks: tombstones hide points of blocks and go once these are rewritten without them.
pub(crate) fn before_blocks() -> Vec<KeyRange> {
    vec![KeyRange::prefix(&[TOMBSTONE])]
}

/// The directories of rollups.
pub(crate) fn all_rollup_directories() -> KeyRange {
    KeyRange::prefix(&[ROLLUP_DIRECTORY])
}

/// What is kept under names, which may change while a backup is taken: ids, and what is known of metrics and tags.
pub(crate) fn under_names() -> Vec<KeyRange> {
    [&[NAME], &[METADATA], &[TAG_METADATA], &[TAG_REFERENCE]].map(|prefix| KeyRange::prefix(prefix)).to_vec()
}

/// What a backup reads after blocks, series and names: everything that is not read elsewhere.
pub(crate) fn after_names() -> Vec<KeyRange> {
    let elsewhere = [all_logs(), all_directories(), all_groups(), all_fences(), all_series()];
    ranges_between(&[&before_blocks()[..], &elsewhere, &under_names()].concat())
}

/// Whether this is the key of a [`change_log_mark`].
pub(crate) fn is_change_log_mark(key: &[u8]) -> bool {
    key.first() == Some(&CHANGE_LOG_MARK)
}

/// What a backup takes last, what a restore works out, and what only runs beside the rest: logs of changes for other
/// processes, which know everything when they open a store. Rollups are left out as well: they are made anew of the
/// blocks, and those of another moment than the blocks would not count. Rows that stand alone are read elsewhere.
pub(crate) fn is_left_out_of_backups(key: &[u8]) -> bool {
    const PREFIXES: [u8; 6] = [INDEX_LOG, CHANGE_LOG, CHANGE_LOG_MARK, ROLLUPS, ROLLUP_DIRECTORY, CLAIM];
    [STORE, WRITERS, COUNTERS, RESTORE].contains(&key) || key.first().is_some_and(|first| PREFIXES.contains(first))
}

/// What lies between ranges, from the first key there can be to the last.
pub(crate) fn ranges_between(taken: &[KeyRange]) -> Vec<KeyRange> {
    let mut taken = taken.to_vec();
    taken.sort_by(|left, right| left.start.cmp(&right.start));
    let all = KeyRange::prefix(&[]);
    let mut start = all.start;
    let mut between = Vec::new();
    for range in taken {
        between.push(KeyRange::new(start.clone(), range.start));
        start = range.end.max(start);
    }
    between.push(KeyRange::new(start, all.end));
    between.retain(|range| !range.is_empty());
    between
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_keys_survive_their_bytes_and_sort_as_their_fields() {
        let bucket = |number| Bucket { tier: Tier::Day, number };
        let low = DirectoryKey { shard: 1, bucket: bucket(255), metric: 2, generation: Generation(9), page: 0 };
        let high = DirectoryKey { bucket: bucket(256), metric: 1, ..low };
        assert_eq!(DirectoryKey::decode(&low.encode()), Some(low));
        assert!(low.encode() < high.encode());
        assert_eq!(DirectoryKey::decode(b"D\0"), None);
        let range = DirectoryKey::range_of_shard(Tier::Day, 1);
        assert!(range.start <= low.encode() && high.encode() < range.end);
    }

    #[test]
    fn rollup_keys_survive_their_bytes_and_lie_in_their_ranges() {
        let of = RollupKey { shard: 1, interval_ms: 3_600_000, span: 2_071, metric: 9 };
        assert_eq!(RollupKey::decode(&of.encode()), Some(of));
        assert_eq!(RollupKey::decode(b"Y\0"), None);
        let directories = RollupKey::range_of_shard(1);
        assert!(directories.start <= of.encode() && of.encode() < directories.end);
        let of_metric = RollupKey::range_of_metric(1, 9);
        assert!(of_metric.start <= of.encode() && of.encode() < of_metric.end);
        assert!(of_metric.end <= RollupKey { metric: 10, ..of }.encode());
        let groups = of.range_of_groups();
        let key = RollupGroupKey { of, first: u32::MAX, version: u64::MAX }.encode();
        assert!(groups.start <= key && key < groups.end);
        assert_eq!(key.len(), RollupGroupKey::BYTES);
        assert_eq!(RollupGroupKey::decode(&key).map(|key| (key.of, key.first)), Some((of, u32::MAX)));
        let other = RollupGroupKey { of: RollupKey { metric: 10, ..of }, first: 0, version: 0 }.encode();
        assert!(groups.end <= other);
    }

    #[test]
    fn group_keys_sort_by_bucket_before_metric() {
        let key = |number, metric| {
            let bucket = Bucket { tier: Tier::TwoHours, number };
            GroupKey { shard: 0, bucket, metric, first: 0, part: 0, generation: Generation(1) }.encode()
        };
        assert!(key(1, 9) < key(2, 1));
        let groups = groups_of_bucket(0, Bucket { tier: Tier::TwoHours, number: 2 }, 1);
        assert!(key(1, 9) < groups.start && groups.start <= key(2, 1) && key(2, 1) < groups.end);
        assert!(groups.end <= key(2, 2));
        assert_eq!(key(1, 1).len(), GroupKey::BYTES);
    }
}
