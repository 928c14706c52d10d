//! Texts become tokens.

use crate::expression::{
    error::{ParseError, ParseErrorKind},
    position::{Position, Span},
};

/// A token and where it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    Number(f64),
    Text(String),
    Name(String),
    Operator(&'static str),
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Comma,
    End,
}

impl TokenKind {
    /// As error texts call it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Number(number) => format!("number `{number}`"),
            Self::Text(_) => "a string".to_owned(),
            Self::Name(name) => format!("`{name}`"),
            Self::Operator(text) => format!("`{text}`"),
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::OpenBracket => "`[`".to_owned(),
            Self::CloseBracket => "`]`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Characters that operators are made of. A run of them is one token, so `1 >-1` and `!!x` are errors, as in Bosun.
const OPERATOR_CHARACTERS: &str = "!<>=&|+-*/%";
const OPERATORS: &[&str] = &["||", "&&", "==", "!=", ">=", "<=", "**", ">", "<", "+", "-", "*", "/", "%", "!"];

/// Cuts a text into tokens; the last is [`TokenKind::End`].
///
/// # Errors
/// Names the place and the text that is no token.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        let is_end = token.kind == TokenKind::End;
        tokens.push(token);
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Result<Token, ParseError> {
        let skipped = self.rest().len() - self.rest().trim_start().len();
        self.at += skipped;
        let start = self.at;
        let kind = self.kind()?;
        Ok(Token { kind, span: start..self.at })
    }

    fn kind(&mut self) -> Result<TokenKind, ParseError> {
        let Some(first) = self.rest().chars().next() else {
            return Ok(TokenKind::End);
        };
        match first {
            '(' => Ok(self.single(TokenKind::Open)),
            ')' => Ok(self.single(TokenKind::Close)),
            '[' => Ok(self.single(TokenKind::OpenBracket)),
            ']' => Ok(self.single(TokenKind::CloseBracket)),
            ',' => Ok(self.single(TokenKind::Comma)),
            '"' => self.quoted(),
            '\'' => self.raw(),
            '0'..='9' | '.' => self.number(),
            _ if first.is_alphabetic() => Ok(TokenKind::Name(self.take_while(char::is_alphabetic).to_owned())),
            _ if OPERATOR_CHARACTERS.contains(first) => self.operator(),
            _ => Err(self.error(self.at, ParseErrorKind::UnknownCharacter(first))),
        }
    }

