//! The seeds of the fuzz target `stored_entries` (`tests/fuzz/seeds` of the repository) have an entry of every kind, and
//! every one of them is sound.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use support::{ProbeKv, Random, START, all_entries, write};
use tidemark_kv::{Kv, MemoryKv};
use tidemark_model::{
    AnnotationChange, AnnotationStore, AnnotationWrite, DeleteOutcome, DeleteRequest, DocumentStore, ExpectedVersion,
    ManualClock, MetadataCatalog, MetadataStore, MetricMetadata, NameIds, NameKind, PointDeleter, SeriesSelector,
    TagMetadata, TimeRange, Value,
};
use tidemark_tsdb::{
    SealReason, Sharing, Store, StoreOptions,
    inspect::{EntryKind, check_entry},
};

const DAY: Duration = Duration::from_secs(86_400);
/// Bytes of the checksum at the end of every value, which the fuzz target appends.
const CHECKSUM_BYTES: usize = 8;

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "tests", "fuzz", "seeds", "stored_entries"].iter().collect()
}

/// The key's length in one byte, the key, the value without its checksum.
fn seed_of(key: &Bytes, value: &Bytes) -> Vec<u8> {
    let mut seed = vec![u8::try_from(key.len()).unwrap()];
    seed.extend_from_slice(key);
    seed.extend_from_slice(&value[..value.len() - CHECKSUM_BYTES]);
    seed
}

fn entry_of(seed: &[u8]) -> (Bytes, Bytes) {
    let (&length, rest) = seed.split_first().unwrap();
    let (key, body) = rest.split_at(length.into());
    let mut value = body.to_vec();
    value.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(body).to_le_bytes());
    (Bytes::copy_from_slice(key), value.into())
}

fn is_in_every_store(kind: EntryKind) -> bool {
    !matches!(kind, EntryKind::Restore | EntryKind::Unknown)
}

#[test]
fn the_seeds_are_sound_entries_of_every_kind() {
    let mut kinds = BTreeSet::new();
    for file in fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let (key, value) = entry_of(&fs::read(&path).unwrap());
        assert_eq!(check_entry(&key, &value), [], "{}", path.display());
        kinds.insert(EntryKind::of(&key));
    }
    let all: BTreeSet<_> =
        (0..=u8::MAX).map(|byte| EntryKind::of(&[byte])).filter(|kind| is_in_every_store(*kind)).collect();
    assert_eq!(kinds, all, "run `cargo test -p tidemark-tsdb --test fuzz_seeds -- --ignored`");
}

/// What the fuzz target does without a guide, a little of it in every run.
#[test]
fn changed_entries_are_sound_or_have_one_finding_of_their_own() {
    let seeds: Vec<Vec<u8>> =
        fs::read_dir(folder()).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    let mut random = Random(7);
    let (mut sound, mut damaged) = (0, 0);
    for _ in 0..60_000 {
        let mut seed = seeds[random.below(seeds.len() as u64) as usize].clone();
        for _ in 0..=random.below(3) {
            let at = random.below(seed.len() as u64) as usize;
            match random.below(4) {
                0 => seed[at] ^= 1 << random.below(8),
                1 => seed[at] = random.next() as u8,
                2 => seed.insert(at, random.next() as u8),
                _ => drop(seed.remove(at)),
            }
        }
        if seed.is_empty() || usize::from(seed[0]) >= seed.len() {
            continue;
        }
        let (key, value) = entry_of(&seed);
        let findings = check_entry(&key, &value);
        assert!(findings.len() <= 1, "{findings:?}");
        assert!(findings.iter().all(|finding| finding.entry == EntryKind::of(&key)), "{findings:?}");
        match findings.len() {
            0 => sound += 1,
            _ => damaged += 1,
        }
    }
    assert!(sound > 1_000 && damaged > 10_000, "{sound} were sound and {damaged} were not");
}

