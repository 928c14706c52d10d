//! The cases that were confirmed on running OpenTSDB servers, evaluated in memory.
//!
//! `data/cases.json` holds series and cases. A case is a query in the form of the JSON body, or with `m` in that of the
//! query string, and what it answers: `dps`, or the text of an `error`.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tidemark_model::Value;
use tidemark_query::{
    Aggregator, Fill, Filter, GroupResult, ParseError, Query, QueryError, RateOptions, Source, SubQuery, Tz,
    parse_time, parse_time_zone,
};

use crate::store::MemoryStore;

const NOW_MS: i64 = 1_357_100_000_000;

#[test]
fn every_case_answers_as_opentsdb_does() {
    let document: Json = serde_json::from_str(include_str!("../data/cases.json")).unwrap();
    let store = load(&document["series"]);
    let cases = document["cases"].as_array().unwrap();
    assert!(cases.len() > 70, "{} cases", cases.len());
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| check(&store, case).err().map(|failure| format!("{}: {failure}", case["name"])))
        .collect();
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

fn load(series: &Json) -> MemoryStore {
    let mut store = MemoryStore::default();
    for one in series.as_array().unwrap() {
        let tags: Vec<(&str, &str)> = one["tags"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str().unwrap()))
            .collect();
        for point in one["points"].as_array().unwrap() {
            let time = point[0].as_i64().unwrap();
            let time_ms = if time > i64::from(u32::MAX) { time } else { time * 1000 };
            let value = point[1].as_i64().map_or_else(|| Value::Float(point[1].as_f64().unwrap()), Value::Int);
            store.put(one["metric"].as_str().unwrap(), &tags, time_ms, value);
        }
    }
    store
}

fn check(store: &MemoryStore, case: &Json) -> Result<(), String> {
    let found = query_of(&case["query"]).map_err(QueryError::from).and_then(|query| {
        let results = store.evaluate(&query)?;
        Ok((query, results))
    });
    match (found, case.get("error")) {
        (Err(_), Some(Json::Null)) => Ok(()),
        (Err(error), Some(expect)) => same(&Json::from(error.to_string()), expect),
        (Ok(_), Some(expect)) => Err(format!("an answer in place of {expect}")),
        (Err(error), None) => Err(error.to_string()),
        (Ok((query, results)), None) => {
            let answers: Vec<Json> = results.iter().map(|result| answer_of(result, query.ms_resolution)).collect();
            check_answers(&answers, case["dps"].as_array().unwrap(), case.get("contains").is_some())
        }
    }
}

fn check_answers(answers: &[Json], expected: &[Json], contains: bool) -> Result<(), String> {
    if answers.len() != expected.len() && !contains {
        return Err(format!("{} answers in place of {}", answers.len(), expected.len()));
    }
    let mut left: Vec<&Json> = answers.iter().collect();
    for expect in expected {
        let matches = |answer: &&Json| match contains {
            true => includes(answer, expect),
            false => same(answer, expect).is_ok(),
        };
        let position = left.iter().position(matches).ok_or_else(|| format!("no {expect} in {answers:?}"))?;
        left.remove(position);
    }
    Ok(())
}

/// Whether every key of the expected objects is there and matches.
fn includes(found: &Json, expect: &Json) -> bool {
    match expect {
        Json::Object(expect) => expect.iter().all(|(key, expect)| includes(&found[key], expect)),
        _ => same(found, expect).is_ok(),
    }
}

/// Equal, but for rounding.
fn same(found: &Json, expect: &Json) -> Result<(), String> {
    let equal = match (found, expect) {
        (Json::Number(found), Json::Number(expect)) => {
            let (found, expect) = (found.as_f64().unwrap(), expect.as_f64().unwrap());
            (found - expect).abs() <= 1e-9 * found.abs().max(expect.abs()).max(1.0)
        }
        (Json::Object(found), Json::Object(expect)) => {
            found.len() == expect.len()
                && expect.iter().all(|(key, value)| found.get(key).is_some_and(|found| same(found, value).is_ok()))
        }
        (Json::Array(found), Json::Array(expect)) => {
            found.len() == expect.len()
                && expect.iter().all(|expect| found.iter().any(|found| same(found, expect).is_ok()))
        }
        _ => found == expect,
    };
    if equal { Ok(()) } else { Err(format!("{found} in place of {expect}")) }
}

