//! Something that is wrong.

use bytes::Bytes;

use super::EntryKind;

/// What is wrong with an entry, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// What the entry is.
    pub entry: EntryKind,
    /// The key, escaped for people.
    pub key: String,
    /// What is wrong, in a fragment.
    pub problem: String,
    /// What to do about it, in a sentence.
    pub remedy: &'static str,
    /// The key of an entry that can be taken away without losing anything.
    pub(crate) removable: Option<Bytes>,
}

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// Bytes that are not what was written.
    Damaged,
    /// Something that another entry names is not there.
    Missing,
    /// Two entries contradict each other.
    Contradiction,
    /// An entry that nothing needs: a process died before it tidied up.
    Orphan,
    /// An entry of a kind or version that this program does not know.
    Unknown,
    /// A restore that did not come to its end.
    Unfinished,
}

impl FindingKind {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Contradiction => "contradiction",
            Self::Orphan => "orphan",
            Self::Unknown => "unknown",
            Self::Unfinished => "unfinished",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Damaged | Self::Missing | Self::Contradiction => {
                "Check the disk and restore a backup; `tidemark export` still reads what is not touched by it."
            }
            Self::Orphan => "Nothing is lost; `tidemark doctor --repair` takes it away.",
            Self::Unknown => "Use the version of tidemark that wrote the store, or restore a backup.",
            Self::Unfinished => "Run the same `tidemark backup restore` again; it goes on where it ended.",
        }
    }
}

impl Finding {
    pub(crate) fn new(kind: FindingKind, key: &[u8], problem: impl Into<String>) -> Self {
        Self {
            kind,
            entry: EntryKind::of(key),
            key: key.escape_ascii().to_string(),
            problem: problem.into(),
            remedy: kind.remedy(),
            removable: None,
        }
    }

    /// An entry that nothing needs.
    pub(crate) fn orphan(key: &Bytes, problem: impl Into<String>) -> Self {
        Self { removable: Some(key.clone()), ..Self::new(FindingKind::Orphan, key, problem) }
    }
}
