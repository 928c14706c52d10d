//! Where in the text of an expression something is.

use std::{fmt, ops::Range};

/// A place in the text of an expression. Lines and columns count from 1; a column is a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The place of a byte offset; offsets past the end mean the end.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before: String =
            text.char_indices().take_while(|(at, _)| *at < offset).map(|(_, character)| character).collect();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&character| character != '\n').count() + 1;
        Self { line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}, column {}", self.line, self.column)
    }
}

/// The bytes of a token or node in the text.
pub(crate) type Span = Range<usize>;
