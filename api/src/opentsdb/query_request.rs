//! What `/api/query` is asked, as JSON and as a query string.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidemark_model::TimestampMs;
use tidemark_query::{
    Filter, HistogramQuery, ParseError, Query, RateOptions, RollupUsage, Source, SubQuery, Weekday, parse_time,
    parse_time_zone,
};

use super::{
    unresolved::Unresolved,
    wire::{self, Flag, Text},
};
use crate::{error::ApiError, http::query_string::QueryString, options::QueryExtras};

/// A query and how its answer is to look.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct QueryRequest {
    pub(crate) query: Query,
    pub(crate) shape: AnswerShape,
    /// Whether the matching points are to be deleted.
    pub(crate) delete: bool,
    pub(crate) unresolved: Unresolved,
}

/// How an answer is to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AnswerShape {
    /// Points as pairs in an array.
    pub(crate) arrays: bool,
    /// The ids of the series of each group.
    pub(crate) tsuids: bool,
    /// The sub-query of each group.
    pub(crate) query: bool,
    /// Figures of each sub-query, and the summary.
    pub(crate) statistics: bool,
    /// One more element with the figures of the whole.
    pub(crate) summary: bool,
    /// No annotations of the series.
    pub(crate) no_annotations: bool,
    /// The annotations about everything, in each element.
    pub(crate) global_annotations: bool,
    /// `null` for what is no number, in objects, too.
    pub(crate) nan_as_null: bool,
}

/// What time it is, and what a query does not say: the time zone, the first day of weeks and the extras.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) now: TimestampMs,
    pub(crate) time_zone: &'a str,
    pub(crate) week_start: Weekday,
    pub(crate) extras: QueryExtras,
}

/// What becomes of names that nobody has written.
pub(crate) fn unresolved(of_body: Option<Flag>, flags: &QueryString, extras: QueryExtras) -> Unresolved {
    match switch(of_body, flags, "skip_unresolved", extras.skip_unresolved) {
        true => Unresolved::Skip,
        false => Unresolved::Refuse,
    }
}

/// Whether a switch is on: as the body says, else the query string, else the default.
fn switch(of_body: Option<Flag>, flags: &QueryString, name: &str, default: bool) -> bool {
    of_body.map(|flag| flag.0).or_else(|| flags.switch(name)).unwrap_or(default)
}

