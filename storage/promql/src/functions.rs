//! The functions that there are, and what they take.

use crate::syntax::ValueType::{self, Matrix, Scalar, Text, Vector};

/// A function.
#[derive(Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Types of its arguments.
    pub arguments: &'static [ValueType],
    /// How many of the last arguments may be left out.
    pub optional: usize,
    /// Whether there may be more of the last argument.
    pub repeats: bool,
    /// The type of its value.
    pub returns: ValueType,
}

const fn of(name: &'static str, arguments: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, arguments, optional: 0, repeats: false, returns }
}

const fn optional(name: &'static str, arguments: &'static [ValueType]) -> Function {
    Function { name, arguments, optional: 1, repeats: false, returns: Vector }
}

/// All functions, in the order of their names.
pub static FUNCTIONS: [Function; 75] = [
    of("abs", &[Vector], Vector),
    of("absent", &[Vector], Vector),
    of("absent_over_time", &[Matrix], Vector),
    of("acos", &[Vector], Vector),
    of("acosh", &[Vector], Vector),
    of("asin", &[Vector], Vector),
    of("asinh", &[Vector], Vector),
    of("atan", &[Vector], Vector),
    of("atanh", &[Vector], Vector),
    of("avg_over_time", &[Matrix], Vector),
    of("ceil", &[Vector], Vector),
    of("changes", &[Matrix], Vector),
    of("clamp", &[Vector, Scalar, Scalar], Vector),
    of("clamp_max", &[Vector, Scalar], Vector),
    of("clamp_min", &[Vector, Scalar], Vector),
    of("cos", &[Vector], Vector),
    of("cosh", &[Vector], Vector),
    of("count_over_time", &[Matrix], Vector),
    optional("day_of_month", &[Vector]),
    optional("day_of_week", &[Vector]),
    optional("day_of_year", &[Vector]),
    optional("days_in_month", &[Vector]),
    of("deg", &[Vector], Vector),
    of("delta", &[Matrix], Vector),
    of("deriv", &[Matrix], Vector),
    of("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector),
    of("exp", &[Vector], Vector),
    of("first_over_time", &[Matrix], Vector),
    of("floor", &[Vector], Vector),
    of("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    of("histogram_quantile", &[Scalar, Vector], Vector),
    of("holt_winters", &[Matrix, Scalar, Scalar], Vector),
    optional("hour", &[Vector]),
    of("idelta", &[Matrix], Vector),
    of("increase", &[Matrix], Vector),
    of("irate", &[Matrix], Vector),
    Function {
        name: "label_join",
        arguments: &[Vector, Text, Text, Text],
        optional: 1,
        repeats: true,
        returns: Vector,
    },
    of("label_replace", &[Vector, Text, Text, Text, Text], Vector),
    of("last_over_time", &[Matrix], Vector),
    of("ln", &[Vector], Vector),
    of("log10", &[Vector], Vector),
    of("log2", &[Vector], Vector),
    of("mad_over_time", &[Matrix], Vector),
    of("max_over_time", &[Matrix], Vector),
    of("min_over_time", &[Matrix], Vector),
    optional("minute", &[Vector]),
    optional("month", &[Vector]),
    of("pi", &[], Scalar),
    of("predict_linear", &[Matrix, Scalar], Vector),
    of("present_over_time", &[Matrix], Vector),
    of("quantile_over_time", &[Scalar, Matrix], Vector),
    of("rad", &[Vector], Vector),
    of("rate", &[Matrix], Vector),
    of("resets", &[Matrix], Vector),
    optional("round", &[Vector, Scalar]),
    of("scalar", &[Vector], Scalar),
    of("sgn", &[Vector], Vector),
    of("sin", &[Vector], Vector),
    of("sinh", &[Vector], Vector),
    of("sort", &[Vector], Vector),
    Function { name: "sort_by_label", arguments: &[Vector, Text], optional: 0, repeats: true, returns: Vector },
    Function { name: "sort_by_label_desc", arguments: &[Vector, Text], optional: 0, repeats: true, returns: Vector },
    of("sort_desc", &[Vector], Vector),
    of("sqrt", &[Vector], Vector),
    of("stddev_over_time", &[Matrix], Vector),
    of("stdvar_over_time", &[Matrix], Vector),
    of("sum_over_time", &[Matrix], Vector),
    of("tan", &[Vector], Vector),
    of("tanh", &[Vector], Vector),
    of("time", &[], Scalar),
    of("timestamp", &[Vector], Vector),
    of("ts_of_first_over_time", &[Matrix], Vector),
    of("ts_of_last_over_time", &[Matrix], Vector),
    of("vector", &[Scalar], Vector),
    optional("year", &[Vector]),
];

/// Functions of Prometheus that are not there, and why.
const ABSENT: [(&str, &str); 9] = [
    ("histogram_avg", NATIVE),
    ("histogram_count", NATIVE),
    ("histogram_stddev", NATIVE),
    ("histogram_stdvar", NATIVE),
    ("histogram_sum", NATIVE),
    ("histogram_quantiles", "use `histogram_quantile` for each of them"),
    ("info", "join the labels by `* on (…) group_left (…)`"),
    ("ts_of_max_over_time", "it is an experiment in Prometheus"),
    ("ts_of_min_over_time", "it is an experiment in Prometheus"),
];

const NATIVE: &str = "it is about native histograms, and there are classic ones only (`le`)";

/// The function with a name.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    let position = FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok()?;
    FUNCTIONS.get(position)
}

/// Why a function of Prometheus is not there.
pub(crate) fn why_absent(name: &str) -> Option<&'static str> {
    ABSENT.iter().find(|(absent, _)| *absent == name).map(|(_, why)| *why)
}

impl Function {
    /// The fewest and the most arguments that it takes.
    pub(crate) fn argument_counts(&self) -> (usize, usize) {
        let most = if self.repeats { usize::MAX } else { self.arguments.len() };
        (self.arguments.len() - self.optional, most)
    }

    /// The type of an argument.
    pub(crate) fn argument_type(&self, position: usize) -> ValueType {
        self.arguments.get(position).or(self.arguments.last()).copied().unwrap_or(Scalar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_in_order_and_found() {
        assert!(FUNCTIONS.is_sorted_by_key(|function| function.name));
        assert!(FUNCTIONS.iter().all(|known| function(known.name) == Some(known)));
        assert!(ABSENT.iter().all(|(name, _)| function(name).is_none() && why_absent(name).is_some()));
        assert!(function("rates").is_none());
    }
}
