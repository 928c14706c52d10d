//! What people noted about a name or a series.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::wire::Text;
use crate::error::ApiError;

/// Longest text of a note in characters.
const TEXT_CHARACTERS_MAX: usize = 10_000;
/// Fields that people may add.
const CUSTOM_MAX: usize = 100;
/// Version of the stored form.
const FORMAT: u8 = 1;

/// What is stored about a name or a series. Fields that only series have are at their defaults for names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Note {
    /// Version of this form.
    #[serde(default = "format")]
    pub(super) format: u8,
    pub(super) display_name: String,
    pub(super) description: String,
    pub(super) notes: String,
    /// Seconds since the epoch; 0 when unknown.
    pub(super) created: i64,
    pub(super) custom: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) units: String,
    #[serde(default)]
    pub(super) data_type: String,
    /// Days; 0 for ever. Only noted.
    #[serde(default)]
    pub(super) retention: i64,
    #[serde(default)]
    pub(super) max: Option<f64>,
    #[serde(default)]
    pub(super) min: Option<f64>,
}

fn format() -> u8 {
    FORMAT
}

impl Default for Note {
    fn default() -> Self {
        Self {
            format: FORMAT,
            display_name: String::new(),
            description: String::new(),
            notes: String::new(),
            created: 0,
            custom: None,
            units: String::new(),
            data_type: String::new(),
            retention: 0,
            max: None,
            min: None,
        }
    }
}

/// A change of a note: what is not said stays as it is, or goes to its default when the note is replaced.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NoteChange {
    pub(super) display_name: Option<Text>,
    pub(super) description: Option<Text>,
    pub(super) notes: Option<Text>,
    pub(super) created: Option<Text>,
    pub(super) custom: Option<BTreeMap<String, Text>>,
    pub(super) units: Option<Text>,
    pub(super) data_type: Option<Text>,
    pub(super) retention: Option<Text>,
    pub(super) max: Option<Text>,
    pub(super) min: Option<Text>,
}

impl NoteChange {
    /// The note after this change of `before`.
    ///
    /// # Errors
    /// 400 for a number that is none, 413 for a text or a list that is too long.
    pub(super) fn apply(&self, before: &Note) -> Result<Note, ApiError> {
        let mut after = before.clone();
        let texts = [
            ("displayName", &self.display_name, &mut after.display_name),
            ("description", &self.description, &mut after.description),
            ("notes", &self.notes, &mut after.notes),
            ("units", &self.units, &mut after.units),
            ("dataType", &self.data_type, &mut after.data_type),
        ];
        for (name, said, of) in texts {
            if let Some(Text(text)) = said {
                check_length(name, text)?;
                of.clone_from(text);
            }
        }
        for (name, said, of) in
            [("created", &self.created, &mut after.created), ("retention", &self.retention, &mut after.retention)]
        {
            if let Some(number) = number::<i64>(name, said.as_ref())? {
                *of = number;
            }
        }
        after.max = number("max", self.max.as_ref())?.or(after.max).filter(|max: &f64| max.is_finite());
        after.min = number("min", self.min.as_ref())?.or(after.min).filter(|min: &f64| min.is_finite());
        if let Some(custom) = &self.custom {
            if custom.len() > CUSTOM_MAX {
                let message = format!("{} custom fields, at most {CUSTOM_MAX} are kept", custom.len());
                return Err(ApiError::too_large(message));
            }
            for (name, Text(text)) in custom {
                check_length("custom", name)?;
                check_length("custom", text)?;
            }
            after.custom = Some(custom.iter().map(|(name, Text(text))| (name.clone(), text.clone())).collect());
        }
        Ok(after)
    }
}

fn check_length(name: &str, text: &str) -> Result<(), ApiError> {
    let characters = text.chars().count();
    if characters <= TEXT_CHARACTERS_MAX {
        return Ok(());
    }
    Err(ApiError::too_large(format!("`{name}` has {characters} characters, at most {TEXT_CHARACTERS_MAX} are kept")))
}

fn number<T: std::str::FromStr>(name: &str, text: Option<&Text>) -> Result<Option<T>, ApiError> {
    match text.filter(|text| !text.0.is_empty()) {
        Some(Text(text)) => {
            text.parse().map(Some).map_err(|_| ApiError::bad_request(format!("Unable to parse '{name}' value")))
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> NoteChange {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_not_said_stays() {
        let before = change(r#"{"displayName":"CPU","created":"17","custom":{"owner":"ops"}}"#).apply(&Note::default());
        let before = before.unwrap();
        let after = change(r#"{"notes":"n","max":"1.5"}"#).apply(&before).unwrap();
        assert_eq!((after.display_name.as_str(), after.created, after.max), ("CPU", 17, Some(1.5)));
        assert_eq!(after.custom.unwrap()["owner"], "ops");
        assert_eq!(change("{}").apply(&before).unwrap(), before);
        let stored: Note = serde_json::from_slice(&serde_json::to_vec(&before).unwrap()).unwrap();
        assert_eq!(stored, before);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let refused = |text: &str| change(text).apply(&Note::default()).unwrap_err().message().to_owned();
        assert_eq!(refused(r#"{"max":"high"}"#), "Unable to parse 'max' value");
        let long = format!(r#"{{"notes":"{}"}}"#, "x".repeat(10_001));
        assert_eq!(refused(&long), "`notes` has 10001 characters, at most 10000 are kept");
        let many: Vec<String> = (0..101).map(|n| format!("\"k{n}\":1")).collect();
        let many = format!("{{\"custom\":{{{}}}}}", many.join(","));
        assert_eq!(refused(&many), "101 custom fields, at most 100 are kept");
    }
}
