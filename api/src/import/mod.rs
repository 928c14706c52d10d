//! Lines of text become points of a store: what `tidemark import` and `import` jobs have in common, and those jobs.
//!
//! Lines are read in order and written in order, one batch after the other, so that of two lines about one point the later
//! one wins. Writing a point again changes nothing, so an import may be repeated as it was.

mod job;
mod line_batch;
mod line_reader;
mod patience;

pub use job::ImportHandler;
pub(crate) use job::check;
pub use line_batch::{LineBatch, LineBatchBuilder, LineRules, WrittenLines};
pub use line_reader::{LineReader, NumberedLine};
pub use patience::write_patiently;
