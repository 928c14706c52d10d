//! Whether other processes use the same store.

/// Who else writes to a store while it is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: the engine belongs to this process, and what this process did is all that happened.
    #[default]
    Alone,
    /// Other processes: every read first learns what they did (`follower.rs`), and every change is written down for
    /// them (`change_log.rs`, `index_log.rs`).
    Shared,
}

impl Sharing {
    /// Whether other processes may write.
    pub(crate) fn is_shared(self) -> bool {
        self == Self::Shared
    }
}
