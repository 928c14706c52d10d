//! How a store is opened.

/// Options of [`super::RedbKv::open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedbOptions {
    /// Memory for cached pages; 32 MiB.
    pub cache_bytes: usize,
    /// Bytes of commits in one transaction, after which the group is closed; 4 MiB.
    pub group_bytes_max: usize,
    /// Commits that may wait or be under way, in number; further ones wait outside. 1024.
    pub queue_commits_max: usize,
    /// Bytes of commits that may wait or be under way; further ones wait outside. 64 MiB.
    pub queue_bytes_max: usize,
    /// Bytes of the journal, in which small groups become durable, after which a transaction of the engine takes them;
    /// 4 MiB. Zero does without a journal.
    pub journal_bytes: usize,
    /// Bytes of commits up to which a group goes to the journal; 128 KiB.
    pub journal_group_bytes: usize,
    /// Free bytes on the file system below which commits are refused with [`crate::KvError::Full`], unless they
    /// delete and put at most 4 KiB; 32 MiB.
    pub free_bytes_min: u64,
    /// Whether to read the whole file and verify every checksum when it is opened (about a second a gigabyte).
    pub verify_on_open: bool,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            group_bytes_max: 4 << 20,
            queue_commits_max: 1024,
            queue_bytes_max: 64 << 20,
            journal_bytes: 4 << 20,
            journal_group_bytes: 128 << 10,
            free_bytes_min: 32 << 20,
            verify_on_open: false,
        }
    }
}
