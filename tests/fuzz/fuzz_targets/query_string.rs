//! Queries as texts: `m=`, filters, times, query strings and bodies of `/api/query`; what is read can be planned.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_api::bench::read_query;
use tidemark_fuzz::plan;
use tidemark_query::{Filter, Query, SubQuery, Tz, parse_time, parse_time_zone};

/// 2026-09-21, 00:00 UTC.
const NOW: i64 = 1_789_948_800_000;

fuzz_target!(|text: &str| {
    let zone = parse_time_zone(text).unwrap_or(Tz::Europe__Berlin);
    let start = parse_time(text, NOW, zone).unwrap_or(NOW - 3_600_000);
    let sub_queries: Vec<SubQuery> =
        [SubQuery::parse(text), SubQuery::parse_tsuids(text)].into_iter().filter_map(Result::ok).collect();
    if let Ok(filter) = Filter::from_tag_value("host", text, true) {
        let _predicate = filter.predicate();
    }
    for sub_query in &sub_queries {
        let _keys = sub_query.group_keys();
    }
    plan(&Query::new(start.min(NOW), NOW, sub_queries));
    for query in read_query(text, NOW) {
        plan(&query);
    }
});
