//! What points must be that somebody sends.

use crate::NameCharacters;

/// What a [`crate::PointBatchBuilder`] asks of points, beside a timestamp and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointRules {
    /// Most tags of a point.
    pub tags_max: usize,
    /// The characters of metrics, tag keys and tag values.
    pub characters: NameCharacters,
}

impl PointRules {
    /// Most tags of a point unless told otherwise.
    pub const TAGS_MAX_DEFAULT: usize = 8;

    /// For points that followed the rules of somebody else, who may have others: any number of tags, and every name that
    /// can be stored.
    pub const LOOSE: Self = Self { tags_max: usize::MAX, characters: NameCharacters::STORABLE };

    /// The default rules but for the number of tags.
    #[must_use]
    pub const fn with_tags_max(tags_max: usize) -> Self {
        Self { tags_max, characters: NameCharacters::OPENTSDB }
    }
}

impl Default for PointRules {
    fn default() -> Self {
        Self::with_tags_max(Self::TAGS_MAX_DEFAULT)
    }
}
