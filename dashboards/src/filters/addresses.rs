//! Parts of addresses.

use minijinja::Environment;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a path segment or a query value: the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("encode", encode);
    environment.add_test("page_of_ours", is_page_of_ours);
}

/// Whether an address is a path on this server: neither another origin (`//host`, `/\\host`) nor a scheme.
fn is_page_of_ours(address: &str) -> bool {
    address.strip_prefix('/').is_some_and(|rest| !rest.starts_with(['/', '\\']))
}

/// `text` as one segment of a path or one value of a query.
fn encode(text: &str) -> String {
    match text {
        // As segments these two mean "here" and "up", encoded or not.
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        other => utf8_percent_encode(other, ENCODED).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_ends_a_segment_or_value_is_left() {
        assert_eq!(encode("web-01.a_b~"), "web-01.a_b~");
        assert_eq!(encode("a/b?c#d&e=f g\"<ü"), "a%2Fb%3Fc%23d%26e%3Df%20g%22%3C%C3%BC");
    }
}
