//! `POST /api/expr`: an expression of the alert language evaluated now or at another moment, in Bosun's form.

use std::{fmt::Display, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};
use serde_json::{Map, Value, json};
use tidemark_alert::expression::{
    Datum, EvaluateError, EvaluateOptions, Evaluation, Expression, ExpressionLimits, Item,
};
use tidemark_query::{Tz, parse_time};
use tokio::time::timeout;

use crate::{
    console::Console,
    error::ApiError,
    http::{body::read_body_up_to, query_string::QueryString},
    opentsdb::query_run::wait_for_slot,
    queries::{Asked, ClientIdentity, Phase},
    state::AppState,
};

/// Largest expression in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn evaluate(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    console: Data<Console>,
) -> Result<HttpResponse, ApiError> {
    let body = read_body_up_to(&request, payload, &state, BODY_BYTES_MAX).await?;
    let query = QueryString::parse(request.query_string())?;
    let now_ms = moment(&query, console.seams.clock.now_ms())?;
    let limits = ExpressionLimits { read: state.options.limits.query_reads, ..ExpressionLimits::default() };
    let expression = Expression::parse(expression_of(body.text()?)?, &limits)
        .map_err(|error| refused("the expression cannot be read", &error))?;
    drop(body);
    let asked = Asked::new(ClientIdentity::of(&request), "/api/expr", expression.text().into());
    let options = EvaluateOptions { limits, ..EvaluateOptions::at(now_ms) };
    match in_turn(&state, &console, expression, options, asked).await? {
        Ok(evaluation) => Ok(HttpResponse::Ok().json(answer(&evaluation))),
        Err(error) if error.is_transient() => Err(ApiError::unavailable(error.to_string())),
        Err(error) => Err(refused("the expression cannot be evaluated", &error)),
    }
}

/// Evaluates when there is a slot, within the time of a query. Whoever ends it early has an answer at once; the slot is
/// held until the evaluation has ended, which is soon after, so that there are never more evaluations than slots.
async fn in_turn(
    state: &Data<AppState>,
    console: &Console,
    expression: Expression,
    options: EvaluateOptions,
    asked: Asked,
) -> Result<Result<Evaluation, EvaluateError>, ApiError> {
    let limit = state.options.limits.query_time;
    let entry = Arc::new(state.queries.enter(asked)?);
    let turn = wait_for_slot(state, &entry).await?;
    entry.enter(Phase::Evaluates);
    // Fires when somebody ends the query, and when this function ends: nobody waits then.
    let stop = entry.cancelled().child_token();
    let _nobody_waits = stop.clone().drop_guard();
    let (reader, of_task) = (Arc::clone(&console.seams.reader), Arc::clone(&entry));
    let evaluation = state.tasks.spawn(async move {
        let _turn = turn;
        let evaluation = expression.evaluate_until(reader.as_ref(), options, &stop).await;
        // How it ended early is noted by whoever ended it.
        if !stop.is_cancelled() {
            match &evaluation {
                Err(error) => drop(of_task.failed(ApiError::bad_request(error.to_string()))),
                Ok(_) => of_task.answered(),
            }
        }
        evaluation
    });
    let error = tokio::select! {
        biased;
        () = entry.cancelled().cancelled() => entry.cancellation(),
        () = state.abandon.cancelled() => ApiError::unavailable("the server is ending"),
        done = timeout(limit, evaluation) => match done {
            Ok(Ok(evaluation)) => return Ok(evaluation),
            Ok(Err(_)) => ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the evaluation of the expression failed; the log says why",
            ),
            Err(_) => ApiError::too_large(format!(
                "the expression took longer than {} s; see `limits.query_time`",
                limit.as_secs_f64()
            )),
        },
    };
    Err(entry.failed(error))
}

fn refused(message: &str, error: &dyn Display) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, message).details(error.to_string())
}

/// When: `now` in any form of OpenTSDB's, or Bosun's `date` (`2026-11-25`) and `time` (`09:00`).
fn moment(query: &QueryString, now_ms: i64) -> Result<i64, ApiError> {
    let date = query.get("date").filter(|date| !date.is_empty()).map(|date| date.replace('-', "/"));
    let text = match (query.get("now"), date) {
        (Some(now), _) => now.to_owned(),
        (None, Some(date)) => match query.get("time").filter(|time| !time.is_empty()) {
            Some(time) => format!("{date}-{time}"),
            None => date,
        },
        (None, None) => return Ok(now_ms),
    };
    parse_time(&text, now_ms, Tz::UTC).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// The last line that is neither blank nor a comment.
fn expression_of(body: &str) -> Result<&str, ApiError> {
    let mut lines = body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let last = lines.next_back().ok_or_else(|| ApiError::bad_request("the body has no expression"))?;
    if body.lines().any(|line| line.trim().starts_with('$')) {
        return Err(ApiError::bad_request("variables are not understood here: write the whole expression on one line"));
    }
    Ok(last)
}

fn answer(evaluation: &Evaluation) -> Value {
    let results: Vec<Value> = evaluation.items.iter().map(result).collect();
    let queries: Map<String, Value> = evaluation
        .queries
        .iter()
        .map(|query| (query.text.to_string(), json!({"start": query.start, "end": query.end, "m": &*query.text})))
        .collect();
    json!({
        "Type": evaluation.value_type.to_string(),
        "Results": if results.is_empty() { Value::Null } else { Value::Array(results) },
        "Queries": queries,
    })
}

fn result(item: &Item) -> Value {
    let value = match &item.value {
        Datum::Number(number) => json_number(*number),
        Datum::Series(series) => {
            Value::Object(series.points().iter().map(|(time, value)| (time.to_string(), json_number(*value))).collect())
        }
    };
    let computations: Vec<_> = item
        .computations
        .iter()
        .map(|computation| json!({"Text": &*computation.text, "Value": json_number(computation.value)}))
        .collect();
    let group = if item.group.is_empty() { Value::Null } else { json!(item.group) };
    json!({"Computations": computations, "Value": value, "Group": group})
}

/// Numbers that JSON does not have are texts, as Bosun writes them.
fn json_number(number: f64) -> Value {
    match number {
        number if number.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        number => json!(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_expression() {
        assert_eq!(expression_of("# a comment\n\n 1 + 1 \n").unwrap(), "1 + 1");
        assert!(expression_of("# nothing\n").is_err());
        assert!(expression_of("$a = 1\n$a + 1").is_err());
    }

    #[test]
    fn numbers_that_json_lacks_are_texts() {
        assert_eq!(json_number(f64::NAN), json!("NaN"));
        assert_eq!(json_number(f64::NEG_INFINITY), json!("-Inf"));
        assert_eq!(json_number(1.5), json!(1.5));
    }
}
