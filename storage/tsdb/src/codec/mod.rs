//! How points become bytes.
//!
//! Three formats, each with a page that its reader and its writer follow:
//! - a **block** holds points of one series and is read for years: `docs/format/block.md`, [`encode_block`] and
//!   [`decode_block`];
//! - a **rollup block** holds rows of one series, each made of the points of an interval: `docs/format/rollup.md`,
//!   [`encode_rollup_block`] and [`decode_rollup_block`];
//! - a **segment** holds one flush, points of many series in the order in which they came, and lives until it is sealed:
//!   `docs/format/segment.md`, [`encode_segment`] and [`decode_segment`];
//! - a **deletion** lies between the segments and says which points are gone: `docs/format/deletion.md`,
//!   [`encode_deletion`] and [`decode_deletion`].
//!
//! All begin with a format byte. Decoding checks everything: bytes from anywhere give points or a [`CodecError`], never
//! a panic and never more memory than the limits say.

mod bit_packing;
mod block;
mod byte_reader;
mod column_sink;
mod decimal;
mod deletion;
mod error;
mod log_entry;
mod mini_block;
mod rollup_block;
mod segment;
mod segment_row;
mod timestamps;
mod values;

pub use block::{BLOCK_POINTS_MAX, BlockHeader, BlockKind, decode_block, encode_block, peek_block};
pub use deletion::{DELETION_SERIES_MAX, Deletion, decode_deletion, encode_deletion};
pub use error::CodecError;
pub use log_entry::{LogEntry, LogIdentity, decode_log_entry, peek_log_entry};
pub use rollup_block::{ROLLUP_ROWS_MAX, RollupColumns, RollupField, decode_rollup_block, encode_rollup_block};
pub use segment::{SEGMENT_BYTES_MAX, SegmentHeader, SegmentRow, SegmentRows, decode_segment, encode_segment};
