//! The pairs of braces behind a metric: `{host=web*,dc=regexp(a{2},b)}{owner=literal_or(x|y)}`.

use tidemark_model::SeriesSelector;

use crate::{Filter, ParseError, QUERY_TEXT_BYTES_MAX, parse_error::excerpt};

/// The series that a text `metric` or `metric{host=web*,dc=…}` means, which has no aggregator and no other part before it:
/// a metric may have colons here.
///
/// # Errors
/// As [`crate::SubQuery::parse`].
pub fn parse_selector(text: &str) -> Result<SeriesSelector, ParseError> {
    if text.len() > QUERY_TEXT_BYTES_MAX {
        return Err(ParseError::TextTooLong { bytes: text.len() });
    }
    let (metric, filters) = parse_metric(text)?;
    let predicates = filters.iter().map(Filter::predicate).collect();
    Ok(SeriesSelector::Tags { metric: Some(metric.to_owned()), predicates, exact_keys: false })
}

/// Splits `metric{group by}{filters}` into the metric and its filters.
///
/// Unlike OpenTSDB we let a filter's text contain commas, colons and braces, as regular expressions do: the text of a
/// named filter ends where its parentheses do.
pub(crate) fn parse_metric(text: &str) -> Result<(&str, Vec<Filter>), ParseError> {
    let Some(brace) = text.find('{') else {
        return if text.is_empty() { Err(ParseError::MissingSource) } else { Ok((text, Vec::new())) };
    };
    let (metric, mut rest) = text.split_at_checked(brace).unwrap_or((text, ""));
    if metric.is_empty() {
        return Err(ParseError::MissingSource);
    }
    let mut filters = Vec::new();
    for (list, group_by) in [("tag", true), ("filter", false)] {
        let Some(inside) = rest.strip_prefix('{') else { break };
        rest = parse_pairs(inside, text, list, group_by, &mut filters)?;
    }
    if rest.is_empty() { Ok((metric, filters)) } else { Err(ParseError::MissingBrace(excerpt(text))) }
}

/// Reads pairs up to the closing brace and returns what follows it.
fn parse_pairs<'a>(
    mut rest: &'a str,
    whole: &str,
    list: &'static str,
    group_by: bool,
    filters: &mut Vec<Filter>,
) -> Result<&'a str, ParseError> {
    if let Some(after) = rest.strip_prefix('}') {
        return Ok(after);
    }
    loop {
        let end = pair_length(rest).ok_or_else(|| ParseError::MissingBrace(excerpt(whole)))?;
        let (pair, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        filters.push(parse_pair(pair.trim(), group_by).map_err(|reason| ParseError::TagPair {
            list,
            pair: excerpt(pair.trim()),
            reason: Box::new(reason),
        })?);
        if let Some(after) = after.strip_prefix('}') {
            return Ok(after);
        }
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

fn parse_pair(pair: &str, group_by: bool) -> Result<Filter, ParseError> {
    let (key, value) = pair.split_once('=').ok_or_else(|| ParseError::InvalidTag(excerpt(pair)))?;
    Filter::from_tag_value(key, value, group_by)
}

/// Bytes up to the comma or closing brace that ends the first pair.
fn pair_length(text: &str) -> Option<usize> {
    let plain_end = text.find([',', '}'])?;
    match text.find('(') {
        Some(parenthesis) if parenthesis < plain_end => {
            let closing = closing_parenthesis(text.get(parenthesis..)?)?;
            let after = parenthesis + closing + 1;
            Some(after + text.get(after..)?.find([',', '}'])?)
        }
        _ => Some(plain_end),
    }
}

/// Where the parenthesis that opens the text closes, past escapes and character classes.
fn closing_parenthesis(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut in_class = false;
    let mut escaped = false;
    for (position, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'(' if !in_class => depth += 1,
            b')' if !in_class => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(position);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, metric: &str, expect: &[(&str, &str, &str, bool)]) {
        let (found, filters) = parse_metric(text).unwrap();
        let filters: Vec<_> = filters
            .iter()
            .map(|filter| (filter.key(), filter.kind().name(), filter.text(), filter.group_by()))
            .collect();
        assert_eq!((found, filters.as_slice()), (metric, expect), "{text}");
    }

    #[test]
    fn both_pairs_of_braces_become_filters() {
        check("cpu", "cpu", &[]);
        check("cpu{}", "cpu", &[]);
        check("cpu{}{}", "cpu", &[]);
        check("cpu{host=a}", "cpu", &[("host", "literal_or", "a", true)]);
        check(
            "cpu{host=*,dc=a|b}{owner=wildcard(x*)}",
            "cpu",
            &[("host", "wildcard", "*", true), ("dc", "literal_or", "a|b", true), ("owner", "wildcard", "x*", false)],
        );
        check("cpu{}{host=regexp(a{1,2}:b)}", "cpu", &[("host", "regexp", "a{1,2}:b", false)]);
        check(
            "cpu{host=regexp([)}]\\(x(y|z)), dc=*}",
            "cpu",
            &[("host", "regexp", "[)}]\\(x(y|z)", true), ("dc", "wildcard", "*", true)],
        );
    }

    #[test]
    fn a_wrong_list_says_what_is_wrong() {
        let check = |text: &str, expect: &str| assert_eq!(parse_metric(text).unwrap_err().to_string(), expect);
        check("cpu{host=a", "Missing '}' at the end of: cpu{host=a");
        check("cpu{host=a}x", "Missing '}' at the end of: cpu{host=a}x");
        check("cpu{host}", "When parsing tag 'host': invalid tag: host");
        check("cpu{host=}", "When parsing tag 'host=': invalid tag: host=");
        check("cpu{a=b,}", "When parsing tag '': invalid tag: ");
        check(
            "cpu{}{host=foo(x)}",
            "When parsing filter 'host=foo(x)': Could not find a tag value filter of the type: foo",
        );
        check("{host=a}", "Missing the metric or tsuids, provide at least one");
        check("", "Missing the metric or tsuids, provide at least one");
    }
}
