//! Sub-queries in the short form of query strings: `sum:5m-avg:rate{counter}:cpu{host=*}`.

use std::str::FromStr;

use tidemark_model::Tsuid;

use crate::{
    ParseError, RollupUsage, Source, SubQuery, histogram_query::parse_percentiles, parse_error::excerpt,
    tag_list::parse_metric,
};

/// Longest text of one sub-query in bytes.
pub const QUERY_TEXT_BYTES_MAX: usize = 64 * 1024;

/// Aggregator, up to three parts, metric.
const PARTS_MAX: usize = 5;

impl SubQuery {
    /// Reads the value of an `m=` parameter.
    ///
    /// # Errors
    /// Says in OpenTSDB's words what is wrong. Parts that OpenTSDB ignores because it does not know them are refused.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (parts, metric) = split(text)?;
        let (name, filters) = parse_metric(metric)?;
        let source = Source::Metric { name: name.to_owned(), filters, explicit_tags: false };
        assemble(text, &parts, source)
    }

    /// Reads the value of a `tsuid=` parameter: parts as in `m=`, then series ids separated by commas.
    ///
    /// # Errors
    /// As [`Self::parse`]; and [`ParseError::Tsuid`].
    pub fn parse_tsuids(text: &str) -> Result<Self, ParseError> {
        let (parts, ids) = split(text)?;
        let ids: Result<Vec<Tsuid>, _> = ids.split(',').map(|id| id.trim().parse()).collect();
        assemble(text, &parts, Source::Tsuids(ids?))
    }
}

