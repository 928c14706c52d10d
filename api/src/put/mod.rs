//! Points over HTTP: `POST /api/put`; and histograms and values that were aggregated before they were sent.
//!
//! A body is read by a hand-written [`cursor`] that knows only the shape which agents send. Whatever it does not know
//! (an escape, an unknown key, a point that breaks a rule) makes it give up, and the whole body is read again by
//! [`slow`], which uses `serde_json` and has OpenTSDB's rules and texts. The cursor never guesses: what it accepts, the
//! slow path accepts with the same result, and a property test holds the two to it. The alternative, `serde_json` alone,
//! was measured at 640 ns a point on one thread, the cursor with canonical keys and columns at 120 to 210 ns.

#[cfg(test)]
mod agreement;
mod answer;
pub(crate) mod cursor;
mod flags;
mod handler;
mod header_tag;
pub(crate) mod known_names;
mod other_values;
mod parse;
pub(crate) mod refusal_text;
mod rejected;
pub(crate) mod rollup_point;
pub(crate) mod simple_histogram;
pub(crate) mod slow;

pub(crate) use handler::{histogram, put, rollup};
pub(crate) use other_values::{parse_histograms, parse_rollups};
pub(crate) use parse::parse;
