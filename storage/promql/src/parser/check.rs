//! Types, and what may stand together.

use super::Parser;
use crate::{
    ParseError,
    functions::Function,
    syntax::{
        Aggregate, Binary, Expression, Matching,
        ValueType::{self, Scalar, Vector},
    },
};

impl Parser<'_> {
    pub(super) fn check_sign(&self, place: usize, inner: &Expression) -> Result<(), ParseError> {
        let found = inner.value_type();
        if matches!(found, Scalar | Vector) {
            return Ok(());
        }
        let text = format!(
            "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
            found.name()
        );
        self.error_at(place, text)
    }

    pub(super) fn checked_subquery(&self, place: usize, inner: Expression) -> Result<Expression, ParseError> {
        let found = inner.value_type();
        if found == Vector {
            return Ok(inner);
        }
        self.error_at(place, format!("subquery is only allowed on instant vector, got {} instead", found.name()))
    }

    pub(super) fn check_call(
        &self,
        place: usize,
        function: &Function,
        arguments: &[Expression],
    ) -> Result<(), ParseError> {
        let (fewest, most) = function.argument_counts();
        let (name, count) = (function.name, arguments.len());
        if count < fewest || count > most {
            let wanted = match (fewest, most) {
                (fewest, most) if fewest == most => format!("expected {fewest} argument(s)"),
                (fewest, _) if count < fewest => format!("expected at least {fewest} argument(s)"),
                (_, most) => format!("expected at most {most} argument(s)"),
            };
            return self.error_at(place, format!("{wanted} in call to {name:?}, got {count}"));
        }
        for (position, argument) in arguments.iter().enumerate() {
            self.expect_type(place, argument, function.argument_type(position), &format!("call to function {name:?}"))?;
        }
        Ok(())
    }

    pub(super) fn check_aggregate(&self, place: usize, aggregate: &Aggregate) -> Result<(), ParseError> {
        self.expect_type(place, &aggregate.expression, Vector, "aggregation expression")?;
        match (&aggregate.parameter, aggregate.operator.parameter()) {
            (Some(parameter), Some(wanted)) => self.expect_type(place, parameter, wanted, "aggregation parameter"),
            _ => Ok(()),
        }
    }

    fn expect_type(
        &self,
        place: usize,
        expression: &Expression,
        wanted: ValueType,
        context: &str,
    ) -> Result<(), ParseError> {
        let found = expression.value_type();
        if found == wanted {
            return Ok(());
        }
        self.error_at(place, format!("expected type {} in {context}, got {}", wanted.name(), found.name()))
    }

    pub(super) fn checked_binary(&self, place: usize, mut binary: Binary) -> Result<Binary, ParseError> {
        let types = [binary.left.value_type(), binary.right.value_type()];
        let operator = binary.operator;
        let name = operator.name();
        if types.iter().any(|found| !matches!(found, Scalar | Vector)) {
            return self.error_at(place, "binary expression must contain only scalar and instant vector types");
        }
        let has_scalar = types.contains(&Scalar);
        if binary.returns_bool && !operator.is_comparison() {
            return self.error_at(place, "bool modifier can only be used on comparison operators");
        }
        if operator.is_comparison() && types == [Scalar, Scalar] && !binary.returns_bool {
            return self.error_at(place, "comparisons between scalars must use BOOL modifier");
        }
        if operator.is_of_sets() && has_scalar {
            return self.error_at(place, format!("set operator {name:?} not allowed in binary scalar expression"));
        }
        if operator.is_of_sets() && binary.matching.many.is_some() {
            return self.error_at(place, format!("no grouping allowed for {name:?} operation"));
        }
        if has_scalar {
            if !binary.matching.labels.is_empty() {
                return self.error_at(place, "vector matching only allowed between instant vectors");
            }
            binary.matching = Matching::default();
        }
        Ok(binary)
    }
}
