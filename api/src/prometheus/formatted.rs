//! `format_query`: an expression in one form.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};

use super::{answer::success, error::PrometheusError, parameters::Parameters, query_handler::expression};
use crate::state::AppState;

pub(super) async fn get(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, PrometheusError> {
    let parameters = Parameters::read(&request, payload, &state).await?;
    let expression = expression(parameters.required("query")?)?;
    Ok(success(expression.to_string(), &[]))
}
