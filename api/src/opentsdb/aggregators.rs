//! `/api/aggregators`.

use actix_web::HttpResponse;
use tidemark_query::Aggregator;

use super::wire;

pub(crate) async fn all() -> HttpResponse {
    wire::json(&Aggregator::names().collect::<Vec<_>>())
}
