//! What the engine does when the disk fails.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;

use super::{ENTRIES, LAYOUT, LAYOUT_WITHOUT_JOURNAL, RedbKv, RedbOptions, SEQUENCE, STATE, backend::Disk};
use crate::{Commit, CommitOutcome, KeyRange, Kv, KvError, MemoryKv, RangeLimit, Versionstamp};

fn open(folder: &Path) -> (RedbKv, Arc<Disk>) {
    let disk = Arc::new(Disk::default());
    (RedbKv::open_on(&folder.join("store.redb"), RedbOptions::default(), Arc::clone(&disk)).unwrap(), disk)
}

fn file_bytes(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("store.redb")).unwrap().len()
}

async fn put(store: &RedbKv, key: &'static str) -> CommitOutcome {
    let mut commit = Commit::new();
    commit.put(key, vec![1; 90_000]);
    (0..9_u8).for_each(|part| {
        commit.put([b"~", key.as_bytes(), &[part]].concat(), vec![1; 90_000]);
    });
    store.commit(commit).await
}

async fn keys(store: &RedbKv) -> Vec<String> {
    let page = store.snapshot().await.unwrap().range(KeyRange::new("a", "~"), RangeLimit::PAGE).await.unwrap();
    page.entries.iter().map(|(key, _)| key.escape_ascii().to_string()).collect()
}

#[tokio::test]
async fn a_full_disk_refuses_commits_and_keeps_reading_until_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let (store, disk) = open(folder.path());
    assert!(matches!(put(&store, "a").await, CommitOutcome::Done(_)));
    disk.full_beyond.store(file_bytes(folder.path()), Ordering::SeqCst);
    for _ in 0..3 {
        assert!(matches!(put(&store, "b").await, CommitOutcome::Refused(KvError::Full(_))));
        assert_eq!(keys(&store).await, ["a"]);
    }
    disk.full_beyond.store(0, Ordering::SeqCst);
    assert!(matches!(put(&store, "c").await, CommitOutcome::Done(_)));
    assert_eq!(keys(&store).await, ["a", "c"]);
    assert_eq!(store.poisoned(), None);
    drop(store);
    assert_eq!(keys(&open(folder.path()).0).await, ["a", "c"]);
}

/// A file system that copies on write refuses to overwrite, too: then not even opening again works.
#[tokio::test]
async fn a_disk_that_refuses_every_write_heals_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, disk) = open(folder.path());
    assert!(matches!(put(&store, "a").await, CommitOutcome::Done(_)));
    disk.full_beyond.store(1, Ordering::SeqCst);
    // As long as the file cannot be opened, nobody can tell whether the first commit is in it.
    assert!(matches!(put(&store, "b").await, CommitOutcome::Unknown(KvError::Full(_))));
    for _ in 0..2 {
        assert!(matches!(put(&store, "b").await, CommitOutcome::Refused(KvError::Full(_))));
        assert!(matches!(store.snapshot().await.map(|_| ()), Err(KvError::Full(_))));
    }
    disk.full_beyond.store(0, Ordering::SeqCst);
    assert!(matches!(put(&store, "c").await, CommitOutcome::Done(_)));
    assert_eq!(keys(&store).await, ["a", "c"]);
}

#[tokio::test]
async fn too_little_free_space_refuses_commits_without_touching_the_readers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = RedbKv::open(&path, RedbOptions::default()).unwrap();
    assert!(matches!(put(&store, "old").await, CommitOutcome::Done(_)));
    drop(store);
    let options = RedbOptions { free_bytes_min: u64::MAX, ..RedbOptions::default() };
    let store = RedbKv::open(&path, options).unwrap();
    let snapshot = store.snapshot().await.unwrap();
    match put(&store, "a").await {
        CommitOutcome::Refused(KvError::Full(text)) => assert!(text.contains("bytes are free for"), "{text}"),
        other => panic!("expected full, got {other:?}"),
    }
    assert_eq!(snapshot.get(b"a").await, Ok(None));
    // What deletes goes on, together with a note of it but not with more.
    let mut commit = Commit::new();
    commit.delete("old").put("note", vec![1; 5000]);
    assert!(matches!(store.commit(commit).await, CommitOutcome::Refused(KvError::Full(_))));
    let mut commit = Commit::new();
    commit.delete("old").put("note", "deleted `old`");
    let (refused, done) = tokio::join!(put(&store, "b"), store.commit(commit));
    assert!(matches!(refused, CommitOutcome::Refused(KvError::Full(_))));
    assert!(matches!(done, CommitOutcome::Done(_)));
    assert_eq!(keys(&store).await, ["note"]);
}

