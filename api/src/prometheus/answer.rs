//! Answers as Prometheus writes them.

use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::json;
use tidemark_promql::{Answer, Labels, PointSeries, format_value};

use crate::opentsdb::query_answer::{AnswerSink, Gone, integer, string};

/// The content type of Prometheus' JSON.
pub(super) const JSON: &str = "application/json";
/// Points after which the sink is offered what there is.
const POINTS_A_PIECE: usize = 2048;
/// What was not shown.
pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// `{"status":"success","data":…}`, with warnings when there are any.
pub(super) fn success(data: impl Serialize, warnings: &[&str]) -> HttpResponse {
    let mut body = json!({ "status": "success", "data": data });
    if !warnings.is_empty()
        && let Some(fields) = body.as_object_mut()
    {
        fields.insert("warnings".to_owned(), warnings.into());
    }
    HttpResponse::Ok().content_type(JSON).body(body.to_string())
}

/// Writes the answer of a query piece by piece; at most so many series. `time` is its moment where it has one.
pub(super) fn write(
    answer: &Answer,
    time: i64,
    limit: Option<usize>,
    sink: &mut impl AnswerSink,
) -> Result<Vec<u8>, Gone> {
    let mut out = br#"{"status":"success","data":{"resultType":"#.to_vec();
    let limit = limit.unwrap_or(usize::MAX);
    let mut series = 0;
    match answer {
        Answer::Scalar(value) => {
            out.extend_from_slice(br#""scalar","result":"#);
            point(&mut out, time, *value);
        }
        Answer::Text(text) => {
            out.extend_from_slice(br#""string","result":["#);
            seconds(&mut out, time);
            out.push(b',');
            string(&mut out, text);
            out.push(b']');
        }
        Answer::Vector(vector) => {
            series = vector.len();
            out.extend_from_slice(br#""vector","result":["#);
            for (position, (of, value)) in vector.iter().take(limit).enumerate() {
                begin_series(&mut out, position, of);
                out.extend_from_slice(br#","value":"#);
                point(&mut out, time, *value);
                out.push(b'}');
                sink.take(&mut out)?;
            }
            out.push(b']');
        }
        Answer::Matrix(matrix) => {
            series = matrix.len();
            out.extend_from_slice(br#""matrix","result":["#);
            for (position, PointSeries { labels: of, points }) in matrix.iter().take(limit).enumerate() {
                begin_series(&mut out, position, of);
                out.extend_from_slice(br#","values":["#);
                for (number, (time, value)) in points.iter().enumerate() {
                    if number > 0 {
                        out.push(b',');
                    }
                    point(&mut out, *time, *value);
                    if number % POINTS_A_PIECE == 0 {
                        sink.take(&mut out)?;
                    }
                }
                out.extend_from_slice(b"]}");
                sink.take(&mut out)?;
            }
            out.push(b']');
        }
    }
    out.push(b'}');
    if series > limit {
        out.extend_from_slice(format!(r#","warnings":["{TRUNCATED}"]"#).as_bytes());
    }
    out.push(b'}');
    Ok(out)
}

fn begin_series(out: &mut Vec<u8>, position: usize, of: &Labels) {
    if position > 0 {
        out.push(b',');
    }
    out.extend_from_slice(br#"{"metric":{"#);
    for (position, (name, value)) in of.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

fn point(out: &mut Vec<u8>, time: i64, value: f64) {
    out.push(b'[');
    seconds(out, time);
    out.extend_from_slice(b",\"");
    if value.fract() == 0.0 && value.abs() < 1e15 && !(value == 0.0 && value.is_sign_negative()) {
        integer(out, value as i64);
    } else {
        out.extend_from_slice(format_value(value).as_bytes());
    }
    out.extend_from_slice(b"\"]");
}

/// Milliseconds as seconds.
fn seconds(out: &mut Vec<u8>, time: i64) {
    if time < 0 {
        out.push(b'-');
    }
    let time = time.unsigned_abs();
    integer(out, i64::try_from(time / 1000).unwrap_or(i64::MAX));
    let rest = time % 1000;
    if rest > 0 {
        out.extend_from_slice(format!(".{rest:03}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opentsdb::query_answer::Collected;

    fn written(answer: &Answer, limit: Option<usize>) -> String {
        let mut sink = Collected::default();
        let rest = write(answer, 1_767_225_600_050, limit, &mut sink).unwrap();
        sink.0.extend(rest);
        String::from_utf8(sink.0).unwrap()
    }

    #[test]
    fn each_type_of_result_is_written_as_prometheus_does() {
        let check = |answer: Answer, data: &str| {
            assert_eq!(written(&answer, None), format!(r#"{{"status":"success","data":{{{data}}}}}"#));
        };
        check(Answer::Scalar(f64::NAN), r#""resultType":"scalar","result":[1767225600.050,"NaN"]"#);
        check(Answer::Text("a\"".to_owned()), r#""resultType":"string","result":[1767225600.050,"a\""]"#);
        let labels = Labels::new([("__name__", "x"), ("host", "a")]);
        check(
            Answer::Vector(vec![(labels.clone(), 1.5), (Labels::default(), f64::INFINITY)]),
            r#""resultType":"vector","result":[{"metric":{"__name__":"x","host":"a"},"value":[1767225600.050,"1.5"]},{"metric":{},"value":[1767225600.050,"+Inf"]}]"#,
        );
        let points = vec![(1_000, 1.0), (-1_500, -0.0), (2_000, 1e21), (3_000, -7.0)];
        check(
            Answer::Matrix(vec![PointSeries { labels, points }]),
            r#""resultType":"matrix","result":[{"metric":{"__name__":"x","host":"a"},"values":[[1,"1"],[-1.500,"-0"],[2,"1e+21"],[3,"-7"]]}]"#,
        );
    }

    #[test]
    fn what_is_not_shown_is_told() {
        let vector = Answer::Vector(vec![(Labels::default(), 1.0), (Labels::new([("a", "b")]), 2.0)]);
        let text = written(&vector, Some(1));
        assert!(
            text.ends_with(r#"]},"warnings":["results truncated due to limit"]}"#) && !text.contains("\"b\""),
            "{text}"
        );
        assert!(!written(&vector, Some(2)).contains("warnings"));
    }
}
