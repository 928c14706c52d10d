//! Texts that have to fit a record.

/// The text, or its beginning and an ellipsis when it has more than `bytes_max` bytes.
pub(crate) fn excerpt(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8()));
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(excerpt("größer", 8), "größer");
        assert_eq!(excerpt("größer", 7), "grö…");
        assert_eq!(excerpt("größer", 2), "…");
    }
}
