//! The tags that tell the members of a set apart.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use serde::{Deserialize, Serialize};

/// Tags that identify one member of a set; empty for a value that belongs to no group.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Group(BTreeMap<String, String>);

impl Group {
    /// The group of a value that belongs to none.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads `key=value,key=value`; the empty text is the empty group. A backslash takes the meaning of a separator from
    /// the character behind it.
    ///
    /// # Errors
    /// Names the part that is no `key=value` or repeats a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut group = Self::default();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let (part, after) = split_bare(text, ',').map_or((text, None), |(part, after)| (part, Some(after)));
            rest = after;
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let (key, value) = split_bare(part, '=').ok_or_else(|| format!("`{part}` is no `key=value`"))?;
            let (key, value) = (unescaped(key.trim()), unescaped(value.trim()));
            if key.is_empty() || value.is_empty() {
                return Err(format!("`{part}` is no `key=value`"));
            }
            if group.0.contains_key(&key) {
                return Err(format!("tag key `{key}` has two values"));
            }
            group.0.insert(key, value);
        }
        Ok(group)
    }

    /// Whether there is no tag.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of tags.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of a tag.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The tags in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Sets a tag and returns its value before.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> Option<String> {
        self.0.insert(key.into(), value.into())
    }

    /// Removes a tag and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// Whether every tag of `other` is in this group too.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        other.iter().all(|(key, value)| self.get(key) == Some(value))
    }

    /// Whether at least one tag is in both and no key has two different values.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let mut common = 0;
        for (key, value) in other.iter() {
            match self.get(key) {
                Some(own) if own == value => common += 1,
                Some(_) => return false,
                None => {}
            }
        }
        common > 0
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Group {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(tags: I) -> Self {
        Self(tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

/// Characters that mean something in the text of a group.
const MEANINGFUL: [char; 5] = ['\\', ',', '=', '{', '}'];

/// Splits at the first separator that no backslash takes its meaning from.
fn split_bare(text: &str, separator: char) -> Option<(&str, &str)> {
    let mut escaped = false;
    let (at, _) = text.char_indices().find(|&(_, character)| {
        let is_bare = !escaped && character == separator;
        escaped = !escaped && character == '\\';
        is_bare
    })?;
    Some((text.get(..at)?, text.get(at + separator.len_utf8()..)?))
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}

/// Names may have special characters (`opentsdb.allow_specialchars`), and two groups must not look the same: alert keys
/// are told apart by this text.
fn write_escaped(name: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !name.contains(MEANINGFUL) {
        return out.write_str(name);
    }
    for character in name.chars() {
        if MEANINGFUL.contains(&character) {
            out.write_str("\\")?;
        }
        out.write_char(character)?;
    }
    Ok(())
}

/// `{key=value,key=value}`, as in alert keys. What would be taken for a separator has a backslash before it.
impl fmt::Display for Group {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("{")?;
        for (position, (key, value)) in self.iter().enumerate() {
            out.write_str(if position == 0 { "" } else { "," })?;
            write_escaped(key, out)?;
            out.write_str("=")?;
            write_escaped(value, out)?;
        }
        out.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str) -> Group {
        Group::parse(text).expect("a group")
    }

    #[test]
    fn a_group_is_read_and_shown_sorted() {
        assert_eq!(group("host=a, dc=ams").to_string(), "{dc=ams,host=a}");
        assert_eq!(group("").to_string(), "{}");
        assert!(Group::parse("host").is_err());
        assert!(Group::parse("host=a,host=b").is_err());
    }

    #[test]
    fn names_with_separators_make_no_two_groups_look_the_same() {
        let one = Group::from_iter([("a", "1,b=2")]);
        let two = Group::from_iter([("a", "1"), ("b", "2")]);
        assert_eq!(two.to_string(), "{a=1,b=2}");
        assert_eq!(one.to_string(), r"{a=1\,b\=2}");
        let odd = Group::from_iter([("k=", r"C:\"), ("{x}", "ä b")]);
        for group in [one, two, odd] {
            let text = group.to_string();
            let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap();
            assert_eq!(Group::parse(inside), Ok(group), "{text}");
        }
        assert_eq!(group("host=a=b").get("host"), Some("a=b"));
        assert_eq!(group(r"host=a\").get("host"), Some("a"));
    }

    #[test]
    fn groups_overlap_when_they_share_a_tag_and_contradict_in_none() {
        assert!(group("host=a,disk=x").overlaps(&group("host=a,iface=e0")));
        assert!(!group("host=a,disk=x").overlaps(&group("host=a,disk=y")));
        assert!(!group("host=a").overlaps(&group("disk=x")));
        assert!(group("host=a,disk=x").contains_all(&group("host=a")));
        assert!(!group("host=a").contains_all(&group("host=a,disk=x")));
    }
}
