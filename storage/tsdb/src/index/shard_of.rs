//! Which shard a metric gets.

use xxhash_rust::xxh3::xxh3_64;

/// The shard of a metric that gets its first name. Stored data depends on it: it never changes.
pub(crate) fn shard_of(metric: &str, shards: u16) -> u16 {
    shard_of_hash(name_hash(metric), shards)
}

/// What decides of a name about its shard.
pub(crate) fn name_hash(metric: &str) -> u64 {
    xxh3_64(metric.as_bytes())
}

pub(crate) fn shard_of_hash(hash: u64, shards: u16) -> u16 {
    u16::try_from(hash % u64::from(shards.max(1))).unwrap_or(0)
}
