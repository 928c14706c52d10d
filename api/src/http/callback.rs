//! `jsonp=name`: the answer as a call of a JavaScript function.

use crate::{error::ApiError, http::query_string::QueryString};

/// Longest name of a function.
const NAME_BYTES_MAX: usize = 128;

/// The function that the request wants its answer wrapped in.
///
/// # Errors
/// 400 when the name is more than a dotted JavaScript name: the answer is executed as code.
pub(crate) fn callback(query: &QueryString) -> Result<Option<String>, ApiError> {
    let Some(name) = query.get("jsonp").filter(|name| !name.is_empty()) else { return Ok(None) };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.');
    if name.len() > NAME_BYTES_MAX || !name.bytes().all(legal) {
        return Err(ApiError::bad_request("Invalid 'jsonp' parameter")
            .details(format!("a name of letters, digits and `_$.`, at most {NAME_BYTES_MAX} bytes")));
    }
    Ok(Some(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_taken() {
        let check = |text: &str| callback(&QueryString::parse(text).unwrap());
        assert_eq!(check("jsonp=jQuery.cb_1"), Ok(Some("jQuery.cb_1".to_owned())));
        assert_eq!(check("m=x"), Ok(None));
        assert!(check("jsonp=alert(1)//").is_err());
    }
}
