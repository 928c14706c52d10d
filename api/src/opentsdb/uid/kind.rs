//! Kinds of names and their ids, as texts.

use tidemark_model::{NameKind, Tsuid};

use crate::error::ApiError;

/// Hexadecimal digits of the id of a name.
const DIGITS: usize = 2 * Tsuid::NAME_ID_BYTES;

/// The kinds under the words of `assign` and `rename`.
pub(super) const KINDS: [(&str, NameKind); 3] =
    [("metric", NameKind::Metric), ("tagk", NameKind::TagKey), ("tagv", NameKind::TagValue)];

/// The kind that a `type` means.
///
/// # Errors
/// 400 for any other word.
pub(super) fn parse_kind(text: &str) -> Result<NameKind, ApiError> {
    match text.to_ascii_lowercase().as_str() {
        "metric" | "metrics" => Ok(NameKind::Metric),
        "tagk" => Ok(NameKind::TagKey),
        "tagv" => Ok(NameKind::TagValue),
        _ => {
            Err(ApiError::bad_request(format!("Invalid type requested: {}", text.chars().take(64).collect::<String>())))
        }
    }
}

/// The word that objects have for a kind.
pub(super) fn kind_name(kind: NameKind) -> &'static str {
    match kind {
        NameKind::Metric => "METRIC",
        NameKind::TagKey => "TAGK",
        NameKind::TagValue => "TAGV",
    }
}

/// The id as clients cut it out of a TSUID.
pub(super) fn uid_text(id: u32) -> String {
    format!("{id:06X}")
}

/// # Errors
/// 400 for what is no id.
pub(super) fn parse_uid(text: &str) -> Result<u32, ApiError> {
    let is_uid = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = is_uid.then(|| u32::from_str_radix(text, 16).ok()).flatten();
    id.ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        ApiError::bad_request(format!("`{shown}` is no UID: it has {DIGITS} hexadecimal digits"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_in_a_tsuid() {
        assert_eq!(uid_text(0x0A_BC), "000ABC");
        assert_eq!(parse_uid("000abc"), Ok(0x0A_BC));
        for wrong in ["", "abc", "+00abc", "00000000", "00000g"] {
            assert!(parse_uid(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_kind("Metrics"), Ok(NameKind::Metric));
        assert_eq!(parse_kind("x").unwrap_err().message(), "Invalid type requested: x");
    }
}
