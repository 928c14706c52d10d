//! Which tags a group has, and which it was aggregated over.
//!
//! OpenTSDB's user guide says that a key which some members lack is in neither list. Its code says otherwise, and
//! legends are built from what the code does.

use std::collections::BTreeMap;

use tidemark_model::{SeriesInfo, is_reserved};

/// Tags of a group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CommonTags {
    /// Tags with one value in all members that have the key.
    pub(crate) tags: Vec<(String, String)>,
    /// Keys with several values.
    pub(crate) aggregate_tags: Vec<String>,
}

impl CommonTags {
    pub(crate) fn of<'a>(members: impl Iterator<Item = &'a SeriesInfo>) -> Self {
        let mut values: BTreeMap<&str, Option<&str>> = BTreeMap::new();
        let written = members.flat_map(|member| member.key.tags()).filter(|(key, _)| !is_reserved(key));
        for (key, value) in written {
            let common = values.entry(key).or_insert(Some(value));
            if *common != Some(value) {
                *common = None;
            }
        }
        let mut found = Self::default();
        for (key, common) in values {
            match common {
                Some(value) => found.tags.push((key.to_owned(), value.to_owned())),
                None => found.aggregate_tags.push(key.to_owned()),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::{SeriesId, SeriesKey, Tsuid};

    use super::*;

    #[test]
    fn a_key_that_some_members_lack_still_is_common() {
        let series = |tags: &[(&str, &str)]| SeriesInfo {
            id: SeriesId(0),
            key: SeriesKey::new("m", tags),
            tsuid: Tsuid::new(1, &[]),
        };
        let members = [
            series(&[("dc", "lga"), ("host", "web01")]),
            series(&[("dc", "lga"), ("host", "web02"), ("owner", "jdoe")]),
            series(&[("host", "web01")]),
        ];
        let found = CommonTags::of(members.iter());
        let owned = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(found.tags, [owned("dc", "lga"), owned("owner", "jdoe")]);
        assert_eq!(found.aggregate_tags, ["host"]);
    }
}
