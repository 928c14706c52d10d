//! Entries of a store as inputs.

use std::sync::Arc;

use bytes::Bytes;
use tidemark_kv::{KeyRange, Kv, MemoryKv, RangeLimit};
use tidemark_tsdb::backup::{BackupFile, BackupVerifier, Existing, Restore};
use xxhash_rust::xxh3::xxh3_64;

/// Takes an entry apart: the length of the key in one byte, the key, the value without its checksum.
#[must_use]
pub fn parse_entry(data: &[u8]) -> Option<(Bytes, &[u8])> {
    let (&length, rest) = data.split_first()?;
    let (key, body) = rest.split_at_checked(length.into())?;
    Some((Bytes::copy_from_slice(key), body))
}

/// Appends the checksum that every stored value ends with, or no decoder would look further.
#[must_use]
pub fn checksummed(body: &[u8]) -> Bytes {
    let mut value = body.to_vec();
    value.extend_from_slice(&xxh3_64(body).to_le_bytes());
    value.into()
}

/// Every entry of the golden backup, restored.
#[must_use]
pub fn golden_entries() -> Vec<(Bytes, Bytes)> {
    crate::runtime().block_on(async {
        let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
        let golden: &[u8] = include_bytes!("../../../storage/tsdb/tests/golden/backup_1.bin");
        let (mut verifier, mut chunks) = (BackupVerifier::default(), Vec::new());
        let mut file = BackupFile::open(golden).expect("a header");
        while let Some(chunk) = file.next_chunk().expect("a chunk") {
            verifier.chunk(&chunk).expect("a chunk in its place");
            chunks.push(chunk);
        }
        let summary = verifier.finish();
        let mut restore =
            Restore::begin(Arc::clone(&kv), file.header(), summary, Existing::Refuse).await.expect("a whole backup");
        for chunk in &chunks {
            restore.chunk(chunk).await.expect("restore");
        }
        restore.finish().await.expect("restore");
        let limit = RangeLimit { entries: usize::MAX, bytes: usize::MAX, reverse: false };
        kv.snapshot().await.expect("a snapshot").range(KeyRange::prefix(&[]), limit).await.expect("entries").entries
    })
}