impl FromStr for SubQuery {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

fn assemble(text: &str, parts: &[&str], source: Source) -> Result<SubQuery, ParseError> {
    let (aggregator, options) = parts.split_first().ok_or(ParseError::MissingAggregator)?;
    let mut sub_query = SubQuery::new(aggregator.parse()?, source);
    options.iter().try_for_each(|part| apply_part(&mut sub_query, text, part))?;
    sub_query.check()?;
    Ok(sub_query)
}

fn apply_part(sub_query: &mut SubQuery, text: &str, part: &str) -> Result<(), ParseError> {
    let lower = part.to_ascii_lowercase();
    if lower.starts_with("rate") {
        sub_query.rate = Some(part.parse()?);
    } else if lower.starts_with(|character: char| character.is_ascii_digit()) {
        sub_query.downsample = Some(part.parse()?);
    } else if lower == "explicit_tags" {
        if let Source::Metric { explicit_tags, .. } = &mut sub_query.source {
            *explicit_tags = true;
        }
    } else if let Some(usage) = RollupUsage::by_name(part) {
        sub_query.rollup_usage = usage;
    } else if lower == "pre-agg" {
        sub_query.pre_aggregate = true;
    } else if lower == "show-histogram-buckets" {
        sub_query.histogram.get_or_insert_default().show_buckets = true;
    } else if lower.starts_with("percentiles") {
        sub_query.histogram.get_or_insert_default().percentiles = parse_percentiles(part)?;
    } else {
        return Err(ParseError::UnknownPart { text: excerpt(text), part: excerpt(part) });
    }
    Ok(())
}

/// Splits at the colons before the metric. A colon inside the braces of a metric belongs to a filter.
fn split(text: &str) -> Result<(Vec<&str>, &str), ParseError> {
    if text.len() > QUERY_TEXT_BYTES_MAX {
        return Err(ParseError::TextTooLong { bytes: text.len() });
    }
    let wrong_count = |problem| ParseError::PartCount { text: excerpt(text), problem };
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((part, after)) = split_part(rest) {
        parts.push(part);
        rest = after;
        if parts.len() >= PARTS_MAX {
            return Err(wrong_count("too many"));
        }
    }
    if parts.is_empty() { Err(wrong_count("not enough")) } else { Ok((parts, rest)) }
}

/// The next part and what follows its colon; `None` when the rest is the metric.
fn split_part(rest: &str) -> Option<(&str, &str)> {
    let (before_brace, inside) = match rest.split_once('{') {
        Some((before, inside)) => (before, Some(inside)),
        None => (rest, None),
    };
    if let Some(colon) = before_brace.find(':') {
        return Some((rest.get(..colon)?, rest.get(colon + 1..)?));
    }
    let is_rate = before_brace.eq_ignore_ascii_case("rate");
    let end = before_brace.len() + 1 + inside.filter(|_| is_rate)?.find('}')? + 1;
    Some((rest.get(..end)?, rest.get(end..)?.strip_prefix(':')?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Aggregator;

    #[test]
    fn parts_come_in_any_order() {
        for text in [
            "sum:5m-avg-nan:rate{counter,,10}:explicit_tags:cpu{host=*}",
            "sum:explicit_tags:rate{counter,,10}:5m-avg-nan:cpu{host=*}",
        ] {
            let sub_query = SubQuery::parse(text).unwrap();
            assert_eq!(sub_query.aggregator, Aggregator::Sum);
            assert_eq!(sub_query.downsample.unwrap().to_string(), "5m-avg-nan");
            assert_eq!(sub_query.rate.unwrap().reset_value, 10);
            assert_eq!(sub_query.group_keys(), ["host"]);
            let Source::Metric { name, explicit_tags, .. } = sub_query.source else { panic!("a metric") };
            assert_eq!((name.as_str(), explicit_tags), ("cpu", true));
        }
    }

    #[test]
    fn a_colon_inside_a_filter_does_not_split() {
        let sub_query = SubQuery::parse("none:rate:cpu{}{host=regexp(a:b)}").unwrap();
        assert_eq!(sub_query.filters().first().unwrap().text(), "a:b");
        assert!(sub_query.group_keys().is_empty());
    }

    #[test]
    fn series_ids_are_read() {
        let sub_query = SubQuery::parse_tsuids("max:1h-sum:000001000001000001,000001000001000002").unwrap();
        let Source::Tsuids(ids) = sub_query.source else { panic!("ids") };
        assert_eq!(ids.len(), 2);
        assert!(SubQuery::parse_tsuids("max:xyz").is_err());
    }

    #[test]
    fn a_wrong_text_says_what_is_wrong() {
        let check = |text: &str, expect: &str| assert_eq!(SubQuery::parse(text).unwrap_err().to_string(), expect);
        check("cpu", "Invalid parameter m=cpu (not enough :-separated parts)");
        check("a:b:c:d:e:f", "Invalid parameter m=a:b:c:d:e:f (too many :-separated parts)");
        check("foo:cpu", "No such aggregation function: foo");
        check(":cpu", "Missing the aggregation function");
        check("sum:", "Missing the metric or tsuids, provide at least one");
        check("sum:wat:cpu", "Invalid parameter m=sum:wat:cpu: unknown part `wat`");
        check("sum:percentiles[50:cpu", "Malformed percentile query parameter: percentiles[50");
        check("sum:percentiles[a]:cpu", "Malformed percentile query parameter: percentiles[a]");
        check("sum:percentiles[150]:cpu", "Invalid percentile parameters: 150.0");
        check("max:percentiles[5]:m", "Only NONE or SUM aggregation function supported for histogram query");
        check("max:show-histogram-buckets:m", "Only NONE or SUM aggregation function supported for histogram query");
        check("sum:1m-avg:percentiles[5]:m", "Only SUM downsampling aggregation supported for histogram query");
        check("sum:rate{counter,abc}:cpu", "Max value of counter was not a number, received 'abc'");
        let too_long = format!("sum:{}", "x".repeat(QUERY_TEXT_BYTES_MAX));
        check(&too_long, "query text of 65540 bytes, at most 65536 are allowed");
    }

    #[test]
    fn histograms_and_aggregates_are_asked_for_in_their_own_parts() {
        let sub_query = SubQuery::parse("sum:1m-sum:percentiles[99.9, 50]:show-histogram-buckets:lat{host=*}").unwrap();
        let histogram = sub_query.histogram.unwrap();
        assert_eq!((histogram.percentiles.as_slice(), histogram.show_buckets), ([50.0, 99.9].as_slice(), true));
        assert!(SubQuery::parse("sum:pre-agg:lat").unwrap().pre_aggregate);
    }

    #[test]
    fn rollup_usage_is_remembered() {
        assert_eq!(SubQuery::parse("sum:rollup_raw:1h-sum:cpu").unwrap().rollup_usage, RollupUsage::Raw);
        assert_eq!(RollupUsage::Raw.name(), "ROLLUP_RAW");
    }
}
