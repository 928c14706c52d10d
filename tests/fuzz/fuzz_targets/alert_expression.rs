//! Expressions: any text is one or an error that names a place in it, and one can be evaluated over some series.
#![no_main]

use std::{cell::LazyCell, sync::Arc};

use libfuzzer_sys::fuzz_target;
use tidemark_alert::expression::{EvaluateOptions, Expression, ExpressionLimits, UnknownNames};
use tidemark_fuzz::runtime;
use tidemark_kv::MemoryKv;
use tidemark_model::{ManualClock, PointBatchBuilder, PointSink, ReadLimits, Value, WriteOutcome};
use tidemark_tsdb::{Store, StoreOptions};
use tokio::runtime::Runtime;

/// 2026-09-21, 00:00 UTC.
const NOW: i64 = 1_789_948_800_000;

thread_local! {
    static WORLD: LazyCell<(Runtime, Store)> = LazyCell::new(|| {
        let runtime = runtime();
        let store = runtime.block_on(store());
        (runtime, store)
    });
}

fuzz_target!(|text: &str| {
    let limits = ExpressionLimits {
        text_bytes_max: 4_096,
        queries_max: 20,
        groups_max: 200,
        work_max: 100_000,
        read: ReadLimits { points_max: 100_000, ..ReadLimits::default() },
        ..ExpressionLimits::default()
    };
    let expression = match Expression::parse(text, &limits) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(error.position.line >= 1 && error.position.column >= 1);
            assert!(error.position.line as usize <= text.split('\n').count());
            return;
        }
    };
    assert_eq!(expression.text(), text);
    let _may_be_impossible = expression.tag_keys();
    let options = EvaluateOptions { unknown_names: UnknownNames::AreEmpty, limits, ..EvaluateOptions::at(NOW) };
    WORLD.with(|world| {
        let (runtime, store) = &**world;
        if let Ok(evaluation) = runtime.block_on(expression.evaluate(store, options)) {
            assert_eq!(evaluation.value_type, expression.value_type());
            assert!(evaluation.items.len() <= 200);
        }
    });
});

/// Two metrics of three hosts, each with a day of points.
async fn store() -> Store {
    let clock = Arc::new(ManualClock::new(NOW));
    let store = Store::open(Arc::new(MemoryKv::new()), clock, StoreOptions::default()).await.expect("open");
    let mut batch = PointBatchBuilder::default();
    for step in 0..288_i64 {
        for (number, host) in (1..).zip(["a", "b", "c"]) {
            let at = NOW - step * 300_000;
            let mut tags = [("host", host), ("dc", "x")];
            batch.push("os.cpu", &mut tags, at, Value::Int(step % 7 * number)).expect("a point");
            batch.push("m", &mut tags, at, Value::Float(step as f64 / 8.0)).expect("a point");
        }
    }
    assert!(matches!(store.write(batch.finish()).await, WriteOutcome::Done(_)));
    store
}
