//! `/q`: what the page of OpenTSDB's own user interface asks, which scripts took a liking to.
//!
//! `ascii` gives lines of `metric timestamp value tags`, `json` the figures of a picture. The pictures themselves were made
//! by gnuplot from options that the client writes, which let anybody run commands; there are none here.

use std::{collections::BTreeSet, ops::ControlFlow};

use actix_web::{HttpRequest, HttpResponse, http::header, web::Data};
use serde_json::json;
use tidemark_model::{TimeRange, Value};
use tidemark_query::GroupResult;

use super::{
    query_answer::AnswerSink,
    query_handler::moment,
    query_request::from_query_string,
    query_run::{Answer, ChannelSink, Part, Run, Turn, shown},
};
use crate::{
    error::{ApiError, JSON},
    http::{old_error::escape, query_string::QueryString},
    queries::{Asked, ClientIdentity},
    state::AppState,
};

pub(crate) async fn get(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let flags = QueryString::parse(request.query_string())?;
    let form = if flags.has("ascii") {
        Form::Lines
    } else if flags.has("json") {
        Form::Figures
    } else if flags.has("png") {
        return Err(ApiError::bad_request(
            "Pictures by gnuplot are not made here; ask for `ascii` or `json`, ask `/api/query`, or open the page `/explore`",
        ));
    } else {
        return Ok(redirection(request.query_string()));
    };
    let asked = from_query_string(&flags, moment(&state), state.options.limits.query_parts)?;
    let queries = vec![asked.query.clone()];
    let state = state.into_inner();
    let described = shown(&asked.query, asked.query.sub_queries.iter());
    let entered = Asked::new(ClientIdentity::of(&request), "/q", described);
    let mut turn = Turn::wait(&state, entered).await?;
    let parts = turn.open(queries, asked.unresolved).await?;
    let window = TimeRange::inclusive(asked.query.start, asked.query.end);
    turn.answer(GraphAnswer { parts, form, window }).await
}

/// To the page that shows this, as OpenTSDB sends browsers there: with a status of 200.
fn redirection(query: &str) -> HttpResponse {
    let place = format!("/#{query}");
    let page = format!("<html><head><meta http-equiv=\"refresh\" content=\"0; url={}\"></head></html>", escape(&place));
    let mut response = HttpResponse::Ok();
    if let Ok(place) = header::HeaderValue::from_str(&place) {
        response.insert_header((header::LOCATION, place));
    }
    response.content_type("text/html; charset=UTF-8").body(page)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lines,
    Figures,
}

struct GraphAnswer {
    parts: Vec<Part>,
    form: Form,
    window: TimeRange,
}

/// What a picture would show.
#[derive(Default)]
struct Figures {
    plotted: usize,
    points: u64,
    aggregate_tags: Vec<BTreeSet<String>>,
}

impl Answer for GraphAnswer {
    fn content_type(&self) -> &'static str {
        match self.form {
            Form::Lines => "text/plain; charset=UTF-8",
            Form::Figures => JSON,
        }
    }

    fn write(&self, run: &Run<'_>, sink: &mut ChannelSink<'_>) -> Result<Vec<u8>, ApiError> {
        let cancelled = || run.is_cancelled();
        let control = run.control(&cancelled);
        let (mut out, mut figures) = (Vec::new(), Figures::default());
        for part in &self.parts {
            let mut gone = false;
            let mut tags = BTreeSet::new();
            let evaluated = part.plan.evaluate(part.series.as_ref(), &control, |group| {
                figures.plotted += group.timestamps.iter().filter(|&&at| self.window.contains(at)).count();
                tags.extend(group.aggregate_tags.iter().cloned());
                gone = self.form == Form::Lines
                    && run.writing(|| {
                        write_lines(&group, &mut out);
                        sink.take(&mut out).is_err()
                    })
                    || run.is_late();
                if gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let evaluated = evaluated.map_err(|error| run.error(&error))?;
            figures.points += evaluated.points;
            figures.aggregate_tags.push(tags);
            run.count(evaluated);
            if gone {
                return Err(run.ended());
            }
        }
        if self.form == Form::Figures {
            let Figures { plotted, points, aggregate_tags } = figures;
            let figures =
                json!({ "plotted": plotted, "points": points, "etags": aggregate_tags, "timing": run.elapsed_ms() });
            out.extend_from_slice(figures.to_string().as_bytes());
        }
        Ok(out)
    }
}

/// What is no number is left out.
fn write_lines(group: &GroupResult, out: &mut Vec<u8>) {
    let tags: String = group.tags.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    for (position, at) in group.timestamps.iter().enumerate() {
        let value = match group.values.get(position) {
            Some(Value::Int(int)) => int.to_string(),
            Some(Value::Float(float)) if float.is_finite() => zmij::Buffer::new().format_finite(float).to_owned(),
            Some(Value::Float(_)) | None => continue,
        };
        let line = format!("{} {} {value}{tags}\n", group.metric, at.div_euclid(1000));
        out.extend_from_slice(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::ValueColumn;
    use tidemark_query::Fill;

    use super::*;

    #[test]
    fn a_line_has_metric_seconds_value_and_tags() {
        let group = GroupResult {
            metric: "sys.cpu".into(),
            tags: vec![("dc".into(), "lga".into()), ("host".into(), "a".into())],
            aggregate_tags: Vec::new(),
            tsuids: Vec::new(),
            timestamps: vec![1_356_998_400_000, 1_356_998_401_000, 1_356_998_402_000],
            values: ValueColumn::Float(vec![1.5, f64::NAN, 2.0]),
            fill: Fill::Nan,
        };
        let mut out = Vec::new();
        write_lines(&group, &mut out);
        let text = "sys.cpu 1356998400 1.5 dc=lga host=a\nsys.cpu 1356998402 2.0 dc=lga host=a\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn a_query_string_cannot_break_out_of_the_redirection() {
        let body = redirection("m=\"><script>");
        let text = format!("{:?}", body.body());
        assert!(!text.contains("<script>"), "{text}");
    }
}
