//! What queries cost: 500 series of one day at 15 s, already decoded.
//!
//! `read_only` is the cost of copying the columns out of the test set, which every other figure contains.

use std::ops::ControlFlow;

use divan::Bencher;
use tidemark_model::{
    PointColumns, ReadError, ReadStatistics, SeriesId, SeriesInfo, SeriesKey, SeriesSet, Tsuid, ValueColumn,
};
use tidemark_query::{EvaluationControl, Query, SubQuery, SubQueryPlan};

const SERIES: u32 = 500;
const POINTS: i64 = 5760;
const STEP_MS: i64 = 15_000;
const START_MS: i64 = 1_700_006_400_000;

fn main() {
    divan::main();
}

struct Decoded {
    infos: Vec<SeriesInfo>,
    points: Vec<PointColumns>,
}

impl SeriesSet for Decoded {
    fn series(&self) -> &[SeriesInfo] {
        &self.infos
    }

    fn read(&self, index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
        let Some(points) = self.points.get(index) else { return Ok(()) };
        columns.timestamps.clone_from(&points.timestamps);
        match (&mut columns.values, &points.values) {
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

#[derive(Clone, Copy, Debug)]
enum Kind {
    Ints,
    Floats,
    /// Every series at other milliseconds, so that nothing is aligned but buckets.
    Jittered,
}

impl Kind {
    fn decoded(self) -> Decoded {
        let info = |number: u32| SeriesInfo {
            id: SeriesId(u64::from(number)),
            key: SeriesKey::new(
                "cpu",
                &[("host", &format!("h{:03}", number / 10)), ("core", &(number % 10).to_string())],
            ),
            tsuid: Tsuid::new(1, &[(1, number / 10 + 1), (2, number % 10 + 1)]),
        };
        let infos = (0..SERIES).map(info).collect();
        Decoded { infos, points: (0..SERIES).map(|number| self.points(i64::from(number))).collect() }
    }

    fn points(self, series: i64) -> PointColumns {
        let steps = 0..POINTS;
        let jitter = |step: i64| match self {
            Self::Jittered => (series * 7919 + step * 104_729) % 1000,
            Self::Ints | Self::Floats => 0,
        };
        let timestamps = steps.clone().map(|step| START_MS + step * STEP_MS + jitter(step)).collect();
        let number = |step: i64| (series * 31 + step * 17) % 1000;
        let values = match self {
            Self::Ints => ValueColumn::Int(steps.map(number).collect()),
            Self::Floats | Self::Jittered => ValueColumn::Float(steps.map(|step| number(step) as f64 / 8.0).collect()),
        };
        PointColumns { timestamps, values }
    }
}

#[expect(clippy::unwrap_used, reason = "the queries of the benchmarks are right")]
fn plan(text: &str) -> SubQueryPlan {
    let end = START_MS + POINTS * STEP_MS - 1;
    Query::new(START_MS, end, vec![SubQuery::parse(text).unwrap()]).plan().unwrap().remove(0)
}

fn run(bencher: Bencher<'_, '_>, kind: Kind, text: &str) {
    let (decoded, plan) = (kind.decoded(), plan(text));
    bencher.bench_local(|| {
        let mut points = 0;
        let evaluated = plan.evaluate(&decoded, &EvaluationControl::default(), |group| {
            points += group.timestamps.len();
            ControlFlow::Continue(())
        });
        assert!(evaluated.is_ok() && points > 0);
        points
    });
}

#[divan::bench]
fn read_only(bencher: Bencher<'_, '_>) {
    let decoded = Kind::Floats.decoded();
    let mut columns = PointColumns::default();
    bencher.bench_local(|| (0..SERIES as usize).all(|index| decoded.read(index, &mut columns).is_ok()));
}

#[divan::bench(args = [Kind::Ints, Kind::Floats, Kind::Jittered])]
fn sum_of_5m_avg(bencher: Bencher<'_, '_>, kind: Kind) {
    run(bencher, kind, "sum:5m-avg:cpu");
}

#[divan::bench(args = [Kind::Ints, Kind::Floats, Kind::Jittered])]
fn by_host_of_5m_avg(bencher: Bencher<'_, '_>, kind: Kind) {
    run(bencher, kind, "sum:5m-avg:cpu{host=*}");
}

#[divan::bench(args = ["max:5m-max:cpu", "sum:5m-avg-zero:cpu", "sum:5m-avg:rate:cpu", "sum:1dc-last:cpu", "p99:5m-p95:cpu"])]
fn of_floats(bencher: Bencher<'_, '_>, text: &str) {
    run(bencher, Kind::Floats, text);
}

#[divan::bench(args = [Kind::Ints, Kind::Floats])]
fn sum_of_raw_points(bencher: Bencher<'_, '_>, kind: Kind) {
    run(bencher, kind, "sum:cpu");
}

#[divan::bench(sample_count = 5)]
fn jittered_raw_points_by_host(bencher: Bencher<'_, '_>) {
    run(bencher, Kind::Jittered, "sum:cpu{host=*}");
}
