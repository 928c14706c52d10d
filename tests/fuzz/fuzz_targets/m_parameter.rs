//! The values of `m=` and `tsuid=`: sub-queries that can be planned and described, or errors that are no longer than what
//! they complain about allows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_fuzz::plan;
use tidemark_query::{Query, SubQuery};

fuzz_target!(|text: &str| {
    for parsed in [SubQuery::parse(text), SubQuery::parse_tsuids(text)] {
        match parsed {
            Ok(sub_query) => {
                for filter in sub_query.filters() {
                    assert!(!filter.key().is_empty(), "{text:?} filters by no key");
                }
                for (start, end) in [(0, 0), (i64::MIN, i64::MAX), (1_789_948_800_123, 1_789_952_400_000)] {
                    plan(&Query::new(start, end, vec![sub_query.clone()]));
                }
            }
            Err(error) => assert!(error.to_string().len() < 4_096, "a long complaint about {text:?}"),
        }
    }
});
