//! What is wrong with rule files.

use std::fmt;

use thiserror::Error;

/// One mistake, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; 0 when it is about the whole file.
    pub line: usize,
    /// The section, such as ``rule `disk_full` ``; empty outside of one.
    pub section: String,
    /// The field; empty when it is about the section.
    pub field: String,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "rule file `{}`", self.file)?;
        if self.line > 0 {
            write!(out, ", line {}", self.line)?;
        }
        if !self.section.is_empty() {
            write!(out, ", {}", self.section)?;
        }
        if !self.field.is_empty() {
            write!(out, ", `{}`", self.field)?;
        }
        write!(out, ": {}", self.reason)
    }
}

/// Everything that is wrong with a folder of rule files.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", Lines(.0))]
pub struct RuleErrors(pub Vec<RuleError>);

struct Lines<'a>(&'a [RuleError]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(RuleError::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}