/// Writes the seeds again, after a format changed.
#[tokio::test]
#[ignore = "writes into the repository"]
async fn write_the_seeds() {
    let (kv, clock) = (Arc::new(MemoryKv::new()) as Arc<dyn Kv>, Arc::new(ManualClock::new(START)));
    let mut entries = BTreeMap::new();
    let open = async |kv: Arc<dyn Kv>| {
        let options = StoreOptions { shards: 1, sharing: Sharing::Shared, ..StoreOptions::default() };
        Store::open(kv, Arc::clone(&clock) as _, options).await.unwrap()
    };
    let probe = ProbeKv::new(Arc::clone(&kv));
    let store = open(Arc::clone(&probe) as _).await;
    fill(&store).await;
    entries.extend(all_entries(kv.as_ref()).await);
    store.seal(SealReason::Requested).await.unwrap();
    write(&store, &[("os.cpu", &[("host", "a")], START + 5, Value::Int(5))]).await;
    store.seal(SealReason::Requested).await.unwrap();
    entries.extend(all_entries(kv.as_ref()).await);
    clock.advance(4 * DAY);
    // A compaction that dies leaves its claim, and the next one rollups.
    probe.die_after(1);
    assert!(store.compact().await.is_err());
    entries.extend(all_entries(kv.as_ref()).await);
    let store = open(Arc::clone(&kv)).await;
    store.compact().await.unwrap();
    entries.extend(all_entries(kv.as_ref()).await);
    store.close().await;

    fs::create_dir_all(folder()).unwrap();
    let mut written = BTreeMap::<EntryKind, usize>::new();
    for (key, value) in entries {
        let kind = EntryKind::of(&key);
        let number = written.entry(kind).or_default();
        *number += 1;
        if *number <= 2 {
            let name = format!("{}_{number}", kind.as_str().replace(' ', "_"));
            fs::write(folder().join(name), seed_of(&key, &value)).unwrap();
        }
    }
    let renamed = renamed_entries().await;
    assert_eq!(renamed.len(), 4);
    for (key, value) in renamed {
        let name = format!("{}_renamed", EntryKind::of(&key).as_str().replace(' ', "_"));
        fs::write(folder().join(name), seed_of(&key, &value)).unwrap();
    }
}

/// The entries that have a format of their own once a name was changed.
async fn renamed_entries() -> Vec<(Bytes, Bytes)> {
    let kv = Arc::new(MemoryKv::new()) as Arc<dyn Kv>;
    let options = StoreOptions { shards: 16, sharing: Sharing::Shared, ..StoreOptions::default() };
    let store = Store::open(Arc::clone(&kv), Arc::new(ManualClock::new(START)), options).await.unwrap();
    write(&store, &[("os.cpu", &[("host", "a")], START, Value::Int(1))]).await;
    store.rename(NameKind::Metric, "os.cpu", "cpu").await.unwrap();
    store.close().await;
    let is_new = |(key, value): &(Bytes, Bytes)| match EntryKind::of(key) {
        EntryKind::Store => true,
        EntryKind::Counters | EntryKind::Name | EntryKind::IndexLog => value.first() == Some(&2),
        _ => false,
    };
    all_entries(kv.as_ref()).await.into_iter().filter(is_new).collect()
}

/// Something of everything.
async fn fill(store: &Store) {
    for step in 0..40 {
        let at = START + step * 60_000;
        let load = Value::Float(step as f64 / 8.0);
        write(store, &[("os.cpu", &[("host", "a")], at, Value::Int(step)), ("os.load", &[("host", "b")], at, load)])
            .await;
    }
    // Series without points are noted when a deletion took all of them.
    write(store, &[("gone", &[("host", "c")], START, Value::Int(1))]).await;
    for (metric, range) in [("gone", TimeRange::ALL), ("os.cpu", TimeRange::new(START, START + 1))] {
        let request = DeleteRequest { selector: SeriesSelector::metric(metric), range, series_max: 10 };
        assert!(matches!(PointDeleter::delete(store, &request).await, DeleteOutcome::Done(_)));
    }
    let meaning = MetricMetadata { metric: "os.cpu".to_owned(), unit: "%".to_owned(), ..MetricMetadata::default() };
    store.put_metadata(vec![meaning]).await.unwrap();
    let tags = vec![("host".to_owned(), "a".to_owned())];
    let model = TagMetadata { tags, name: "model".to_owned(), value: "x1".to_owned(), touched_ms: 0 };
    store.put_tag_metadata(vec![model]).await.unwrap();
    let note =
        AnnotationChange { start_time: START, description: Some("deployed".to_owned()), ..AnnotationChange::default() };
    store.put_annotations(vec![note], AnnotationWrite::Merge).await.unwrap();
    store.put("rules", "1", ExpectedVersion::Absent, b"rule".to_vec()).await.unwrap();
}