fn answer_of(result: &GroupResult, ms_resolution: bool) -> Json {
    let number = |value: f64| match value {
        nan if nan.is_nan() && result.fill == Fill::Null => Json::Null,
        nan if nan.is_nan() => Json::from("NaN"),
        value => Json::from(value),
    };
    let value_of = |value: Value| match value {
        Value::Int(int) => Json::from(int),
        Value::Float(float) => number(float),
    };
    let time_of = |time: &i64| (if ms_resolution { *time } else { time / 1000 }).to_string();
    let dps: serde_json::Map<_, _> =
        result.timestamps.iter().map(time_of).zip(result.values.iter().map(value_of)).collect();
    let tags: BTreeMap<_, _> = result.tags.iter().cloned().collect();
    serde_json::json!({ "metric": result.metric, "tags": tags, "aggregateTags": result.aggregate_tags, "dps": dps })
}

fn query_of(body: &Json) -> Result<Query, ParseError> {
    let zone = body["timezone"].as_str().map_or(Ok(Tz::UTC), parse_time_zone)?;
    let time = |key: &str| match &body[key] {
        Json::Null => None,
        Json::String(text) => Some(parse_time(text, NOW_MS, zone)),
        number => Some(parse_time(&number.to_string(), NOW_MS, zone)),
    };
    let start = time("start").ok_or(ParseError::MissingStart)??;
    let end = time("end").unwrap_or(Ok(NOW_MS))?;
    let sub_queries: Result<Vec<SubQuery>, ParseError> = match (&body["m"], &body["queries"]) {
        (Json::Array(texts), _) => texts.iter().map(|text| SubQuery::parse(text.as_str().unwrap())).collect(),
        (_, Json::Array(queries)) => queries.iter().map(sub_query_of).collect(),
        _ => Ok(Vec::new()),
    };
    let flag = |key: &str| body[key].as_bool().unwrap_or(false);
    Ok(Query {
        time_zone: zone,
        use_calendar: flag("useCalendar"),
        ms_resolution: flag("msResolution"),
        ..Query::new(start, end, sub_queries?)
    })
}

fn sub_query_of(body: &Json) -> Result<SubQuery, ParseError> {
    let filters: Result<Vec<Filter>, ParseError> = match (&body["filters"], &body["tags"]) {
        (Json::Array(filters), _) => filters.iter().map(filter_of).collect(),
        (_, Json::Object(tags)) => {
            tags.iter().map(|(key, value)| Filter::from_tag_value(key, value.as_str().unwrap(), true)).collect()
        }
        _ => Ok(Vec::new()),
    };
    let source = Source::Metric {
        name: body["metric"].as_str().unwrap_or_default().to_owned(),
        filters: filters?,
        explicit_tags: body["explicitTags"].as_bool().unwrap_or(false),
    };
    let aggregator: Aggregator = body["aggregator"].as_str().unwrap_or_default().parse()?;
    let options = &body["rateOptions"];
    let rate = RateOptions {
        counter: options["counter"].as_bool().unwrap_or(false),
        counter_max: options["counterMax"].as_i64().unwrap_or(i64::MAX),
        reset_value: options["resetValue"].as_i64().unwrap_or(0),
        drop_resets: options["dropResets"].as_bool().unwrap_or(false),
        ..RateOptions::default()
    };
    let mut sub_query = SubQuery::new(aggregator, source);
    sub_query.downsample = body["downsample"].as_str().map(str::parse).transpose()?;
    sub_query.rate = body["rate"].as_bool().unwrap_or(false).then_some(rate);
    Ok(sub_query)
}

fn filter_of(body: &Json) -> Result<Filter, ParseError> {
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    Filter::new(text("type").parse()?, text("tagk"), text("filter"), body["groupBy"].as_bool().unwrap_or(false))
}
