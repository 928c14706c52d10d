//! Names that get ids before their first point.

mod support;

use std::sync::Arc;

use support::{START, open, write};
use tidemark_kv::{Kv, MemoryKv};
use tidemark_model::{NameIds, NameKind, SeriesCatalog, SeriesSelector, Value};
use tidemark_tsdb::inspect::check_store;

#[tokio::test]
async fn a_name_keeps_the_id_that_it_was_given() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let store = open(Arc::clone(&kv)).await.unwrap();
    assert_eq!(store.id(NameKind::Metric, "cpu").await.unwrap(), None);
    assert_eq!(store.assign(NameKind::Metric, "cpu").await, Ok(1));
    assert_eq!(store.assign(NameKind::Metric, "cpu").await, Ok(1));
    assert_eq!(store.assign(NameKind::TagValue, "cpu").await, Ok(1));
    write(&store, &[("mem", &[("host", "a")], START, Value::Int(1))]).await;
    // A name that was only given an id is listed, as OpenTSDB lists it, and has no series.
    assert_eq!(store.suggest(NameKind::Metric, "", 10).await.unwrap(), ["cpu", "mem"]);
    assert_eq!(store.suggest(NameKind::TagValue, "", 10).await.unwrap(), ["a", "cpu"]);
    write(&store, &[("cpu", &[("host", "a")], START, Value::Int(1))]).await;
    store.close().await;
    let report = check_store(kv.as_ref(), &mut |_| {}).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    let store = open(kv).await.unwrap();
    assert_eq!(store.id(NameKind::Metric, "cpu").await.unwrap(), Some(1));
    assert_eq!(store.suggest(NameKind::TagValue, "", 10).await.unwrap(), ["a", "cpu"]);
    assert_eq!(store.name(NameKind::Metric, 2).await.unwrap().as_deref(), Some("mem"));
    assert_eq!(store.name(NameKind::TagValue, 3).await.unwrap(), None);
    let selector = SeriesSelector::Tags { metric: Some("cpu".to_owned()), predicates: Vec::new(), exact_keys: false };
    let series = store.lookup(&selector, 0, 10).await.unwrap().series;
    assert_eq!(series.first().unwrap().tsuid.to_string(), "000001000001000002");
}
