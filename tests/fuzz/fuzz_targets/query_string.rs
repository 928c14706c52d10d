//! Queries as texts: `m=`, filters, times, query strings and bodies of `/api/query`; what is read can be planned.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_api::bench::read_query;
use tidemark_model::ReadLimits;
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

/// Asks what a query reads, in UTC and by the calendar.
fn plan(query: &Query) {
    if query.check().is_err() {
        return;
    }
    for use_calendar in [false, true] {
        let query = Query { use_calendar, ..query.clone() };
        for plan in query.plan().unwrap_or_default() {
            let request = plan.read_request(ReadLimits::default());
            assert!(request.range.start <= request.range.end, "{query:?} reads {:?}", request.range);
        }
    }
}
