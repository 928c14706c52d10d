//! Functions about plain numbers and time.

use crate::expression::{
    Group, ValueType,
    calendar::month_of,
    duration::{one_unit, parse_duration},
    error::EvaluateErrorKind,
    functions::{
        Arguments, Context, Function, Returns, Run, TagRule,
        arguments::{map_numbers, map_series},
    },
    value::{Datum, Set, Value},
    value_type::ArgumentType,
};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "abs",
        arguments: &[ArgumentType::Variant],
        more: None,
        returns: Returns::OfFirst,
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(absolute),
    },
    Function {
        name: "d",
        arguments: &[ArgumentType::Text],
        more: None,
        returns: Returns::Is(ValueType::Scalar),
        tags: TagRule::None,
        checks: &[(0, |text| parse_duration(text).map(|_| ()))],
        run: Run::Pure(|_, mut arguments| {
            let duration = parse_duration(&arguments.text()).map_err(EvaluateErrorKind::Function)?;
            Ok(Value::Scalar(duration.as_secs_f64()))
        }),
    },
    Function {
        name: "tod",
        arguments: &[ArgumentType::Scalar],
        more: None,
        returns: Returns::Is(ValueType::Text),
        tags: TagRule::None,
        checks: &[],
        run: Run::Pure(|_, mut arguments| Ok(Value::Text(one_unit(arguments.scalar()?).into()))),
    },
    Function {
        name: "epoch",
        arguments: &[],
        more: None,
        returns: Returns::Is(ValueType::Scalar),
        tags: TagRule::None,
        checks: &[],
        run: Run::Pure(|context, _| Ok(Value::Scalar(context.now as f64))),
    },
    Function {
        name: "month",
        arguments: &[ArgumentType::Scalar, ArgumentType::Text],
        more: None,
        returns: Returns::Is(ValueType::Scalar),
        tags: TagRule::None,
        checks: &[(1, |edge| MonthEdge::parse(edge).map(|_| ()))],
        run: Run::Pure(month),
    },
    Function {
        name: "isnan",
        arguments: &[ArgumentType::Numbers],
        more: None,
        returns: Returns::Is(ValueType::Numbers),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(|_, mut arguments| {
            Ok(map_numbers(arguments.set(), |number| f64::from(u8::from(number.is_nan()))))
        }),
    },
    Function {
        name: "nv",
        arguments: &[ArgumentType::Numbers, ArgumentType::Scalar],
        more: None,
        returns: Returns::Is(ValueType::Numbers),
        tags: TagRule::OfFirst,
        checks: &[],
        run: Run::Pure(missing_value),
    },
];

enum MonthEdge {
    Start,
    End,
}

impl MonthEdge {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            _ => Err(format!("unknown edge of a month `{text}`: there are `start` and `end`")),
        }
    }
}

/// First or last second of the present month, at a fixed offset in hours from UTC.
fn month(context: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let (hours, edge) = (arguments.scalar()?, arguments.text());
    let edge = MonthEdge::parse(&edge).map_err(EvaluateErrorKind::Function)?;
    if !(-24.0..=24.0).contains(&hours) {
        return Err(EvaluateErrorKind::function(format_args!("offset must be -24 to 24 hours, got {hours}")));
    }
    let offset = (hours * 3600.0) as i64;
    let (start, end) = month_of(context.now.saturating_add(offset));
    let seconds = match edge {
        MonthEdge::Start => start - offset,
        MonthEdge::End => end - offset,
    };
    Ok(Value::Scalar(seconds as f64))
}

fn absolute(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let set = arguments.set();
    if set.items.iter().any(|item| matches!(item.value, Datum::Series(_))) {
        return map_series(set, |_: &Group, series| Ok(series.map(f64::abs)));
    }
    Ok(map_numbers(set, f64::abs))
}

/// The set, with a number that stands in wherever it lacks a partner.
fn missing_value(_: &Context, mut arguments: Arguments) -> Result<Value, EvaluateErrorKind> {
    let set: Set = arguments.set();
    let missing = arguments.scalar()?;
    let mut joins = set.joins;
    joins.missing = Some(missing);
    Ok(Value::Set(Set { joins, ..set }))
}
