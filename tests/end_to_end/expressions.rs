//! `/api/query/gexp` and `/api/query/exp`, with numbers that were worked out by hand.

use serde_json::{Value, json};
use tidemark_tests::{Client, Node, NodeOptions, Response};

/// 2026-01-01, 00:00 UTC.
const START_S: i64 = 1_767_225_600;

/// Values by seconds since the start.
type Points = [(i64, f64)];

/// Three minutes of two hosts of `ex.a`, of one of these and another one of `ex.b`, and of what the joins need besides.
fn fill(client: &Client) {
    let series: [(&str, Value, &Points); 7] = [
        ("ex.a", json!({"host": "web01", "dc": "lga"}), &[(0, 1.0), (60, 2.0), (120, 3.0)]),
        ("ex.a", json!({"host": "web02", "dc": "lga"}), &[(0, 10.0), (60, 20.0), (120, 30.0)]),
        ("ex.b", json!({"host": "web01", "dc": "lga"}), &[(0, 100.0), (60, 200.0), (120, 300.0)]),
        ("ex.b", json!({"host": "web03", "dc": "sjc"}), &[(60, 1000.0)]),
        ("ex.c", json!({"host": "web01", "dc": "sjc"}), &[(0, 5.0), (60, 6.0), (120, 7.0)]),
        ("ex.d", json!({"dc": "lga"}), &[(0, 1000.0), (60, 1000.0), (120, 1000.0)]),
        ("ex.f", json!({"host": "web01"}), &[(0, -1.5), (60, 2.5)]),
    ];
    let points: Vec<Value> = series
        .iter()
        .flat_map(|(metric, tags, points)| {
            points.iter().map(move |(offset, value)| {
                let is_whole = value.fract() == 0.0;
                let value = if is_whole { json!(*value as i64) } else { json!(value) };
                json!({"metric": metric, "timestamp": START_S + offset, "value": value, "tags": tags})
            })
        })
        .collect();
    assert_eq!(client.post("/api/put?sync", &Value::Array(points)).status, 204);
}

fn started() -> Node {
    let node = Node::start(&NodeOptions::without_agent());
    fill(&node.client());
    node
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn gexp_in(client: &Client, start: i64, end: i64, expression: &str) -> Response {
    let (start, end) = (START_S + start, START_S + end);
    client.get(&format!("/api/query/gexp?start={start}&end={end}&exp={}", encoded(expression)))
}

/// A result as its metric, its host, and its points.
type Shown = (String, String, Vec<(i64, f64)>);

fn shown(answer: &Response) -> Vec<Shown> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let results = answer.json().as_array().unwrap().clone();
    let of = |result: &Value| {
        let points = result["dps"].as_object().unwrap().iter();
        let points = points.map(|(at, value)| (at.parse::<i64>().unwrap() - START_S, value.as_f64().unwrap()));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&result["metric"]), text(&result["tags"]["host"]), points.collect())
    };
    results.iter().map(of).collect()
}

type Expected<'a> = (&'a str, &'a str, &'a Points);

