//! Rules and notifications, from files and built in.
//!
//! A folder of TOML files is read as a whole: every mistake in it is reported, with file, line, section and field, and
//! a folder with a mistake is not used at all, so that a slip never switches half of the alerting off. The format is
//! in `docs/rules.md`; [`RuleSet::load`] is also what `tidemark check` calls.

mod error;
mod evaluation;
mod read_rule;
mod rule;
mod rule_set;
pub(crate) mod section;
mod variables;

pub use error::{RuleError, RuleErrors};
pub use evaluation::{RuleEvaluation, RuleFailure};
pub use rule::{NanPolicy, Routes, Rule, RuleOrigin, UnknownPolicy};
pub use rule_set::{RuleSet, RuleSetOptions};
pub use variables::Variables;

pub(crate) use read_rule::read_name;
