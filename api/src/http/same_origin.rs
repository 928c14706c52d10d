//! Whether a request comes from a page of ours.

use actix_web::http::header::{self, HeaderMap};

/// Whether the request comes from no page at all (a program sends no `Origin`), or from a page of the very host that it
/// is sent to. A page of another site, whatever its address resolves to, is neither.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text(header::HeaderName::from_static("sec-fetch-site"))
        .is_some_and(|site| site == "cross-site" || site == "same-site")
    {
        return false;
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, authority)| authority == host),
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_page_of_another_site_is_told_from_programs_and_our_own() {
        let check = |pairs: &[(&'static str, &'static str)], expect: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(header::HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(is_same_origin(&headers), expect, "{pairs:?}");
        };
        check(&[("host", "a:4242")], true);
        check(&[("host", "a:4242"), ("origin", "http://a:4242")], true);
        check(&[("host", "a:4242"), ("origin", "https://a:4242")], true);
        check(&[("host", "a:4242"), ("origin", "http://evil:4242")], false);
        check(&[("host", "a:4242"), ("origin", "null")], false);
        check(&[("host", "a:4242"), ("sec-fetch-site", "cross-site")], false);
        // Another port of the same host is another page.
        check(&[("host", "a:4242"), ("sec-fetch-site", "same-site")], false);
        check(&[("host", "a:4242"), ("sec-fetch-site", "same-origin")], true);
        check(&[("host", "a:4242"), ("sec-fetch-site", "none")], true);
        check(&[("origin", "http://a:4242")], false);
    }
}
