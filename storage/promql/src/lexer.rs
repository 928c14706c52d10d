//! The words of an expression.

use crate::{ParseError, text::unescape};

/// A word and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// First byte.
    pub(crate) start: usize,
}

/// What a word is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// A name or a keyword, perhaps with colons.
    Word(String),
    /// A number.
    Number(f64),
    /// A duration in milliseconds.
    Duration(i64),
    /// What stands between quotes.
    Text(String),
    /// An operator or a bracket.
    Symbol(&'static str),
    /// The end of the expression.
    End,
}

/// Operators and brackets; longer ones first.
const SYMBOLS: [&str; 24] = [
    "=~", "!~", "==", "!=", "<=", ">=", "(", ")", "{", "}", "[", "]", ",", ":", "@", "+", "-", "*", "/", "%", "^", "=",
    "<", ">",
];

impl TokenKind {
    /// As errors name it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("`{}`", excerpt(word)),
            Self::Number(_) => "a number".to_owned(),
            Self::Duration(_) => "a duration".to_owned(),
            Self::Text(text) => format!("the text {:?}", excerpt(text)),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "end of the expression".to_owned(),
        }
    }
}

/// The beginning of a text, for errors.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARACTERS: usize = 64;
    let mut shown: String = text.chars().take(CHARACTERS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// Takes an expression apart.
///
/// # Errors
/// The first character that begins no word.
pub(crate) fn tokens(source: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer { source, position: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.position;
        let kind = lexer.next()?;
        let is_end = kind == TokenKind::End;
        tokens.push(Token { kind, start });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.position..).unwrap_or_default()
    }

    fn error(&self, text: impl Into<String>) -> ParseError {
        ParseError::at(self.source, self.position, text)
    }

    /// Blanks and comments.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let after = rest.trim_start();
            self.position += rest.len() - after.len();
            if !after.starts_with('#') {
                return;
            }
            self.position += after.find('\n').unwrap_or(after.len());
        }
    }

    fn next(&mut self) -> Result<TokenKind, ParseError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(TokenKind::End) };
        let second = rest.as_bytes().get(1).copied().unwrap_or_default();
        if first.is_ascii_digit() || (first == '.' && second.is_ascii_digit()) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' || (first == ':' && is_word(second) && !second.is_ascii_digit())
        {
            let length = rest.bytes().take_while(|&byte| is_word(byte)).count();
            let (word, _) = rest.split_at(length);
            self.position += length;
            return Ok(TokenKind::Word(word.to_owned()));
        }
        if matches!(first, '"' | '\'' | '`') {
            return self.text(first);
        }
        let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
        let symbol = symbol.ok_or_else(|| self.error(format!("unexpected character {first:?}")))?;
        self.position += symbol.len();
        Ok(TokenKind::Symbol(symbol))
    }

    fn number(&mut self) -> Result<TokenKind, ParseError> {
        let rest = self.rest();
        let is_hexadecimal = rest.len() > 1 && rest.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
        let mut length = 0;
        let mut before = 0;
        for byte in rest.bytes() {
            let is_sign_of_exponent =
                matches!(byte, b'+' | b'-') && matches!(before, b'e' | b'E') && !is_hexadecimal && length > 0;
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || is_sign_of_exponent) {
                break;
            }
            length += 1;
            before = byte;
        }
        let (text, _) = rest.split_at(length);
        let kind = parse_number(text)
            .map(TokenKind::Number)
            .or_else(|| crate::parse_duration(text).map(TokenKind::Duration))
            .ok_or_else(|| self.error(format!("`{}` is neither a number nor a duration", excerpt(text))))?;
        self.position += length;
        Ok(kind)
    }

    fn text(&mut self, quote: char) -> Result<TokenKind, ParseError> {
        let inside = self.rest().get(1..).unwrap_or_default();
        let mut is_escaped = false;
        let end = inside.char_indices().find(|&(_, character)| {
            let ends = character == quote && !is_escaped;
            is_escaped = quote != '`' && character == '\\' && !is_escaped;
            ends || (character == '\n' && quote != '`')
        });
        let Some((end, _)) = end.filter(|&(_, character)| character == quote) else {
            return Err(self.error("a text in quotes does not end"));
        };
        let (inside, _) = inside.split_at(end);
        let text = if quote == '`' { Ok(inside.to_owned()) } else { unescape(inside) };
        let text = text.map_err(|error| self.error(error))?;
        self.position += end + 2;
        Ok(TokenKind::Text(text))
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')
}

/// A number as expressions have it: decimal, hexadecimal, or octal with a zero in front.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok().map(|number| number as f64);
    }
    if text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
        return u64::from_str_radix(text, 8).ok().map(|number| number as f64);
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if is_number { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<TokenKind> {
        tokens(source).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn numbers_and_durations_are_told_apart() {
        let number = |number| vec![TokenKind::Number(number), TokenKind::End];
        for (text, expect) in [
            ("1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e-3", 0.001),
            ("1E+3", 1000.0),
            ("0x1F", 31.0),
            ("0755", 493.0),
            ("08", 8.0),
            ("1e400", f64::INFINITY),
        ] {
            assert_eq!(kinds(text), number(expect), "{text}");
        }
        assert_eq!(kinds("1h30m"), [TokenKind::Duration(5_400_000), TokenKind::End]);
        assert_eq!(
            kinds("5m-1"),
            [TokenKind::Duration(300_000), TokenKind::Symbol("-"), TokenKind::Number(1.0), TokenKind::End]
        );
        for wrong in ["5mm", "1y1", "0xG", "1.2.3", "1e", "99999999999y", "1_000"] {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn comments_and_texts_are_read() {
        assert_eq!(
            kinds("a # b\n:c"),
            [TokenKind::Word("a".to_owned()), TokenKind::Word(":c".to_owned()), TokenKind::End]
        );
        let texts = kinds(r#" "a\"b" 'c"\'' `d\n` "#);
        let expect = ["a\"b", "c\"'", r"d\n"].map(|text| TokenKind::Text(text.to_owned()));
        assert_eq!(texts[..3], expect);
        for wrong in ["\"a", "'a\nb'", "\"\\q\"", "`a", "$", "é", "\0", "a & b"] {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_tell_line_and_column() {
        let error = tokens("é = 1\n  $").unwrap_err();
        assert_eq!(error.to_string(), "1:1: parse error: unexpected character 'é'");
        assert_eq!(tokens("a\n  $").unwrap_err().to_string(), "2:3: parse error: unexpected character '$'");
    }
}
