//! What a template may say.
//!
//! The engine's fuel stops loops and counts the bytes of most operations, but not of all: a list that is doubled sixty
//! times and then printed took ten gigabytes. So nothing that makes a value out of values is allowed: no `+`, `*`, `~`,
//! no list, dictionary or tuple, no `set`, `with`, `macro`. What is left chooses, compares, loops over and prints what
//! the incident has, and cannot grow. Arithmetic belongs into the rule's expression.

/// Block statements that choose or repeat.
const STATEMENTS: &[&str] = &["if", "elif", "else", "endif", "for", "endfor"];
/// Operators that choose or compare, or make a number no larger than its parts.
const OPERATORS: &[&str] = &["==", "!=", "<=", ">=", "//", "<", ">", "|", ".", "-", "/", "%"];

/// Checks a template.
///
/// # Errors
/// The line, from 1, and what is not allowed there.
pub(super) fn check(source: &str) -> Result<(), (usize, String)> {
    let mut rest = source;
    while let Some((before, opening)) = find_opening(rest) {
        let line_of =
            |rest: &str| source.get(..source.len() - rest.len()).unwrap_or_default().matches('\n').count() + 1;
        let inside = rest.get(before + 2..).unwrap_or_default();
        let line = line_of(inside);
        rest = match opening {
            Opening::Comment => inside.split_once("#}").map_or("", |(_, after)| after),
            Opening::Print => Code::new(inside, "}}").print().map_err(|reason| (line, reason))?,
            Opening::Statement => Code::new(inside, "%}").statement().map_err(|reason| (line, reason))?,
        };
    }
    Ok(())
}

enum Opening {
    Print,
    Statement,
    Comment,
}

fn find_opening(text: &str) -> Option<(usize, Opening)> {
    text.match_indices('{').find_map(|(at, _)| match text.as_bytes().get(at + 1) {
        Some(b'{') => Some((at, Opening::Print)),
        Some(b'%') => Some((at, Opening::Statement)),
        Some(b'#') => Some((at, Opening::Comment)),
        _ => None,
    })
}

/// The inside of one pair of braces.
struct Code<'a> {
    rest: &'a str,
    closing: &'static str,
    /// What was before: decides whether `[` and `(` begin a value or belong to one.
    after_value: bool,
    /// Open brackets: `(` of a call, `g` of a grouping, `[`.
    open: Vec<char>,
}

enum Token<'a> {
    Name(&'a str),
    Literal,
    Symbol(char),
    Operator,
    End,
}

impl<'a> Code<'a> {
    fn new(rest: &'a str, closing: &'static str) -> Self {
        // `{{-` and `{{+` say what happens to the space before.
        Self { rest: rest.strip_prefix(['-', '+']).unwrap_or(rest), closing, after_value: false, open: Vec::new() }
    }

