//! The words of a formula.

use super::{
    ExpressionError,
    formula_value::{FormulaValue, Operator},
};

/// A word of a formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Constant(FormulaValue),
    Name(&'a str),
    Operator(Operator),
    Not,
    Question,
    /// `?:`
    Elvis,
    Colon,
    Open,
    Close,
}

/// Words of JEXL that are neither operators nor names.
const RESERVED: [&str; 11] = ["null", "if", "else", "for", "foreach", "while", "new", "var", "empty", "size", "return"];

/// Operators and marks, longer ones before those that they begin with.
const MARKS: [(&str, Token<'_>); 19] = [
    ("||", Token::Operator(Operator::Or)),
    ("&&", Token::Operator(Operator::And)),
    ("==", Token::Operator(Operator::Equal)),
    ("!=", Token::Operator(Operator::NotEqual)),
    ("<=", Token::Operator(Operator::LessOrEqual)),
    (">=", Token::Operator(Operator::GreaterOrEqual)),
    ("?:", Token::Elvis),
    ("<", Token::Operator(Operator::Less)),
    (">", Token::Operator(Operator::Greater)),
    ("+", Token::Operator(Operator::Add)),
    ("-", Token::Operator(Operator::Subtract)),
    ("*", Token::Operator(Operator::Multiply)),
    ("/", Token::Operator(Operator::Divide)),
    ("%", Token::Operator(Operator::Remainder)),
    ("!", Token::Not),
    ("?", Token::Question),
    (":", Token::Colon),
    ("(", Token::Open),
    (")", Token::Close),
];

/// Splits a formula into its words, each with the byte at which it begins.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, ExpressionError> {
    let mut found = Vec::new();
    let mut position = 0;
    while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']).len();
        if blanks > 0 {
            position += blanks;
            continue;
        }
        let (token, length) = token(text, position, rest)?;
        found.push((position, token));
        position += length;
    }
    Ok(found)
}

/// The word at the start of `rest`, and its bytes.
fn token<'a>(text: &str, position: usize, rest: &'a str) -> Result<(Token<'a>, usize), ExpressionError> {
    if rest.starts_with(|first: char| first.is_ascii_digit()) {
        return number(text, position, rest);
    }
    if rest.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        let length = name_length(rest);
        let word = rest.get(..length).unwrap_or_default();
        return Ok((named(text, position, word)?, length));
    }
    let mark = MARKS.iter().find(|(mark, _)| rest.starts_with(mark));
    mark.map(|(mark, token)| (*token, mark.len())).ok_or_else(|| {
        let character = rest.chars().next().unwrap_or_default();
        ExpressionError::syntax(text, position, format!("unexpected character {character:?}"))
    })
}

fn named<'a>(text: &str, position: usize, word: &'a str) -> Result<Token<'a>, ExpressionError> {
    let operator = match word {
        "or" => Operator::Or,
        "and" => Operator::And,
        "eq" => Operator::Equal,
        "ne" => Operator::NotEqual,
        "lt" => Operator::Less,
        "le" => Operator::LessOrEqual,
        "gt" => Operator::Greater,
        "ge" => Operator::GreaterOrEqual,
        "div" => Operator::Divide,
        "mod" => Operator::Remainder,
        "not" => return Ok(Token::Not),
        "true" => return Ok(Token::Constant(FormulaValue::Bool(true))),
        "false" => return Ok(Token::Constant(FormulaValue::Bool(false))),
        _ if RESERVED.contains(&word) => {
            return Err(ExpressionError::syntax(text, position, format!("`{word}` is not supported")));
        }
        _ => return Ok(Token::Name(word)),
    };
    Ok(Token::Operator(operator))
}

