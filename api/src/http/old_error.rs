//! How endpoints from before there was an `/api` say that something is wrong: a page for people, or `{"err":"…"}` with
//! `?json`, after OpenTSDB 2.4, `HttpQuery.badRequest`.

use actix_web::{
    HttpRequest, HttpResponse,
    dev::ServiceResponse,
    http::header::{self, HeaderValue},
};
use serde_json::json;

use super::query_string::QueryString;
use crate::error::{ApiError, JSON};

/// Which form the error of a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldError {
    Page,
    Json,
}

impl OldError {
    pub(crate) fn of(query: &str) -> Self {
        let query = QueryString::parse(query).unwrap_or_default();
        if query.has("json") { Self::Json } else { Self::Page }
    }

    /// Gives an error of the handler its form; everything else stays as it is. What is wrong with the method is said as
    /// everywhere.
    pub(crate) fn reword(self, response: ServiceResponse) -> ServiceResponse {
        let error = response.response().error().and_then(|error| error.as_error::<ApiError>()).cloned();
        match error {
            Some(error) => {
                let (request, _) = response.into_parts();
                ServiceResponse::new(request, self.respond(&error))
            }
            None => response,
        }
    }

    fn respond(self, error: &ApiError) -> HttpResponse {
        let mut response = error.to_response();
        let (content_type, body) = match self {
            Self::Json => (JSON, json!({ "err": error.message() }).to_string()),
            Self::Page => ("text/html; charset=UTF-8", page(error)),
        };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.set_body(actix_web::body::BoxBody::new(body))
    }
}

/// What there is no endpoint and no page for.
pub(crate) fn not_found(request: &HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::NotFound();
    match OldError::of(request.query_string()) {
        OldError::Json => response.content_type(JSON).body(r#"{"err":"Page Not Found"}"#),
        OldError::Page => {
            response.content_type("text/html; charset=UTF-8").body(html("Page Not Found", "Page Not Found"))
        }
    }
}

fn page(error: &ApiError) -> String {
    let title = error.status().canonical_reason().unwrap_or("Error");
    html(title, &format!("The request was refused:<blockquote>{}</blockquote>", escape(error.message())))
}

fn html(title: &str, text: &str) -> String {
    format!(
        "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1><blockquote>{text}</blockquote>\
         </body></html>\n"
    )
}

/// Text as it may stand in a page, also within an attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_chosen_by_a_flag_and_a_text_cannot_become_markup() {
        assert_eq!((OldError::of("a=b&json"), OldError::of("a=b")), (OldError::Json, OldError::Page));
        assert_eq!(escape("<a href='\"x&y\"'>"), "&lt;a href=&#39;&quot;x&amp;y&quot;&#39;&gt;");
        assert!(page(&ApiError::bad_request("<script>")).contains("<blockquote>&lt;script&gt;</blockquote>"));
    }
}
