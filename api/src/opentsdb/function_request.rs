//! What `/api/query/gexp` is asked.

use tidemark_query::{
    ParseError, Query,
    expression::{ExpressionError, FunctionQuery},
};

use super::{
    query_request::{AnswerShape, Moment, check_parts, refused, unresolved, window},
    unresolved::Unresolved,
};
use crate::{error::ApiError, http::query_string::QueryString};

/// Expressions of functions, their window, and how the answer is to look.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FunctionRequest {
    /// Without sub-queries; whether results keep their milliseconds counts.
    pub(crate) window: Query,
    pub(crate) functions: FunctionQuery,
    pub(crate) shape: AnswerShape,
    pub(crate) unresolved: Unresolved,
}

pub(crate) fn refused_expression(error: ExpressionError) -> ApiError {
    ApiError::bad_request(error.to_string())
}

/// Reads a query string with any number of `exp`.
///
/// # Errors
/// 400 naming what is missing or wrong, in an expression with the byte.
pub(crate) fn from_query_string(
    flags: &QueryString,
    moment: Moment<'_>,
    parts_max: usize,
) -> Result<FunctionRequest, ApiError> {
    let mut window = window(flags)?.read(moment).map_err(refused)?;
    check_order(&window)?;
    window.ms_resolution = flags.has("ms");
    window.use_calendar = flags.has("use_calendar");
    if flags.all("exp").all(str::is_empty) {
        return Err(ApiError::bad_request("Missing sub queries"));
    }
    check_parts(flags.all("exp").count(), parts_max)?;
    let functions = FunctionQuery::parse(flags.all("exp")).map_err(refused_expression)?;
    check_parts(functions.sources().len(), parts_max)?;
    let (shape, unresolved) = (AnswerShape::of_flags(flags, moment.extras), unresolved(None, flags, moment.extras));
    Ok(FunctionRequest { window, functions, shape, unresolved })
}

/// # Errors
/// 400 when a window ends before it starts.
pub(crate) fn check_order(window: &Query) -> Result<(), ApiError> {
    let &Query { start, end, .. } = window;
    if end < start { Err(refused(ParseError::EndBeforeStart { start, end })) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FunctionRequest, ApiError> {
        let moment = Moment {
            now: 1_357_000_000_000,
            time_zone: "UTC",
            week_start: tidemark_query::Weekday::Sun,
            extras: crate::QueryExtras::default(),
        };
        from_query_string(&QueryString::parse(text).unwrap(), moment, 2)
    }

    #[test]
    fn expressions_may_come_several_times() {
        let found = read("start=1h-ago&ms&arrays&exp=absolute(sum:a)&exp=scale(sum:b,10)").unwrap();
        assert_eq!(found.functions.texts(), ["absolute(sum:a)", "scale(sum:b,10.0)"]);
        assert_eq!(found.window.end - found.window.start, 3_600_000);
        assert!(found.window.ms_resolution && found.shape.arrays);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, expect: &str| assert_eq!(read(text).unwrap_err().message(), expect, "{text}");
        check("exp=absolute(sum:a)", "Missing parameter <code>start</code>");
        check("start=1", "Missing sub queries");
        check("start=2&end=1&exp=absolute(sum:a)", "End time [1000] must be greater than the start time [2000]");
        check("start=1&exp=absolute(sum:a", "Failed to parse `absolute(sum:a`: expected `)` at byte 14");
        let three = "3 sub-queries, at most 2 are allowed; see `limits.query_parts`";
        check("start=1&exp=sum(sum:a,sum:b,sum:c)", three);
        check(&format!("start=1{}", "&exp=absolute(sum:a)".repeat(3)), three);
    }
}