    fn single(&mut self, kind: TokenKind) -> TokenKind {
        self.at += 1;
        kind
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|character| !belongs(character)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn operator(&mut self) -> Result<TokenKind, ParseError> {
        let start = self.at;
        let run = self.take_while(|character| OPERATOR_CHARACTERS.contains(character));
        match OPERATORS.iter().find(|operator| **operator == run) {
            Some(operator) => Ok(TokenKind::Operator(operator)),
            None => Err(self.error(start, ParseErrorKind::UnknownOperator(run.to_owned()))),
        }
    }

    /// Decimal with fraction and exponent, `0x` hexadecimal, or octal after a leading zero, as Go reads them.
    fn number(&mut self) -> Result<TokenKind, ParseError> {
        let start = self.at;
        if self.rest().starts_with("0x") || self.rest().starts_with("0X") {
            self.at += 2;
            self.take_while(|character| character.is_ascii_hexdigit());
        } else {
            self.take_while(|character| character.is_ascii_digit());
            if self.rest().starts_with('.') {
                self.at += 1;
                self.take_while(|character| character.is_ascii_digit());
            }
            if self.rest().starts_with(['e', 'E']) {
                self.at += 1;
                if self.rest().starts_with(['+', '-']) {
                    self.at += 1;
                }
                self.take_while(|character| character.is_ascii_digit());
            }
        }
        // Letters that stick to a number belong to the mistake.
        self.take_while(|character| character.is_alphanumeric() || character == '_');
        let text = self.text.get(start..self.at).unwrap_or_default();
        match parse_number(text) {
            Some(number) => Ok(TokenKind::Number(number)),
            None => Err(self.error(start, ParseErrorKind::BadNumber(text.to_owned()))),
        }
    }

    /// `'''…'''`, without escapes.
    fn raw(&mut self) -> Result<TokenKind, ParseError> {
        let start = self.at;
        let inside = self.rest().strip_prefix("'''").and_then(|rest| rest.split_once("'''")).map(|(inside, _)| inside);
        let Some(inside) = inside else {
            return Err(self.error(start, ParseErrorKind::BadText("expected `'''…'''`")));
        };
        self.at += inside.len() + 6;
        Ok(TokenKind::Text(inside.to_owned()))
    }

    /// `"…"` with Go's escapes.
    fn quoted(&mut self) -> Result<TokenKind, ParseError> {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let at = self.at;
            let Some(character) = self.rest().chars().next() else {
                return Err(self.error(start, ParseErrorKind::BadText("the closing quote is missing")));
            };
            self.at += character.len_utf8();
            match character {
                '"' => break,
                '\n' => return Err(self.error(start, ParseErrorKind::BadText("the closing quote is missing"))),
                '\\' => self.escape(at, &mut bytes)?,
                _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(TokenKind::Text(text)),
            Err(_) => Err(self.error(start, ParseErrorKind::BadText("its escapes are no UTF-8"))),
        }
    }

    fn escape(&mut self, at: usize, bytes: &mut Vec<u8>) -> Result<(), ParseError> {
        const UNKNOWN: ParseErrorKind = ParseErrorKind::BadText("unknown escape");
        let letter = self.rest().chars().next().ok_or_else(|| self.error(at, UNKNOWN))?;
        self.at += letter.len_utf8();
        let byte = match letter {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0C,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0B,
            '\\' => b'\\',
            '"' => b'"',
            'x' | 'u' | 'U' | '0'..='7' => return self.numeric_escape(at, letter, bytes),
            _ => return Err(self.error(at, UNKNOWN)),
        };
        bytes.push(byte);
        Ok(())
    }

    /// `\x41` and `\101` are bytes, `\u0041` and `\U00000041` characters.
    fn numeric_escape(&mut self, at: usize, letter: char, bytes: &mut Vec<u8>) -> Result<(), ParseError> {
        let (digits, radix) = match letter {
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            _ => (3, 8),
        };
        if radix == 8 {
            self.at -= 1;
        }
        let bad = || ParseErrorKind::BadText("bad number in an escape");
        let text = self.text.get(self.at..self.at + digits).ok_or_else(|| self.error(at, bad()))?;
        let code = u32::from_str_radix(text, radix).map_err(|_| self.error(at, bad()))?;
        self.at += digits;
        match (letter, u8::try_from(code), char::from_u32(code)) {
            ('u' | 'U', _, Some(character)) => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            ('u' | 'U', _, None) => return Err(self.error(at, bad())),
            (_, Ok(byte), _) => bytes.push(byte),
            (_, Err(_), _) => return Err(self.error(at, bad())),
        }
        Ok(())
    }

    fn error(&self, at: usize, reason: ParseErrorKind) -> ParseError {
        ParseError { position: Position::of(self.text, at), reason }
    }
}

fn parse_number(text: &str) -> Option<f64> {
    let number = if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        u64::from_str_radix(digits, 16).ok()? as f64
    } else if text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| matches!(byte, b'0'..=b'7')) {
        u64::from_str_radix(text, 8).ok()? as f64
    } else {
        text.parse::<f64>().ok().filter(|_| text.bytes().any(|byte| byte.is_ascii_digit()))?
    };
    // Too large a literal is an error, not infinity.
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text).expect(text).into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let check = |text: &str, expect: f64| {
            assert_eq!(kinds(text), [TokenKind::Number(expect), TokenKind::End], "{text}");
        };
        check("5", 5.0);
        check(".5", 0.5);
        check("5.", 5.0);
        check("1e3", 1000.0);
        check("1.5E-2", 0.015);
        check("0x1F", 31.0);
        check("010", 8.0);
        check("08", 8.0);
        for bad in ["1e400", "0x", "5q", "1e", ".", "1_000", "0xfffffffffffffffff"] {
            assert!(matches!(tokens(bad).unwrap_err().reason, ParseErrorKind::BadNumber(_)), "{bad}");
        }
    }

    #[test]
    fn strings_have_gos_escapes() {
        let check = |text: &str, expect: &str| {
            assert_eq!(kinds(text), [TokenKind::Text(expect.to_owned()), TokenKind::End], "{text}");
        };
        check(r#""a\tb\"\\""#, "a\tb\"\\");
        check(r#""\x41\101\u00e9\U0001F600""#, "AAé😀");
        check("'''a\"\\n\n'''", "a\"\\n\n");
        check("\"größe\"", "größe");
        for bad in ["\"open", "\"a\nb\"", r#""\q""#, r#""\x4""#, r#""\xff""#, r#""\777""#, "'a'", "'''a''"] {
            assert!(matches!(tokens(bad).unwrap_err().reason, ParseErrorKind::BadText(_)), "{bad}");
        }
    }

    #[test]
    fn operator_characters_stick_together() {
        assert_eq!(
            kinds("a>= -1"),
            [
                TokenKind::Name("a".into()),
                TokenKind::Operator(">="),
                TokenKind::Operator("-"),
                TokenKind::Number(1.0),
                TokenKind::End
            ]
        );
        let error = tokens("1\n  >-1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2, column 3: unknown operator `>-`; operators that follow each other need a space between them"
        );
        assert!(tokens("!!1").is_err());
        assert!(tokens("a # b").is_err());
    }
}
