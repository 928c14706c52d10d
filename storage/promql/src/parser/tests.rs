//! What is an expression and what is none.

use super::*;

/// What is read is written as `expect`, which means the same.
fn check(source: &str, expect: &str) {
    let expression = parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    assert_eq!(expression.to_string(), expect, "{source}");
    assert_eq!(parse(expect).map(|again| again.to_string()).as_deref(), Ok(expect), "{source}");
}

#[test]
fn operators_bind_as_in_prometheus() {
    let check = |source: &str, expect: &str| {
        fn grouped(expression: &Expression) -> String {
            match expression {
                Expression::Binary(binary) => {
                    format!("({} {} {})", grouped(&binary.left), binary.operator.name(), grouped(&binary.right))
                }
                Expression::Sign(_, inner) => format!("-{}", grouped(inner)),
                Expression::Group(inner) => grouped(inner),
                other => other.to_string(),
            }
        }
        assert_eq!(grouped(&parse(source).unwrap()), expect, "{source}");
    };
    check("a + b * c", "(a + (b * c))");
    check("a - b - c", "((a - b) - c)");
    check("a ^ b ^ c", "(a ^ (b ^ c))");
    check("-a ^ b", "-(a ^ b)");
    check("-a * b", "(-a * b)");
    check("2 ^ -1", "(2 ^ -1)");
    check("a or b and c unless d", "(a or ((b and c) unless d))");
    check("a == b + c", "(a == (b + c))");
    check("a > b > c", "((a > b) > c)");
    check("a atan2 b % c", "((a atan2 b) % c)");
    check("(a + b) * c", "((a + b) * c)");
    check("a AND b OR c", "((a and b) or c)");
}

#[test]
fn selectors_are_read() {
    check("x", "x");
    check("x{}", "x");
    check("job:x:rate5m{a='1',}", "job:x:rate5m{a=\"1\"}");
    check("{\"os.cpu\", host=\"web01\"}", "{\"os.cpu\",host=\"web01\"}");
    check("{host=~\"web.*\", \"os.cpu\"}", "{\"os.cpu\",host=~\"web.*\"}");
    check("{\"os.cpu\", \"disk/name\"!=\"a\"}", "{\"os.cpu\",\"disk/name\"!=\"a\"}");
    check("{\"x\"}", "x");
    check("{__name__=\"os.cpu\"}", "{\"os.cpu\"}");
    check("{__name__=~\"os.*\"}", "{__name__=~\"os.*\"}");
    check("x{a=\"1\",a!=\"2\"}", "x{a=\"1\",a!=\"2\"}");
    check("sum", "sum");
    check("sum{a=\"b\"}", "sum{a=\"b\"}");
    check("start", "start");
    check("by + without", "by + without");
}

#[test]
fn times_are_read() {
    check("x[5m]", "x[5m]");
    check("x[300]", "x[5m]");
    check("x offset 1d", "x offset 1d");
    check("x offset -5m", "x offset -5m");
    check("x @ 1700000000.5", "x @ 1700000000.500");
    check("x @ -1", "x @ -1.000");
    check("x[5m] @ start() offset 1m", "x[5m] @ start() offset 1m");
    check("x[5m] offset 1m @ end()", "x[5m] @ end() offset 1m");
    check("rate(x[5m])[1h:1m] offset 1m", "rate(x[5m])[1h:1m] offset 1m");
    check("x[1h:]", "x[1h:]");
    check("5m", "300");
    check("-1", "-1");
}

#[test]
fn aggregations_and_calls_are_read() {
    check("sum by (a, \"b.c\") (x)", "sum by (a, \"b.c\") (x)");
    check("SUM(x) BY (a,)", "sum by (a) (x)");
    check("sum without () (x)", "sum without () (x)");
    check("topk(5, x)", "topk(5, x)");
    check("count_values(\"v\", x)", "count_values(\"v\", x)");
    check("quantile by (le) (0.9, x)", "quantile by (le) (0.9, x)");
    check("sum by (sum) (x)", "sum by (sum) (x)");
    check("histogram_quantile(.9, sum by (le) (rate(x[5m])))", "histogram_quantile(0.9, sum by (le) (rate(x[5m])))");
    check("label_join(x, 'a', ',')", "label_join(x, \"a\", \",\")");
    check("label_join(x, 'a', ',', 'b', 'c')", "label_join(x, \"a\", \",\", \"b\", \"c\")");
    check("hour() + round(x) - round(x, 5)", "hour() + round(x) - round(x, 5)");
}

#[test]
fn matching_is_read() {
    check("a * on (b) group_left (c) d", "a * on (b) group_left (c) d");
    check("a / ignoring(b) d", "a / ignoring (b) d");
    check("a > bool on () d", "a > bool on () d");
    check("a + on(b) group_right d", "a + on (b) group_right () d");
    check("a > bool 1", "a > bool 1");
    check("1 > bool 2", "1 > bool 2");
    check("a and ignoring(b) c", "a and ignoring (b) c");
}

