//! What the fuzz targets share.

mod columns;
mod entries;
mod groups;
mod lines;
mod plan;
mod value_column;

pub use columns::assert_survives_its_columns;
pub use entries::{checksummed, golden_entries, parse_entry};
pub use groups::groups_of;
pub use lines::{content, read_line, written};
pub use plan::plan;
pub use value_column::AnyValue;
pub use value_column::column_of;

/// A runtime on the fuzzer's own thread; its blocking threads stay from one input to the next.
#[must_use]
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().max_blocking_threads(2).enable_time().build().expect("a runtime")
}
