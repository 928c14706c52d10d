//! Rollups: for every interval of a series its count, sum, minimum, maximum, first and last value.
//!
//! The rows of a day are made when the day is compacted, in the commit that makes the compacted blocks visible, and the
//! directory of the rollups says which generation of the day they were made of. They are used only as long as that
//! generation is all that there is of the day: late points, a merge or a delete make it something else, and then the
//! points answer until the day is compacted again. Marks of what is out of date were turned down, because whoever
//! forgets one gives wrong answers for ever.
//!
//! Points may expire before their rows. Such rows then stand alone (`alone.rs`): they answer for their day for as long as
//! rollups are kept, also where a sum of several differs from that of the points in its last bits, since nothing better
//! is left.
//!
//! Rows of one span, about ten days of hours, are in groups of their own: a year of one series is some 40 reads.
//! Byte maps: `docs/format/rollup.md`.

mod alone;
mod coverage;
mod directory;
mod group;
mod interval;
mod rows;
mod update;

pub use interval::{RollupInterval, RollupIntervalError};

pub(crate) use alone::{forget_expired_days, has_all_rows, let_stand_alone, publish_rollups, purge_span};
pub(crate) use coverage::{Coverage, DayUse, RollupChoice, fields_of};
pub(crate) use directory::{MetricRollups, RollupCatalogue, RollupGroupInfo, SpanRollups};
pub(crate) use group::read_directory;
pub(crate) use rows::Magnitude;
pub(crate) use update::{DayRows, RowsWanted, SpanUpdate, StoredSpan};