#[test]
fn errors_say_what_and_where() {
    let check = |source: &str, expect: &str| {
        assert_eq!(parse(source).unwrap_err().to_string(), expect, "{source}");
    };
    check("", "1:1: parse error: unexpected end of the expression, expected an expression");
    check("1 +", "1:4: parse error: unexpected end of the expression, expected an expression");
    check("sum(x", "1:6: parse error: unexpected end of the expression, expected `,` or `)`");
    check("x y", "1:3: parse error: unexpected `y`, expected an operator or the end");
    check("rate(x)", "1:1: parse error: expected type range vector in call to function \"rate\", got instant vector");
    check("foo(x)", "1:1: parse error: unknown function with name \"foo\"");
    check("1 > 2", "1:3: parse error: comparisons between scalars must use BOOL modifier");
    check("1 and x", "1:3: parse error: set operator \"and\" not allowed in binary scalar expression");
    check("x and on(a) group_left y", "1:3: parse error: no grouping allowed for \"and\" operation");
    check("x + bool y", "1:3: parse error: bool modifier can only be used on comparison operators");
    check("x + on(a) 1", "1:3: parse error: vector matching only allowed between instant vectors");
    check("x * on(a) group_left(a) y", "1:25: parse error: label \"a\" must not occur in ON and GROUP clause at once");
    check("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher");
    check("{a=\"\", b=~\".*\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher");
    check("x{__name__=\"y\"}", "1:2: parse error: metric name must not be set twice: \"x\" or \"y\"");
    check("x{a=1}", "1:5: parse error: unexpected a number, expected a text in quotes");
    check("x{a=~\"[\"}", "1:6: parse error: invalid regular expression: error: unclosed character class");
    check("x[0s]", "1:3: parse error: duration must be greater than 0");
    check("x[5m][5m]", "1:1: parse error: ranges only allowed for vector selectors; a subquery is `[range:step]`");
    check("x offset 1m [5m]", "1:1: parse error: no offset modifiers allowed before range");
    check("x[1e30]", "1:3: parse error: duration out of range: at most 1000 years are allowed");
    check("x[5m:1m", "1:8: parse error: unexpected end of the expression, expected `]`");
    check(
        "sum(x) offset 1m",
        "1:8: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    );
    check("x offset 1m offset 2m", "1:13: parse error: offset may not be set multiple times");
    check("x @ NaN", "1:5: parse error: unexpected `NaN`, expected a timestamp, `start()` or `end()`");
    check("x @ 1e30", "1:5: parse error: timestamp out of bounds for @ modifier");
    check(
        "topk(x)",
        "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
    );
    check("topk(x, x)", "1:1: parse error: expected type scalar in aggregation parameter, got instant vector");
    check(
        "-\"a\"",
        "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
    );
    check(
        "histogram_sum(x)",
        "1:1: parse error: function `histogram_sum` is not there: it is about native histograms, and there are classic ones only (`le`)",
    );
    check(
        "limit_ratio(0.5, x)",
        "1:1: parse error: `limit_ratio` is not there: which series it takes depends on Prometheus' hashes",
    );
}

#[test]
fn deep_expressions_are_refused_and_not_too_deep_ones_are_read() {
    let nested = |depth: usize| format!("{}x{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(60)).is_ok());
    for deep in [
        nested(100_000 / 4),
        "-".repeat(50_000),
        "1+".repeat(20_000) + "1",
        "2^".repeat(20_000) + "1",
        "sum(".repeat(10_000),
        format!("x{}", "[1m:1m]".repeat(9_000)),
        "x[".repeat(10_000),
        "{".repeat(60_000),
        "a or ".repeat(10_000) + "a",
    ] {
        assert!(parse(&deep).is_err(), "{}", deep.get(..20).unwrap_or_default());
    }
    assert!(parse(&("a or ".repeat(150) + "a")).is_ok());
    assert!(parse(&" ".repeat(QUERY_BYTES_MAX + 1)).is_err());
}

#[test]
fn selectors_of_series_have_neither_time_nor_range() {
    assert_eq!(parse_series_selector("x{a=\"b\"}").unwrap().len(), 2);
    for other in ["x[5m]", "x offset 1m", "1", "sum(x)", "{}"] {
        assert!(parse_series_selector(other).is_err(), "{other}");
    }
}

#[test]
fn lists_and_regular_expressions_are_bounded() {
    let check = |text: String, expect: &str| {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(format!("sum by ({}) (x)", "a,".repeat(257)), "more than 256 labels");
    check(format!("x{{{}}}", "a=\"b\",".repeat(257)), "more than 256 conditions");
    check(format!("label_join(x, \"a\", \"\" {})", ", \"b\"".repeat(257)), "more than 256 arguments");
    check(format!("x{{{0}}} + y{{{0}}}", "a=~\"b\",".repeat(101)), "more than 200 regular expressions");
    assert!(parse(&format!("sum by ({}) (x)", "a,".repeat(256))).is_ok());
}
