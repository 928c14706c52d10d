//! The tag that a header of the request adds to all of its points, `opentsdb.header_tag`.

use actix_web::http::header::HeaderMap;

use crate::error::ApiError;

/// A tag that was sent once, for all points of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderTag {
    pub(super) key: String,
    pub(super) value: String,
}

impl HeaderTag {
    /// The tag of the header `name`; none when there is no such header, or `name` is empty.
    ///
    /// # Errors
    /// 400 for a header that is not `key=value`.
    pub(super) fn of(headers: &HeaderMap, name: &str) -> Result<Option<Self>, ApiError> {
        let Some(sent) = Some(name).filter(|name| !name.is_empty()).and_then(|name| headers.get(name)) else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(sent.as_bytes());
        match text.trim().split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() && !value.contains('=') => {
                Ok(Some(Self { key: key.to_owned(), value: value.to_owned() }))
            }
            _ => {
                let shown: String = text.chars().take(256).collect();
                Err(ApiError::bad_request(format!("invalid tag: {shown}")).details(format!("in the header `{name}`")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_header_is_one_tag() {
        let of = |value: &'static str, name: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static("x-tag"), HeaderValue::from_static(value));
            HeaderTag::of(&headers, name).map(|tag| tag.map(|tag| (tag.key, tag.value)))
        };
        let tag = Ok(Some(("dc".to_owned(), "lga".to_owned())));
        assert_eq!(of("dc=lga", "X-Tag"), tag);
        assert_eq!(of(" dc=lga ", "x-tag"), tag);
        assert_eq!(of("dc=lga", ""), Ok(None));
        assert_eq!(of("dc=lga", "x-other"), Ok(None));
        for bad in ["dc", "=lga", "dc=", "dc=a=b", ""] {
            assert_eq!(of(bad, "x-tag").unwrap_err().message(), format!("invalid tag: {bad}"));
        }
    }
}