fn check_gexp(client: &Client, expression: &str, expected: &[Expected<'_>]) {
    let found = shown(&gexp_in(client, 0, 180, expression));
    let expected: Vec<_> = expected.iter().map(|(metric, host, points)| (*metric, *host, points.to_vec())).collect();
    let found: Vec<_> = found.iter().map(|(metric, host, points)| (&**metric, &**host, points.clone())).collect();
    assert_eq!(found, expected, "{expression}");
}

#[test]
fn every_function_gives_the_numbers_of_its_definition() {
    let node = started();
    let client = node.client();
    let check = |expression: &str, expected: &[Expected<'_>]| check_gexp(&client, expression, expected);
    check(
        "scale(sum:ex.a{host=*},10)",
        &[
            ("ex.a", "web01", &[(0, 10.0), (60, 20.0), (120, 30.0)]),
            ("ex.a", "web02", &[(0, 100.0), (60, 200.0), (120, 300.0)]),
        ],
    );
    check("scale(sum:ex.a{host=web01},-0.5)", &[("ex.a", "web01", &[(0, -0.5), (60, -1.0), (120, -1.5)])]);
    check("absolute(sum:ex.f{host=*})", &[("ex.f", "web01", &[(0, 1.5), (60, 2.5)])]);
    for name in ["sum", "sumSeries"] {
        check(
            &format!("{name}(sum:ex.a{{host=*}},sum:ex.b{{host=*}})"),
            &[
                ("ex.a", "web01", &[(0, 101.0), (60, 202.0), (120, 303.0)]),
                ("ex.a", "web02", &[(0, 10.0), (60, 20.0), (120, 30.0)]),
                ("ex.b", "web03", &[(60, 1000.0)]),
            ],
        );
    }
    for name in ["difference", "diffSeries"] {
        check(
            &format!("{name}(sum:ex.b{{host=web01}},sum:ex.a{{host=web01}})"),
            &[("ex.b", "web01", &[(0, 99.0), (60, 198.0), (120, 297.0)])],
        );
    }
    for name in ["multiply", "multiplySeries"] {
        check(
            &format!("{name}(sum:ex.a{{host=web01}},sum:ex.b{{host=web01}})"),
            &[("ex.a", "web01", &[(0, 100.0), (60, 400.0), (120, 900.0)])],
        );
    }
    for name in ["divide", "divideSeries"] {
        check(
            &format!("{name}(sum:ex.a{{host=web01}},sum:ex.b{{host=web01}},sum:ex.a{{host=web01}})"),
            &[("ex.a", "web01", &[(0, 0.01), (60, 0.005), (120, 1.0 / 300.0)])],
        );
    }
    check(
        "divide(sum:ex.a{host=web01},scale(sum:ex.b{host=web01},0))",
        &[("ex.a", "web01", &[(0, 0.0), (60, 0.0), (120, 0.0)])],
    );
    check("highestMax(sum:ex.a{host=*},1)", &[("ex.a", "web02", &[(0, 10.0), (60, 20.0), (120, 30.0)])]);
    check(
        "highestMax(sum:ex.a{host=*},5)",
        &[
            ("ex.a", "web02", &[(0, 10.0), (60, 20.0), (120, 30.0)]),
            ("ex.a", "web01", &[(0, 1.0), (60, 2.0), (120, 3.0)]),
        ],
    );
    check("highestCurrent(sum:ex.b{host=*},1)", &[("ex.b", "web03", &[(60, 1000.0)])]);
    check("movingAverage(sum:ex.a{host=web01},2)", &[("ex.a", "web01", &[(0, 0.0), (60, 1.5), (120, 2.5)])]);
    check("movingAverage(sum:ex.a{host=web01},'2min')", &[("ex.a", "web01", &[(0, 0.0), (60, 0.0), (120, 2.5)])]);
    check("firstDiff(sum:ex.a{host=web02})", &[("ex.a", "web02", &[(0, 0.0), (60, 10.0), (120, 10.0)])]);
    check("alias(sum:ex.a{host=web01},cpu of @host)", &[("cpu of web01", "", &[(0, 1.0), (60, 2.0), (120, 3.0)])]);
    check(
        "scale(sum(sum:ex.a{host=web01},absolute(sum:ex.b{host=web01})),2)",
        &[("ex.a", "web01", &[(0, 202.0), (60, 404.0), (120, 606.0)])],
    );
    for name in ["timeShift", "shift"] {
        let expression = format!("{name}(sum:ex.a{{host=web01}},'1m')");
        check(&expression, &[("ex.a", "web01", &[(60, 1.0), (120, 2.0), (180, 3.0)])]);
        // The points of the minute before the window are in it.
        let later = shown(&gexp_in(&client, 120, 240, &expression));
        assert_eq!(later, [("ex.a".to_owned(), "web01".to_owned(), vec![(120, 2.0), (180, 3.0)])]);
    }
    // This minute beside the one before it.
    check(
        "difference(sum:ex.a{host=web01},timeShift(sum:ex.a{host=web01},'60s'))",
        &[("ex.a", "web01", &[(0, 1.0), (60, 1.0), (120, 1.0), (180, -3.0)])],
    );
}

#[test]
fn functions_are_answered_in_the_shape_that_was_asked_for() {
    let node = started();
    let client = node.client();
    let flags = "arrays&ms&show_query&show_tsuids&show_summary";
    let expressions = ["sum(sum:ex.a{host=web01},sum:ex.b{host=web01})", "scale(sum:ex.a{host=web02},2)"].map(encoded);
    let path = format!(
        "/api/query/gexp?start={START_S}&end={}&{flags}&exp={}&exp={}",
        START_S + 60,
        expressions[0],
        expressions[1]
    );
    let answer = client.get(&path).json();
    assert_eq!(answer[0]["dps"], json!([[START_S * 1000, 101.0], [(START_S + 60) * 1000, 202.0]]));
    assert_eq!(answer[0]["tsuids"].as_array().unwrap().len(), 2);
    assert_eq!(answer[0]["query"]["metric"], "ex.a");
    assert_eq!(answer[1]["dps"], json!([[START_S * 1000, 20], [(START_S + 60) * 1000, 40]]));
    assert_eq!(answer[1]["query"]["index"], 2);
    assert_eq!(answer[1]["tags"], json!({"host": "web02", "dc": "lga"}));
    assert_eq!(answer[2]["statsSummary"]["emittedDPs"], 4, "{answer}");
    assert_eq!(gexp_in(&client, 86_400, 90_000, "absolute(sum:ex.a)").json(), json!([]));
}

#[test]
fn mistakes_in_functions_are_named() {
    let node = started();
    let client = node.client();
    let check = |expression: &str, expected: &str| {
        let answer = gexp_in(&client, 0, 60, expression);
        assert_eq!(answer.status, 400, "{expression}: {}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(expected), "{expression}: {message}");
    };
    check("", "Missing sub queries");
    check("sum:ex.a", "expected a function");
    check("scale(sum:ex.a,10", "expected `)` at byte 17");
    check("nope(sum:ex.a)", "Function nope has not been implemented");
    check("scale(sum:ex.a)", "Missing scaling factor");
    check("scale(sum:ex.a,ten)", "Unparseable scale factor value: ten");
    check("sum(sum:ex.a)", "Must have 2 to 26 series, got 1 instead");
    check("highestMax(sum:ex.a,0)", "Top n value must be greater than zero");
    check("movingAverage(sum:ex.a,'5weeks')", "Unknown time unit=weeks");
    check("timeShift(sum:ex.a,'1min')", "Invalid timeshift parameter");
    check("alias(sum:ex.a)", "Missing the alias");
    check("absolute(foo:ex.a)", "No such aggregation function: foo");
    check("absolute(sum:ex.unknown)", "No such name for 'metrics': 'ex.unknown'");
    assert_eq!(client.post_text("/api/query/gexp", "{}").status, 405);
    assert_eq!(client.get("/api/query/gexp?exp=absolute(sum:ex.a)").status, 400);
}

/// A request over `ex.a` as `a` and `ex.b` as `b`, by host, with other fields in place of its own.
fn body(fields: &Value) -> Value {
    let mut body = json!({
        "time": {"start": START_S.to_string(), "end": (START_S + 180).to_string(), "aggregator": "sum"},
        "filters": [{"id": "f1", "tags": [{"type": "wildcard", "tagk": "host", "filter": "*", "groupBy": true}]}],
        "metrics": [
            {"id": "a", "metric": "ex.a", "filter": "f1"},
            {"id": "b", "metric": "ex.b", "filter": "f1"},
        ],
        "expressions": [{"id": "e", "expr": "a + b"}],
    });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn exp(client: &Client, fields: &Value) -> Value {
    let answer = client.post("/api/query/exp", &body(fields));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Rows of an output, with the seconds since the start.
fn rows(output: &Value) -> Value {
    let rows = output["dps"].as_array().unwrap().iter().map(|row| {
        let mut row = row.as_array().unwrap().clone();
        row[0] = json!(row[0].as_i64().unwrap() / 1000 - START_S);
        Value::Array(row)
    });
    Value::Array(rows.collect())
}

/// The expression `expr` with the other fields of its own.
fn expression(expr: &str, fields: &Value) -> Value {
    let mut expression = json!({"id": "e", "expr": expr});
    expression.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"expressions": [expression]})
}

#[test]
fn a_union_has_all_series_and_an_intersection_those_that_all_have() {
    let node = started();
    let client = node.client();
    let union = exp(&client, &json!({}));
    let output = &union["outputs"][0];
    let expected = json!([[0, 101.0, 10.0, 0.0], [60, 202.0, 20.0, 1000.0], [120, 303.0, 30.0, 0.0]]);
    assert_eq!(rows(output), expected);
    let milliseconds = |offset: i64| (START_S + offset) * 1000;
    let figures =
        json!({"firstTimestamp": milliseconds(0), "lastTimestamp": milliseconds(120), "setCount": 3, "series": 3});
    assert_eq!(output["dpsMeta"], figures);
    assert_eq!(output["meta"][0], json!({"index": 0, "metrics": ["timestamp"]}));
    let meta = |index: u32, metrics: &[&str], host: &str, dc: &str| json!({"index": index, "metrics": metrics, "commonTags": {"host": host, "dc": dc}, "aggregatedTags": []});
    assert_eq!(output["meta"][1], meta(1, &["ex.a", "ex.b"], "web01", "lga"));
    assert_eq!(output["meta"][2], meta(2, &["ex.a", "ex.b"], "web02", "lga"));
    assert_eq!(output["meta"][3], meta(3, &["ex.a", "ex.b"], "web03", "sjc"));
    assert_eq!(union["query"]["expressions"][0]["join"]["operator"], "union");
    let intersection = expression("b / a", &json!({"join": {"operator": "intersection"}}));
    let answer = exp(&client, &intersection);
    assert_eq!(rows(&answer["outputs"][0]), json!([[0, 100.0], [60, 100.0], [120, 100.0]]));
    let nothing = json!({"time": {"start": START_S + 86_400, "end": START_S + 90_000, "aggregator": "sum"}});
    let answer = exp(&client, &nothing);
    let empty = json!({"firstTimestamp": 0, "lastTimestamp": 0, "setCount": 0, "series": 0});
    assert_eq!(answer["outputs"], json!([{"id": "e", "dps": [], "dpsMeta": empty}]));
}

#[test]
fn joins_look_at_the_tags_that_they_are_told_to() {
    let node = started();
    let client = node.client();
    let with = |join: Value, a: &Value, b: &Value| {
        let mut fields = expression("a + b", &json!({"join": join}));
        fields["metrics"] = json!([a, b]);
        exp(&client, &fields)["outputs"][0].clone()
    };
    // The same host in another data centre.
    let metrics =
        [json!({"id": "a", "metric": "ex.a", "filter": "f1"}), json!({"id": "b", "metric": "ex.c", "filter": "f1"})];
    let output = with(json!({"operator": "union"}), &metrics[0], &metrics[1]);
    assert_eq!(output["dpsMeta"]["series"], 3);
    let output = with(json!({"operator": "intersection", "useQueryTags": true}), &metrics[0], &metrics[1]);
    assert_eq!(rows(&output), json!([[0, 6.0], [60, 8.0], [120, 10.0]]));
    assert_eq!(output["meta"][1]["commonTags"], json!({"host": "web01"}));
    assert_eq!(output["meta"][1]["aggregatedTags"], json!(["dc"]));
    // All hosts of a data centre, and something of the data centre as a whole.
    let metrics = [json!({"id": "a", "metric": "ex.a"}), json!({"id": "b", "metric": "ex.d"})];
    let output = with(json!({"operator": "union"}), &metrics[0], &metrics[1]);
    assert_eq!(output["dpsMeta"]["series"], 2);
    let output = with(json!({"operator": "union", "includeAggTags": false}), &metrics[0], &metrics[1]);
    assert_eq!(rows(&output), json!([[0, 1011.0], [60, 1022.0], [120, 1033.0]]));
    assert_eq!(output["meta"][1]["aggregatedTags"], json!(["host"]));
}

#[test]
fn what_is_missing_is_filled_as_the_request_says() {
    let node = started();
    let client = node.client();
    let with_fill = |fill: Value| {
        let metrics = json!([
            {"id": "a", "metric": "ex.a", "filter": "f1"},
            {"id": "b", "metric": "ex.b", "filter": "f1", "fillPolicy": fill},
        ]);
        rows(&exp(&client, &json!({"metrics": metrics}))["outputs"][0])[0].clone()
    };
    assert_eq!(with_fill(json!({"policy": "scalar", "value": 7})), json!([0, 101.0, 10.0, 7.0]));
    assert_eq!(with_fill(json!({"policy": "nan"})), json!([0, 101.0, 10.0, "NaN"]));
    assert_eq!(with_fill(json!({"policy": "none"})), json!([0, 101.0, 10.0, "NaN"]));
    assert_eq!(with_fill(json!({"policy": "zero"})), json!([0, 101.0, 10.0, 0.0]));
    assert_eq!(with_fill(json!({"value": 0.5})), json!([0, 101.0, 10.0, 0.5]));
    // The policy of an expression is for those that use it, and for how it is written.
    let expressions = json!([
        {"id": "n", "expr": "a / b * b + b", "fillPolicy": {"policy": "scalar", "value": -1}},
        {"id": "e", "expr": "n * 2"},
        {"id": "z", "expr": "n + 0 * b", "fillPolicy": {"policy": "null"}},
    ]);
    let metrics = json!([
        {"id": "a", "metric": "ex.a", "filter": "f1"},
        {"id": "b", "metric": "ex.b", "filter": "f1", "fillPolicy": {"policy": "nan"}},
    ]);
    let answer = exp(&client, &json!({"expressions": expressions, "metrics": metrics}));
    assert_eq!(rows(&answer["outputs"][0])[0], json!([0, 101.0, 0.0, "NaN"]));
    assert_eq!(rows(&answer["outputs"][1])[0], json!([0, 202.0, 0.0, -2.0]));
    assert_eq!(rows(&answer["outputs"][2])[0], json!([0, 101.0, 0.0, null]));
}

#[test]
fn metrics_may_be_downsampled_and_of_another_time() {
    let node = started();
    let client = node.client();
    let time = |downsampler: Value| json!({"start": START_S.to_string(), "end": (START_S + 239).to_string(), "aggregator": "sum", "downsampler": downsampler});
    let only_a = json!([{"id": "a", "metric": "ex.a"}]);
    let downsampled = |downsampler: Value| {
        let fields =
            json!({"time": time(downsampler), "metrics": only_a, "expressions": [{"id": "e", "expr": "a * 10"}]});
        rows(&exp(&client, &fields)["outputs"][0])
    };
    assert_eq!(downsampled(json!({"interval": "2m", "aggregator": "max"})), json!([[0, 220.0], [120, 330.0]]));
    // Read, repeated and without effect, as in OpenTSDB.
    for fill in [json!({"policy": "nan"}), json!({"policy": "scalar", "value": 5})] {
        let filled = json!({"interval": "1m", "aggregator": "sum", "fillPolicy": fill});
        assert_eq!(downsampled(filled), json!([[0, 110.0], [60, 220.0], [120, 330.0]]));
    }
    let rate =
        json!({"start": START_S.to_string(), "end": (START_S + 180).to_string(), "aggregator": "sum", "rate": true});
    let fields = json!({"time": rate, "metrics": only_a, "expressions": [{"id": "e", "expr": "a * 60"}]});
    assert_eq!(rows(&exp(&client, &fields)["outputs"][0]), json!([[60, 11.0], [120, 11.0]]));
    for offset in ["1m", "60s-ago"] {
        let metrics = json!([{"id": "a", "metric": "ex.a"}, {"id": "b", "metric": "ex.a", "timeOffset": offset}]);
        let answer = exp(&client, &json!({"metrics": metrics, "expressions": [{"id": "e", "expr": "a - b"}]}));
        assert_eq!(rows(&answer["outputs"][0]), json!([[0, 11.0], [60, 11.0], [120, 11.0], [180, -33.0]]));
    }
}

#[test]
fn outputs_are_expressions_and_metrics_in_their_order() {
    let node = started();
    let client = node.client();
    let fields = json!({
        "expressions": [
            {"id": "e4", "expr": "e2 + e3", "join": {"operator": "intersection"}},
            {"id": "e2", "expr": "e * 2"},
            {"id": "e3", "expr": "e > 150 ? 1 : a == 1 and not (b lt 0)"},
            {"id": "e", "expr": "a + b"},
        ],
        "outputs": [{"id": "b"}, {"id": "e4", "alias": "Four"}, {"id": "e3"}],
    });
    let answer = exp(&client, &fields);
    let outputs = answer["outputs"].as_array().unwrap();
    let names: Vec<_> =
        outputs.iter().map(|output| (output["id"].as_str().unwrap(), output["alias"].as_str())).collect();
    assert_eq!(names, [("b", None), ("e4", Some("Four")), ("e3", None)]);
    assert_eq!(rows(&outputs[0]), json!([[0, 100.0, 0.0], [60, 200.0, 1000.0], [120, 300.0, 0.0]]));
    assert_eq!(outputs[0]["meta"][2]["metrics"], json!(["ex.b"]));
    assert_eq!(rows(&outputs[1]), json!([[0, 203.0, 20.0, 0.0], [60, 405.0, 40.0, 2001.0], [120, 607.0, 60.0, 0.0]]));
    assert_eq!(rows(&outputs[2]), json!([[0, 1.0, 0.0, 0.0], [60, 1.0, 0.0, 1.0], [120, 1.0, 0.0, 0.0]]));
    let all = exp(&client, &json!({"expressions": []}));
    let ids: Vec<_> = all["outputs"].as_array().unwrap().iter().map(|output| output["id"].clone()).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[test]
fn mistakes_in_expressions_are_named() {
    let node = started();
    let client = node.client();
    let check = |fields: Value, expected: &str| {
        let answer = client.post("/api/query/exp", &body(&fields));
        assert_eq!(answer.status, 400, "{fields}: {}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(expected), "{fields}: {message}");
    };
    check(json!({"time": null}), "missing time");
    check(json!({"time": {"start": "nope", "aggregator": "sum"}}), "Invalid time: nope");
    check(json!({"metrics": []}), "missing or empty metrics");
    check(
        json!({"metrics": [{"id": "a", "metric": "ex.a"}, {"id": "a", "metric": "ex.b"}]}),
        "duplicated metric id: a",
    );
    check(json!({"metrics": [{"id": "a", "metric": "ex.a", "filter": "f2"}]}), "unrecognized filter id f2 in metric a");
    check(json!({"metrics": [{"id": "a", "metric": "ex.unknown"}], "expressions": []}), "No such name for 'metrics'");
    check(expression("a +", &json!({})), "Failed to parse `a +`");
    check(expression("1 + 1", &json!({})), "didn't appear to have any variables");
    check(expression("a + c", &json!({})), "Expression [a + c] was missing input c");
    check(expression("a + e", &json!({})), "Self referencing expression found: e");
    let circle = json!([{"id": "e", "expr": "a + f"}, {"id": "f", "expr": "e"}]);
    check(json!({"expressions": circle}), "Circular reference found: e");
    let parted = json!([{"id": "a", "metric": "ex.b", "filter": "f1"}, {"id": "b", "metric": "ex.f", "filter": "f1"}]);
    let intersection = expression("a + b", &json!({"join": {"operator": "intersection"}}));
    check(json!({"metrics": parted, "expressions": intersection["expressions"]}), "No intersections found");
    check(expression("a", &json!({"join": {"operator": "outer"}})), "Unrecognized set operator: outer");
    check(expression("a", &json!({"fillPolicy": {"policy": "lerp"}})), "Unrecognized fill policy: lerp");
    assert_eq!(client.get("/api/query/exp").status, 405);
    assert_eq!(client.post_text("/api/query/exp", "{").status, 400);
    assert_eq!(client.post_text("/api/query/exp", "").status, 400);
}

#[test]
fn expressions_have_the_limits_of_queries() {
    let options = NodeOptions::without_agent()
        .variable("TIDEMARK_LIMITS__QUERY_PARTS", "2")
        .variable("TIDEMARK_LIMITS__QUERY_RESULT_POINTS", "10");
    let node = Node::start(&options);
    let client = node.client();
    fill(&client);
    let refused = |answer: &Response, status: u16, limit: &str| {
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(limit), "{}", answer.text());
    };
    // 6 and 4 points are read; what is computed of them would be more.
    refused(&client.post("/api/query/exp", &body(&json!({}))), 413, "limits.query_result_points");
    let sum = "sum(sum:ex.a{host=*},sum:ex.b{host=*})";
    refused(&gexp_in(&client, 0, 180, sum), 413, "limits.query_result_points");
    assert_eq!(gexp_in(&client, 0, 180, "absolute(sum:ex.a{host=*})").status, 200);
    let three = json!([{"id": "x", "expr": "a"}, {"id": "y", "expr": "a"}, {"id": "z", "expr": "a"}]);
    refused(&client.post("/api/query/exp", &body(&json!({"expressions": three}))), 400, "limits.query_parts");
    refused(&gexp_in(&client, 0, 180, "sum(sum:ex.a,sum:ex.b,sum:ex.c)"), 400, "limits.query_parts");
}
