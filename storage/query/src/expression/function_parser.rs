//! Reading functions.
//!
//! An argument ends at a comma or a parenthesis that is not inside brackets of its own. One that has a `(` before any
//! colon is a function; another one with a colon is a sub-query as in `m=`; everything else is a constant. Constants may
//! stand before or after the series.

use super::{
    ExpressionError, SHARED_ARGUMENTS_MAX,
    function::{Argument, Function, FunctionCall, Kind, NAMES},
    moving_average::Window,
};
use crate::{Interval, SubQuery, parse_error::excerpt};

/// Longest text of one expression of functions in bytes.
pub const FUNCTION_TEXT_BYTES_MAX: usize = crate::QUERY_TEXT_BYTES_MAX;

/// How deep functions may be nested.
pub const FUNCTION_DEPTH_MAX: usize = 32;

/// Reads one expression, which is a function.
pub(super) fn parse(text: &str) -> Result<FunctionCall, ExpressionError> {
    if text.len() > FUNCTION_TEXT_BYTES_MAX {
        return Err(ExpressionError::FunctionsTooLong { bytes: text.len() });
    }
    let mut parser = Parser { text, position: 0 };
    parser.skip_blanks();
    let call = parser.call(1)?;
    parser.skip_blanks();
    if parser.rest().is_empty() { Ok(call) } else { Err(parser.syntax("expected the end")) }
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
}

/// A constant, and where it stands.
type Constant<'a> = (usize, &'a str);

impl<'a> Parser<'a> {
    fn call(&mut self, depth: usize) -> Result<FunctionCall, ExpressionError> {
        let start = self.position;
        if depth > FUNCTION_DEPTH_MAX {
            return Err(self.syntax(format!("more than {FUNCTION_DEPTH_MAX} functions inside each other")));
        }
        let name = self.name();
        self.skip_blanks();
        if name.is_empty() || !self.take('(') {
            return Err(self.syntax("expected a function, such as `scale(sum:metric,10)`"));
        }
        let Some((name, kind)) = NAMES.iter().find(|(candidate, _)| *candidate == name) else {
            return Err(ExpressionError::UnknownFunction { name: excerpt(name), position: start });
        };
        let (arguments, constants) = self.arguments(depth)?;
        let refused = |problem| ExpressionError::Arguments { function: name, position: start, problem };
        let function = function(*kind, &arguments, &constants).map_err(refused)?;
        Ok(FunctionCall { function, arguments })
    }

    /// What stands between the parentheses, after the first of them.
    fn arguments(&mut self, depth: usize) -> Result<(Vec<Argument>, Vec<Constant<'a>>), ExpressionError> {
        let (mut arguments, mut constants) = (Vec::new(), Vec::new());
        loop {
            self.skip_blanks();
            if self.is_call() {
                arguments.push(Argument::Call(self.call(depth + 1)?));
            } else {
                let position = self.position;
                let text = self.plain_argument()?;
                if text.contains(':') {
                    let parsed = SubQuery::parse(text);
                    let sub_query = parsed.map_err(|reason| ExpressionError::SubQuery { position, reason })?;
                    arguments.push(Argument::SubQuery {
                        text: text.to_owned(),
                        sub_query: Box::new(sub_query),
                        source: 0,
                    });
                } else {
                    constants.push((position, text));
                }
            }
            self.skip_blanks();
            if self.take(')') {
                return Ok((arguments, constants));
            }
            if !self.take(',') {
                return Err(self.syntax("expected `,` or `)`"));
            }
        }
    }

    /// Whether a name and a parenthesis come next.
    fn is_call(&self) -> bool {
        let rest = self.rest();
        let after = rest.get(name_length(rest)..).unwrap_or_default();
        name_length(rest) > 0 && after.trim_start().starts_with('(')
    }

    /// Text up to the comma or parenthesis that ends it.
    fn plain_argument(&mut self) -> Result<&'a str, ExpressionError> {
        let rest = self.rest();
        let mut open = 0_usize;
        let end = rest.char_indices().find(|(_, character)| {
            match character {
                ',' | ')' if open == 0 => return true,
                '(' | '{' | '[' => open += 1,
                ')' | '}' | ']' => open = open.saturating_sub(1),
                _ => {}
            }
            false
        });
        let end = end
            .map(|(end, _)| end)
            .ok_or_else(|| ExpressionError::syntax(self.text, self.text.len(), "expected `)`"))?;
        let argument = rest.get(..end).unwrap_or_default().trim_end();
        if argument.is_empty() {
            return Err(self.syntax("expected an argument"));
        }
        self.position += end;
        Ok(argument)
    }

    fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let name = rest.get(..name_length(rest)).unwrap_or_default();
        self.position += name.len();
        name
    }

    fn take(&mut self, character: char) -> bool {
        let is_next = self.rest().starts_with(character);
        self.position += if is_next { character.len_utf8() } else { 0 };
        is_next
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn syntax(&self, problem: impl Into<String>) -> ExpressionError {
        ExpressionError::syntax(self.text, self.position, problem)
    }
}

