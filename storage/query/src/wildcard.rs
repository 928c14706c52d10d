//! Texts in which an asterisk stands for any characters.

/// A compiled wildcard.
#[derive(Clone, Debug)]
pub(crate) struct Wildcard {
    prefix: String,
    middle: Vec<String>,
    suffix: String,
}

impl Wildcard {
    /// Compiles a text; `None` when it has no asterisk.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let (prefix, rest) = text.split_once('*')?;
        let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middle = middle.split('*').filter(|piece| !piece.is_empty()).map(str::to_owned).collect();
        Some(Self { prefix: prefix.to_owned(), middle, suffix: suffix.to_owned() })
    }

    /// Whether every value matches.
    pub(crate) fn is_any(&self) -> bool {
        self.prefix.is_empty() && self.middle.is_empty() && self.suffix.is_empty()
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        let Some(rest) = value.strip_prefix(self.prefix.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(self.suffix.as_str()) else { return false };
        // The leftmost occurrence of each piece leaves the most room for the next one.
        for piece in &self.middle {
            match rest.split_once(piece.as_str()) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asterisk_stands_for_any_characters() {
        let check = |text: &str, value: &str, expect: bool| {
            assert_eq!(Wildcard::new(text).unwrap().matches(value), expect, "{text} on {value}");
        };
        check("*", "", true);
        check("web*", "web01", true);
        check("web*", "db01", false);
        check("*01", "web01", true);
        check("w*0*", "web01", true);
        check("w*0*", "web1", false);
        check("a*b*c", "abc", true);
        check("a*b*c", "ac", false);
        check("ab*bc", "abc", false);
        check("a**c", "abbc", true);
        check("*b*b*", "abcb", true);
        check("*b*b*", "abc", false);
        assert!(Wildcard::new("web01").is_none());
        assert!(Wildcard::new("**").unwrap().is_any());
    }
}
