//! Stores whose entries lie although their checksums are right: each opens or says why not, and never panics.
//!
//! Input: changes of the golden entries, each with the number of an entry, a place in it and a byte. A place behind the end
//! cuts the value there, and a byte that is there already takes the whole entry away.
#![no_main]

use std::{sync::Arc, sync::LazyLock};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidemark_fuzz::{checksummed, golden_entries, runtime};
use tidemark_kv::{Commit, CommitOutcome, Kv, MemoryKv};
use tidemark_model::{
    AnnotationStore, AnnotationsOf, DocumentStore, ManualClock, MetadataCatalog, NameKind, PointBatchBuilder,
    PointColumns, PointSink, ReadLimits, ReadRequest, SeriesCatalog, SeriesReader, SeriesSelector, TimeRange, Value,
};
use tidemark_tsdb::{SealReason, Store, StoreOptions, inspect::check_store};

static GOLDEN: LazyLock<Vec<(Bytes, Bytes)>> = LazyLock::new(golden_entries);

/// A day after the last golden point.
const NOW: i64 = 1_789_948_800_000 + 2 * 86_400_000;

fuzz_target!(|data: &[u8]| {
    let mut entries = GOLDEN.clone();
    for change in data.chunks_exact(4).take(16) {
        let &[number, low, high, byte] = change else { continue };
        let count = entries.len();
        let index = usize::from(number) % count;
        let value = &entries[index].1;
        let mut body = value[..value.len() - 8].to_vec();
        let place = usize::from(u16::from_le_bytes([low, high]));
        match body.get(place).copied() {
            Some(known) if known == byte => {
                entries.remove(index);
                continue;
            }
            Some(_) => body[place] = byte,
            None => body.truncate(place % (body.len() + 1)),
        }
        entries[index].1 = checksummed(&body);
    }
    let runtime = runtime();
    runtime.block_on(use_everything(entries));
    runtime.shutdown_background();
});

async fn use_everything(entries: Vec<(Bytes, Bytes)>) {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let mut commit = Commit::new();
    for (key, value) in entries {
        commit.put(key, value);
    }
    assert!(matches!(kv.commit(commit).await, CommitOutcome::Done(_)));
    check_store(kv.as_ref(), &mut |_| {}).await.expect("the engine works");
    let clock = Arc::new(ManualClock::new(NOW));
    let Ok(store) = Store::open(Arc::clone(&kv), clock, StoreOptions::default()).await else { return };
    read(&store).await;
    let mut batch = PointBatchBuilder::default();
    batch.push("os.cpu", &mut [("host", "new")], NOW, Value::Int(1)).expect("a point");
    // Whatever each of these says, it says it.
    let _outcome = store.write(batch.finish()).await;
    let _sealed = store.seal(SealReason::Requested).await.is_ok();
    let _compacted = store.compact().await.is_ok();
    let _purged = store.purge().await.is_ok();
    read(&store).await;
    store.close().await;
}

async fn read(store: &Store) {
    let any = SeriesSelector::Tags { metric: None, predicates: Vec::new(), exact_keys: false };
    let limits = ReadLimits::default();
    let request = ReadRequest { selector: any.clone(), range: TimeRange::ALL, limits, rollup: None };
    if let Ok(set) = store.open(request).await {
        let mut columns = PointColumns::default();
        for index in 0..set.series().len() {
            let _read = set.read(index, &mut columns).is_ok();
        }
    }
    let _last = store.last(&any, 0).await.is_ok();
    let _names = store.suggest(NameKind::Metric, "", 100).await.is_ok();
    let _documents = store.list("incidents", None, 100).await.is_ok();
    let _described = store.described_metrics(None, 100).await.is_ok();
    let _notes = store.annotations(AnnotationsOf::Everything, TimeRange::ALL, 100).await.is_ok();
}