/// The body of a POST. Fields that are not listed are ignored.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueryBody {
    start: Option<Text>,
    end: Option<Text>,
    #[serde(default, deserialize_with = "wire::text")]
    timezone: Option<String>,
    queries: Option<Vec<SubQueryBody>>,
    #[serde(default)]
    ms_resolution: Flag,
    #[serde(default)]
    ms: Flag,
    #[serde(default, rename = "showTSUIDs")]
    show_tsuids: Flag,
    #[serde(default)]
    show_query: Flag,
    #[serde(default)]
    show_stats: Flag,
    #[serde(default)]
    show_summary: Flag,
    #[serde(default)]
    use_calendar: Flag,
    #[serde(default)]
    no_annotations: Flag,
    #[serde(default)]
    global_annotations: Flag,
    #[serde(default)]
    delete: Flag,
    align_first: Option<Flag>,
    skip_unresolved: Option<Flag>,
    nan_as_null: Option<Flag>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct SubQueryBody {
    #[serde(default, deserialize_with = "wire::text")]
    aggregator: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    metric: Option<String>,
    #[serde(default, deserialize_with = "wire::texts")]
    tsuids: Option<Vec<String>>,
    #[serde(default, deserialize_with = "wire::text")]
    downsample: Option<String>,
    #[serde(default)]
    rate: Flag,
    rate_options: Option<RateBody>,
    tags: Option<BTreeMap<String, Text>>,
    filters: Option<Vec<FilterBody>>,
    #[serde(default)]
    explicit_tags: Flag,
    #[serde(default, deserialize_with = "wire::text")]
    rollup_usage: Option<String>,
    percentiles: Option<Vec<Text>>,
    #[serde(default)]
    show_histogram_buckets: Flag,
    #[serde(default)]
    pre_aggregate: Flag,
    align_first: Option<Flag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct RateBody {
    #[serde(default)]
    counter: Flag,
    counter_max: Option<Text>,
    reset_value: Option<Text>,
    #[serde(default)]
    drop_resets: Flag,
    pre_downsample: Option<Flag>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
pub(crate) struct FilterBody {
    #[serde(default, deserialize_with = "wire::text")]
    r#type: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    tagk: Option<String>,
    filter: Option<Text>,
    #[serde(default)]
    group_by: Flag,
    /// The same, as `showQuery` repeats it.
    #[serde(default, rename = "group_by")]
    repeated_group_by: Flag,
}

pub(crate) fn refused(error: ParseError) -> ApiError {
    ApiError::bad_request(error.to_string())
}

impl QueryBody {
    /// # Errors
    /// 400 naming what is missing or wrong.
    pub(crate) fn into_request(
        self,
        moment: Moment<'_>,
        flags: &QueryString,
        parts_max: usize,
    ) -> Result<QueryRequest, ApiError> {
        let text = |text: Option<Text>| text.map(|text| text.0).filter(|text| !text.is_empty());
        let start = text(self.start).ok_or_else(|| refused(ParseError::MissingStart))?;
        let bodies =
            self.queries.filter(|queries| !queries.is_empty()).ok_or_else(|| refused(ParseError::MissingQueries))?;
        check_parts(bodies.len(), parts_max)?;
        let extras = QueryExtras {
            align_first: switch(self.align_first, flags, "align_first", moment.extras.align_first),
            nan_as_null: switch(self.nan_as_null, flags, "nan_as_null", moment.extras.nan_as_null),
            ..moment.extras
        };
        let sub_queries =
            bodies.into_iter().map(|body| body.into_sub_query(extras)).collect::<Result<_, _>>().map_err(refused)?;
        let window = Window { start: &start, end: text(self.end), time_zone: self.timezone };
        let mut query = window.into_query(moment, sub_queries).map_err(refused)?;
        query.ms_resolution = self.ms_resolution.0 || self.ms.0 || flags.has("ms");
        query.use_calendar = self.use_calendar.0;
        let shape = AnswerShape {
            arrays: flags.has("arrays"),
            tsuids: self.show_tsuids.0 || flags.has("show_tsuids"),
            query: self.show_query.0 || flags.has("show_query"),
            statistics: self.show_stats.0 || flags.has("show_stats"),
            summary: self.show_summary.0 || flags.has("show_summary"),
            no_annotations: self.no_annotations.0 || flags.has("no_annotations"),
            global_annotations: self.global_annotations.0 || flags.has("global_annotations"),
            nan_as_null: extras.nan_as_null,
        };
        Ok(QueryRequest {
            query,
            shape,
            delete: self.delete.0,
            unresolved: unresolved(self.skip_unresolved, flags, extras),
        })
    }
}

/// Reads a query string.
///
/// # Errors
/// 400 naming what is missing or wrong.
pub(crate) fn from_query_string(
    flags: &QueryString,
    moment: Moment<'_>,
    parts_max: usize,
) -> Result<QueryRequest, ApiError> {
    let window = window(flags)?;
    let mut sub_queries = Vec::new();
    check_parts(flags.all("m").count() + flags.all("tsuid").count() + flags.all("tsuids").count(), parts_max)?;
    for text in flags.all("m") {
        if text.is_empty() {
            return Err(ApiError::bad_request("The query string was empty"));
        }
        sub_queries.push(SubQuery::parse(text).map_err(refused)?);
    }
    for text in flags.all("tsuid").chain(flags.all("tsuids")) {
        if text.is_empty() {
            return Err(ApiError::bad_request("The tsuid query string was empty"));
        }
        sub_queries.push(SubQuery::parse_tsuids(text).map_err(refused)?);
    }
    if sub_queries.is_empty() {
        return Err(ApiError::bad_request("Missing sub queries"));
    }
    let extras = moment.extras;
    for sub_query in &mut sub_queries {
        sub_query.align_first = switch(None, flags, "align_first", extras.align_first);
        if let Some(rate) = &mut sub_query.rate {
            rate.pre_downsample |= extras.rate_before_downsample;
        }
    }
    let mut query = window.into_query(moment, sub_queries).map_err(refused)?;
    query.ms_resolution = flags.has("ms");
    query.use_calendar = flags.has("use_calendar");
    let (shape, unresolved) = (AnswerShape::of_flags(flags, extras), unresolved(None, flags, extras));
    Ok(QueryRequest { query, shape, delete: false, unresolved })
}

/// The window of a query string.
///
/// # Errors
/// 400 without a start.
pub(crate) fn window(flags: &QueryString) -> Result<Window<'_>, ApiError> {
    let text = |name| flags.get(name).map(str::to_owned).filter(|text| !text.is_empty());
    let start = flags.required("start")?;
    Ok(Window { start, end: text("end"), time_zone: text("tz").or_else(|| text("timezone")) })
}

impl AnswerShape {
    pub(crate) fn of_flags(flags: &QueryString, extras: QueryExtras) -> Self {
        Self {
            arrays: flags.has("arrays"),
            tsuids: flags.has("show_tsuids"),
            query: flags.has("show_query"),
            statistics: flags.has("show_stats"),
            summary: flags.has("show_summary"),
            no_annotations: flags.has("no_annotations"),
            global_annotations: flags.has("global_annotations"),
            nan_as_null: switch(None, flags, "nan_as_null", extras.nan_as_null),
        }
    }
}

/// # Errors
/// 400 when there are too many sub-queries.
pub(crate) fn check_parts(parts: usize, parts_max: usize) -> Result<(), ApiError> {
    if parts <= parts_max {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "{parts} sub-queries, at most {parts_max} are allowed; see `limits.query_parts`"
    )))
}