#[tokio::test]
async fn a_failed_fsync_poisons_the_store_and_a_later_success_does_not_heal_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, disk) = open(folder.path());
    assert!(matches!(put(&store, "a").await, CommitOutcome::Done(_)));
    disk.fail_syncs.store(true, Ordering::SeqCst);
    let outcome = put(&store, "b").await;
    // The file grows for `b`, and redb syncs the new length before it writes: then nothing was published.
    let told = match outcome {
        CommitOutcome::Unknown(KvError::Unavailable(text)) | CommitOutcome::Refused(KvError::Unavailable(text)) => text,
        other => panic!("expected unavailable, got {other:?}"),
    };
    assert!(told.ends_with("takes no more writes: check the disk and restart"), "{told}");
    disk.fail_syncs.store(false, Ordering::SeqCst);
    assert!(matches!(put(&store, "c").await, CommitOutcome::Refused(KvError::Unavailable(text)) if text == told));
    assert_eq!(store.poisoned(), Some(told));
    assert!(matches!(store.compact().await, Err(KvError::Unavailable(_))));
    drop(store);
    let after = keys(&open(folder.path()).0).await;
    assert_eq!(after.first().map(String::as_str), Some("a"));
    assert!(!after.contains(&"c".into()));
}

#[tokio::test]
async fn a_failed_fsync_of_a_commit_leaves_its_outcome_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let (store, disk) = open(folder.path());
    assert!(matches!(put(&store, "a").await, CommitOutcome::Done(_)));
    disk.fail_syncs.store(true, Ordering::SeqCst);
    let mut commit = Commit::new();
    commit.put("a", "small, so that the file need not grow");
    assert!(matches!(store.commit(commit).await, CommitOutcome::Unknown(KvError::Unavailable(_))));
}

#[tokio::test]
async fn a_snapshot_from_before_the_file_was_opened_again_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let (store, disk) = open(folder.path());
    assert!(matches!(put(&store, "a").await, CommitOutcome::Done(_)));
    let snapshot = store.snapshot().await.unwrap();
    disk.full_beyond.store(file_bytes(folder.path()), Ordering::SeqCst);
    assert!(matches!(put(&store, "b").await, CommitOutcome::Refused(KvError::Full(_))));
    // What it has in memory it may still answer; what it has to read from the file it may not.
    let old = snapshot.range(KeyRange::prefix(b""), RangeLimit::PAGE).await;
    assert!(matches!(&old, Err(KvError::TooOld)) || old.unwrap().entries.len() == 10);
    assert_eq!(keys(&store).await, ["a"]);
}

/// Every bit of the file that carries data may rot: with `verify_on_open` none of it goes unnoticed.
#[tokio::test]
async fn rot_is_found_when_the_file_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let mut commit = Commit::new();
    commit.put("a", vec![0x5A; 3000]);
    assert!(matches!(store.commit(commit).await, CommitOutcome::Done(_)));
    drop(store);
    let path = folder.path().join("store.redb");
    let sound = std::fs::read(&path).unwrap();
    let starts: Vec<_> = sound.windows(64).enumerate().filter(|(_, bytes)| **bytes == [0x5A; 64]).collect();
    assert!(starts.len() > 2000);
    for (at, _) in starts.iter().step_by(401) {
        let mut rotten = sound.clone();
        rotten[*at] ^= 0x10;
        std::fs::write(&path, &rotten).unwrap();
        let verified = RedbKv::open(&path, RedbOptions { verify_on_open: true, ..RedbOptions::default() });
        match verified {
            Err(KvError::Corrupt(text)) => assert!(text.contains("store.redb"), "{text}"),
            Err(other) => panic!("expected corrupt, got {other}"),
            Ok(_) => panic!("a flipped bit at {at} went unnoticed"),
        }
    }
    std::fs::write(&path, &sound).unwrap();
    let sound = RedbKv::open(&path, RedbOptions { verify_on_open: true, ..RedbOptions::default() }).unwrap();
    assert_eq!(keys(&sound).await, ["a"]);
}

