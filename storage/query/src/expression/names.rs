//! Ids of metrics, filters, expressions and outputs.

use super::ExpressionError;
use crate::parse_error::excerpt;

/// Checks that an id can stand in a formula: a letter, then letters, digits and `_`, all of ASCII.
///
/// # Errors
/// [`ExpressionError::MissingId`] for an empty one, [`ExpressionError::InvalidId`] with the first wrong character.
pub fn check_id(id: &str) -> Result<(), ExpressionError> {
    let Some(first) = id.chars().next() else { return Err(ExpressionError::MissingId) };
    let wrong = |character: &char| !character.is_ascii_alphanumeric() && *character != '_';
    let character = if first.is_ascii_alphabetic() { id.chars().find(wrong) } else { Some(first) };
    character.map_or(Ok(()), |character| Err(ExpressionError::InvalidId { id: excerpt(id), character }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_letter_and_then_letters_digits_and_underscores() {
        for id in ["a", "e2", "cpu_user", "Z"] {
            assert_eq!(check_id(id), Ok(()), "{id}");
        }
        assert_eq!(check_id(""), Err(ExpressionError::MissingId));
        for (id, character) in [("1", '1'), ("_a", '_'), ("a b", ' '), ("a-b", '-'), ("aé", 'é')] {
            assert_eq!(check_id(id), Err(ExpressionError::InvalidId { id: id.to_owned(), character }));
        }
    }
}
