//! Planning queries away from the threads that serve connections, where that takes long.
//!
//! A plan of calendar buckets lists them, a million at most: a tenth of a second and 16 MB. So queries are planned once they
//! have their turn, and few at a time.

use tidemark_query::{Query, QueryError, SubQueryPlan, are_long_to_plan, plan_together};

/// Plans the sub-queries of all these queries, in order.
///
/// # Errors
/// As [`plan_together`]; [`QueryError::Cancelled`] when the process ends.
///
/// # Cancel safety
/// Dropping the future leaves a planning that runs to its end, which is soon.
pub(crate) async fn plan(queries: Vec<Query>) -> Result<Vec<SubQueryPlan>, QueryError> {
    if !are_long_to_plan(&queries) {
        return plan_together(&queries);
    }
    let planned = tokio::task::spawn_blocking(move || plan_together(&queries)).await;
    planned.unwrap_or(Err(QueryError::Cancelled))
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use tidemark_query::SubQuery;

    use super::*;

    #[tokio::test]
    async fn many_calendar_buckets_do_not_keep_the_thread_that_asks_for_them() {
        for (text, is_long) in [("sum:1mc-avg:m", true), ("sum:1dc-avg:m", false), ("sum:1m-avg:m", false)] {
            let query = Query::new(0, 30_000_000_000, vec![SubQuery::parse(text).unwrap()]);
            let mut planning = Box::pin(plan(vec![query]));
            let first = poll_fn(|context| Poll::Ready(planning.as_mut().poll(context))).await;
            assert_eq!(first.is_pending(), is_long, "{text}");
            if is_long {
                assert_eq!(planning.await.unwrap().len(), 1);
            }
        }
    }
}
