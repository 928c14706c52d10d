//! What only a real cluster can be asked.

use std::time::Duration;

use tidemark_kv::{CommitOutcome, FdbOptions, KeyRange, Kv, KvError, RangeLimit, Versionstamp};

use crate::{
    done,
    fdb_store::{cluster_file, open, own_prefix, with_store},
    refused, value,
};

#[tokio::test]
async fn stores_of_other_prefixes_do_not_see_each_other_and_handles_of_one_do() {
    let Some(cluster) = cluster_file() else { return };
    with_store(|store| async move {
        let other = open(&cluster, FdbOptions { key_prefix: own_prefix(), ..FdbOptions::default() });
        done(&*store, |commit| {
            commit.put("a", "1").put_versionstamped("log/", "x");
        })
        .await;
        assert_eq!(value(&other, "a").await, None);
        let all = other.snapshot().await.unwrap().range(KeyRange::prefix(b""), RangeLimit::PAGE).await.unwrap();
        assert_eq!((all.entries.len(), all.more), (0, false));
        done(&other, |commit| {
            commit.delete_range(KeyRange::prefix(b""));
        })
        .await;
        assert_eq!(value(&*store, "a").await, Some("1".into()));
        assert!(store.is_shared());
    })
    .await;
}

#[tokio::test]
async fn the_stamp_of_a_check_lies_between_those_of_the_commits_around_it() {
    with_store(|store| async move {
        let put = |commit: &mut tidemark_kv::Commit| {
            commit.put_versionstamped("log/", "x");
        };
        let before = done(&*store, put).await;
        let check = done(&*store, |commit| {
            commit.expect("a", None).delete_range(KeyRange::new("b", "a"));
        })
        .await;
        let after = done(&*store, put).await;
        assert!(before.0[..8] <= check.0[..8] && check < after, "{before} {check} {after}");
        assert!(check > Versionstamp::FIRST);
        assert_eq!(
            refused(&*store, |commit| {
                commit.expect("a", Some("1".into()));
            })
            .await,
            KvError::Conflict { key: "a".into() }
        );
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_that_is_kept_too_long_says_that_it_is_too_old() {
    with_store(|store| async move {
        let snapshot = store.snapshot().await.unwrap();
        let ends = async {
            while snapshot.get(b"a").await.is_ok() {
                // Versions pass with time, whoever commits.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            snapshot.get(b"a").await
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), ends).await.expect("a snapshot for ever");
        assert_eq!(ended, Err(KvError::TooOld));
        let range = snapshot.range(KeyRange::prefix(b""), RangeLimit::PAGE).await;
        assert_eq!(range, Err(KvError::TooOld));
    })
    .await;
}

#[tokio::test]
async fn the_size_is_asked_for_in_the_background() {
    with_store(|store| async move {
        let known = async {
            while store.disk_bytes().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), known).await.expect("no estimate");
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_named_within_the_time_for_reading() {
    if cluster_file().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nobody.cluster");
    // A port that this test holds and never answers on.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    std::fs::write(&file, format!("nobody:nobody@{}\n", silent.local_addr().unwrap())).unwrap();
    let store = open(&file, FdbOptions { read_timeout: Duration::from_millis(200), ..FdbOptions::default() });
    let mut commit = tidemark_kv::Commit::new();
    commit.put("a", "1");
    for error in [store.snapshot().await.map(|_| ()).unwrap_err(), outcome(store.commit(commit).await)] {
        match error {
            KvError::Unavailable(text) => {
                assert!(text.contains("nobody.cluster`: no answer within 200ms"), "{text}");
            }
            other => panic!("expected unavailable, got {other:?}"),
        }
    }
}

fn outcome(outcome: CommitOutcome) -> KvError {
    match outcome {
        CommitOutcome::Refused(error) => error,
        other => panic!("expected the commit to be refused, got {other:?}"),
    }
}