fn name_length(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

/// Puts a function and its constants together, or says what does not fit.
fn function(kind: Kind, arguments: &[Argument], constants: &[Constant<'_>]) -> Result<Function, String> {
    match kind {
        Kind::Combine(_) if !(2..=SHARED_ARGUMENTS_MAX).contains(&arguments.len()) => {
            return Err(format!("Must have 2 to {SHARED_ARGUMENTS_MAX} series, got {} instead", arguments.len()));
        }
        _ if arguments.is_empty() => return Err("expected a sub-query, such as `sum:metric`".to_owned()),
        Kind::Absolute | Kind::Combine(_) | Kind::FirstDifference => {
            if let Some((position, constant)) = constants.first() {
                return Err(format!("unexpected constant `{}` at byte {position}", excerpt(constant)));
            }
        }
        _ => {}
    }
    Ok(match kind {
        Kind::Absolute => Function::Absolute,
        Kind::FirstDifference => Function::FirstDifference,
        Kind::Combine(operator) => Function::Combine(operator),
        Kind::Alias if constants.is_empty() => return Err("Missing the alias".to_owned()),
        // OpenTSDB takes a comma in the text for one between constants, and puts it back.
        Kind::Alias => Function::Alias(constants.iter().map(|(_, text)| *text).collect::<Vec<_>>().join(",")),
        Kind::Scale => Function::Scale(factor(single(constants, "Missing scaling factor")?)?),
        Kind::Highest(rank) => {
            Function::Highest(rank, count(single(constants, "Missing top n value (number of series to return)")?)?)
        }
        Kind::MovingAverage => {
            let text = single(constants, "Missing moving average window size")?;
            Function::MovingAverage(window(text)?, text.to_owned())
        }
        Kind::TimeShift => {
            Function::TimeShift(shift(single(constants, "Need amount of timeshift to perform timeshift")?)?)
        }
    })
}

fn single<'a>(constants: &[Constant<'a>], missing: &str) -> Result<&'a str, String> {
    match constants {
        [] => Err(missing.to_owned()),
        [(_, only)] => Ok(only),
        [_, (position, second), ..] => Err(format!("unexpected constant `{}` at byte {position}", excerpt(second))),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("Unparseable scale factor value: {}", excerpt(text)))
}

fn count(text: &str) -> Result<usize, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    match number {
        Some(0) => Err("Top n value must be greater than zero: 0".to_owned()),
        Some(number) => Ok(number),
        None => Err(format!("Unparseable top n value: {}", excerpt(text))),
    }
}

fn window(text: &str) -> Result<Window, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse() {
            Ok(0) => Err("Moving average window must be an integer greater than zero".to_owned()),
            Ok(count) => Ok(Window::Points(count)),
            Err(_) => Err(format!("Unparseable window size: {}", excerpt(text))),
        };
    }
    let span = quoted(text).ok_or_else(|| format!("Unparseable window size: {}", excerpt(text)))?;
    let digits = span.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = span.split_at_checked(digits).unwrap_or((span, ""));
    let unit_ms = match unit {
        "day" | "d" => 86_400_000,
        "hr" | "hour" | "h" => 3_600_000,
        "min" | "m" => 60_000,
        "sec" | "s" => 1_000,
        _ => return Err(format!("Unknown time unit={} in window={}", excerpt(unit), excerpt(text))),
    };
    match number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit_ms)) {
        Some(0) => Err("Moving average window must be an integer greater than zero".to_owned()),
        Some(span_ms) => Ok(Window::Time(span_ms)),
        None => Err(format!("Invalid moving window parameter: {}", excerpt(text))),
    }
}

fn shift(text: &str) -> Result<Interval, String> {
    let length = quoted(text).ok_or_else(|| format!("Invalid timeshift parameter `{}`, eg '10m'", excerpt(text)))?;
    length.parse().map_err(|error| format!("Invalid timeshift parameter `{}`: {error}", excerpt(text)))
}

