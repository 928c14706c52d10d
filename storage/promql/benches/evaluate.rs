//! What expressions cost: 500 series of one day at 15 s, already decoded, at 5 m and at 15 s.
//!
//! `read_only` is the cost of copying the columns out of the test set, which every other figure contains.

use divan::Bencher;
use tidemark_model::{
    PointColumns, ReadError, ReadStatistics, SeriesId, SeriesInfo, SeriesKey, SeriesSet, Tsuid, ValueColumn,
};
use tidemark_promql::{Answer, Control, LOOKBACK_DEFAULT_MS, Query, SelectedSeries, Steps, parse};

const SERIES: u32 = 500;
const POINTS: i64 = 5760;
const STEP_MS: i64 = 15_000;
const START_MS: i64 = 1_700_006_400_000;

fn main() {
    divan::main();
}

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
            (ValueColumn::Float(to), ValueColumn::Float(from)) => to.clone_from(from),
            (to, from) => to.clone_from(from),
        }
        Ok(())
    }

    fn statistics(&self) -> ReadStatistics {
        ReadStatistics::default()
    }
}

/// Counters that begin anew every two hours.
fn decoded() -> Decoded {
    let info = |number: u32| SeriesInfo {
        id: SeriesId(u64::from(number)),
        key: SeriesKey::new("net.bytes", &[("dc", "dc1"), ("host", &format!("web{number:04}"))]),
        tsuid: Tsuid::new(1, &[(1, 1), (2, number + 1)]),
    };
    let values = ValueColumn::Float((0..POINTS).map(|step| ((step % 480) * 1_500 + step % 7) as f64).collect());
    let timestamps = (0..POINTS).map(|step| START_MS + step * STEP_MS).collect();
    Decoded { infos: (0..SERIES).map(info).collect(), points: PointColumns { timestamps, values } }
}

#[divan::bench]
fn read_only(bencher: Bencher<'_, '_>) {
    let decoded = decoded();
    let mut columns = PointColumns::default();
    bencher.bench_local(|| {
        for index in 0..decoded.infos.len() {
            assert!(decoded.read(index, &mut columns).is_ok());
        }
    });
}

#[divan::bench(args = [
    r#"sum(rate({"net.bytes"}[5m]))"#,
    r#"rate({"net.bytes"}[5m])"#,
    r#"sum by (host) ({"net.bytes"})"#,
    r#"max(max_over_time({"net.bytes"}[1h]))"#,
    r#"topk(5, rate({"net.bytes"}[5m]))"#,
    r#"rate({"net.bytes"}[5m]) / on (host) {"net.bytes"}"#,
])]
fn day_at_five_minutes(bencher: Bencher<'_, '_>, text: &str) {
    let steps = Steps::new(START_MS, START_MS + POINTS * STEP_MS - 1, 300_000);
    evaluate(bencher, text, steps);
}

#[divan::bench(args = [r#"sum(rate({"net.bytes"}[1h]))"#, r#"sum(avg_over_time({"net.bytes"}[5m]))"#])]
fn day_at_every_point(bencher: Bencher<'_, '_>, text: &str) {
    let steps = Steps::new(START_MS, START_MS + POINTS * STEP_MS - 1, STEP_MS);
    evaluate(bencher, text, steps);
}

#[expect(clippy::unwrap_used, reason = "the expressions of the benchmarks are right")]
fn evaluate(bencher: Bencher<'_, '_>, text: &str, steps: Steps) {
    let query = Query::range(parse(text).unwrap(), steps, LOOKBACK_DEFAULT_MS).unwrap();
    let reads = query.reads();
    let sets: Vec<Vec<Box<dyn SeriesSet>>> =
        reads.iter().map(|_| vec![Box::new(decoded()) as Box<dyn SeriesSet>]).collect();
    bencher.bench_local(|| {
        let selected: Vec<_> = sets.iter().zip(&reads).map(|(sets, read)| SelectedSeries::new(sets, read)).collect();
        let (answer, _) = query.evaluate(&selected, &Control::default()).unwrap();
        assert!(matches!(&answer, Answer::Matrix(matrix) if !matrix.is_empty()));
        answer
    });
}
