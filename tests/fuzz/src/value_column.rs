//! Values as inputs.

use arbitrary::Arbitrary;
use tidemark_model::{Value, ValueColumn};

/// A value of either type; small numbers and short decimals come up more often than among random bits.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum AnyValue {
    Small(i8),
    Int(i64),
    Decimal { digits: i32, places: u8 },
    Float(u64),
}

impl AnyValue {
    #[must_use]
    pub fn value(self) -> Value {
        match self {
            Self::Small(int) => Value::Int(int.into()),
            Self::Int(int) => Value::Int(int),
            Self::Decimal { digits, places } => Value::Float(f64::from(digits) / 10_f64.powi(i32::from(places % 20))),
            Self::Float(bits) => Value::Float(f64::from_bits(bits)),
        }
    }
}

/// A column of the narrowest type.
#[must_use]
pub fn column_of(values: impl IntoIterator<Item = AnyValue>) -> ValueColumn {
    let mut column = ValueColumn::default();
    values.into_iter().for_each(|value| column.push(value.value()));
    column
}
