//! Expressions of Prometheus: any text is one or an error that names a place in it; one is written so that it is read as the
//! same, and evaluated over some series within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_model::{
    PointColumns, ReadError, ReadStatistics, SeriesId, SeriesInfo, SeriesKey, SeriesSet, Tsuid, Value,
};
use tidemark_promql::{Answer, Control, LOOKBACK_DEFAULT_MS, Query, SelectedSeries, Steps, parse};

/// 2026-09-21, 00:00 UTC.
const NOW: i64 = 1_789_948_800_000;
/// Values that are held at once.
const HELD_MAX: u64 = 100_000;

/// Two metrics of three hosts, each with an hour of points.
struct FewSeries {
    infos: Vec<SeriesInfo>,
}

impl SeriesSet for FewSeries {
    fn series(&self) -> &[SeriesInfo] {
        &self.infos
    }

    fn read(&self, index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
        let value = |step: i64| Value::Float((step * (index as i64 + 1) % 17) as f64 / 4.0);
        *columns = (0..240).map(|step| (NOW - 3_600_000 + step * 15_000, value(step))).collect();
        Ok(())
    }

    fn statistics(&self) -> ReadStatistics {
        ReadStatistics::default()
    }
}

fn series() -> Vec<Box<dyn SeriesSet>> {
    let mut infos = Vec::new();
    for metric in ["m", "os.cpu", "d_bucket"] {
        for (number, host) in (0..).zip(["0.5", "1", "+Inf"]) {
            let key = SeriesKey::new(metric, &[("host", "a"), ("le", host)]);
            infos.push(SeriesInfo { id: SeriesId(infos.len() as u64), key, tsuid: Tsuid::new(1, &[(1, number)]) });
        }
    }
    vec![Box::new(FewSeries { infos })]
}

fuzz_target!(|text: &str| {
    let expression = match parse(text) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1 && error.line <= text.split('\n').count());
            return;
        }
    };
    let written = expression.to_string();
    let again = parse(&written).unwrap_or_else(|error| panic!("{text}: {written}: {error}"));
    assert_eq!(again.to_string(), written, "{text}");
    let looked = std::cell::Cell::new(0_u32);
    let cancelled = || {
        looked.set(looked.get() + 1);
        looked.get() > 200
    };
    let control = Control { held_max: HELD_MAX, result_points_max: 10_000, cancelled: &cancelled };
    let instant = Query::instant(expression.clone(), NOW, LOOKBACK_DEFAULT_MS);
    let range = Query::range(expression, Steps::new(NOW - 600_000, NOW, 60_000), LOOKBACK_DEFAULT_MS);
    for query in [Some(instant), range.ok()].into_iter().flatten() {
        let reads = query.reads();
        let sets: Vec<_> = reads.iter().map(|_| series()).collect();
        let selected: Vec<_> = sets.iter().zip(&reads).map(|(sets, read)| SelectedSeries::new(sets, read)).collect();
        if let Ok((Answer::Matrix(matrix), statistics)) = query.evaluate(&selected, &control) {
            assert!(matrix.iter().map(|series| series.points.len() as u64).sum::<u64>() <= 10_000);
            assert_eq!(statistics.result_series, matrix.len());
        }
    }
});
