//! What survives: closing, opening again, and being killed.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
};

use tidemark_kv::{Commit, CommitOutcome, KeyRange, Kv, KvError, RangeLimit, RedbKv};
use tokio::task::JoinSet;

use crate::{done, open_redb, value};

#[tokio::test]
async fn what_was_written_is_there_after_opening_again_and_stamps_go_on_growing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_redb(folder.path()).unwrap();
    let before = done(&store, |commit| {
        commit.put("a", "1").put_versionstamped("log/", "x");
    })
    .await;
    store.close();
    assert_eq!(store.commit(Commit::new()).await, CommitOutcome::Refused(KvError::Closed));
    assert!(matches!(store.snapshot().await.map(|_| ()), Err(KvError::Closed)));
    let store = open_redb(folder.path()).unwrap();
    assert_eq!(value(&store, "a").await, Some("1".into()));
    let after = done(&store, |commit| {
        commit.put_versionstamped("log/", "y");
    })
    .await;
    assert!(after > before);
    assert!(store.disk_bytes().unwrap() > 0);
}

#[tokio::test]
async fn closing_finishes_the_commits_that_wait() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open_redb(folder.path()).unwrap());
    let mut tasks = JoinSet::new();
    for number in 0..50_u32 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut commit = Commit::new();
            commit.put(number.to_be_bytes().to_vec(), "x");
            (number, store.commit(commit).await)
        });
    }
    tokio::task::yield_now().await;
    store.close();
    let mut acknowledged = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        match ended.unwrap() {
            (number, CommitOutcome::Done(_)) => acknowledged.push(number),
            (_, CommitOutcome::Refused(KvError::Closed)) => {}
            other => panic!("expected done or closed, got {other:?}"),
        }
    }
    let store = open_redb(folder.path()).unwrap();
    let all = store.snapshot().await.unwrap().range(KeyRange::prefix(b""), RangeLimit::PAGE).await.unwrap();
    assert_eq!(all.entries.len(), acknowledged.len());
}

#[test]
fn a_second_opening_is_refused_with_a_sentence_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let first = open_redb(folder.path()).unwrap();
    match open_redb(folder.path()).map(|_| ()) {
        Err(KvError::InUse(text)) => {
            assert!(text.contains("in use by another process: stop that process, or choose another data folder"));
            assert!(text.contains("store.redb"));
        }
        other => panic!("expected in use, got {other:?}"),
    }
    drop(first);
    open_redb(folder.path()).unwrap();
}

#[test]
fn a_file_that_is_no_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store.redb"), b"not a store, but long enough to look at".repeat(500)).unwrap();
    match open_redb(folder.path()).map(|_| ()) {
        Err(KvError::Corrupt(text)) => assert!(text.contains("store.redb"), "{text}"),
        other => panic!("expected corrupt, got {other:?}"),
    }
}

#[tokio::test]
async fn compaction_gives_space_back_and_keeps_the_entries() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_redb(folder.path()).unwrap();
    for number in 0..10_u8 {
        done(&store, |commit| {
            commit.put(vec![number], vec![number; 90_000]).put(vec![number, 1], vec![number; 90_000]);
        })
        .await;
    }
    done(&store, |commit| {
        commit.delete_range(KeyRange::new(vec![1], vec![9]));
    })
    .await;
    let before = store.disk_bytes().unwrap();
    let open = store.snapshot().await.unwrap();
    assert!(matches!(store.compact().await, Err(KvError::Unavailable(_))));
    drop(open);
    assert!(store.compact().await.unwrap());
    assert!(store.disk_bytes().unwrap() < before);
    let all = store.snapshot().await.unwrap().range(KeyRange::prefix(b""), RangeLimit::PAGE).await.unwrap();
    assert_eq!(all.entries.len(), 4);
    done(&store, |commit| {
        commit.put("after", "1");
    })
    .await;
}

const CHILD_FOLDER: &str = "TIDEMARK_KV_TEST_FOLDER";

/// Kills a writing process again and again; every number that it reported as acknowledged must be there.
#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..5_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durability::child_that_writes_until_it_is_killed", "--nocapture", "--ignored"])
            .env(CHILD_FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("ack ")?.parse::<u64>().ok());
        let wanted = 20 + 17 * round;
        let mut seen = 0;
        for number in numbers {
            acknowledged.push(number);
            seen += 1;
            if seen == wanted {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= wanted, "the child ended by itself after {seen}");
    }
    let store = open_redb(folder.path()).unwrap();
    let snapshot = store.snapshot().await.unwrap();
    for number in &acknowledged {
        assert!(snapshot.get(&number.to_be_bytes()).await.unwrap().is_some(), "lost {number}");
    }
    let all = snapshot.range(KeyRange::prefix(b""), RangeLimit::PAGE).await.unwrap();
    assert!(all.entries.len() >= acknowledged.len());
}

/// Not a test of its own: the process that the test above kills.
#[test]
#[ignore = "runs only as the child of what_was_acknowledged_survives_kill_9"]
#[expect(clippy::disallowed_methods, reason = "a child process is told its folder in the environment")]
fn child_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(CHILD_FOLDER) else { return };
    let store = Arc::new(open_redb(folder.as_ref()).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let first = next_number(&store).await;
        let mut tasks = JoinSet::new();
        for task in 0..4 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for number in (first + task..first + 40_000).step_by(4) {
                    done(&*store, |commit| {
                        commit.put(number.to_be_bytes().to_vec(), vec![1; 2000]);
                    })
                    .await;
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {number}").unwrap();
                    out.flush().unwrap();
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    });
}

async fn next_number(store: &RedbKv) -> u64 {
    let last = store.snapshot().await.unwrap().range(KeyRange::prefix(b""), RangeLimit::last()).await.unwrap();
    last.entries.first().map_or(0, |(key, _)| u64::from_be_bytes(key[..].try_into().unwrap()) + 1)
}
