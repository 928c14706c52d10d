//! The kinds of tag filters, and what `/api/config/filters` says about them.

use std::{fmt, str::FromStr};

use crate::{ParseError, parse_error::excerpt};

/// How a filter compares the value of a tag with its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterKind {
    /// Equals one of the literals.
    LiteralOr,
    /// Equals one of the literals, whatever the case.
    IliteralOr,
    /// Has the key and equals none of the literals.
    NotLiteralOr,
    /// Has the key and equals none of the literals, whatever the case.
    NotIliteralOr,
    /// Matches a text with asterisks.
    Wildcard,
    /// Matches a text with asterisks, whatever the case.
    Iwildcard,
    /// A regular expression is found in it.
    Regexp,
    /// The series lacks the key.
    NotKey,
}

impl FilterKind {
    /// Every kind, in the order of the catalogue.
    pub const ALL: [Self; 8] = [
        Self::LiteralOr,
        Self::IliteralOr,
        Self::NotLiteralOr,
        Self::NotIliteralOr,
        Self::Wildcard,
        Self::Iwildcard,
        Self::Regexp,
        Self::NotKey,
    ];

    /// Its name in queries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LiteralOr => "literal_or",
            Self::IliteralOr => "iliteral_or",
            Self::NotLiteralOr => "not_literal_or",
            Self::NotIliteralOr => "not_iliteral_or",
            Self::Wildcard => "wildcard",
            Self::Iwildcard => "iwildcard",
            Self::Regexp => "regexp",
            Self::NotKey => "not_key",
        }
    }

    /// What it does, for people.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::LiteralOr => {
                "Accepts series whose tag value equals one of the literals, separated by |. Case sensitive."
            }
            Self::IliteralOr => {
                "Accepts series whose tag value equals one of the literals, separated by |. Case insensitive."
            }
            Self::NotLiteralOr => {
                "Accepts series that have the tag key with a value other than the literals, separated by |. Case sensitive."
            }
            Self::NotIliteralOr => {
                "Accepts series that have the tag key with a value other than the literals, separated by |. Case insensitive."
            }
            Self::Wildcard => {
                "Accepts series whose tag value matches the text, in which each * stands for any characters. Case sensitive."
            }
            Self::Iwildcard => {
                "Accepts series whose tag value matches the text, in which each * stands for any characters. Case insensitive."
            }
            Self::Regexp => {
                "Accepts series in whose tag value the regular expression is found. Without look-around and back-references."
            }
            Self::NotKey => "Accepts series that lack the tag key. The filter text is empty.",
        }
    }

    /// How it is written, for people.
    #[must_use]
    pub const fn examples(self) -> &'static str {
        match self {
            Self::LiteralOr => {
                r#"host=literal_or(web01), host=literal_or(web01|web02) {"type":"literal_or","tagk":"host","filter":"web01|web02","groupBy":false}"#
            }
            Self::IliteralOr => {
                r#"host=iliteral_or(WEB01|web02) {"type":"iliteral_or","tagk":"host","filter":"WEB01|web02","groupBy":false}"#
            }
            Self::NotLiteralOr => {
                r#"host=not_literal_or(web01|web02) {"type":"not_literal_or","tagk":"host","filter":"web01|web02","groupBy":false}"#
            }
            Self::NotIliteralOr => {
                r#"host=not_iliteral_or(WEB01|web02) {"type":"not_iliteral_or","tagk":"host","filter":"WEB01|web02","groupBy":false}"#
            }
            Self::Wildcard => {
                r#"host=wildcard(web*), host=wildcard(web*.lga.*) {"type":"wildcard","tagk":"host","filter":"web*","groupBy":false}"#
            }
            Self::Iwildcard => {
                r#"host=iwildcard(Web*) {"type":"iwildcard","tagk":"host","filter":"Web*","groupBy":false}"#
            }
            Self::Regexp => {
                r#"host=regexp(web0[12]) {"type":"regexp","tagk":"host","filter":"web0[12]","groupBy":false}"#
            }
            Self::NotKey => r#"host=not_key() {"type":"not_key","tagk":"host","filter":"","groupBy":false}"#,
        }
    }
}

impl fmt::Display for FilterKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for FilterKind {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| ParseError::UnknownFilter(excerpt(name)))
    }
}
