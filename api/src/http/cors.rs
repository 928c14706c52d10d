//! Which pages of other origins may call the API from a browser.

use actix_web::http::header::{self, HeaderMap, HeaderValue};

use crate::options::OpenTsdbOptions;

/// What the `Origin` of a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// None was sent, it is our own, or nobody configured any: the request is served without CORS headers.
    Plain,
    /// A page that may call.
    Allowed,
    /// A page that may not.
    Refused,
}

/// Judges the `Origin` of a request.
pub(crate) fn judge(headers: &HeaderMap, options: &OpenTsdbOptions) -> Origin {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return Origin::Plain };
    if options.cors_domains.is_empty() {
        return Origin::Plain;
    }
    if options.cors_domains.iter().any(|domain| domain == "*" || domain.eq_ignore_ascii_case(origin)) {
        return Origin::Allowed;
    }
    // Our own pages send their origin too.
    let own = origin.split_once("://").map(|(_, host)| host);
    if own.is_some() && own == text(header::HOST) { Origin::Plain } else { Origin::Refused }
}

/// Whether a script of another site's page is asking, which would read the answer of a `jsonp` request past CORS.
pub(crate) fn is_cross_site_script(headers: &HeaderMap, options: &OpenTsdbOptions) -> bool {
    let cross_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    cross_site && !options.cors_domains.iter().any(|domain| domain == "*")
}

/// Adds the headers that allow the page to read the answer.
pub(crate) fn allow(request_origin: Option<&HeaderValue>, response: &mut HeaderMap, options: &OpenTsdbOptions) {
    let Some(origin) = request_origin else { return };
    response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    response.append(header::VARY, HeaderValue::from_static("Origin"));
    let methods = HeaderValue::from_static("GET, POST, PUT, DELETE");
    response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    if let Ok(headers) = HeaderValue::from_str(&options.cors_headers) {
        response.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_judged_by_the_configuration() {
        let options = |domains: &[&str]| OpenTsdbOptions {
            cors_domains: domains.iter().map(|&domain| domain.to_owned()).collect(),
            ..OpenTsdbOptions::default()
        };
        let mut headers = HeaderMap::new();
        assert_eq!(judge(&headers, &options(&["*"])), Origin::Plain);
        headers.insert(header::ORIGIN, HeaderValue::from_static("http://a.example"));
        headers.insert(header::HOST, HeaderValue::from_static("tsd.example:4242"));
        assert_eq!(judge(&headers, &options(&[])), Origin::Plain);
        assert_eq!(judge(&headers, &options(&["*"])), Origin::Allowed);
        assert_eq!(judge(&headers, &options(&["http://b.example", "http://A.example"])), Origin::Allowed);
        assert_eq!(judge(&headers, &options(&["http://b.example"])), Origin::Refused);
        headers.insert(header::ORIGIN, HeaderValue::from_static("http://tsd.example:4242"));
        assert_eq!(judge(&headers, &options(&["http://b.example"])), Origin::Plain);
    }
}