    fn print(mut self) -> Result<&'a str, String> {
        while self.step(false)? {}
        Ok(self.rest)
    }

    fn statement(mut self) -> Result<&'a str, String> {
        let Token::Name(name) = self.token()? else {
            return Err("expected the name of a statement".to_owned());
        };
        if !STATEMENTS.contains(&name) {
            return Err(format!("`{name}` is not allowed; statements are {}", STATEMENTS.join(", ")));
        }
        let mut in_target = name == "for";
        loop {
            let is_in =
                self.rest.trim_start().strip_prefix("in").is_some_and(|after| after.starts_with(char::is_whitespace));
            in_target &= !is_in;
            if !self.step(in_target)? {
                return Ok(self.rest);
            }
        }
    }

    /// Takes one token; false at the end.
    fn step(&mut self, in_target: bool) -> Result<bool, String> {
        let after_value = self.after_value;
        match self.token()? {
            Token::End => return Ok(false),
            Token::Name("recursive") => return Err("recursive loops are not allowed".to_owned()),
            Token::Name(name) => self.after_value = !matches!(name, "in" | "is" | "not" | "and" | "or" | "if" | "else"),
            Token::Literal => self.after_value = true,
            Token::Operator => self.after_value = false,
            Token::Symbol('(') => {
                self.open.push(if after_value { '(' } else { 'g' });
                self.after_value = false;
            }
            Token::Symbol('[') if after_value => {
                self.open.push('[');
                self.after_value = false;
            }
            Token::Symbol('[') => return Err("lists are not allowed".to_owned()),
            Token::Symbol(')' | ']') => {
                self.open.pop();
                self.after_value = true;
            }
            Token::Symbol(',') if self.open.last() == Some(&'(') || in_target => self.after_value = false,
            Token::Symbol(',') => return Err("tuples are not allowed".to_owned()),
            // Named arguments and slices.
            Token::Symbol('=') if self.open.last() == Some(&'(') => self.after_value = false,
            Token::Symbol(':') if self.open.last() == Some(&'[') => self.after_value = false,
            Token::Symbol(symbol) => return Err(format!("`{symbol}` is not allowed in a template")),
        }
        Ok(true)
    }

    fn token(&mut self) -> Result<Token<'a>, String> {
        self.rest = self.rest.trim_start();
        let trimmed = self.rest.strip_prefix(['-', '+']).unwrap_or(self.rest);
        if let Some(after) = self.rest.strip_prefix(self.closing).or_else(|| trimmed.strip_prefix(self.closing)) {
            self.rest = after;
            return Ok(Token::End);
        }
        let Some(first) = self.rest.chars().next() else {
            return Err(format!("`{}` is missing", self.closing));
        };
        match first {
            '"' | '\'' => self.text(first),
            _ if first.is_alphanumeric() || first == '_' => {
                let name = self.take(|character| character.is_alphanumeric() || character == '_');
                Ok(if first.is_numeric() { Token::Literal } else { Token::Name(name) })
            }
            _ => match OPERATORS.iter().find_map(|operator| self.rest.strip_prefix(operator)) {
                Some(after) => {
                    self.rest = after;
                    Ok(Token::Operator)
                }
                None => {
                    self.rest = self.rest.get(first.len_utf8()..).unwrap_or_default();
                    Ok(Token::Symbol(first))
                }
            },
        }
    }

    fn text(&mut self, quote: char) -> Result<Token<'a>, String> {
        let mut escaped = false;
        for (at, character) in self.rest.char_indices().skip(1) {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if character == quote => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(Token::Literal);
                }
                _ => {}
            }
        }
        Err("the closing quote is missing".to_owned())
    }

    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let length = self.rest.find(|character| !belongs(character)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choosing_looping_and_printing_is_allowed() {
        for source in [
            "plain { text } }}",
            "{{ incident.tags.host }} {{- vars[\"q\"] -}} {{ tags['a}}b'] }}",
            "{% if value > 1.5 and not acknowledged %}a{% elif tags.host in hosts %}b{%- else -%}c{% endif %}",
            "{% for key, value in tags|dictsort %}{{ key }}={{ value|default(\"-\")|upper }}{% endfor %}",
            "{% for step in computations[:3] %}{{ loop.index }}{% else %}none{% endfor %}",
            "{# comment {{ x + y }} #}{{ (a or b)|round(2, method=\"floor\") }}",
            "{{ -1 }} {{ \"x\" if a else \"y\" }}",
        ] {
            assert_eq!(check(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn making_values_is_not() {
        let refused = |source: &str, expect: &str| assert_eq!(check(source).unwrap_err().1, expect, "{source}");
        refused("{{ a + b }}", "`+` is not allowed in a template");
        refused("{{ a ~ b }}", "`~` is not allowed in a template");
        refused("{{ a * 3 }}", "`*` is not allowed in a template");
        refused("{{ [a, a] }}", "lists are not allowed");
        refused("{{ {\"a\": a} }}", "`{` is not allowed in a template");
        refused("{{ (a, a) }}", "tuples are not allowed");
        refused("{{ a, a }}", "tuples are not allowed");
        refused("{% for x in a, a %}{% endfor %}", "tuples are not allowed");
        refused("{% for x in f([a]) %}{% endfor %}", "lists are not allowed");
        refused("{% for x in a recursive %}{% endfor %}", "recursive loops are not allowed");
        for statement in
            ["set", "with", "macro", "call", "filter", "block", "include", "import", "raw", "do", "autoescape"]
        {
            let source = format!("\n\n{{%- {statement} x %}}");
            assert_eq!(check(&source).unwrap_err().0, 3, "{statement}");
        }
        refused("{{ \"open }}", "the closing quote is missing");
        refused("{% if x", "`%}` is missing");
    }
}