/// Without `verify_on_open` rot may go unnoticed in values, which carry checksums of their own; it must not bring the
/// process down or let a reader hang.
#[tokio::test]
async fn rot_that_nobody_looked_for_is_an_error_or_a_wrong_value_but_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for part in 0..4_u8 {
        let mut commit = Commit::new();
        (0..50_u8).for_each(|number| {
            commit.put(vec![part, number], vec![number; 100]);
        });
        assert!(matches!(store.commit(commit).await, CommitOutcome::Done(_)));
    }
    drop(store);
    let path = folder.path().join("store.redb");
    let sound = std::fs::read(&path).unwrap();
    let bits = sound.len() * 8;
    let (mut refused, mut failed) = (0, 0);
    for round in 0..100_usize {
        let bit = round.wrapping_mul(0x9E37_79B9) % if round % 2 == 0 { bits } else { 4096 * 8 };
        let mut rotten = sound.clone();
        rotten[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &rotten).unwrap();
        let Ok(store) = RedbKv::open(&path, RedbOptions::default()) else {
            refused += 1;
            continue;
        };
        let Ok(snapshot) = store.snapshot().await else {
            failed += 1;
            continue;
        };
        let got = snapshot.get(&[2, 7]).await;
        let page = snapshot.range(KeyRange::prefix(b""), RangeLimit::PAGE).await;
        if got.is_err() || page.is_err() {
            failed += 1;
        }
        let mut commit = Commit::new();
        commit.put("new", "value");
        store.commit(commit).await;
    }
    assert!(refused > 0, "{refused} refused, {failed} failed");
}

/// Set to the path of an empty folder on a file system of 8 MB to try a disk that really is full.
const SMALL_FOLDER: &str = "TIDEMARK_KV_SMALL_FOLDER";

#[tokio::test]
#[ignore = "needs a small file system to fill: TIDEMARK_KV_SMALL_FOLDER"]
#[expect(clippy::disallowed_methods, reason = "whoever runs the test says where the small file system is")]
async fn a_file_system_that_really_is_full_loses_nothing_and_goes_on_when_there_is_space() {
    let folder = std::env::var(SMALL_FOLDER).unwrap();
    let path = Path::new(&folder).join("store.redb");
    for free_bytes_min in [0, 2 << 20] {
        let options = RedbOptions { free_bytes_min, ..RedbOptions::default() };
        let store = RedbKv::open(&path, options).unwrap();
        let ballast = Path::new(&folder).join("ballast");
        std::fs::write(&ballast, vec![1; 1 << 20]).unwrap();
        let mut acknowledged = Vec::new();
        let mut refused = 0;
        for number in 0..400_u32 {
            let mut commit = Commit::new();
            commit.put(number.to_be_bytes().to_vec(), vec![3; 30_000]);
            match store.commit(commit).await {
                CommitOutcome::Done(_) => acknowledged.push(number),
                CommitOutcome::Refused(KvError::Full(_)) => refused += 1,
                other => panic!("expected done or full, got {other:?}"),
            }
            let all = RangeLimit { bytes: usize::MAX, ..RangeLimit::PAGE };
            let page = store.snapshot().await.unwrap().range(KeyRange::prefix(b""), all).await.unwrap();
            assert_eq!(page.entries.len(), acknowledged.len());
        }
        assert!(refused > 10 && acknowledged.len() > 50, "{refused} refused, {} done", acknowledged.len());
        std::fs::remove_file(&ballast).unwrap();
        let mut commit = Commit::new();
        commit.delete_range(KeyRange::prefix(b""));
        if free_bytes_min == 0 {
            assert!(matches!(store.commit(commit).await, CommitOutcome::Done(_)));
        }
        drop(store);
        std::fs::remove_file(&path).unwrap();
        // Where there was no room for closing in order, it still is what a restart needs.
        std::fs::remove_file(path.with_extension("journal")).unwrap();
    }
}

