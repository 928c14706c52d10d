//! `/api/stats/query`: the queries of this process, under OpenTSDB's names.

use actix_web::{HttpResponse, web::Data};

use super::wire;
use crate::state::AppState;

pub(crate) async fn api(state: Data<AppState>) -> HttpResponse {
    wire::json(&state.queries.to_json())
}
