//! Reading one TOML table field by field, with the place of every mistake.
//!
//! The fields are taken by hand rather than by deriving a deserialiser: every mistake of a file is reported at once,
//! each with file, line, section and field, and a key that nobody knows is told which one was probably meant.

use std::{cell::RefCell, collections::BTreeMap, ops::Range, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{expression::parse_duration, rules::RuleError, suggestion::most_similar};

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Problems(RefCell<Vec<RuleError>>);

impl Problems {
    pub(crate) fn add(&self, problem: RuleError) {
        self.0.borrow_mut().push(problem);
    }

    pub(crate) fn into_errors(self) -> Vec<RuleError> {
        self.0.into_inner()
    }
}

/// A file's name and text, for the places of mistakes.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or_default().matches('\n').count() + 1
    }
}

/// A table that is being read.
pub(crate) struct Section<'a> {
    table: &'a DeTable<'a>,
    source: Source<'a>,
    problems: &'a Problems,
    line: usize,
    name: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The table at `span`; `kind` is what errors call it, followed by its `name`.
    pub(crate) fn new(
        kind: &str,
        table: &'a DeTable<'a>,
        span: Range<usize>,
        source: Source<'a>,
        problems: &'a Problems,
    ) -> Self {
        let name = table.get("name").and_then(|name| name.get_ref().as_str()).unwrap_or("?");
        let name = format!("{kind} `{name}`");
        Self { table, source, problems, line: source.line(span.start), name, known: RefCell::default() }
    }

    /// The line on which it begins.
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// Reports a mistake of a field, at the field if it is there.
    pub(crate) fn problem(&self, field: &str, reason: impl Into<String>) {
        let line = self.table.get(field).map_or(self.line, |value| self.source.line(value.span().start));
        self.problems.add(RuleError {
            file: self.source.file.to_owned(),
            line,
            section: self.name.clone(),
            field: field.to_owned(),
            reason: reason.into(),
        });
    }

    pub(crate) fn has(&self, field: &'static str) -> bool {
        self.value(field).is_some()
    }

    pub(crate) fn text(&self, field: &'static str) -> Option<String> {
        let value = self.value(field)?;
        match value.get_ref().as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong_type(field, "a string", value),
        }
    }

    /// A text that must be one of a few; the first is the default.
    pub(crate) fn choice<T: Copy>(&self, field: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(field)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
            self.problem(field, format!("expected {}, got `{text}`", names.join(" or ")));
        }
        found
    }

    pub(crate) fn flag(&self, field: &'static str) -> Option<bool> {
        let value = self.value(field)?;
        value.get_ref().as_bool().or_else(|| self.wrong_type(field, "true or false", value))
    }

    pub(crate) fn duration(&self, field: &'static str) -> Option<Duration> {
        match parse_duration(&self.text(field)?) {
            Ok(duration) => Some(duration),
            Err(reason) => {
                self.problem(field, reason);
                None
            }
        }
    }

    /// A list of texts; one text alone is a list of one.
    pub(crate) fn texts(&self, field: &'static str) -> Option<Vec<String>> {
        let value = self.value(field)?;
        let texts = match value.get_ref() {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(entries) => {
                entries.iter().map(|entry| entry.get_ref().as_str().map(str::to_owned)).collect()
            }
            _ => None,
        };
        texts.or_else(|| self.wrong_type(field, "a list of strings", value))
    }

    /// A table of texts; numbers and booleans count as they are written.
    pub(crate) fn table_of_texts(&self, field: &'static str) -> Option<BTreeMap<String, String>> {
        let value = self.value(field)?;
        let text = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Float(number) => Some(number.to_string()),
            DeValue::Boolean(flag) => Some(flag.to_string()),
            _ => None,
        };
        let texts = value.get_ref().as_table().and_then(|table| {
            table.iter().map(|(key, value)| Some((key.get_ref().to_string(), text(value.get_ref())?))).collect()
        });
        texts.or_else(|| self.wrong_type(field, "a table of strings", value))
    }

    /// Reports keys that nobody asked for.
    pub(crate) fn finish(self) {
        let known = self.known.borrow();
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let hint = most_similar(name, known.iter().copied());
                let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                self.problems.add(RuleError {
                    file: self.source.file.to_owned(),
                    line: self.source.line(key.span().start),
                    section: self.name.clone(),
                    field: name.to_owned(),
                    reason: format!("no such field{hint}"),
                });
            }
        }
    }

    fn value(&self, field: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().push(field);
        self.table.get(field)
    }

    fn wrong_type<T>(&self, field: &str, expected: &str, value: &Spanned<DeValue<'_>>) -> Option<T> {
        self.problem(field, format!("expected {expected}, got a value of type {}", value.get_ref().type_str()));
        None
    }
}
