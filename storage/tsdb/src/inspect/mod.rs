//! Looks at every entry of a store or of a backup and says what is wrong with it.
//!
//! Each entry is first checked alone: its key has the shape of its kind, its checksum matches, its fields make sense, and
//! points decode and are what the directory beside them says. Then entries are checked against each other: directories
//! against the groups that they name, series and names against the counters and against the points that use them, the log
//! and the blocks against the fence. A kind of entry that this program does not know is a finding, too.
//!
//! Directories and groups have the same order, so they are read side by side, a window at a time; the rest of what has to
//! be remembered are counts by metric. Turned down: a check by opening the store, which stops at the first damage and never
//! looks at a block that nobody asks for.

mod block_windows;
mod checker;
mod decoding;
mod entry_check;
mod entry_kind;
mod finding;
mod metric_places;
mod repair;
mod report;
mod store_check;

pub use entry_check::check_entry;
pub use entry_kind::EntryKind;
pub use finding::{Finding, FindingKind};
pub use repair::remove_orphans;
pub use report::{CheckReport, KindTotals};
pub use store_check::check_store;

pub(crate) use block_windows::{BlockWindow, BlockWindows};
pub(crate) use checker::{Checker, Subject, first_gap};
