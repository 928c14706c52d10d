//! The newest log lines, for `/logs`.

use std::fmt;

/// Keeps the newest log lines of the process, and knows how much is logged.
pub trait LogBook: fmt::Debug + Send + Sync {
    /// The newest first, each as `seconds`, level, thread, place and text with tabs between them, without a line feed.
    fn lines(&self) -> Vec<String>;

    /// Sets what is logged from now on: all that is at least this severe, in all places or in one.
    ///
    /// # Errors
    /// Says that there is no such level, or that the place is no name of one.
    fn set_level(&self, level: &str, place: Option<&str>) -> Result<(), String>;
}
