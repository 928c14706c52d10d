//! Text inside SVG and HTML.

use std::fmt;

/// `text` for the content of an element or a quoted attribute; control characters, which XML forbids, are dropped.
pub(crate) fn escaped(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// See [`escaped`].
pub(crate) struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                control if control.is_control() && control != '\n' && control != '\t' => {}
                '\u{fffe}' | '\u{ffff}' => {}
                other => fmt::Write::write_char(out, other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_means_something_to_a_parser_is_left() {
        assert_eq!(
            escaped("<b a=\"1\" c='2'>&\u{0}\u{1b}é</b>").to_string(),
            "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;é&lt;/b&gt;"
        );
    }
}
