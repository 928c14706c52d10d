//! Doubles that are short decimals, as integers.
//!
//! `19.7` is the integer 197 and the exponent 1. The integer is at most 2^53 and the power of ten is exact, so dividing
//! the one by the other gives the double nearest to the decimal (Clinger, PLDI 1990): what was parsed from a short
//! decimal comes back bit by bit. What does not come back is not a decimal, and the encoder checks every value.

/// Powers of ten that a double holds exactly and that leave room for digits.
const POWERS: [f64; EXPONENT_MAX as usize + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Greatest exponent.
pub(super) const EXPONENT_MAX: u8 = 15;

/// Integers beyond this are not all doubles.
const MANTISSA_MAX: i64 = 1 << 53;

/// A power of ten to multiply with and to divide by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    exponent: u8,
    power: f64,
}

impl Scale {
    /// The scale of an exponent, up to [`EXPONENT_MAX`].
    #[inline]
    pub(super) fn new(exponent: u8) -> Option<Self> {
        Some(Self { exponent, power: *POWERS.get(usize::from(exponent))? })
    }

    #[inline]
    pub(super) fn exponent(self) -> u8 {
        self.exponent
    }

    /// The integer of a double, if the double comes back from it.
    #[inline]
    pub(super) fn mantissa(self, double: f64) -> Option<i64> {
        // Rounds to the nearest but for ties, which the check below settles. The cast saturates.
        let mantissa = (double * self.power + 0.5_f64.copysign(double)) as i64;
        let comes_back = self.double(mantissa).to_bits() == double.to_bits();
        (comes_back && (-MANTISSA_MAX..=MANTISSA_MAX).contains(&mantissa)).then_some(mantissa)
    }

    /// The double of an integer.
    #[inline]
    pub(super) fn double(self, mantissa: i64) -> f64 {
        mantissa as f64 / self.power
    }

    /// The scale with the least exponent from `exponent_min` that has an integer for `double`.
    #[inline]
    pub(super) fn find(double: f64, exponent_min: u8, exponent_max: u8) -> Option<(Self, i64)> {
        (exponent_min..=exponent_max).find_map(|exponent| {
            let scale = Self::new(exponent)?;
            Some((scale, scale.mantissa(double)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_decimals_are_integers_of_the_least_exponent() {
        for (double, exponent, mantissa) in
            [(19.7, 1, 197), (0.0, 0, 0), (-0.25, 2, -25), (1e15, 0, 10_i64.pow(15)), (0.1, 1, 1), (1.005, 3, 1005)]
        {
            let (scale, found) = Scale::find(double, 0, EXPONENT_MAX).unwrap();
            assert_eq!((scale.exponent(), found), (exponent, mantissa));
            assert_eq!(scale.double(found).to_bits(), double.to_bits());
        }
    }

    #[test]
    fn what_would_not_come_back_is_no_decimal() {
        for double in [-0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, 5e-324, f64::MAX, 0.1 + 0.2, 1.0 / 3.0]
        {
            assert_eq!(Scale::find(double, 0, EXPONENT_MAX), None, "{double}");
        }
    }
}