fn name_length(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Reads `12`, `0x1f`, `1.5` and `1.5e-3`.
fn number<'a>(text: &str, position: usize, rest: &'a str) -> Result<(Token<'a>, usize), ExpressionError> {
    let refused = |problem: &str| Err(ExpressionError::syntax(text, position, problem));
    let length = number_length(rest);
    let (written, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
    if after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_' || next == '.') {
        return refused("a number that does not end where it should");
    }
    let constant = |value| Ok((Token::Constant(value), length));
    if let Some(digits) = written.strip_prefix("0x").or_else(|| written.strip_prefix("0X")) {
        return match i64::from_str_radix(digits, 16) {
            Ok(int) => constant(FormulaValue::Int(int)),
            Err(_) => refused("a hexadecimal number without digits or with more than 64 bits"),
        };
    }
    let is_integer = written.bytes().all(|byte| byte.is_ascii_digit());
    if is_integer && written.len() > 1 && written.starts_with('0') {
        return refused("a number that begins with 0, which JEXL takes for an octal one");
    }
    if let (true, Ok(int)) = (is_integer, written.parse()) {
        return constant(FormulaValue::Int(int));
    }
    match written.parse::<f64>() {
        Ok(double) if double.is_finite() => constant(FormulaValue::Double(double)),
        _ => refused("a number that does not fit in a double"),
    }
}

fn number_length(rest: &str) -> usize {
    let after = |position: usize| rest.get(position..).unwrap_or_default();
    if rest.starts_with("0x") || rest.starts_with("0X") {
        return 2 + after(2).bytes().take_while(u8::is_ascii_hexdigit).count();
    }
    let mut length = digits(rest);
    let fraction = after(length).strip_prefix('.').map_or(0, digits);
    if fraction > 0 {
        length += 1 + fraction;
    }
    if let Some(exponent) = after(length).strip_prefix(['e', 'E']) {
        let signed = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let (sign, count) = (exponent.len() - signed.len(), digits(signed));
        if count > 0 {
            length += 1 + sign + count;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_marks_are_the_same_operators() {
        fn kinds(text: &str) -> Vec<Token<'_>> {
            tokens(text).unwrap().into_iter().map(|(_, token)| token).collect()
        }
        assert_eq!(
            kinds("not a eq b or c ne d and e lt f le g gt h ge i div j mod k"),
            kinds("!a==b||c!=d&&e<f<=g>h>=i/j%k")
        );
        assert_eq!(kinds("a ? b : c"), kinds("a?b:c"));
        assert_eq!(kinds("a ?: b"), [Token::Name("a"), Token::Elvis, Token::Name("b")]);
    }

    #[test]
    fn numbers_are_read_to_their_end() {
        let check = |text: &str, expect: FormulaValue| {
            assert_eq!(tokens(text), Ok(vec![(0, Token::Constant(expect))]), "{text}");
        };
        check("0", FormulaValue::Int(0));
        check("42", FormulaValue::Int(42));
        check("0x1F", FormulaValue::Int(31));
        check("1.5", FormulaValue::Double(1.5));
        check("0.5", FormulaValue::Double(0.5));
        check("1.5e-3", FormulaValue::Double(0.0015));
        check("2E3", FormulaValue::Double(2000.0));
        check("9223372036854775808", FormulaValue::Double(9_223_372_036_854_775_808.0));
    }

    #[test]
    fn what_is_no_word_is_refused_with_its_place() {
        let check = |text: &str, expect: &str| assert_eq!(tokens(text).unwrap_err().to_string(), expect);
        check("a = b", "Failed to parse `a = b`: unexpected character '=' at byte 2");
        check("a ^ b", "Failed to parse `a ^ b`: unexpected character '^' at byte 2");
        check("a + é", "Failed to parse `a + é`: unexpected character 'é' at byte 4");
        check("size(a)", "Failed to parse `size(a)`: `size` is not supported at byte 0");
        check("1x", "Failed to parse `1x`: a number that does not end where it should at byte 0");
        check("a.b", "Failed to parse `a.b`: unexpected character '.' at byte 1");
        check("010", "Failed to parse `010`: a number that begins with 0, which JEXL takes for an octal one at byte 0");
        check("1e999", "Failed to parse `1e999`: a number that does not fit in a double at byte 0");
        check("0x", "Failed to parse `0x`: a hexadecimal number without digits or with more than 64 bits at byte 0");
    }
}
