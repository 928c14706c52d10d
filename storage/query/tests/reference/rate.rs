//! Rates of one series.

use tidemark_model::Value;
use tidemark_query::RateOptions;

use crate::case::Points;

/// Change by seconds between each point and the one before it, at the time of the later one; the first has none.
pub(crate) fn rates(points: &Points, options: RateOptions) -> Points {
    let mut rates = Points::new();
    for ((time_before, before), (time, value)) in points.iter().zip(points.iter().skip(1)) {
        let seconds = (time - time_before) as f64 / 1000.0;
        // What a counter that went up to its maximum and began again at zero has grown by.
        let (change, rolled_over) = match (before, value) {
            (Value::Int(before), Value::Int(value)) => {
                let change = i128::from(*value) - i128::from(*before);
                (change as f64, (change + i128::from(options.counter_max)) as f64)
            }
            (before, value) => {
                let (before, value) = (before.as_f64(), value.as_f64());
                (value - before, options.counter_max as f64 - before + value)
            }
        };
        let is_reset = options.counter && change < 0.0;
        let rate = if !is_reset {
            change / seconds
        } else if options.drop_resets {
            continue;
        } else if options.reset_value > 0 && rolled_over / seconds > options.reset_value as f64 {
            0.0
        } else {
            rolled_over / seconds
        };
        rates.insert(*time, Value::Float(rate));
    }
    rates
}
