//! What stands for a value that is not there.

use super::ExpressionError;
use crate::parse_error::excerpt;

/// What an expression sees where a series has no value. Unlike [`crate::Fill`] it may be any number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FillPolicy {
    /// NaN, as [`Self::Nan`]: an expression needs some value.
    None,
    /// NaN, written as the text `NaN`.
    Nan,
    /// NaN, written as `null` in the output that has this policy.
    Null,
    /// Zero, the default of metrics.
    Zero,
    /// This number.
    Scalar(f64),
}

impl FillPolicy {
    /// The policy of this name, in any case, with this value. Without a name the value decides, and its default is 0.
    ///
    /// # Errors
    /// [`ExpressionError::UnknownFill`]; [`ExpressionError::FillValue`] when the value contradicts the name.
    pub fn new(name: Option<&str>, value: Option<f64>) -> Result<Self, ExpressionError> {
        let value = value.unwrap_or(0.0);
        let is_empty = value == 0.0 || value.is_nan();
        let refuse = |policy, value| Err(ExpressionError::FillValue { policy, value });
        match name.map(str::to_ascii_lowercase).as_deref() {
            None if value == 0.0 => Ok(Self::Zero),
            None if value.is_nan() => Ok(Self::Nan),
            None | Some("scalar") => Ok(Self::Scalar(value)),
            Some("none") if is_empty => Ok(Self::None),
            Some("nan") if is_empty => Ok(Self::Nan),
            Some("none" | "nan") => refuse("NONE and NAN", "NaN"),
            Some("null") if is_empty => Ok(Self::Null),
            Some("null") => refuse("NULL", "0"),
            Some("zero") if value == 0.0 => Ok(Self::Zero),
            Some("zero") => refuse("ZERO", "0"),
            Some(other) => Err(ExpressionError::UnknownFill(excerpt(other))),
        }
    }

    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Nan => "nan",
            Self::Null => "null",
            Self::Zero => "zero",
            Self::Scalar(_) => "scalar",
        }
    }

    /// The value that it stands for.
    #[must_use]
    pub fn value(self) -> f64 {
        match self {
            Self::None | Self::Nan | Self::Null => f64::NAN,
            Self::Zero => 0.0,
            Self::Scalar(value) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_value_have_to_agree() {
        let check = |name: Option<&str>, value: Option<f64>, expect: FillPolicy| {
            assert_eq!(FillPolicy::new(name, value), Ok(expect), "{name:?} {value:?}");
        };
        check(None, None, FillPolicy::Zero);
        check(None, Some(3.0), FillPolicy::Scalar(3.0));
        check(None, Some(f64::NAN), FillPolicy::Nan);
        check(Some("NaN"), None, FillPolicy::Nan);
        check(Some("none"), Some(f64::NAN), FillPolicy::None);
        check(Some("null"), Some(0.0), FillPolicy::Null);
        check(Some("zero"), None, FillPolicy::Zero);
        check(Some("scalar"), None, FillPolicy::Scalar(0.0));
        let refused = |name, value| FillPolicy::new(Some(name), Some(value)).unwrap_err().to_string();
        assert_eq!(refused("nan", 1.0), "The value for NONE and NAN must be NaN");
        assert_eq!(refused("zero", 1.0), "The value for ZERO must be 0");
        assert_eq!(refused("null", 1.0), "The value for NULL must be 0");
        assert_eq!(refused("lerp", 0.0), "Unrecognized fill policy: lerp");
    }
}
