//! Bodies of `/api/query`: queries that can be planned, or errors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_api::bench::read_query;
use tidemark_fuzz::plan;

/// 2026-09-21, 00:00 UTC.
const NOW: i64 = 1_789_948_800_000;

fuzz_target!(|text: &str| {
    for query in read_query(text, NOW) {
        plan(&query);
    }
});
