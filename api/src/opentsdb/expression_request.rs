//! What `/api/query/exp` is asked.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tidemark_query::{
    Aggregator, Downsample, Filter, ParseError, Query, RateOptions, Source, SubQuery,
    expression::{
        ExpressionQuery, FillPolicy, Formula, Join, MetricVariable, NamedFormula, Output, ShiftedSubQuery, check_id,
        parse_time_offset,
    },
};

use super::{
    function_request::{check_order, refused_expression},
    query_request::{FilterBody, Moment, Window, refused},
    wire::{self, Flag, Text},
};
use crate::error::ApiError;

/// Metrics, expressions and outputs, and their window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExpressionRequest {
    /// Without sub-queries.
    pub(crate) window: Query,
    pub(crate) query: ExpressionQuery,
    /// The request as the answer repeats it.
    pub(crate) echo: Value,
}

/// The body of a POST. Fields that are not listed are ignored.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct ExpressionBody {
    name: Option<Text>,
    time: Option<TimeBody>,
    filters: Option<Vec<FilterSetBody>>,
    metrics: Option<Vec<MetricBody>>,
    expressions: Option<Vec<FormulaBody>>,
    outputs: Option<Vec<OutputBody>>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct TimeBody {
    start: Option<Text>,
    end: Option<Text>,
    #[serde(default, deserialize_with = "wire::text")]
    timezone: Option<String>,
    downsampler: Option<DownsamplerBody>,
    #[serde(default, deserialize_with = "wire::text")]
    aggregator: Option<String>,
    #[serde(default)]
    rate: Flag,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct DownsamplerBody {
    interval: Option<Text>,
    #[serde(default, deserialize_with = "wire::text")]
    aggregator: Option<String>,
    fill_policy: Option<FillBody>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
struct FillBody {
    #[serde(default, deserialize_with = "wire::text")]
    policy: Option<String>,
    value: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct FilterSetBody {
    #[serde(default, deserialize_with = "wire::text")]
    id: Option<String>,
    tags: Option<Vec<FilterBody>>,
    #[serde(default)]
    explicit_tags: Flag,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct MetricBody {
    #[serde(default, deserialize_with = "wire::text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    metric: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    filter: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    aggregator: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    time_offset: Option<String>,
    fill_policy: Option<FillBody>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct FormulaBody {
    #[serde(default, deserialize_with = "wire::text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    expr: Option<String>,
    join: Option<JoinBody>,
    fill_policy: Option<FillBody>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
#[serde(rename_all = "camelCase")]
struct JoinBody {
    #[serde(default, deserialize_with = "wire::text")]
    operator: Option<String>,
    #[serde(default)]
    use_query_tags: Flag,
    include_agg_tags: Option<Flag>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
struct OutputBody {
    #[serde(default, deserialize_with = "wire::text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    alias: Option<String>,
}

impl ExpressionBody {
    /// # Errors
    /// 400 naming what is missing or wrong.
    pub(crate) fn into_request(self, moment: Moment<'_>, parts_max: usize) -> Result<ExpressionRequest, ApiError> {
        let time = self.time.ok_or_else(|| ApiError::bad_request("missing time"))?;
        let (filters, metrics) = (self.filters.unwrap_or_default(), self.metrics.unwrap_or_default());
        let (expressions, outputs) = (self.expressions.unwrap_or_default(), self.outputs.unwrap_or_default());
        let lengths = [filters.len(), metrics.len(), expressions.len(), outputs.len()];
        for (what, length) in ["filters", "metrics", "expressions", "outputs"].into_iter().zip(lengths) {
            check_length(what, length, parts_max)?;
        }
        let window = time.window(moment)?;
        let common = time.common()?;
        let filters = filters.into_iter().map(FilterSetBody::into_set).collect::<Result<Vec<_>, _>>()?;
        let sets = by_id(&filters)?;
        let metrics = metrics.into_iter().map(|metric| metric.into_metric(&common, &sets));
        let metrics = metrics.collect::<Result<Vec<_>, _>>()?;
        let expressions = expressions.into_iter().map(FormulaBody::into_formula).collect::<Result<Vec<_>, _>>()?;
        let outputs: Vec<Output> = outputs.into_iter().map(OutputBody::into_output).collect();
        let echo = json!({
            "name": self.name.map(|name| name.0),
            "time": time.echo(&common),
            "filters": filters.iter().map(FilterSet::echo).collect::<Vec<_>>(),
            "metrics": metrics.iter().map(|metric| &metric.echo).collect::<Vec<_>>(),
            "expressions": expressions.iter().map(echo_of_formula).collect::<Vec<_>>(),
            "outputs": outputs.iter().map(|output| json!({"id": output.id, "alias": output.alias})).collect::<Vec<_>>(),
        });
        let metrics = metrics.into_iter().map(|metric| metric.variable).collect();
        let query = ExpressionQuery::new(metrics, expressions, outputs).map_err(refused_expression)?;
        Ok(ExpressionRequest { window, query, echo })
    }
}

fn check_length(what: &str, found: usize, parts_max: usize) -> Result<(), ApiError> {
    if found <= parts_max {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("{found} {what}, at most {parts_max} are allowed; see `limits.query_parts`")))
}

/// A text that says something.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// What the time says for all metrics.
struct Common {
    aggregator: Option<Aggregator>,
    downsample: Option<Downsample>,
    /// Repeated, and nothing else: OpenTSDB does not fill the buckets of expressions.
    fill: Option<FillPolicy>,
    rate: bool,
}

impl TimeBody {
    fn window(&self, moment: Moment<'_>) -> Result<Query, ApiError> {
        let text = |text: &Option<Text>| given(text.as_ref().map(|text| text.0.clone()));
        let start = text(&self.start).ok_or_else(|| ApiError::bad_request("missing or empty start"))?;
        let window = Window { start: &start, end: text(&self.end), time_zone: self.timezone.clone() };
        let window = window.read(moment).map_err(refused)?;
        check_order(&window)?;
        Ok(window)
    }

    fn common(&self) -> Result<Common, ApiError> {
        let aggregator = given(self.aggregator.clone()).map(|name| name.parse()).transpose().map_err(refused)?;
        let mut common = Common { aggregator, downsample: None, fill: None, rate: self.rate.0 };
        if let Some(downsampler) = &self.downsampler {
            let interval = given(downsampler.interval.as_ref().map(|text| text.0.clone()))
                .ok_or_else(|| ApiError::bad_request("Missing or empty interval"))?;
            let function = given(downsampler.aggregator.clone())
                .ok_or_else(|| ApiError::bad_request("Missing or empty aggregator of the downsampler"))?;
            let downsample: Downsample = format!("{interval}-{function}").parse().map_err(refused)?;
            common.fill = downsampler.fill_policy.as_ref().map(FillBody::policy).transpose()?;
            common.downsample = Some(downsample);
        }
        Ok(common)
    }

    fn echo(&self, common: &Common) -> Value {
        let text = |text: &Option<Text>| text.as_ref().map(|text| text.0.clone());
        let downsampler = self.downsampler.as_ref().map(|downsampler| {
            json!({
                "interval": text(&downsampler.interval),
                "aggregator": downsampler.aggregator,
                "fillPolicy": common.fill.map(echo_of_fill),
            })
        });
        json!({
            "start": text(&self.start),
            "end": text(&self.end),
            "timezone": self.timezone,
            "downsampler": downsampler,
            "aggregator": self.aggregator,
            "rate": self.rate.0,
        })
    }
}

impl FillBody {
    fn policy(&self) -> Result<FillPolicy, ApiError> {
        let value = match self.value.as_ref().map(|text| text.0.as_str()).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(text.parse::<f64>().map_err(|_| {
                let shown: String = text.chars().take(64).collect();
                ApiError::bad_request(format!("the value of a fill policy must be a number, received '{shown}'"))
            })?),
        };
        FillPolicy::new(self.policy.as_deref().filter(|policy| !policy.is_empty()), value).map_err(refused_expression)
    }
}

/// Filters with an id.
struct FilterSet {
    id: String,
    filters: Vec<Filter>,
    explicit_tags: bool,
}

impl FilterSetBody {
    fn into_set(self) -> Result<FilterSet, ApiError> {
        let id = self.id.unwrap_or_default();
        check_id(&id).map_err(refused_expression)?;
        let filters = self.tags.unwrap_or_default().into_iter().map(FilterBody::into_filter);
        let filters = filters.collect::<Result<_, _>>().map_err(refused)?;
        Ok(FilterSet { id, filters, explicit_tags: self.explicit_tags.0 })
    }
}

impl FilterSet {
    fn echo(&self) -> Value {
        let tags = self.filters.iter().map(|filter| {
            json!({
                "tagk": filter.key(),
                "filter": filter.text(),
                "group_by": filter.group_by(),
                "type": filter.kind().name(),
            })
        });
        json!({"id": self.id, "tags": tags.collect::<Vec<_>>(), "explicitTags": self.explicit_tags})
    }
}

fn by_id(sets: &[FilterSet]) -> Result<HashMap<&str, &FilterSet>, ApiError> {
    let mut known = HashMap::new();
    for set in sets {
        if known.insert(set.id.as_str(), set).is_some() {
            return Err(ApiError::bad_request(format!("duplicated filter id: {}", set.id)));
        }
    }
    Ok(known)
}

/// A metric, and how the answer repeats it.
struct EchoedMetric {
    variable: MetricVariable,
    echo: Value,
}

impl MetricBody {
    fn into_metric(self, common: &Common, sets: &HashMap<&str, &FilterSet>) -> Result<EchoedMetric, ApiError> {
        let id = self.id.clone().unwrap_or_default();
        check_id(&id).map_err(refused_expression)?;
        let name = given(self.metric.clone()).ok_or_else(|| ApiError::bad_request("missing or empty metric"))?;
        let set = match given(self.filter.clone()) {
            None => None,
            Some(filter) => Some(*sets.get(filter.as_str()).ok_or_else(|| {
                let shown: String = filter.chars().take(200).collect();
                ApiError::bad_request(format!("unrecognized filter id {shown} in metric {id}"))
            })?),
        };
        let source = Source::Metric {
            name,
            filters: set.map(|set| set.filters.clone()).unwrap_or_default(),
            explicit_tags: set.is_some_and(|set| set.explicit_tags),
        };
        let own = given(self.aggregator.clone()).map(|name| name.parse()).transpose().map_err(refused)?;
        let aggregator = own.or(common.aggregator).ok_or_else(|| refused(ParseError::MissingAggregator))?;
        let mut sub_query = SubQuery::new(aggregator, source);
        sub_query.downsample = common.downsample;
        sub_query.rate = common.rate.then(RateOptions::default);
        let offset = given(self.time_offset.clone());
        let shift_ms = offset.as_deref().map(parse_time_offset).transpose().map_err(refused_expression)?.unwrap_or(0);
        let fill = self.fill_policy.as_ref().map(FillBody::policy).transpose()?;
        let echo = json!({
            "metric": self.metric,
            "id": id,
            "filter": self.filter,
            "aggregator": self.aggregator,
            "timeOffset": self.time_offset,
            "fillPolicy": fill.map(echo_of_fill),
        });
        let source = ShiftedSubQuery { sub_query, shift_ms };
        Ok(EchoedMetric { variable: MetricVariable { id, source, fill }, echo })
    }
}

impl FormulaBody {
    fn into_formula(self) -> Result<NamedFormula, ApiError> {
        let formula = Formula::parse(&self.expr.unwrap_or_default()).map_err(refused_expression)?;
        let join = self.join.map(JoinBody::into_join).transpose()?.unwrap_or_default();
        let fill = self.fill_policy.as_ref().map(FillBody::policy).transpose()?;
        Ok(NamedFormula { id: self.id.unwrap_or_default(), formula, join, fill })
    }
}

fn echo_of_formula(expression: &NamedFormula) -> Value {
    let Join { operator, use_query_tags, include_aggregate_tags } = expression.join;
    json!({
        "id": expression.id,
        "expr": expression.formula.text(),
        "join": {
            "operator": operator.name(),
            "useQueryTags": use_query_tags,
            "includeAggTags": include_aggregate_tags,
        },
        "fillPolicy": expression.fill.map(echo_of_fill),
    })
}

impl JoinBody {
    fn into_join(self) -> Result<Join, ApiError> {
        let operator = given(self.operator).ok_or_else(|| ApiError::bad_request("Missing join operator"))?;
        Ok(Join {
            operator: operator.parse().map_err(refused_expression)?,
            use_query_tags: self.use_query_tags.0,
            include_aggregate_tags: self.include_agg_tags.is_none_or(|flag| flag.0),
        })
    }
}

impl OutputBody {
    fn into_output(self) -> Output {
        Output { id: self.id.unwrap_or_default(), alias: self.alias }
    }
}

/// JSON has no NaN: as everywhere in OpenTSDB, it is a text.
fn echo_of_fill(fill: FillPolicy) -> Value {
    let value = fill.value();
    let value = if value.is_finite() { json!(value) } else { json!(if value.is_nan() { "NaN" } else { "Infinity" }) };
    json!({"policy": fill.name(), "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> Result<ExpressionRequest, ApiError> {
        let body: ExpressionBody = serde_json::from_str(&body.to_string()).unwrap();
        body.into_request(
            Moment {
                now: 1_357_000_000_000,
                time_zone: "UTC",
                week_start: tidemark_query::Weekday::Sun,
                extras: crate::QueryExtras::default(),
            },
            4,
        )
    }

    /// A request that is right, with some of its fields replaced.
    fn with(fields: Value) -> Value {
        let mut body = json!({
            "time": {"start": "1356998400", "end": 1356998460, "aggregator": "sum"},
            "filters": [{"id": "f1", "tags": [{"type": "wildcard", "tagk": "host", "filter": "*", "groupBy": true}]}],
            "metrics": [{"id": "a", "metric": "m", "filter": "f1", "fillPolicy": {"policy": "nan"}}],
            "expressions": [{"id": "e", "expr": "a * 2"}],
            "outputs": [{"id": "e", "alias": "twice"}],
        });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    }

    #[test]
    fn the_answer_repeats_the_request_with_its_defaults() {
        let found = read(&with(json!({"name": "q", "unknown": [1]}))).unwrap();
        let expected = json!({
            "name": "q",
            "time": {"start": "1356998400", "end": "1356998460", "timezone": null, "downsampler": null,
                "aggregator": "sum", "rate": false},
            "filters": [{"id": "f1", "explicitTags": false,
                "tags": [{"tagk": "host", "filter": "*", "group_by": true, "type": "wildcard"}]}],
            "metrics": [{"metric": "m", "id": "a", "filter": "f1", "aggregator": null, "timeOffset": null,
                "fillPolicy": {"policy": "nan", "value": "NaN"}}],
            "expressions": [{"id": "e", "expr": "a * 2", "fillPolicy": null,
                "join": {"operator": "union", "useQueryTags": false, "includeAggTags": true}}],
            "outputs": [{"id": "e", "alias": "twice"}],
        });
        assert_eq!(found.echo, expected);
        assert_eq!(found.window.end - found.window.start, 60_000);
    }

    #[test]
    fn what_the_time_says_holds_for_every_metric() {
        let time = json!({"start": "1h-ago", "aggregator": "sum", "rate": "true",
            "downsampler": {"interval": "1m", "aggregator": "max", "fillPolicy": {"policy": "scalar", "value": 7}}});
        let metrics = json!([{"id": "a", "metric": "m"}, {"id": "b", "metric": "m", "aggregator": "max", "timeOffset": "1d-ago"}]);
        let found = read(&with(json!({"time": time, "metrics": metrics}))).unwrap();
        let sources: Vec<_> = found.query.sources().collect();
        assert_eq!(sources[0].sub_query.downsample.unwrap().to_string(), "1m-max");
        assert!(sources.iter().all(|source| source.sub_query.rate.is_some()));
        let aggregators: Vec<_> = sources.iter().map(|source| source.sub_query.aggregator.name()).collect();
        assert_eq!((aggregators, sources[1].shift_ms), (vec!["sum", "max"], 86_400_000));
        assert_eq!(found.echo["time"]["downsampler"]["fillPolicy"], json!({"policy": "scalar", "value": 7.0}));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let check = |fields: Value, expect: &str| {
            assert_eq!(read(&with(fields.clone())).unwrap_err().message(), expect, "{fields}");
        };
        check(json!({"time": null}), "missing time");
        check(json!({"time": {"aggregator": "sum"}}), "missing or empty start");
        check(json!({"time": {"start": "1h-ago"}}), "Missing the aggregation function");
        check(json!({"time": {"start": "1h-ago", "aggregator": "x"}}), "No such aggregation function: x");
        check(
            json!({"time": {"start": 2, "end": 1, "aggregator": "sum"}}),
            "End time [1000] must be greater than the start time [2000]",
        );
        let downsampled =
            |downsampler: Value| json!({"time": {"start": 1, "aggregator": "sum", "downsampler": downsampler}});
        check(downsampled(json!({"aggregator": "sum"})), "Missing or empty interval");
        check(downsampled(json!({"interval": "1m"})), "Missing or empty aggregator of the downsampler");
        check(downsampled(json!({"interval": "1x", "aggregator": "sum"})), "Invalid duration (suffix): 1x");
        check(json!({"metrics": []}), "missing or empty metrics");
        check(json!({"metrics": [{"metric": "m"}]}), "missing or empty id");
        check(json!({"metrics": [{"id": "a"}]}), "missing or empty metric");
        check(
            json!({"metrics": [{"id": "a", "metric": "m", "filter": "f9"}]}),
            "unrecognized filter id f9 in metric a",
        );
        let filled = |fill: Value| json!({"metrics": [{"id": "a", "metric": "m", "fillPolicy": fill}]});
        check(filled(json!({"policy": "x"})), "Unrecognized fill policy: x");
        check(filled(json!({"policy": "nan", "value": 1})), "The value for NONE and NAN must be NaN");
        check(filled(json!({"value": "x"})), "the value of a fill policy must be a number, received 'x'");
        check(json!({"filters": [{"id": "f1"}, {"id": "f1"}]}), "duplicated filter id: f1");
        check(json!({"filters": [{"id": "f 1"}]}), "Invalid id (\"f 1\"): illegal character:  ");
        check(json!({"expressions": [{"id": "e"}]}), "missing or empty expr");
        check(json!({"expressions": [{"expr": "a"}]}), "missing or empty id");
        check(json!({"expressions": [{"id": "e", "expr": "a + c"}]}), "Expression [a + c] was missing input c");
        check(
            json!({"expressions": [{"id": "e", "expr": "a +"}]}),
            "Failed to parse `a +`: expected a number, a name or `(` at byte 3",
        );
        check(json!({"expressions": [{"id": "e", "expr": "a", "join": {}}]}), "Missing join operator");
        check(
            json!({"expressions": [{"id": "e", "expr": "a", "join": {"operator": "outer"}}]}),
            "Unrecognized set operator: outer",
        );
        check(json!({"outputs": [{"alias": "x"}]}), "missing or empty id");
        let many: Vec<Value> = (0..5).map(|number| json!({"id": format!("e{number}"), "expr": "a"})).collect();
        check(json!({"expressions": many}), "5 expressions, at most 4 are allowed; see `limits.query_parts`");
    }
}
