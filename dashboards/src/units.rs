//! Numbers with units as people read them. `static/app/format.js` follows the same rules: `rules.json` beside this
//! file is the table that both are tested with.

mod duration;
mod scaled;
mod unit;

pub use duration::{format_age, format_duration};
pub(crate) use scaled::MISSING;
pub use unit::{Unit, format_quantity};