/// What stands between single quotes.
fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('\'')?.strip_suffix('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_written_again() {
        let check = |text: &str, expect: &str| {
            let call = parse(text).unwrap();
            assert_eq!(call.to_string(), expect);
            assert_eq!(parse(expect), Ok(call), "{expect}");
        };
        check("scale(sum:m{host=*},10)", "scale(sum:m{host=*},10.0)");
        check(" scale ( -0.5 , sum:m ) ", "scale(sum:m,-0.5)");
        check("sumSeries(sum:a,absolute(avg:b))", "sum(sum:a,absolute(avg:b))");
        check("diffSeries(sum:a, sum:b)", "difference(sum:a,sum:b)");
        check("multiplySeries(sum:a,sum:b)", "multiply(sum:a,sum:b)");
        check("divideSeries(sum:a,sum:b,sum:c)", "divide(sum:a,sum:b,sum:c)");
        check("highestMax(sum:m,3)", "highestMax(sum:m,3)");
        check("highestCurrent(sum:m,1)", "highestCurrent(sum:m,1)");
        check("movingAverage(sum:m,5)", "movingAverage(sum:m,5)");
        check("movingAverage(sum:m,'5min')", "movingAverage(sum:m,'5min')");
        check("alias(sum:m,cpu of @host, in %)", "alias(sum:m,cpu of @host,in %)");
        check("shift(sum:m,'1d')", "timeShift(sum:m,'1d')");
        check("firstDiff(sum:m)", "firstDiff(sum:m)");
        check(
            "absolute(sum:1m-avg:rate{counter,,1}:m{host=literal_or(a|b),dc=*}{rack=regexp([0-9]{1,2})})",
            "absolute(sum:1m-avg:rate{counter,,1}:m{host=literal_or(a|b),dc=*}{rack=regexp([0-9]{1,2})})",
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let check = |text: &str, expect: &str| assert_eq!(parse(text).unwrap_err().to_string(), expect, "{text}");
        let no_function = "expected a function, such as `scale(sum:metric,10)`";
        check("", &format!("Failed to parse ``: {no_function} at byte 0"));
        check("sum:m", &format!("Failed to parse `sum:m`: {no_function} at byte 3"));
        check("scale(sum:m,10", "Failed to parse `scale(sum:m,10`: expected `)` at byte 14");
        check("scale(sum:m,10))", "Failed to parse `scale(sum:m,10))`: expected the end at byte 15");
        check("scale(,10)", "Failed to parse `scale(,10)`: expected an argument at byte 6");
        check(
            "scale(absolute(sum:m)x,1)",
            "Failed to parse `scale(absolute(sum:m)x,1)`: expected `,` or `)` at byte 21",
        );
        check("scale(foo(sum:m),10)", "Function foo has not been implemented (at byte 6)");
        check("scale(foo:m,10)", "Failed to parse the sub-query at byte 6: No such aggregation function: foo");
        check("scale(sum:m)", "Missing scaling factor (function `scale` at byte 0)");
        check("scale(sum:m,x)", "Unparseable scale factor value: x (function `scale` at byte 0)");
        check("scale(sum:m,inf)", "Unparseable scale factor value: inf (function `scale` at byte 0)");
        check("scale(sum:m,1,2)", "unexpected constant `2` at byte 14 (function `scale` at byte 0)");
        check("scale(10)", "expected a sub-query, such as `sum:metric` (function `scale` at byte 0)");
        check("absolute(sum:m,1)", "unexpected constant `1` at byte 15 (function `absolute` at byte 0)");
        check("sum(sum:m)", "Must have 2 to 26 series, got 1 instead (function `sum` at byte 0)");
        let many = format!("sum(sum:m{})", ",sum:m".repeat(26));
        check(&many, "Must have 2 to 26 series, got 27 instead (function `sum` at byte 0)");
        check("highestMax(sum:m,0)", "Top n value must be greater than zero: 0 (function `highestMax` at byte 0)");
        check("highestMax(sum:m,+1)", "Unparseable top n value: +1 (function `highestMax` at byte 0)");
        check("alias(sum:m)", "Missing the alias (function `alias` at byte 0)");
        check(
            "movingAverage(sum:m,'5weeks')",
            "Unknown time unit=weeks in window='5weeks' (function `movingAverage` at byte 0)",
        );
        check(
            "movingAverage(sum:m,0)",
            "Moving average window must be an integer greater than zero (function `movingAverage` at byte 0)",
        );
        check("movingAverage(sum:m,5min)", "Unparseable window size: 5min (function `movingAverage` at byte 0)");
        check(
            "timeShift(sum:m,'1min')",
            "Invalid timeshift parameter `'1min'`: Invalid duration (suffix): 1min (function `timeShift` at byte 0)",
        );
        check("timeShift(sum:m,1m)", "Invalid timeshift parameter `1m`, eg '10m' (function `timeShift` at byte 0)");
        let deep = format!("{}sum:m{}", "absolute(".repeat(33), ")".repeat(33));
        assert!(parse(&deep).unwrap_err().to_string().contains("more than 32 functions inside each other at byte 288"));
        let long = "x".repeat(FUNCTION_TEXT_BYTES_MAX + 1);
        check(&long, "expression of 65537 bytes, at most 65536 are allowed");
    }
}
