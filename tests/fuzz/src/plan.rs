//! Asking what a query reads.

use tidemark_model::ReadLimits;
use tidemark_query::Query;

/// Plans a query in its own way of counting buckets and in the other one.
pub fn plan(query: &Query) {
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
