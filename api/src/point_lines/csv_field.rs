//! Fields of comma-separated values, and the tags that are in one of them.
//!
//! Fields are quoted as RFC 4180 says, and only where they need it. Tags are words `key=value` with blanks between them; a
//! backslash takes its meaning from the blank, the `=` or the backslash behind it.

use std::borrow::Cow;

use super::no_tag;

/// Fields of a line.
const FIELDS: usize = 4;

/// Appends a field.
pub(super) fn write(field: &str, out: &mut Vec<u8>) {
    if !field.contains(['"', ',']) && !field.starts_with(' ') && !field.ends_with(' ') {
        return out.extend_from_slice(field.as_bytes());
    }
    out.push(b'"');
    for byte in field.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// The fields of a line, the last of which reaches to its end; `None` when there are fewer, or a quote is not closed.
pub(super) fn split(line: &str) -> Option<[Cow<'_, str>; FIELDS]> {
    let (first, rest) = next(line)?;
    let (second, rest) = next(rest?)?;
    let (third, rest) = next(rest?)?;
    let rest = rest?;
    let last = match next(rest)? {
        (last, None) => last,
        (_, Some(_)) if rest.starts_with('"') => return None,
        // Commas among the tags of a line that was written without quotes.
        (_, Some(_)) => Cow::Borrowed(rest),
    };
    Some([first, second, third, last])
}

/// The first field and what is behind its comma.
fn next(text: &str) -> Option<(Cow<'_, str>, Option<&str>)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        return Some(match text.split_once(',') {
            Some((field, rest)) => (Cow::Borrowed(field), Some(rest)),
            None => (Cow::Borrowed(text), None),
        });
    };
    let mut field = Cow::Borrowed("");
    loop {
        let (part, after) = rest.split_once('"')?;
        field += part;
        rest = match after.strip_prefix('"') {
            Some(after) => {
                field += "\"";
                after
            }
            None if after.is_empty() => return Some((field, None)),
            None => return Some((field, Some(after.strip_prefix(',')?))),
        };
    }
}

/// Tags as one text.
pub(super) fn join_tags<'a>(tags: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in tags {
        if !text.is_empty() {
            text.push(' ');
        }
        escape(key, &[' ', '\\', '='], &mut text);
        text.push('=');
        escape(value, &[' ', '\\'], &mut text);
    }
    text
}

fn escape(name: &str, special: &[char], text: &mut String) {
    for character in name.chars() {
        if special.contains(&character) {
            text.push('\\');
        }
        text.push(character);
    }
}

/// A key and a value.
type Tag<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The tags of a text.
///
/// # Errors
/// Names the word that is none.
pub(super) fn split_tags(text: &str) -> Result<Vec<Tag<'_>>, String> {
    if !text.contains('\\') {
        let tag = |word| <str>::split_once(word, '=').ok_or_else(|| no_tag(word));
        let owned = |(key, value)| (Cow::Borrowed(key), Cow::Borrowed(value));
        return text.split_ascii_whitespace().map(|word| tag(word).map(owned)).collect();
    }
    let (mut tags, mut key, mut word) = (Vec::new(), None, String::new());
    let mut characters = text.chars();
    loop {
        match characters.next() {
            Some('\\') => word.extend(characters.next()),
            Some('=') if key.is_none() => key = Some(std::mem::take(&mut word)),
            Some(other) if !other.is_ascii_whitespace() => word.push(other),
            end => {
                let value = std::mem::take(&mut word);
                match key.take() {
                    Some(key) => tags.push((Cow::Owned(key), Cow::Owned(value))),
                    None if value.is_empty() => {}
                    None => return Err(no_tag(&value)),
                }
                if end.is_none() {
                    return Ok(tags);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(line: &str) -> Option<Vec<String>> {
        split(line).map(|fields| fields.map(Cow::into_owned).to_vec())
    }

    #[test]
    fn fields_are_quoted_where_they_need_it() {
        let check = |line: &str, expect: &[&str]| assert_eq!(fields(line).unwrap(), expect, "{line}");
        check("a,1,2,k=v", &["a", "1", "2", "k=v"]);
        check("a,1,2,k=v,w x=y", &["a", "1", "2", "k=v,w x=y"]);
        check(r#""a,""b""","1","2","k=v""#, &["a,\"b\"", "1", "2", "k=v"]);
        check(r#"a"b,1,2,"k=v,w""#, &["a\"b", "1", "2", "k=v,w"]);
        check(",,,", &["", "", "", ""]);
        for line in ["", "a,1,2", r#""a,1,2,k=v"#, r#""a"b,1,2,k=v"#, r#"a,1,2,"k=v"#, r#""a""#] {
            assert_eq!(fields(line), None, "{line}");
        }
    }

    #[test]
    fn tags_are_words() {
        let check = |text: &str, expect: &[(&str, &str)]| {
            let tags = split_tags(text).unwrap();
            let tags: Vec<(&str, &str)> = tags.iter().map(|(key, value)| (&**key, &**value)).collect();
            assert_eq!(tags, expect, "{text}");
        };
        check("", &[]);
        check(" a=b  c=d=e ", &[("a", "b"), ("c", "d=e")]);
        check(r"a\=b=c\ d e=\\  f=", &[("a=b", "c d"), ("e", r"\"), ("f", "")]);
        assert_eq!(split_tags("a=b c").unwrap_err(), "`c` is no tag: expected key=value");
        assert_eq!(split_tags(r"a=b \c").unwrap_err(), "`c` is no tag: expected key=value");
    }
}
