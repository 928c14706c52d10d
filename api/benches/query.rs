//! What an answer of `/api/query` costs: 500 series of one day at 15 s, by host and by 5 m: 144,000 points, 3.9 MB of JSON.
//!
//! `evaluate_and_write` begins with decoded columns; `write` has the groups already.

use std::ops::ControlFlow;

use divan::{Bencher, counter::BytesCount};
use tidemark_api::bench::{AnswerForm, write_answer};
use tidemark_model::{
    PointColumns, ReadError, ReadStatistics, SeriesId, SeriesInfo, SeriesKey, SeriesSet, Tsuid, ValueColumn,
};
use tidemark_query::{EvaluationControl, GroupResult, Query, SubQuery, SubQueryPlan};

const HOSTS: u32 = 500;
const POINTS: i64 = 5760;
const STEP_MS: i64 = 15_000;
const START_MS: i64 = 1_700_006_400_000;

fn main() {
    divan::main();
}

/// Series that all have the same timestamps.
struct Decoded {
    infos: Vec<SeriesInfo>,
    points: PointColumns,
}

impl SeriesSet for Decoded {
    fn series(&self) -> &[SeriesInfo] {
        &self.infos
    }

    fn read(&self, _index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
        columns.timestamps.clone_from(&self.points.timestamps);
        match (&mut columns.values, &self.points.values) {
            (ValueColumn::Int(to), ValueColumn::Int(from)) => to.clone_from(from),
            (ValueColumn::Float(to), ValueColumn::Float(from)) => to.clone_from(from),
            (to, from) => to.clone_from(from),
        }
        Ok(())
    }

    fn statistics(&self) -> ReadStatistics {
        ReadStatistics::default()
    }
}

fn decoded(are_integers: bool) -> Decoded {
    let info = |number: u32| SeriesInfo {
        id: SeriesId(u64::from(number)),
        key: SeriesKey::new("sys.net.bytes_in", &[("dc", "dc1"), ("host", &format!("web{number:04}"))]),
        tsuid: Tsuid::new(1, &[(1, 1), (2, number + 1)]),
    };
    let number = |step: i64| (step * 7919) % 1000;
    let values = match are_integers {
        true => ValueColumn::Int((0..POINTS).map(number).collect()),
        false => ValueColumn::Float((0..POINTS).map(|step| number(step) as f64 / 100.0).collect()),
    };
    let timestamps = (0..POINTS).map(|step| START_MS + step * STEP_MS).collect();
    Decoded { infos: (0..HOSTS).map(info).collect(), points: PointColumns { timestamps, values } }
}

#[expect(clippy::unwrap_used, reason = "the queries of the benchmarks are right")]
fn plan(text: &str) -> SubQueryPlan {
    let end = START_MS + POINTS * STEP_MS - 1;
    Query::new(START_MS, end, vec![SubQuery::parse(text).unwrap()]).plan().unwrap().remove(0)
}

fn groups(plan: &SubQueryPlan, decoded: &Decoded) -> Vec<GroupResult> {
    let mut groups = Vec::new();
    let evaluated = plan.evaluate(decoded, &EvaluationControl::default(), |group| {
        groups.push(group);
        ControlFlow::Continue(())
    });
    assert!(evaluated.is_ok() && groups.len() == HOSTS as usize);
    groups
}

#[divan::bench(args = [AnswerForm::Objects, AnswerForm::Arrays])]
fn write(bencher: Bencher<'_, '_>, form: AnswerForm) {
    let groups = groups(&plan("sum:5m-avg:sys.net.bytes_in{host=*}"), &decoded(false));
    let bytes = write_answer(&groups, form);
    bencher.counter(BytesCount::new(bytes)).bench_local(|| write_answer(&groups, form));
}

#[divan::bench(args = [false, true])]
fn evaluate_and_write(bencher: Bencher<'_, '_>, are_integers: bool) {
    let (plan, decoded) = (plan("sum:5m-avg:sys.net.bytes_in{host=*}"), decoded(are_integers));
    bencher.bench_local(|| write_answer(&groups(&plan, &decoded), AnswerForm::Objects));
}