/// What a crash leaves behind: the files as they are while the store is open.
fn crashed(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["store.redb", "store.journal"] {
        std::fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

async fn put_small(store: &RedbKv, key: &str) {
    let mut commit = Commit::new();
    commit.put(key.to_owned(), vec![7; 100]).put_versionstamped("~log", key.to_owned());
    assert!(matches!(store.commit(commit).await, CommitOutcome::Done(_)), "{key}");
}

async fn everything(store: &RedbKv) -> Vec<(Bytes, Bytes)> {
    let all = RangeLimit { bytes: usize::MAX, entries: usize::MAX, reverse: false };
    store.snapshot().await.unwrap().range(KeyRange::prefix(b""), all).await.unwrap().entries
}

/// Commits of every kind and size, from a seed.
fn some_commit(seed: u64) -> Commit {
    let draw = |salt: u64| {
        let mixed = (seed.wrapping_mul(31) + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40
    };
    let mut commit = Commit::new();
    if draw(0) % 7 == 0 {
        commit.expect("never there", Some("x".into()));
    }
    for salt in 0..draw(1) % 4 {
        let key = vec![b'a' + (draw(10 + salt) % 20) as u8];
        let bytes = if draw(2) % 5 == 0 { 20_000 } else { 30 };
        match draw(20 + salt) % 5 {
            0 | 1 => commit.put(key, vec![salt as u8; bytes]),
            2 => commit.put_versionstamped(key, vec![salt as u8; bytes]),
            3 => commit.delete(key),
            _ => commit.delete_range(KeyRange::new(key.clone(), [&key[..], b"~"].concat())),
        };
    }
    commit
}

#[tokio::test]
async fn whatever_was_acknowledged_is_there_after_a_crash_at_any_commit() {
    let folder = tempfile::tempdir().unwrap();
    let options = RedbOptions { journal_bytes: 96 << 10, journal_group_bytes: 24 << 10, ..RedbOptions::default() };
    let open = |folder: &Path| RedbKv::open(&folder.join("store.redb"), options).unwrap();
    let store = open(folder.path());
    let plain = MemoryKv::default();
    let (mut longest, mut started_over) = (0, 0);
    for seed in 0..150 {
        let (outcome, expected) = (store.commit(some_commit(seed)).await, plain.commit(some_commit(seed)).await);
        assert_eq!(matches!(outcome, CommitOutcome::Done(_)), matches!(expected, CommitOutcome::Done(_)), "{seed}");
        let copy = crashed(folder.path());
        let position = store.journal_position();
        started_over += usize::from(position < longest && position == 0);
        longest = longest.max(position);
        let expected = everything(&store).await;
        let again = open(copy.path());
        assert_eq!(everything(&again).await, expected, "after commit {seed}");
        // It goes on, crashes once more, and is then closed in order.
        put_small(&again, "more").await;
        let expected = everything(&again).await;
        let twice = crashed(copy.path());
        drop(again);
        for folder in [copy.path(), twice.path()] {
            assert_eq!(everything(&open(folder)).await, expected, "after commit {seed} and one more");
        }
        assert_eq!(std::fs::metadata(copy.path().join("store.journal")).unwrap().len(), 0);
    }
    assert!(longest > 40_000 && started_over > 2, "{longest} {started_over}");
    let page = plain.snapshot().await.unwrap().range(KeyRange::prefix(b""), RangeLimit::PAGE).await.unwrap();
    let values = |entries: Vec<(Bytes, Bytes)>| entries.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    assert_eq!(values(everything(&store).await), values(page.entries));
}

#[tokio::test]
async fn a_torn_frame_is_forgotten_and_a_damaged_one_before_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for key in ["a", "b", "c"] {
        put_small(&store, key).await;
    }
    let crash = crashed(folder.path());
    let journal = crash.path().join("store.journal");
    let sound = std::fs::read(&journal).unwrap();
    assert_eq!((sound.len(), &sound[3 * 4096..][..8]), (4 << 20, &[0; 8][..]));
    let write = |flip: usize, keep: usize| {
        let mut bytes = sound.clone();
        bytes[flip] ^= 4;
        bytes[keep..].fill(0);
        std::fs::write(&journal, &bytes).unwrap();
        // A store that was opened has its part of the journal.
        std::fs::copy(folder.path().join("store.redb"), crash.path().join("store.redb")).unwrap();
    };
    for (flip, keep, expect) in [(2 * 4096 + 40, 3 * 4096, ["a", "b"]), (3 * 4096 - 1, 2 * 4096 + 60, ["a", "b"])] {
        write(flip, keep);
        let (store, _) = open(crash.path());
        assert_eq!(keys(&store).await, expect);
        put_small(&store, "d").await;
        assert_eq!(keys(&open_copy(crash.path())).await, ["a", "b", "d"]);
    }
    for flip in [0, 20, 4096 + 50] {
        write(flip, 3 * 4096);
        match RedbKv::open(&crash.path().join("store.redb"), RedbOptions::default()) {
            Err(KvError::Corrupt(text)) => assert!(text.contains("store.journal` is damaged between"), "{text}"),
            other => panic!("expected corrupt, got {:?}", other.map(|_| ())),
        }
    }
}

fn open_copy(folder: &Path) -> RedbKv {
    open(crashed(folder).path()).0
}

#[tokio::test]
async fn a_journal_of_another_store_or_of_a_later_one_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = open(one.path());
    let early = crashed(one.path());
    put_small(&store, "a").await;
    // A group that is too large for the journal makes everything durable in the file.
    assert!(matches!(put(&store, "b").await, CommitOutcome::Done(_)));
    put_small(&store, "c").await;
    drop(open(other.path()));
    let journal = one.path().join("store.journal");
    for (folder, expect) in [(other.path(), "belongs to another store"), (early.path(), "begins after commit 2")] {
        std::fs::copy(&journal, folder.join("store.journal")).unwrap();
        match RedbKv::open(&folder.join("store.redb"), RedbOptions::default()) {
            Err(KvError::Corrupt(text)) => assert!(text.contains(expect), "{text}"),
            other => panic!("expected corrupt, got {:?}", other.map(|_| ())),
        }
    }
}

#[tokio::test]
async fn a_store_that_was_not_closed_is_not_opened_without_its_whole_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    put_small(&store, "a").await;
    let crash = crashed(folder.path());
    let journal = crash.path().join("store.journal");
    let sound = std::fs::read(&journal).unwrap();
    let refused = || match RedbKv::open(&crash.path().join("store.redb"), RedbOptions::default()) {
        Err(KvError::Corrupt(text)) => text,
        other => panic!("expected corrupt, got {:?}", other.map(|_| ())),
    };
    std::fs::write(&journal, &sound[..4096]).unwrap();
    assert!(refused().contains("it has 4096 of 4194304 bytes"), "{}", refused());
    std::fs::remove_file(&journal).unwrap();
    assert!(refused().contains("store.journal` is missing or cut off, it has 0 of 4194304 bytes"), "{}", refused());
    std::fs::write(&journal, &sound).unwrap();
    assert_eq!(keys(&open(crash.path()).0).await, ["a"]);
    // After the end in order it may be gone.
    std::fs::remove_file(&journal).unwrap();
    assert_eq!(keys(&open(crash.path()).0).await, ["a"]);
}