/// A window of time as it is written.
pub(crate) struct Window<'a> {
    pub(crate) start: &'a str,
    pub(crate) end: Option<String>,
    pub(crate) time_zone: Option<String>,
}

impl Window<'_> {
    fn into_query(self, moment: Moment<'_>, sub_queries: Vec<SubQuery>) -> Result<Query, ParseError> {
        let query = Query { sub_queries, ..self.read(moment)? };
        query.check()?;
        Ok(query)
    }

    /// A query of this window without sub-queries, which may end before it starts.
    ///
    /// # Errors
    /// Says which moment, or the name of which zone, is wrong.
    pub(crate) fn read(self, moment: Moment<'_>) -> Result<Query, ParseError> {
        let named = self.time_zone.filter(|name| !name.is_empty());
        let zone = parse_time_zone(named.as_deref().unwrap_or(moment.time_zone))?;
        let start = parse_time(self.start, moment.now, zone)?;
        let end = self.end.map_or(Ok(moment.now), |end| parse_time(&end, moment.now, zone))?;
        let week_start = moment.week_start;
        Ok(Query { time_zone: zone, week_start, ..Query::new(start, end, Vec::new()) })
    }
}

impl SubQueryBody {
    fn into_sub_query(self, extras: QueryExtras) -> Result<SubQuery, ParseError> {
        let aggregator = self.aggregator.filter(|name| !name.is_empty()).ok_or(ParseError::MissingAggregator)?;
        let source = match self.tsuids.filter(|tsuids| !tsuids.is_empty()) {
            Some(tsuids) => Source::Tsuids(tsuids.iter().map(|text| text.parse()).collect::<Result<_, _>>()?),
            None => Source::Metric {
                name: self.metric.filter(|metric| !metric.is_empty()).ok_or(ParseError::MissingSource)?,
                filters: filters(self.filters, self.tags)?,
                explicit_tags: self.explicit_tags.0,
            },
        };
        let mut sub_query = SubQuery::new(aggregator.parse()?, source);
        let percentiles = self.percentiles.unwrap_or_default();
        if !percentiles.is_empty() || self.show_histogram_buckets.0 {
            let texts = percentiles.iter().map(|text| text.0.as_str());
            sub_query.histogram = Some(HistogramQuery::new(texts, self.show_histogram_buckets.0)?);
        }
        sub_query.pre_aggregate = self.pre_aggregate.0;
        sub_query.downsample = self.downsample.filter(|text| !text.is_empty()).map(|text| text.parse()).transpose()?;
        // Wrong options are refused even where no rate is asked for.
        let options = self.rate_options.unwrap_or_default().into_options(extras)?;
        sub_query.rate = self.rate.0.then_some(options);
        sub_query.align_first = self.align_first.map_or(extras.align_first, |flag| flag.0);
        if let Some(usage) = self.rollup_usage.filter(|usage| !usage.is_empty()) {
            sub_query.rollup_usage = RollupUsage::by_name(&usage)
                .ok_or_else(|| ParseError::Unsupported(usage.chars().take(200).collect()))?;
        }
        Ok(sub_query)
    }
}

/// `tags` counts only when there are no `filters`, not even an empty list of them.
fn filters(filters: Option<Vec<FilterBody>>, tags: Option<BTreeMap<String, Text>>) -> Result<Vec<Filter>, ParseError> {
    match filters {
        Some(filters) => filters.into_iter().map(FilterBody::into_filter).collect(),
        None => {
            tags.unwrap_or_default().iter().map(|(key, value)| Filter::from_tag_value(key, &value.0, true)).collect()
        }
    }
}

