//! Times and ages. Ages are counted from the `now_ms` of the page, and the browser keeps them going.

use minijinja::{Environment, State, Value};

use crate::{
    units::{MISSING, format_age},
    utc,
};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("date_time", |timestamp_ms: Option<i64>| {
        timestamp_ms.map_or_else(|| MISSING.to_owned(), utc::date_time)
    });
    environment.add_filter("age", age);
}

/// `<time>` with how long ago it was, or how long until it is.
fn age(state: &State<'_, '_>, timestamp_ms: Option<i64>) -> Value {
    let Some(timestamp_ms) = timestamp_ms else { return Value::from(MISSING) };
    let now_ms = state.lookup("now_ms").and_then(|now| i64::try_from(now).ok()).unwrap_or(timestamp_ms);
    Value::from_safe_string(format!(
        "<time datetime=\"{}\" data-ms=\"{timestamp_ms}\" title=\"{} UTC\">{}</time>",
        utc::machine(timestamp_ms),
        utc::date_time(timestamp_ms),
        format_age(now_ms.saturating_sub(timestamp_ms)),
    ))
}