#[tokio::test]
async fn a_store_opens_without_a_journal_where_the_disk_has_no_room_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    put_small(&store, "a").await;
    drop(store);
    let disk = Arc::new(Disk::default());
    disk.full_beyond.store(3 << 20, Ordering::SeqCst);
    let path = folder.path().join("store.redb");
    assert!(std::fs::metadata(&path).unwrap().len() < 3 << 20);
    let store = RedbKv::open_on(&path, RedbOptions::default(), Arc::clone(&disk)).unwrap();
    put_small(&store, "b").await;
    assert_eq!(store.journal_position(), 0);
    // What it has of the journal promises nothing.
    let crash = crashed(folder.path());
    std::fs::remove_file(crash.path().join("store.journal")).unwrap();
    assert_eq!(keys(&open(crash.path()).0).await, ["a", "b"]);
}

#[tokio::test]
async fn a_journal_that_finds_the_disk_full_refuses_and_one_that_cannot_sync_leaves_the_outcome_open() {
    let folder = tempfile::tempdir().unwrap();
    let (store, disk) = open(folder.path());
    put_small(&store, "a").await;
    disk.full_beyond.store(4096, Ordering::SeqCst);
    let mut commit = Commit::new();
    commit.put("b", "x");
    assert!(matches!(
        store.commit(commit.clone()).await,
        CommitOutcome::Refused(KvError::Full(_)) | CommitOutcome::Unknown(_)
    ));
    disk.full_beyond.store(0, Ordering::SeqCst);
    put_small(&store, "c").await;
    assert_eq!(keys(&store).await, ["a", "c"]);
    disk.fail_syncs.store(true, Ordering::SeqCst);
    assert!(matches!(store.commit(commit).await, CommitOutcome::Unknown(KvError::Unavailable(_))));
    assert!(store.poisoned().is_some());
    assert_eq!(keys(&store).await, ["a", "c"], "what is not durable is not shown");
}

#[tokio::test]
async fn a_store_of_the_layout_without_a_journal_becomes_one_with_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ENTRIES).unwrap().insert(&b"old"[..], &b"value"[..]).unwrap();
    {
        let mut state = transaction.open_table(STATE).unwrap();
        state.insert(LAYOUT, LAYOUT_WITHOUT_JOURNAL).unwrap();
        state.insert(SEQUENCE, 41).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let (store, _) = open(folder.path());
    put_small(&store, "new").await;
    assert_eq!(keys(&open_copy(folder.path())).await, ["new", "old"]);
    let mut commit = Commit::new();
    commit.put_versionstamped("s", "x");
    assert_eq!(store.commit(commit).await, CommitOutcome::Done(Versionstamp::new(43, 0)));
}