impl FilterBody {
    /// # Errors
    /// Says in OpenTSDB's words what is missing or wrong.
    pub(crate) fn into_filter(self) -> Result<Filter, ParseError> {
        let kind = self.r#type.unwrap_or_default().parse()?;
        let text = self.filter.map(|text| text.0).unwrap_or_default();
        let group_by = self.group_by.0 || self.repeated_group_by.0;
        Filter::new(kind, &self.tagk.unwrap_or_default(), &text, group_by)
    }
}

impl RateBody {
    fn into_options(self, extras: QueryExtras) -> Result<RateOptions, ParseError> {
        let integer = |text: Option<Text>, default: i64, refused: fn(String) -> ParseError| match text {
            None => Ok(default),
            Some(Text(text)) if text.is_empty() => Ok(default),
            // Some clients write integers as doubles.
            Some(Text(text)) => text
                .parse()
                .or_else(|_| text.parse::<f64>().map(|float| float as i64))
                .map_err(|_| refused(text.chars().take(200).collect())),
        };
        Ok(RateOptions {
            counter: self.counter.0,
            counter_max: integer(self.counter_max, i64::MAX, ParseError::CounterMax)?,
            reset_value: integer(self.reset_value, 0, ParseError::ResetValue)?,
            drop_resets: self.drop_resets.0,
            pre_downsample: self.pre_downsample.map_or(extras.rate_before_downsample, |flag| flag.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTRAS: QueryExtras =
        QueryExtras { align_first: false, rate_before_downsample: false, skip_unresolved: false, nan_as_null: false };
    const MOMENT: Moment<'_> =
        Moment { now: 1_357_000_000_000, time_zone: "UTC", week_start: Weekday::Sun, extras: EXTRAS };

    fn of_body(text: &str) -> Result<QueryRequest, ApiError> {
        of_body_with(text, EXTRAS)
    }

    fn of_body_with(text: &str, extras: QueryExtras) -> Result<QueryRequest, ApiError> {
        let body: QueryBody = serde_json::from_str(text).unwrap();
        body.into_request(Moment { extras, ..MOMENT }, &QueryString::default(), 10)
    }

    fn of_string(text: &str) -> Result<QueryRequest, ApiError> {
        of_string_with(text, EXTRAS)
    }

    fn of_string_with(text: &str, extras: QueryExtras) -> Result<QueryRequest, ApiError> {
        from_query_string(&QueryString::parse(text).unwrap(), Moment { extras, ..MOMENT }, 10)
    }

    #[test]
    fn what_a_body_ought_to_be_is_said_without_names_of_the_program() {
        let error = serde_json::from_str::<QueryBody>("[]").err().unwrap().to_string();
        assert!(error.contains("expected an object"), "{error}");
    }

    /// Aligned first, rate before downsampling, unresolved names skipped, NaN as null.
    fn extras_of(asked: &QueryRequest) -> [bool; 4] {
        let sub_query = &asked.query.sub_queries[0];
        let pre_downsample = sub_query.rate.unwrap().pre_downsample;
        [sub_query.align_first, pre_downsample, asked.unresolved == Unresolved::Skip, asked.shape.nan_as_null]
    }

    #[test]
    fn extras_are_off_unless_the_query_or_the_settings_want_them() {
        let on =
            QueryExtras { align_first: true, rate_before_downsample: true, skip_unresolved: true, nan_as_null: true };
        let body = |fields: &str, options: &str, extras| {
            let text = format!(
                r#"{{"start":1,{fields}"queries":[{{"metric":"m","aggregator":"sum","rate":true,"rateOptions":{{{options}}}}}]}}"#
            );
            extras_of(&of_body_with(&text, extras).unwrap())
        };
        let all = r#""alignFirst":true,"skipUnresolved":"true","nanAsNull":true,"#;
        assert_eq!(body("", "", EXTRAS), [false; 4]);
        assert_eq!(body(all, r#""preDownsample":true"#, EXTRAS), [true; 4]);
        assert_eq!(body("", "", on), [true; 4]);
        assert_eq!(body(&all.replace("true", "false"), r#""preDownsample":false"#, on), [false; 4]);
        let string = |flags: &str, rate: &str, extras| {
            extras_of(&of_string_with(&format!("start=1&m=sum:{rate}:m{flags}"), extras).unwrap())
        };
        assert_eq!(string("", "rate", EXTRAS), [false; 4]);
        assert_eq!(string("&align_first&skip_unresolved&nan_as_null", "rate{pre}", EXTRAS), [true; 4]);
        assert_eq!(string("", "rate", on), [true; 4]);
        let off = "&align_first=false&skip_unresolved=false&nan_as_null=false";
        assert_eq!(string(off, "rate", on), [false, true, false, false]);
        let of_part =
            r#"{"start":1,"alignFirst":true,"queries":[{"metric":"m","aggregator":"sum","alignFirst":false}]}"#;
        assert!(!of_body(of_part).unwrap().query.sub_queries[0].align_first);
    }

    #[test]
    fn both_forms_mean_the_same() {
        let body = of_body(
            r#"{"start":1356998400,"end":"","ms":"true","showTSUIDs":true,"ignored":[1],"queries":[{"aggregator":"sum",
                "metric":"cpu","downsample":"5m-avg","rate":"true","rateOptions":{"counter":true,"resetValue":"10"},
                "filters":[{"type":"wildcard","tagk":"host","filter":"*","groupBy":true}]}]}"#,
        )
        .unwrap();
        let string = of_string("start=1356998400&ms&show_tsuids&m=sum:5m-avg:rate{counter,,10}:cpu{host=*}").unwrap();
        assert_eq!(body, string);
        assert_eq!(body.query.end, MOMENT.now);
    }

    #[test]
    fn histograms_are_asked_for_in_both_forms() {
        let body = of_body(
            r#"{"start":1,"end":2,"ms":true,"queries":[{"aggregator":"sum","metric":"lat","percentiles":[99.9,"50"],
                "showHistogramBuckets":true,"preAggregate":"true","downsample":"1m-sum"}]}"#,
        );
        let string = of_string("start=1&end=2&ms&m=sum:1m-sum:percentiles[50,99.9]:show-histogram-buckets:lat");
        let (mut body, string) = (body.unwrap().query, string.unwrap().query);
        assert!(std::mem::take(&mut body.sub_queries[0].pre_aggregate));
        assert_eq!(body, string);
        let refused = of_body(r#"{"start":1,"queries":[{"aggregator":"sum","metric":"m","percentiles":[150]}]}"#);
        assert_eq!(refused.unwrap_err().message(), "Invalid percentile parameters: 150.0");
    }

    #[test]
    fn tags_group_and_count_only_without_filters() {
        let query = |fields: &str| {
            of_body(&format!(r#"{{"start":0,"queries":[{{"aggregator":"sum","metric":"m",{fields}}}]}}"#))
                .unwrap()
                .query
        };
        let keys = |query: Query| query.sub_queries[0].group_keys().join(",");
        assert_eq!(keys(query(r#""tags":{"host":"*"}"#)), "host");
        assert_eq!(keys(query(r#""tags":{"host":"*"},"filters":[]"#)), "");
        assert_eq!(keys(query(r#""tags":{"host":"*"},"filters":null"#)), "host");
        assert_eq!(keys(query(r#""filters":[{"type":"wildcard","tagk":"dc","filter":"*","group_by":true}]"#)), "dc");
        let both = r#""filters":[{"type":"wildcard","tagk":"dc","filter":"*","groupBy":true,"group_by":true}]"#;
        assert_eq!(keys(query(both)), "dc");
    }

    #[test]
    fn what_is_missing_is_named_in_opentsdbs_words() {
        let body = |text: &str, expect: &str| assert_eq!(of_body(text).unwrap_err().message(), expect, "{text}");
        body(r#"{"queries":[{"metric":"m","aggregator":"sum"}]}"#, "Missing start time");
        body(r#"{"start":1}"#, "Missing queries");
        body(r#"{"start":1,"queries":[]}"#, "Missing queries");
        body(r#"{"start":1,"queries":[{"metric":"m"}]}"#, "Missing the aggregation function");
        body(r#"{"start":1,"queries":[{"aggregator":"sum"}]}"#, "Missing the metric or tsuids, provide at least one");
        let string = |text: &str, expect: &str| assert_eq!(of_string(text).unwrap_err().message(), expect, "{text}");
        string("m=sum:m", "Missing parameter <code>start</code>");
        string("start=foo&m=sum:m", "Invalid time: foo. Invalid character 'f' in foo");
        string("start=1h-ago&m=sum:rate{counter,abc}:m", "Max value of counter was not a number, received 'abc'");
        string(
            &format!("start=1&{}", "m=sum:m&".repeat(11)),
            "11 sub-queries, at most 10 are allowed; see `limits.query_parts`",
        );
    }
}
