//! Expressions as texts that mean the same.

use std::fmt;

use crate::{
    format_duration,
    labels::METRIC_NAME,
    matcher::{MatchKind, Matcher, is_plain_label, is_plain_metric},
    syntax::{At, Binary, Expression, Grouping, Many, Matching, Selector, ValueType, When},
    text::{format_number, quote},
};

impl fmt::Display for Expression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => out.write_str(&format_number(*number)),
            Self::Text(text) => out.write_str(&quote(text)),
            Self::Selector(selector) => write!(out, "{selector}{}", selector.when),
            Self::Range(selector, range) => write!(out, "{selector}[{}]{}", format_duration(*range), selector.when),
            Self::Subquery(subquery) => {
                let step = subquery.step.map(format_duration).unwrap_or_default();
                let range = format_duration(subquery.range);
                write!(out, "{}[{range}:{step}]{}", subquery.expression, subquery.when)
            }
            Self::Call(function, arguments) => {
                write!(out, "{}(", function.name)?;
                separated(out, arguments.iter())?;
                out.write_str(")")
            }
            Self::Aggregate(aggregate) => {
                out.write_str(aggregate.operator.name())?;
                if let Some(grouping) = &aggregate.grouping {
                    write!(out, " {grouping} ")?;
                }
                out.write_str("(")?;
                separated(out, aggregate.parameter.iter().chain([&aggregate.expression]))?;
                out.write_str(")")
            }
            Self::Binary(binary) => write!(out, "{binary}"),
            Self::Sign(is_minus, inner) => write!(out, "{}{inner}", if *is_minus { '-' } else { '+' }),
            Self::Group(inner) => write!(out, "({inner})"),
        }
    }
}

fn separated<'a>(out: &mut fmt::Formatter<'_>, all: impl Iterator<Item = &'a Expression>) -> fmt::Result {
    for (position, one) in all.enumerate() {
        if position > 0 {
            out.write_str(", ")?;
        }
        write!(out, "{one}")?;
    }
    Ok(())
}

/// Without its time, which comes behind a range.
impl fmt::Display for Selector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.matchers.iter().rposition(|matcher| {
            matcher.name == METRIC_NAME && matcher.kind == MatchKind::Equal && !matcher.value.is_empty()
        });
        let metric = named.and_then(|position| self.matchers.get(position)).map(|matcher| matcher.value.as_str());
        let rest = self.matchers.iter().enumerate().filter(|(position, _)| Some(*position) != named);
        let rest: Vec<String> = rest.map(|(_, matcher): (usize, &Matcher)| matcher.to_string()).collect();
        match metric {
            Some(metric) if is_plain_metric(metric) => {
                out.write_str(metric)?;
                if rest.is_empty() { Ok(()) } else { write!(out, "{{{}}}", rest.join(",")) }
            }
            Some(metric) => {
                let parts: Vec<String> = [quote(metric)].into_iter().chain(rest).collect();
                write!(out, "{{{}}}", parts.join(","))
            }
            None => write!(out, "{{{}}}", rest.join(",")),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(At::Time(milliseconds)) => {
                let sign = if milliseconds < 0 { "-" } else { "" };
                let milliseconds = milliseconds.unsigned_abs();
                write!(out, " @ {sign}{}.{:03}", milliseconds / 1000, milliseconds % 1000)?;
            }
            Some(At::Start) => out.write_str(" @ start()")?,
            Some(At::End) => out.write_str(" @ end()")?,
            None => {}
        }
        if self.offset == 0 { Ok(()) } else { write!(out, " offset {}", format_duration(self.offset)) }
    }
}

impl fmt::Display for Grouping {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", if self.is_by { "by" } else { "without" }, names(&self.labels))
    }
}

fn names(labels: &[String]) -> String {
    let shown = labels.iter().map(|label| if is_plain_label(label) { label.clone() } else { quote(label) });
    shown.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Binary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.left, self.operator.name())?;
        if self.returns_bool {
            out.write_str(" bool")?;
        }
        let are_vectors = [&self.left, &self.right].map(|side| side.value_type() == ValueType::Vector);
        if are_vectors == [true, true] {
            write!(out, "{}", self.matching)?;
        }
        write!(out, " {}", self.right)
    }
}

impl fmt::Display for Matching {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_on || !self.labels.is_empty() || self.many.is_some() {
            write!(out, " {} ({})", if self.is_on { "on" } else { "ignoring" }, names(&self.labels))?;
        }
        if let Some(Many { is_left, include }) = &self.many {
            write!(out, " {} ({})", if *is_left { "group_left" } else { "group_right" }, names(include))?;
        }
        Ok(())
    }
}
